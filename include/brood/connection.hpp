// Connection and pipe(): two ends of a conversation between processes.                           (room: channel)
//
// Complete examples: examples/08_pipe.cpp, examples/09_copied_ends.cpp
#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <ostream>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/codec.hpp"
#include "brood/detail/connection_core.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"
#include "brood/loan.hpp"

namespace brood::inline v1 {
namespace detail {
struct ConnectionMaker;
}  // namespace detail

/// One end of a conversation in messages of T, and in plain bytes. T is any type that travels (brood/serialize.hpp):
/// values are copied, shared objects in them are reopened by the receiver.
///
/// send() returns when the message is in shared memory; a long one streams through while the receiver takes it. What is
/// sent through one end comes out of the other in order, whole, once.
///
/// An end is *held* by every process that got it as an argument, opened its handle, received it in a message, or used a
/// copy that fork made; a forked child that does not touch its copy does not hold it. Copies of an end are equal: whole
/// messages of several senders interleave, each message goes to one of several receivers. When the last holder of an end
/// has closed it or died, the other end reads what is left, then end-of-file. An end that lies in a message, of a queue
/// or of another pipe, counts as held. A handle that is written out as text does not.
///
///   state                     send()                 recv()                              poll()
///   other end held            sent, or waits         a message, or waits                 is there a message?
///   other end gone            BrokenPipe             what is left, then EndOfFile,       true
///                                                    always
///   sender killed inside      next sender goes on    BrokenMessage, once; then goes on   true
///   this object closed        ConnectionClosed       ConnectionClosed                    ConnectionClosed
///
/// What follows is about pipes. Connections over sockets are made by brood/listener.hpp, which says what differs.
///
/// Wrong ways of a one-way pipe throw WrongDirection. After MessageTooLong an object sends, but reads no more.
///
/// Shape:      two segments for each pipe, of 8 KiB and the ring of each direction (PipeOptions); two mappings and no
///             descriptor for each object.
/// Threads:    safe, but not closing, moving and destroying while others use the object. Several threads that send (or
///             receive) by turns pay for a lock; one alone does not.
/// Processes:  safe, through the handle.
/// Crash:      a message is received wholly, once, or not at all. Whoever is killed while it sends has sent or not; while it
///             receives, it has taken the message or left it to other holders, except one of several fragments (16 KiB),
///             whose beginning it had: that one is dropped. Nobody else waits for the dead.
/// Lifetime:   a pipe is freed, with what is in it, when nobody has either end. A shared object whose handle lies in the
///             pipe lives as long as the message does.
/// Source:     Python multiprocessing.connection.Connection; lib/channel/README.md has the layout.
template <class T>
class Connection : public detail::LoanForms<Connection<T>, T> {
 public:
  using value_type = T;

  /// The same end once more, in this process or another. Errors: HandleError (malformed, stale, or this end has ended),
  /// TypeMismatch (another kind, payload or layout), PermissionDenied, OsError.
  [[nodiscard]] static Connection open(const Handle& handle) {
    return Connection(detail::ConnectionCore::open(handle, type()));
  }

  /// Send one message; sleep while there is no room. The attempts say whether it was sent; if not, the other end will
  /// not see any of it.
  /// Errors: BrokenPipe (nobody has the other end; a killed holder counts until its death is known, about a
  ///         millisecond), ConnectionClosed, WrongDirection; what encoding the value throws — then nothing was sent.
  void send(const T& value) { (void)send_before(value, Deadline::never()); }
  /// A message that is longer than the room there is will not be begun.
  [[nodiscard]] bool try_send(const T& value) { return send_before(value, Deadline::now()); }
  /// Units: any chrono duration; it bounds the whole call; zero or less means one attempt.
  template <class Rep, class Period>
  [[nodiscard]] bool try_send_for(const T& value, std::chrono::duration<Rep, Period> timeout) {
    return send_before(value, Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_send_until(const T& value, std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return send_before(value, deadline); });
  }
  bool send_before(const T& value, Deadline deadline) {
    if constexpr (kRaw) {
      std::array<std::byte, sizeof(T)> bytes;
      detail::store_raw(bytes.data(), value);
      return core_.send(bytes, {}, deadline);
    } else {
      const detail::SpareEncoder encoder;
      encoder->carry_descriptors();
      detail::encode(*encoder, value);
      if (!encoder->descriptors().empty()) [[unlikely]]
        return core_.send_with_descriptors(encoder->bytes(), encoder->handles(), encoder->descriptors(), deadline);
      return core_.send(encoder->bytes(), encoder->handles(), deadline);
    }
  }

