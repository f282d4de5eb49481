// Queue: a typed first-in-first-out channel between any number of processes.                      (room: channel)
//
// Complete example: examples/03_queue.cpp
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <ostream>
#include <string_view>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/codec.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

/// A queue of T in shared memory: several producers, several consumers. T is any type that travels
/// (brood/serialize.hpp): values are copied, shared objects in them are reopened by the receiver.
///
/// put() returns when the item is in the segment: there is no hidden thread, and its producer may end at once. Items of
/// one producer stay in order.
///
/// Capacity:   in items (0 = as many as the bytes hold, at most 134217727) and in bytes (QueueOptions). The memory
///             grows with what is in it, by doubling, and is kept until the queue goes.
/// Shape:      one segment: 4 KiB, the ring (64 KiB at first), and the byte budget as address space; no descriptor.
/// Threads:    safe.     Processes: safe, through the handle.
/// Crash:      a producer killed inside put has put its item wholly or not at all; a consumer killed inside get has
///             taken it or left it to others. What a killed consumer had taken is gone with it. Nobody else waits for
///             the dead.
/// Lifetime:   an unnamed queue is freed, with what is in it, with its last user; a named one lives until remove().
///             A shared object whose handle lies in the queue lives as long as the message does.
/// Source:     Python multiprocessing.Queue, and queue.Queue.shutdown of 3.13; ring with in-band commit:
///             lib/channel/README.md.
template <class T>
class Queue {
 public:
  using value_type = T;

  /// Errors: UsageError (limits out of range), NoSpace, PermissionDenied, OsError.
  explicit Queue(std::size_t capacity = 0) : Queue(QueueOptions{.capacity = capacity}) {}
  explicit Queue(const QueueOptions& options) : core_(detail::QueueCore::create(options, type())) {}
  /// With a name. Errors: also AlreadyExists, UsageError (a bad name).
  [[nodiscard]] static Queue create(std::string_view name, const QueueOptions& options = {}) {
    return Queue(detail::QueueCore::create_named(name, options, type()));
  }
  /// An existing queue keeps its own options. Errors: TypeMismatch if it holds another type.
  [[nodiscard]] static Queue open_or_create(std::string_view name, const QueueOptions& options = {}) {
    return Queue(detail::QueueCore::open_or_create(name, options, type()));
  }
  /// Errors: HandleError (malformed, stale), TypeMismatch (another kind, payload or layout), PermissionDenied, OsError.
  [[nodiscard]] static Queue open(const Handle& handle) { return Queue(detail::QueueCore::open(handle, type())); }
  [[nodiscard]] static Queue open_named(std::string_view name) {
    return Queue(detail::QueueCore::open_named(name, type()));
  }
  /// Takes the name away; who has the queue open keeps it. False if there was none.
  static bool remove(std::string_view name) { return detail::remove_queue(name); }

  /// Put one item at the end; sleep while the queue is full.
  /// Errors: QueueClosed (closed here, or shut down); NoSpace (the item can never fit, or memory cannot be had);
  ///         what encoding the item throws — then nothing was put.
  void put(const T& item) { (void)put_before(item, Deadline::never()); }
  [[nodiscard]] bool try_put(const T& item) { return put_before(item, Deadline::now()); }
  /// Units: any chrono duration; it bounds the whole call; zero or less means one attempt.
  template <class Rep, class Period>
  [[nodiscard]] bool try_put_for(const T& item, std::chrono::duration<Rep, Period> timeout) {
    return put_before(item, Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_put_until(const T& item, std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return put_before(item, deadline); });
  }
  /// As Python's put_nowait. Errors: Full.
  void put_nowait(const T& item) {
    if (!try_put(item)) throw Full(handle().str() + ": the queue is full");
  }
  bool put_before(const T& item, Deadline deadline) {
    if constexpr (kRaw) {
      std::array<std::byte, sizeof(T)> bytes;
      detail::store_raw(bytes.data(), item);
      return core_.put(bytes, {}, deadline);
    } else {
      const detail::EncoderLoan encoder;
      detail::encode(*encoder, item);
      return core_.put(encoder->bytes(), encoder->handles(), deadline);
    }
  }

