// PriorityQueue: what is most urgent comes out first.                                             (room: channel)
//
// Complete example: examples/06_priority_queue.cpp
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string_view>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/priority_core.hpp"
#include "brood/detail/queue_forms.hpp"
#include "brood/detail/queue_items.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

/// An item and the priority it was put with.
template <class T>
struct Prioritised {
  std::int64_t priority = 0;
  T item{};
};

/// A queue of T from which the item with the lowest priority number is taken first; among equals, the one that was put first.
///
/// The order is that of a number beside the item, not of the items: it costs no decoding under the lock, and needs no
/// comparison that every process would have to agree on.
///
/// Capacity:   in items (0 = as many as the bytes hold, at most 16777216) and in bytes (PriorityQueueOptions).
/// Cost:       put and get grow with the logarithm of the number of items; one lock for both sides.
/// Shape:      one segment: 8 KiB, then 68 bytes for each item and its bytes in blocks of 64; no descriptor. Address space
///             of 1.1 GiB and the byte budget.
/// Threads:    safe.     Processes: safe, through the handle.
/// Crash:      killed inside put or get, the item is wholly in or wholly out. Whoever comes next after a killing inside puts
///             the order together again, which takes a second for some millions of items. What a killed consumer had
///             taken is gone with it.
/// Lifetime:   as of a Queue, also for shared objects in items.
/// Forms:      get, try_…, …_for, …_until, range-for: detail/queue_forms.hpp.
/// Source:     Python queue.PriorityQueue; binary heap: J. Williams, CACM 7 (1964).
template <class T>
class PriorityQueue : public detail::GetForms<PriorityQueue<T>, T> {
 public:
  using value_type = T;

  /// Errors: UsageError (limits out of range), NoSpace, PermissionDenied, OsError.
  explicit PriorityQueue(std::size_t capacity = 0) : PriorityQueue(PriorityQueueOptions{.capacity = capacity}) {}
  explicit PriorityQueue(const PriorityQueueOptions& options) : core_(detail::PriorityCore::create(options, type())) {}
  /// With a name. Errors: also AlreadyExists, UsageError (a bad name).
  [[nodiscard]] static PriorityQueue create(std::string_view name, const PriorityQueueOptions& options = {}) {
    return PriorityQueue(detail::PriorityCore::create_named(name, options, type()));
  }
  /// An existing queue keeps its own options. Errors: TypeMismatch if it holds another type.
  [[nodiscard]] static PriorityQueue open_or_create(std::string_view name, const PriorityQueueOptions& options = {}) {
    return PriorityQueue(detail::PriorityCore::open_or_create(name, options, type()));
  }
  /// Errors: HandleError (malformed, stale), TypeMismatch (another kind, payload or layout), PermissionDenied, OsError.
  [[nodiscard]] static PriorityQueue open(const Handle& handle) {
    return PriorityQueue(detail::PriorityCore::open(handle, type()));
  }
  [[nodiscard]] static PriorityQueue open_named(std::string_view name) {
    return PriorityQueue(detail::PriorityCore::open_named(name, type()));
  }
  /// Takes the name away; who has the queue open keeps it, but can pass it on no more. False if there was none.
  static bool remove(std::string_view name) { return detail::remove_priority_queue(name); }

  /// Put one item; sleep while the queue is full. The attempts return whether the item is in.
  /// Errors: QueueClosed (closed here, or shut down); NoSpace (the item can never fit, or memory cannot be had);
  ///         what encoding the item throws — then nothing was put.
  void put(const T& item, std::int64_t priority = 0) { (void)put_before(item, priority, Deadline::never()); }
  [[nodiscard]] bool try_put(const T& item, std::int64_t priority = 0) {
    return put_before(item, priority, Deadline::now());
  }
  template <class Rep, class Period>
  [[nodiscard]] bool try_put_for(const T& item, std::int64_t priority, std::chrono::duration<Rep, Period> timeout) {
    return put_before(item, priority, Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_put_until(const T& item, std::int64_t priority,
                                   std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return put_before(item, priority, deadline); });
  }
  /// As Python's put_nowait. Errors: Full.
  void put_nowait(const T& item, std::int64_t priority = 0) {
    if (!try_put(item, priority)) throw Full(handle().str() + ": the queue is full");
  }
  bool put_before(const T& item, std::int64_t priority, Deadline deadline) {
    if constexpr (detail::Items<T>::kRaw) {
      std::array<std::byte, sizeof(T)> bytes;
      detail::store_raw(bytes.data(), item);
      return core_.put(bytes, {}, priority, deadline);
    } else {
      const detail::SpareEncoder encoder;
      detail::encode(*encoder, item);
      return core_.put(encoder->bytes(), encoder->handles(), priority, deadline);
    }
  }

  /// The same with the item's priority. Errors: as get().
  [[nodiscard]] std::optional<Prioritised<T>> get_with_priority_before(Deadline deadline) {
    const detail::SpareMessage message;
    std::int64_t priority = 0;
    if (!core_.get(*message, priority, deadline)) return std::nullopt;
    return Prioritised<T>{priority, detail::Items<T>::decode(handle(), message->bytes())};
  }
  [[nodiscard]] Prioritised<T> get_with_priority() { return *get_with_priority_before(Deadline::never()); }
  /// One attempt to take, with the deadline of a whole call; the forms are made of it.
  [[nodiscard]] std::optional<T> get_before(Deadline deadline) {
    auto taken = get_with_priority_before(deadline);
    if (!taken) return std::nullopt;
    return std::move(taken->item);
  }

  /// Items in the queue: exact when nobody is putting or taking, else as of some instant of the call.
  [[nodiscard]] std::size_t qsize() const { return core_.qsize(); }
  [[nodiscard]] bool empty() const { return qsize() == 0; }
  /// There are `capacity` items.
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

  [[nodiscard]] Handle handle() const { return core_.handle(); }
  friend std::ostream& operator<<(std::ostream& out, const PriorityQueue& queue) {
    return out << queue.core_.printed();
  }

 private:
  friend struct detail::WaitAccess;
  explicit PriorityQueue(detail::PriorityCore core) noexcept : core_(std::move(core)) {}
  [[nodiscard]] static const detail::QueueCore::Type& type() { return detail::Items<T>::type(); }

  detail::PriorityCore core_;
};

}  // namespace brood::inline v1
