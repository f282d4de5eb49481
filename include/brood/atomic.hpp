// Atomic: a lock-free number or flag that any process changes and waits for.                       (room: shared)
//
// Complete example: examples/34_atomic_counter.cpp
#pragma once

#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <memory>
#include <ostream>
#include <string_view>
#include <type_traits>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/atomic_core.hpp"
#include "brood/detail/codec.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

namespace detail {
template <class T>
inline constexpr bool kFitsAtomic = raw_layout<T>&& padding_free<T> && sizeof(T) <= AtomicCore::kMostBytes;
template <class T>
constexpr bool is_lock_free() noexcept {
  if constexpr (kFitsAtomic<T>)
    return std::atomic<T>::is_always_lock_free && std::atomic_ref<T>::required_alignment <= AtomicCore::kMostBytes;
  else return true;  // refused for another reason
}
}  // namespace detail

/// std::atomic<T> in shared memory: T is a number, a bool, an enum, or plain data without padding of up to 8 bytes.
///
/// Every operation is one instruction of the processor: no lock, so there is no owner that could die, and no process ever
/// waits for another one but in wait(). The default order is sequentially consistent, as in std.
///
/// Shape:      one 4 KiB segment: the value, and beside it a word on which waiters sleep.
/// Threads:    safe.     Processes: safe, through the handle.
/// Cost:       load() as std::atomic; changes take one call and two loads more.
/// Crash:      an operation is done or not. A process killed after a change and before notify_…() wakes all waiters by its
///             death; one killed in wait() leaves nothing behind, and a notification that it swallowed reaches the others.
/// Source:     std::atomic; none in Python, where a Value and its lock take its place.
template <class T>
class Atomic {
  static_assert(detail::kFitsAtomic<T>,
                "brood: Atomic<T> holds plain data of up to 8 bytes without pointers and padding; take a Value");
  static_assert(detail::is_lock_free<T>(),
                "brood: Atomic<T> is for types that the processor changes without a lock; take a Value");
  static constexpr bool kCounts = std::integral<T> && !std::same_as<T, bool>;
  static constexpr bool kAdds = kCounts || std::floating_point<T>;
  using Order = std::memory_order;

 public:
  using value_type = T;

  /// Errors: NoSpace, PermissionDenied, OsError.
  explicit Atomic(T initial = T{}) : core_(detail::AtomicCore::create(kType, &initial, sizeof(T))) {}
  [[nodiscard]] static Atomic create(std::string_view name, T initial = T{}) {
    return Atomic(detail::AtomicCore::create_named(name, kType, &initial, sizeof(T)));
  }
  /// An existing one keeps its value. Errors: TypeMismatch if it holds another type.
  [[nodiscard]] static Atomic open_or_create(std::string_view name, T initial = T{}) {
    return Atomic(detail::AtomicCore::open_or_create(name, kType, &initial, sizeof(T)));
  }
  [[nodiscard]] static Atomic open(const Handle& handle) { return Atomic(detail::AtomicCore::open(handle, kType)); }
  [[nodiscard]] static Atomic open_named(std::string_view name) {
    return Atomic(detail::AtomicCore::open_named(name, kType));
  }
  static bool remove(std::string_view name) { return detail::remove_atomic(name); }

  [[nodiscard]] T load(Order order = Order::seq_cst) const { return read().load(order); }
  void store(T value, Order order = Order::seq_cst) { write().store(value, order); }
  /// Returns what was there.
  T exchange(T value, Order order = Order::seq_cst) { return write().exchange(value, order); }
  /// If it is `expected`, makes it `desired` and returns true; else `expected` becomes what is there.
  [[nodiscard]] bool compare_exchange_strong(T& expected, T desired, Order order = Order::seq_cst) {
    return write().compare_exchange_strong(expected, desired, order);
  }
  [[nodiscard]] bool compare_exchange_strong(T& expected, T desired, Order success, Order failure) {
    return write().compare_exchange_strong(expected, desired, success, failure);
  }
  /// The same; may fail for no reason. For loops.
  [[nodiscard]] bool compare_exchange_weak(T& expected, T desired, Order order = Order::seq_cst) {
    return write().compare_exchange_weak(expected, desired, order);
  }
  [[nodiscard]] bool compare_exchange_weak(T& expected, T desired, Order success, Order failure) {
    return write().compare_exchange_weak(expected, desired, success, failure);
  }
  /// These return what was there before. Integers wrap around.
  T fetch_add(T by, Order order = Order::seq_cst) requires kAdds { return write().fetch_add(by, order); }
  T fetch_sub(T by, Order order = Order::seq_cst) requires kAdds { return write().fetch_sub(by, order); }
  T fetch_and(T mask, Order order = Order::seq_cst) requires kCounts { return write().fetch_and(mask, order); }
  T fetch_or(T mask, Order order = Order::seq_cst) requires kCounts { return write().fetch_or(mask, order); }
  T fetch_xor(T mask, Order order = Order::seq_cst) requires kCounts { return write().fetch_xor(mask, order); }
  /// The new value.
  T operator++() requires kCounts { return static_cast<T>(fetch_add(1) + 1); }
  T operator--() requires kCounts { return static_cast<T>(fetch_sub(1) - 1); }

  /// Sleep until the value is another than `old`. As with std::atomic, whoever changes it calls notify_…() afterwards.
  void wait(T old) const { (void)wait_before(old, Deadline::never()); }
  /// True if it is another value, false after the timeout. Zero and negative timeouts poll.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(T old, std::chrono::duration<Rep, Period> timeout) const {
    return wait_before(old, Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool wait_until(T old, std::chrono::time_point<Clock, Duration> when) const {
    return detail::attempt_until(when, [&](Deadline deadline) { return wait_before(old, deadline); });
  }
  bool wait_before(T old, Deadline deadline) const {
    const auto changed = [&] {
      // SYNC atomic: what the changer did before its change is visible after the wait. Bytes are compared, as in std.
      const T now = read().load(Order::acquire);
      return std::memcmp(std::addressof(now), std::addressof(old), sizeof(T)) != 0;
    };
    return changed() || core_.wait_before(changed, deadline);
  }
  /// Wakes one of those who wait, or all; they go on if the value has changed.
  void notify_one() { core_.notify_one(); }
  void notify_all() { core_.notify_all(); }

  [[nodiscard]] Handle handle() const { return core_.handle(); }
  /// `<Atomic brood:atomic:… of int>`
  friend std::ostream& operator<<(std::ostream& out, const Atomic& atomic) {
    return out << "<Atomic " << atomic.handle() << " of " << kType.name() << '>';
  }

 private:
  explicit Atomic(detail::AtomicCore core) noexcept : core_(std::move(core)) {}
  [[nodiscard]] std::atomic_ref<T> read() const { return std::atomic_ref<T>(*static_cast<T*>(core_.to_read())); }
  [[nodiscard]] std::atomic_ref<T> write() { return std::atomic_ref<T>(*static_cast<T*>(core_.to_write())); }
  static constexpr detail::PayloadType kType = detail::kPayloadType<T>;
  detail::AtomicCore core_;
};

}  // namespace brood::inline v1