  /// Take the oldest item; sleep while the queue is empty.
  /// Errors: QueueClosed (closed here; shut down and empty); DecodeError, or what opening a shared object in the item
  ///         throws — then the item is gone.
  [[nodiscard]] T get() { return *get_before(Deadline::never()); }
  [[nodiscard]] std::optional<T> try_get() { return get_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<T> try_get_for(std::chrono::duration<Rep, Period> timeout) {
    return get_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] std::optional<T> try_get_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return get_before(deadline); });
  }
  /// As Python's get_nowait. Errors: Empty.
  [[nodiscard]] T get_nowait() {
    if (auto item = try_get()) return *std::move(item);
    throw Empty(handle().str() + ": the queue is empty");
  }
  [[nodiscard]] std::optional<T> get_before(Deadline deadline) {
    if constexpr (kRaw) {
      std::array<std::byte, sizeof(T)> bytes;
      if (!core_.get_raw(bytes, deadline)) return std::nullopt;
      if (!detail::raw_bytes_are_valid<T>(bytes.data()))
        throw DecodeError(handle().str() + ": took bytes that are no " + type().name);
      return detail::load_raw<T>(bytes.data());
    } else {
      const detail::MessageLoan message;
      if (!core_.get(*message, deadline)) return std::nullopt;
      Decoder decoder(message->bytes());
      std::optional<T> item(detail::decode<T>(decoder));
      decoder.finish();
      return item;
    }
  }

  /// Items in the queue: exact when nobody is putting or taking, else as of some instant of the call.
  [[nodiscard]] std::size_t qsize() const { return core_.qsize(); }
  [[nodiscard]] bool empty() const { return core_.empty(); }
  [[nodiscard]] bool full() const { return core_.full(); }
  /// Most items; 0 = unlimited.
  [[nodiscard]] std::size_t capacity() const { return core_.capacity(); }
  [[nodiscard]] std::size_t byte_budget() const { return core_.byte_budget(); }

  /// This object will neither put nor take again; the queue goes on for everybody else. May be called again.
  void close() noexcept { core_.close(); }
  [[nodiscard]] bool closed() const noexcept { return core_.closed(); }
  /// End the queue for everybody: puts fail from now on; takers get what is left and then QueueClosed. With
  /// `immediate`, what is left is discarded. Everybody who sleeps in the queue wakes.
  void shutdown(bool immediate = false) { core_.shutdown(immediate); }
  [[nodiscard]] bool is_shut_down() const { return core_.is_shut_down(); }

  /// `for (T item : queue)` takes items until the queue is shut down and empty.
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = T*;
    using reference = T&;
    explicit iterator(Queue* queue) : queue_(queue) { ++*this; }
    [[nodiscard]] T& operator*() const { return *item_; }
    iterator& operator++() {
      item_ = queue_->get_unless_over();
      return *this;
    }
    void operator++(int) { ++*this; }
    [[nodiscard]] bool operator==(std::default_sentinel_t /*end*/) const { return !item_.has_value(); }

   private:
    Queue* queue_;
    mutable std::optional<T> item_;
  };
  [[nodiscard]] iterator begin() { return iterator(this); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  [[nodiscard]] Handle handle() const { return core_.handle(); }
  friend std::ostream& operator<<(std::ostream& out, const Queue& queue) { return out << queue.core_.printed(); }

 private:
  explicit Queue(detail::QueueCore core) noexcept : core_(std::move(core)) {}

  /// Plain data is copied straight between T and the ring.
  static constexpr bool kRaw = detail::raw_layout<T> && !std::is_empty_v<T>;

  [[nodiscard]] static const detail::QueueCore::Type& type() {
    static const detail::QueueCore::Type it{detail::type_fingerprint<T>(), detail::type_name<T>()};
    return it;
  }
  /// Nothing once the queue was shut down and is empty.
  [[nodiscard]] std::optional<T> get_unless_over() {
    try {
      return get_before(Deadline::never());
    } catch (const QueueClosed&) {
      if (core_.closed()) throw;
      return std::nullopt;
    }
  }

  detail::QueueCore core_;
};

}  // namespace brood::inline v1
