// ConnectionCore: one end of a conversation in byte strings; Connection<T> adds the types.         (room: channel)
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/chunk.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

namespace channel {
class Transport;  // lib/channel/transport.hpp
}  // namespace channel

struct PipeOptions {
  /// Both ends send and receive. Without: the first end of the pair only receives, the second only sends.
  bool duplex = true;
  /// Bytes on the way in one direction, each message with 8 to 15 bytes of overhead; rounded up to a power of two, at
  /// least 4096. Longer messages stream through. Memory of this size is taken at once, for each direction.
  std::size_t ring_bytes = std::size_t{64} << 10;
  /// Most bytes of messages that are written in place (Connection::loan) on the way in one direction; rounded up to a
  /// power of two. Address space, once the first is lent; memory is taken as it is used.
  std::size_t loan_budget = std::size_t{256} << 20;
  /// For conversations whose ends sleep at nearly every message, such as those of more processes than there are processors: a
  /// message costs some ten nanoseconds more, and a sleep no barrier over all processors any more, which is microseconds.
  bool often_asleep = false;
};

namespace detail {

/// Bytes to look at: text, or the contiguous elements of any range of plain data.
class BytesView {
 public:
  // NOLINTBEGIN(google-explicit-constructor)
  BytesView(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}
  BytesView(std::string_view text) noexcept : bytes_(std::as_bytes(std::span(text))) {}
  BytesView(const std::string& text) noexcept : BytesView(std::string_view(text)) {}
  BytesView(const char* text) noexcept : BytesView(std::string_view(text)) {}
  template <std::ranges::contiguous_range R>
  requires(std::ranges::sized_range<R>&& std::is_trivially_copyable_v<std::ranges::range_value_t<R>> &&
           !std::is_convertible_v<const R&, std::string_view> && !std::is_array_v<std::remove_cvref_t<R>>)
      BytesView(const R& range)
  noexcept : bytes_(std::as_bytes(std::span(std::ranges::data(range), std::ranges::size(range)))) {}
  // NOLINTEND(google-explicit-constructor)
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

/// One received message. Keeps alive the shared objects whose handles are in it until it is destroyed; owns the
/// descriptors that came with it and were not taken.
class Received {
 public:
  Received() = default;
  Received(const Received&) = delete;
  Received& operator=(const Received&) = delete;
  Received(Received&& other) noexcept;
  Received& operator=(Received&& other) noexcept;
  ~Received() = default;

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {buffer_.get() + begin_, size_ - begin_}; }
  /// Who takes one leaves -1.
  [[nodiscard]] std::span<int> descriptors() noexcept {
    return luggage_ ? std::span<int>(luggage_->descriptors) : std::span<int>();
  }
  [[nodiscard]] std::vector<std::byte> copy() const { return {bytes().begin(), bytes().end()}; }
  /// Memory in use.
  [[nodiscard]] std::size_t size_bytes() const noexcept { return size_; }
  /// Ready for the next message; keeps the memory.
  void clear() noexcept {
    luggage_.reset();
    size_ = 0;
    begin_ = 0;
  }

  // For transports.
  /// Room for `more` bytes behind those that are there, of a message that says it has `total`. What was announced is
  /// believed up to a mebibyte; beyond that memory grows with what has come.
  std::byte* grow(std::size_t more, std::uint64_t total);
  [[nodiscard]] std::byte* data() noexcept { return buffer_.get(); }
  /// The message proper begins behind so many bytes.
  void begin_at(std::size_t begin) noexcept { begin_ = begin; }
  /// Keeps the object of this identity, open or not. Errors: OsError.
  void keep(std::uint64_t id);
  /// The same, by a descriptor of its file that somebody else held and sent here. Owned from now on.
  void keep(std::uint64_t id, int file);
  /// A descriptor for the receiver of the message. Owned until it is taken.
  void add_descriptor(int fd);

 private:
  /// What few messages have, apart: a receiver of plain data makes and drops a Received for each.
  struct Luggage {
    Luggage() = default;
    ~Luggage();
    Luggage(const Luggage&) = delete;
    Luggage& operator=(const Luggage&) = delete;
    std::vector<int> held_files;
    std::vector<std::uint64_t> held_ids;
    std::vector<int> descriptors;
  };
  Luggage& luggage();
  std::unique_ptr<std::byte[]> buffer_;  // not a vector: that would clear memory which is overwritten at once
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
  std::size_t begin_ = 0;
  std::unique_ptr<Luggage> luggage_;
};
using SpareReceived = Spare<Received>;
extern template class Spare<Received>;

/// Where a message shall go, and what became of it.
struct Landing {
  Received& buffer;
  /// A message without handles that fits goes here instead.
  std::span<std::byte> direct = {};
  /// Longer messages are not taken.
  std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  /// One that was written in place may be read there.
  bool may_stay = false;

