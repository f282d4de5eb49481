// QueueCore: a queue of byte strings; Queue<T> adds the types.                                     (room: channel)
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/object.hpp"
#include "brood/handle.hpp"
#include "brood/serialize.hpp"

namespace brood::inline v1 {

/// What put does when there is no room.
enum class WhenFull : std::uint8_t {
  block,        ///< wait, as long as the caller wants
  fail,         ///< put throws Full; the attempts say no at once
  drop_oldest,  ///< items at the front make room, read by nobody
  drop_newest,  ///< the item is not put
};
[[nodiscard]] std::string_view to_string(WhenFull policy) noexcept;

struct QueueOptions {
  /// Most items in the queue at a time; 0 = as many as the byte budget holds.
  std::size_t capacity = 0;
  /// Most bytes of memory that the items may take, each with 8 to 15 bytes of overhead; rounded up to a power of two.
  /// Also the limit of one message. Address space of this size is mapped; memory is taken as the queue grows.
  std::size_t byte_budget = std::size_t{256} << 20;
  WhenFull when_full = WhenFull::block;
};

namespace detail {

struct WaitAccess;  // brood/wait.hpp

/// Items to put, one after the other in one piece of memory.
struct Batch {
  struct End {
    std::size_t bytes;
    std::size_t handles;
  };
  std::span<const std::byte> bytes;
  std::span<const Handle> handles = {};
  std::span<const End> ends = {};  ///< of each item
  std::size_t each = 0;            ///< instead of `ends`: all have so many bytes, and no handles
};

/// One or more items taken from a queue. Keeps alive the shared objects whose handles are in them until it is
/// destroyed.
class Message {
 public:
  Message() = default;
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() { release_objects(); }

  [[nodiscard]] std::size_t items() const noexcept { return items_.size(); }
  [[nodiscard]] std::span<const std::byte> bytes(std::size_t item = 0) const noexcept {
    return {buffer_.get() + items_[item].begin, items_[item].size_bytes};
  }
  /// Memory in use.
  [[nodiscard]] std::size_t size_bytes() const noexcept { return size_; }
  /// Ready for the next items; keeps the memory.
  void clear() noexcept;

 private:
  friend class QueueCore;
  friend class PriorityCore;
  friend class SubscriptionCore;
  struct Item {
    std::size_t begin;
    std::size_t size_bytes;
  };
  void release_objects() noexcept;
  /// Room for one more record.
  std::byte* make_room(std::size_t size_bytes);
  /// The last `size_bytes` are a record whose first `skip` bytes are for others. Holds the objects, so that their pins may
  /// go once the record is taken.
  void add_item(std::size_t size_bytes, std::size_t skip, std::span<const std::uint64_t> objects);
  std::unique_ptr<std::byte[]> buffer_;  // not a vector: that would clear memory which is overwritten at once
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
  std::vector<Item> items_;
  std::vector<int> held_files_;
  std::vector<std::uint64_t> held_ids_;
};

/// Process-local view of one queue. Errors of all operations: QueueClosed, NoSpace, OsError.
class QueueCore {
 public:
  struct Type {
    std::uint64_t fingerprint;
    std::string name;
  };
  [[nodiscard]] static QueueCore create(const QueueOptions& options, const Type& type);
  [[nodiscard]] static QueueCore create_named(std::string_view name, const QueueOptions& options, const Type& type);
  [[nodiscard]] static QueueCore open_or_create(std::string_view name, const QueueOptions& options, const Type& type);
  [[nodiscard]] static QueueCore open(const Handle& handle, const Type& type);
  [[nodiscard]] static QueueCore open_named(std::string_view name, const Type& type);

  /// False if it was not put: there was no room until the deadline, or the policy does not wait.
  bool put(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline);
  /// How many were put, from the first one on.
  std::size_t put_many(const Batch& batch, Deadline deadline);
  /// After an unlimited put that was not done. Errors: Full if that is the policy, QueueClosed.
  void refused() const;
  /// False if nothing came until the deadline. Otherwise `into` has one item, or what was there of up to `most`: as
  /// many as about a mebibyte holds.
  bool get(Message& into, Deadline deadline) { return get_many(into, 1, deadline); }
  bool get_many(Message& into, std::size_t most, Deadline deadline);
  /// A message of exactly `into.size()` bytes, straight into place. Errors: also DecodeError if the size differs.
  bool get_raw(std::span<std::byte> into, Deadline deadline);

  [[nodiscard]] std::size_t qsize() const;
  [[nodiscard]] bool empty() const;
  [[nodiscard]] bool full() const;
  [[nodiscard]] std::size_t capacity() const;
  [[nodiscard]] std::size_t byte_budget() const;
  [[nodiscard]] WhenFull when_full() const;
  [[nodiscard]] std::uint64_t dropped() const;
  void close() noexcept { closed_ = true; }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  void shutdown(bool immediate);
  [[nodiscard]] bool is_shut_down() const;
  [[nodiscard]] Handle handle() const { return object_.handle(); }
  [[nodiscard]] std::string printed() const;

  explicit QueueCore(Object object) noexcept : object_(std::move(object)) {}
  [[nodiscard]] const Object& object() const noexcept { return object_; }
  /// Errors: QueueClosed after close().
  void check_open() const;
  [[noreturn]] void throw_closed(const char* why) const;

 private:
  struct Piece {
    std::span<const std::byte> payload;
    std::span<const Handle> handles;
  };
  template <class PieceAt>
  std::size_t put_pieces(std::size_t count, PieceAt piece_at, Deadline deadline);
  template <class Take>
  bool get_with(std::size_t most, Deadline deadline, Take take);
  void check_fits(const Piece& piece) const;

  Object object_;
  bool closed_ = false;
};

bool remove_queue(std::string_view name);

/// A Message, or an Encoder, of this thread whose memory is used again and again. Nests: a serialize member that itself
/// uses a queue gets another one.
template <class Buffer>
class Loan {
 public:
  Loan() : buffer_(take()) {}
  ~Loan() { give_back(buffer_); }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  Buffer& operator*() const noexcept { return *buffer_; }
  Buffer* operator->() const noexcept { return buffer_; }

 private:
  static Buffer* take();
  static void give_back(Buffer* buffer) noexcept;
  Buffer* buffer_;
};
using MessageLoan = Loan<Message>;
using EncoderLoan = Loan<Encoder>;
extern template class Loan<Message>;
extern template class Loan<Encoder>;

}  // namespace detail
}  // namespace brood::inline v1