  /// Receive one message; sleep until there is one. The attempts return nothing if none came; the beginning of a long
  /// one that did not come in time is kept, and the next call goes on.
  /// Errors: EndOfFile, every time (the first may be ConnectionReset); BrokenMessage; ConnectionClosed, WrongDirection;
  ///         DecodeError, or what opening a shared object in the message throws — then the message is gone.
  [[nodiscard]] T recv() {
    if constexpr (detail::kMayBeFilled<T>) return recv_filled();
    else return *recv_before(Deadline::never());
  }
  [[nodiscard]] std::optional<T> try_recv() { return recv_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<T> try_recv_for(std::chrono::duration<Rep, Period> timeout) {
    return recv_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] std::optional<T> try_recv_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return recv_before(deadline); });
  }
  [[nodiscard]] std::optional<T> recv_before(Deadline deadline) {
    if constexpr (detail::kMayBeFilled<T>) {
      T value;
      if (!core_.receive_raw(detail::bytes_to_fill(value), deadline)) return std::nullopt;
      check_raw(detail::bytes_to_fill(value).data());
      return value;
    } else if constexpr (kRaw) {
      std::array<std::byte, sizeof(T)> bytes;
      if (!core_.receive_raw(bytes, deadline)) return std::nullopt;
      check_raw(bytes.data());
      return detail::load_raw<T>(bytes.data());
    } else {
      const detail::SpareReceived message;
      if (!core_.receive(*message, deadline)) return std::nullopt;
      Decoder decoder(message->bytes(), message->descriptors());
      T value = detail::decode<T>(decoder);
      decoder.finish();
      return value;
    }
  }

  /// Zero copy, for the ends of a pipe: loan() lends memory of the pipe (brood/loan.hpp), send() takes it back as the next
  /// message; recv_view() receives a message and leaves it where it is. Both may be mixed with send() and recv() of values.
  /// Errors: as send() of a value; NoSpace (more than PipeOptions::loan_budget, or memory cannot be had); UsageError (a
  ///         loan that was sent already, of another connection, or of the parent process; a socket, which lends nothing).
  ///         After an attempt that failed the loan is still there.
  template <std::same_as<Loan<T>> L>
  void send(L&& loan) {
    (void)send_before(loan, Deadline::never());
  }
  template <std::same_as<Loan<T>> L>
  [[nodiscard]] bool try_send(L&& loan) {
    return send_before(loan, Deadline::now());
  }
  bool send_before(Loan<T>& loan, Deadline deadline) {
    return loan.put_by([&](detail::Chunk& chunk, std::size_t skip, std::size_t size) {
      return core_.send(chunk, skip, size, deadline);
    });
  }
  /// Errors: as recv().
  [[nodiscard]] View<T> recv_view() { return *view_before(Deadline::never()); }
  [[nodiscard]] std::optional<View<T>> try_recv_view() { return view_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<View<T>> try_recv_view_for(std::chrono::duration<Rep, Period> timeout) {
    return view_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] std::optional<View<T>> try_recv_view_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return view_before(deadline); });
  }
  [[nodiscard]] std::optional<View<T>> view_before(Deadline deadline) {
    const detail::SpareReceived message;
    detail::Chunk chunk;
    const auto bytes = core_.receive_in_place(*message, chunk, deadline);
    if (!bytes) return std::nullopt;
    return View<T>(*bytes, std::move(chunk));
  }

  /// Send bytes as one message, possibly an empty one: text, or any contiguous range of plain data, or `size` bytes of
  /// them from `offset` on.
  /// Errors: as send(); UsageError if there is no such part.
  void send_bytes(detail::BytesView bytes, std::int64_t offset = 0, std::optional<std::int64_t> size = {}) {
    (void)core_.send_part(bytes, offset, size, Deadline::never());
  }
  [[nodiscard]] bool try_send_bytes(detail::BytesView bytes) { return core_.send_part(bytes, 0, {}, Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] bool try_send_bytes_for(detail::BytesView bytes, std::chrono::duration<Rep, Period> timeout) {
    return core_.send_part(bytes, 0, {}, Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_send_bytes_until(detail::BytesView bytes, std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return core_.send_part(bytes, 0, {}, deadline); });
  }

  /// Receive one message as bytes, however it was sent.
  /// Errors: as recv(); UsageError (a negative limit); MessageTooLong if it has more than `most` bytes: then it stays
  ///         where it is, and this object reads no more (one that cannot send either is closed).
  [[nodiscard]] std::vector<std::byte> recv_bytes(std::optional<std::int64_t> most = {}) {
    return *core_.receive_bytes(most, Deadline::never());
  }
  [[nodiscard]] std::optional<std::vector<std::byte>> try_recv_bytes(std::optional<std::int64_t> most = {}) {
    return core_.receive_bytes(most, Deadline::now());
  }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<std::vector<std::byte>> try_recv_bytes_for(std::chrono::duration<Rep, Period> timeout,
                                                                         std::optional<std::int64_t> most = {}) {
    return core_.receive_bytes(most, Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] std::optional<std::vector<std::byte>> try_recv_bytes_until(
      std::chrono::time_point<Clock, Duration> when, std::optional<std::int64_t> most = {}) {
    return detail::attempt_until(when, [&](Deadline deadline) { return core_.receive_bytes(most, deadline); });
  }

  /// Receive one message into a contiguous range of plain data, from byte `offset` on; returns how many bytes came. If
  /// none came in time, what lies behind `offset` may have been overwritten.
  /// Errors: as recv(); UsageError (no such offset); BufferTooShort: the message is in the exception, the buffer as it
  ///         was.
  template <std::ranges::contiguous_range R>
  [[nodiscard]] std::size_t recv_bytes_into(R&& buffer, std::int64_t offset = 0) {
    return *core_.receive_into(writable_bytes(buffer), offset, Deadline::never());
  }
  template <std::ranges::contiguous_range R>
  [[nodiscard]] std::optional<std::size_t> try_recv_bytes_into(R&& buffer, std::int64_t offset = 0) {
    return core_.receive_into(writable_bytes(buffer), offset, Deadline::now());
  }
  template <std::ranges::contiguous_range R, class Rep, class Period>
  [[nodiscard]] std::optional<std::size_t> try_recv_bytes_into_for(R&& buffer,
                                                                   std::chrono::duration<Rep, Period> timeout,
                                                                   std::int64_t offset = 0) {
    return core_.receive_into(writable_bytes(buffer), offset, Deadline::after(timeout));
  }
  template <std::ranges::contiguous_range R, class Clock, class Duration>
  [[nodiscard]] std::optional<std::size_t> try_recv_bytes_into_until(R&& buffer,
                                                                     std::chrono::time_point<Clock, Duration> when,
                                                                     std::int64_t offset = 0) {
    return detail::attempt_until(
        when, [&](Deadline deadline) { return core_.receive_into(writable_bytes(buffer), offset, deadline); });
  }

  /// True if a receive would have something to say: a message (its beginning, if it is a long one), end-of-file, or a
  /// broken message. Takes nothing.
  /// Errors: ConnectionClosed, WrongDirection.
  [[nodiscard]] bool poll() { return core_.poll(Deadline::now()); }
  /// The same, but sleeps until it is true or the time is over.
  template <class Rep, class Period>
  [[nodiscard]] bool poll_for(std::chrono::duration<Rep, Period> timeout) {
    return core_.poll(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool poll_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return core_.poll(deadline); });
  }

  /// This object will neither send nor receive again; other copies of the end go on. May be called again.
  void close() noexcept { core_.close(); }
  [[nodiscard]] bool closed() const noexcept { return core_.closed(); }
  /// Errors: ConnectionClosed.
  [[nodiscard]] bool readable() const { return core_.readable(); }
  [[nodiscard]] bool writable() const { return core_.writable(); }

  /// The text by which any process opens this end. Asking for it is a use: a forked child holds the end from then on.
  /// Errors: ConnectionClosed.
  [[nodiscard]] Handle handle() const { return core_.handle(); }
  /// `<Connection brood:connection:9f3c2a7b11d00e42 duplex>`; or reader, writer, closed.
  friend std::ostream& operator<<(std::ostream& out, const Connection& connection) {
    return out << connection.core_.printed();
  }

 private:
  friend class detail::LoanForms<Connection<T>, T>;
  [[nodiscard]] detail::ConnectionCore& loan_core() noexcept { return core_; }
  friend struct detail::WaitAccess;
  template <class U>
  friend std::pair<Connection<U>, Connection<U>> pipe(const PipeOptions& options);
  friend struct detail::ConnectionMaker;

  /// For who will not sleep. False if there is no room now. Errors: as send(); NoSpace if there never will be.
  bool send_at_once(const T& value) {
    if (send_before(value, Deadline::now())) return true;
    const detail::SpareEncoder encoder;
    detail::encode(*encoder, value);
    core_.check_fits_at_once(encoder->bytes().size(), encoder->handles().size());
    return false;
  }

  explicit Connection(detail::ConnectionCore core) noexcept : core_(std::move(core)) {}

  /// Plain data is copied straight between T and the ring.
  /// recv() that copies once, from the ring to where the value shall be.
  [[nodiscard]] T recv_filled() requires detail::kMayBeFilled<T> {
    T value;
    (void)core_.receive_raw(detail::bytes_to_fill(value), Deadline::never());
    check_raw(detail::bytes_to_fill(value).data());
    return value;
  }
  /// Errors: DecodeError.
  void check_raw(const std::byte* bytes) const {
    if (!detail::raw_bytes_are_valid<T>(bytes))
      throw DecodeError(core_.printed() + ": received bytes that are no " + type().name());
  }

  static constexpr bool kRaw = detail::raw_layout<T> && !std::is_empty_v<T>;

  [[nodiscard]] static constexpr const detail::ConnectionCore::Type& type() noexcept { return detail::kPayloadType<T>; }
  template <class R>
  [[nodiscard]] static std::span<std::byte> writable_bytes(R& buffer) {
    static_assert(std::is_trivially_copyable_v<std::ranges::range_value_t<R>>,
                  "brood: bytes can only be received into plain data");
    return std::as_writable_bytes(std::span(std::ranges::data(buffer), std::ranges::size(buffer)));
  }

  detail::ConnectionCore core_;
};

/// Two connected ends. With `duplex` (the default) both send and receive; else the first only receives and the second
/// only sends.
/// Errors: UsageError (options), NoSpace, PermissionDenied, OsError.
/// Source: Python multiprocessing.Pipe.
template <class T>
[[nodiscard]] std::pair<Connection<T>, Connection<T>> pipe(const PipeOptions& options) {
  auto [one, other] = detail::ConnectionCore::make_pipe(options, Connection<T>::type());
  return {Connection<T>(std::move(one)), Connection<T>(std::move(other))};
}
template <class T>
[[nodiscard]] std::pair<Connection<T>, Connection<T>> pipe(bool duplex = true) {
  return pipe<T>(PipeOptions{.duplex = duplex});
}

namespace detail {

/// For the rooms that make connections of other kinds.
struct ConnectionMaker {
  template <class T>
  [[nodiscard]] static Connection<T> make(ConnectionCore core) {
    return Connection<T>(std::move(core));
  }
  template <class T>
  [[nodiscard]] static const ConnectionCore::Type& type() {
    return Connection<T>::type();
  }
};

}  // namespace detail
}  // namespace brood::inline v1