  std::uint64_t size_bytes = 0;  ///< of the message that came, or was too long
  bool is_direct = false;        ///< it is in `direct`, not in `buffer`
  bool too_long = false;         ///< nothing was taken
  Chunk chunk = {};              ///< it is here, behind `skip` bytes
  std::size_t skip = 0;
};

/// Process-local view of one end. What carries the bytes is behind it: shared memory (a pipe) or, for other kinds of
/// connections, something else that keeps the promises of lib/channel/transport.hpp.
///
/// Errors of all operations: ConnectionClosed, UsageError (moved from), WrongDirection, OsError.
class ConnectionCore {
 public:
  using Type = PayloadType;
  [[nodiscard]] static std::pair<ConnectionCore, ConnectionCore> make_pipe(const PipeOptions& options,
                                                                           const Type& type);
  [[nodiscard]] static ConnectionCore open(const Handle& handle, const Type& type);

  explicit ConnectionCore(std::unique_ptr<channel::Transport> transport) noexcept;
  ConnectionCore(ConnectionCore&& other) noexcept;
  ConnectionCore& operator=(ConnectionCore&& other) noexcept;
  ~ConnectionCore();

  /// False if it was not sent until the deadline; then nothing was. Errors: BrokenPipe.
  bool send(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline);
  /// With copies of open descriptors. Errors: also UsageError if it is not over a Unix socket.
  bool send_with_descriptors(std::span<const std::byte> payload, std::span<const Handle> handles,
                             std::span<const int> descriptors, Deadline deadline);
  /// A part of some bytes. Errors: UsageError if there is no such part; BrokenPipe.
  bool send_part(BytesView bytes, std::int64_t offset, std::optional<std::int64_t> size, Deadline deadline);

  /// Memory to write the next message in; empty if there was none until the deadline. Errors: BrokenPipe, NoSpace,
  /// UsageError (a connection of a kind that lends none).
  [[nodiscard]] Chunk allocate(std::size_t size_bytes, Deadline deadline);
  /// False if it was not sent; then the chunk is the caller's still. Errors: also UsageError (lent by another connection,
  /// or to the parent of this forked process).
  bool send(Chunk& chunk, std::size_t skip, std::size_t size_bytes, Deadline deadline);
  /// Waiting without limit ends with a loan or an exception.
  [[noreturn]] static void refused_loan();

  /// False if nothing came until the deadline. Errors: EndOfFile, BrokenMessage, DecodeError.
  bool receive(Received& into, Deadline deadline);
  /// The bytes are in `into`, or in `chunk`. Nothing if nothing came.
  std::optional<std::span<const std::byte>> receive_in_place(Received& into, Chunk& chunk, Deadline deadline);
  /// A message of exactly `into.size()` bytes, straight into place. Errors: also DecodeError if the size differs.
  bool receive_raw(std::span<std::byte> into, Deadline deadline);
  /// Nothing if nothing came. Errors: also UsageError (negative), MessageTooLong.
  std::optional<std::vector<std::byte>> receive_bytes(std::optional<std::int64_t> most, Deadline deadline);
  /// How many bytes came. Errors: also UsageError (no such offset), BufferTooShort.
  std::optional<std::size_t> receive_into(std::span<std::byte> buffer, std::int64_t offset, Deadline deadline);
  [[nodiscard]] bool poll(Deadline deadline);

  /// For who waits for several at once (lib/channel/transport.hpp): its bell and its readable_now().
  [[nodiscard]] channel::Transport& transport() const { return for_receiving(); }
  [[nodiscard]] channel::Transport& sending_transport() const { return for_sending(); }
  /// For who will not sleep: a message that is longer than the room there can be must be streamed.
  /// Errors: NoSpace.
  void check_fits_at_once(std::size_t payload_bytes, std::size_t handles) const;

  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept { return state_ == State::closed; }
  [[nodiscard]] bool readable() const;
  [[nodiscard]] bool writable() const;
  [[nodiscard]] Handle handle() const;
  [[nodiscard]] std::string printed() const;

 private:
  enum class State : std::uint8_t { open, closed, moved_from };
  [[nodiscard]] channel::Transport& usable() const {
    if (state_ != State::open) [[unlikely]]
      throw_unusable();
    return *transport_;
  }
  [[nodiscard]] channel::Transport& for_sending() const {
    if (!may_send_) [[unlikely]]
      throw_not_for_sending();
    return *transport_;
  }
  [[nodiscard]] channel::Transport& for_receiving() const {
    if (!may_receive_) [[unlikely]]
      throw_not_for_receiving();
    return *transport_;
  }
  [[noreturn]] void throw_unusable() const;
  [[noreturn]] void throw_not_for_sending() const;
  [[noreturn]] void throw_not_for_receiving() const;
  void become(State state) noexcept;
  [[nodiscard]] std::string name() const;

  std::unique_ptr<channel::Transport> transport_;
  State state_ = State::open;
  bool may_send_ = false;     ///< open, and this end sends
  bool may_receive_ = false;  ///< open, this end receives, and no message was too long
  std::string closed_name_;
};

}  // namespace detail
}  // namespace brood::inline v1
