// Transport: what carries the messages of a Connection. One object is one end, in one process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "brood/deadline.hpp"
#include "brood/detail/connection_core.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"
#include "os/futex.hpp"

namespace brood::inline v1::channel {

/// The promises that Connection<T> passes on: messages arrive whole and in order, or not at all; a timeout bounds the whole
/// call; the end of the conversation is EndOfFile after the last message, again and again; a message whose sender died
/// in it is BrokenMessage, once. The destructor closes this end.
class Transport {
 public:
  virtual ~Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  [[nodiscard]] bool may_send() const noexcept { return may_send_; }
  [[nodiscard]] bool may_receive() const noexcept { return may_receive_; }

  /// False if the deadline passed first; then nothing was sent. Errors: BrokenPipe, OsError.
  virtual bool send(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline) = 0;
  /// The same, with copies of open descriptors. Errors: also UsageError if this kind of connection cannot carry any.
  virtual bool send_with_descriptors(std::span<const std::byte> payload, std::span<const Handle> handles,
                                     std::span<const int> descriptors, Deadline deadline);
  /// Memory to write the next message in; empty if there was none until the deadline. Errors: BrokenPipe, NoSpace,
  /// UsageError (this transport lends none).
  [[nodiscard]] virtual detail::Chunk allocate(std::size_t /*size_bytes*/, Deadline /*deadline*/) {
    throw_lends_none();
  }
  /// Sends what was written there behind `skip` bytes; if not, the chunk is the caller's still.
  virtual bool send_chunk(detail::Chunk& /*chunk*/, std::size_t /*skip*/, std::size_t /*size_bytes*/,
                          Deadline /*deadline*/) {
    throw_lends_none();
  }
  /// False if nothing came. Errors: EndOfFile, BrokenMessage, DecodeError, OsError.
  virtual bool receive(detail::Landing& landing, Deadline deadline) = 0;
  /// True once receive() has something to say: a message, its beginning, or the end.
  virtual bool poll(Deadline deadline) = 0;

  /// For waiting on many: arm(), then readable_now(); if it is not, sleep on the word while it holds what was seen.
  struct Bell {
    const os::Word* word;  ///< null: there is a descriptor() instead
    std::uint32_t seen;
  };
  [[nodiscard]] virtual bool readable_now() = 0;
  [[nodiscard]] virtual Bell arm() = 0;
  /// Instead of a bell with a word: polls readable when readable_now() may have become true. -1: the bell has a word.
  [[nodiscard]] virtual int descriptor() const noexcept { return -1; }

  /// One wait's search for the end of the other side, and how soon to look again: where nobody may ring.
  struct Search {
    bool begun = false;
    std::uint32_t deaths = 0;
    std::int64_t pause_ns = 0;  ///< sleep no longer than that; 0: as long as you like
    std::int64_t until_ns = 0;
    bool is_busy = false;  ///< somebody else was at it
  };
  /// arm() and readable_now() in one, with all that is to be known for sleeping.
  [[nodiscard]] virtual bool watch_message(Bell& bell, Search& /*search*/) {
    bell = arm();
    return readable_now();
  }
  /// For one who could not send at once: a mark of what has been taken from what was sent. Once watch_taken() says that
  /// this has changed (or that all is over), another attempt is worth while.
  [[nodiscard]] virtual std::uint64_t taken_mark() { return 0; }
  [[nodiscard]] virtual bool watch_taken(Bell& /*bell*/, Search& /*search*/, std::uint64_t /*mark*/) { return true; }
  /// Could send() with a deadline in the past ever send a message of this size?
  [[nodiscard]] virtual bool fits_at_once(std::size_t /*payload_bytes*/, std::size_t /*handles*/) const { return true; }

  /// By which others open the same end. Counts as a use of it.
  [[nodiscard]] virtual Handle handle() = 0;
  /// The same, for messages: counts as nothing.
  [[nodiscard]] virtual Handle name() const = 0;
  /// What this end is called in messages.
  [[nodiscard]] virtual std::string label() const { return name().str(); }

 protected:
  Transport(bool may_send, bool may_receive) noexcept : may_send_(may_send), may_receive_(may_receive) {}

 private:
  [[noreturn]] void throw_lends_none() const {
    throw UsageError(label() + ": only the ends of a pipe lend memory; send by value, that copies it once more");
  }
  const bool may_send_;
  const bool may_receive_;
};

}  // namespace brood::inline v1::channel
