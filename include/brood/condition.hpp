// Condition: wait under a Lock or RLock until another process says that something has changed.      (room: sync)
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <iosfwd>
#include <mutex>
#include <string_view>

#include "brood/deadline.hpp"
#include "brood/detail/shared_object.hpp"
#include "brood/lock.hpp"
#include "brood/rlock.hpp"

namespace brood::inline v1 {

/// A condition variable in shared memory. Holding the lock is shown by the std::unique_lock that wait() takes; notify
/// may be called with or without the lock, as with std::condition_variable.
///
/// Exact, unlike POSIX: a notify_one wakes the one that has waited longest, a notify that nobody waits for is lost, and
/// waiters whose time has run out do not count. There are no spurious wake-ups except for the predicate-less forms
/// after OwnerDied was thrown.
///
/// Shape:      one segment; 32 bytes for each simultaneous waiter, reserved as they come; at most 16384 of them.
/// Threads:    safe.     Processes: safe, through the handle.
/// Crash:      dead waiters are skipped; a notification that a dead waiter had not yet acted on goes to the next one; a
///             notifier killed half way has notified all it meant to, or fewer. If the lock's owner died, wait()
///             throws OwnerDied and the unique_lock does not own the lock any more.
/// Source:     Python multiprocessing.Condition; waiter table instead of a sequence number: lib/sync/README.md.
class Condition : public detail::SharedObject<Condition, Kind::condition> {
 public:
  /// Errors: NoSpace, PermissionDenied, OsError.
  Condition();
  [[nodiscard]] static Condition create(std::string_view name);
  [[nodiscard]] static Condition open_or_create(std::string_view name);

  /// Give the lock back (its whole depth, for an RLock), sleep until notified, take it again (to the same depth).
  /// Errors: NotOwner if `guard` does not hold its lock; OwnerDied; OsError (too many waiters), NoSpace.
  template <class L>
  void wait(std::unique_lock<L>& guard) {
    (void)wait_before(guard, Deadline::never());
  }
  /// Sleep until `ready()` is true; it is called with the lock held, first at once.
  template <class L, class Predicate>
  void wait(std::unique_lock<L>& guard, Predicate ready) {
    while (!ready()) wait(guard);
  }
  /// no_timeout if notified, timeout otherwise. Taking the lock again is not bounded by the timeout.
  template <class L, class Rep, class Period>
  std::cv_status wait_for(std::unique_lock<L>& guard, std::chrono::duration<Rep, Period> timeout) {
    return wait_before(guard, Deadline::after(timeout)) ? std::cv_status::no_timeout : std::cv_status::timeout;
  }
  /// The predicate's last value. A negative timeout tests once.
  template <class L, class Rep, class Period, class Predicate>
  [[nodiscard]] bool wait_for(std::unique_lock<L>& guard, std::chrono::duration<Rep, Period> timeout, Predicate ready) {
    return wait_ready(guard, Deadline::after(timeout), ready);
  }
  template <class L, class Clock, class Duration>
  std::cv_status wait_until(std::unique_lock<L>& guard, std::chrono::time_point<Clock, Duration> when) {
    const bool notified = detail::attempt_until(when, [&](Deadline deadline) { return wait_before(guard, deadline); });
    return notified ? std::cv_status::no_timeout : std::cv_status::timeout;
  }
  template <class L, class Clock, class Duration, class Predicate>
  [[nodiscard]] bool wait_until(std::unique_lock<L>& guard, std::chrono::time_point<Clock, Duration> when,
                                Predicate ready) {
    return detail::attempt_until(when, [&](Deadline deadline) { return wait_ready(guard, deadline, ready); });
  }

  void notify_one() { notify(1); }
  /// Wake up to `count` of those that wait now, longest first; zero or less wakes nobody.
  void notify(std::int64_t count);
  void notify_all();

  friend std::ostream& operator<<(std::ostream& out, const Condition& condition);

 private:
  friend detail::SharedObject<Condition, Kind::condition>;
  explicit Condition(detail::Object object) noexcept : SharedObject(std::move(object)) {}

  template <class L, class Predicate>
  bool wait_ready(std::unique_lock<L>& guard, Deadline deadline, Predicate& ready) {
    while (!ready()) {
      if (!wait_before(guard, deadline)) return ready();
    }
    return true;
  }
  bool wait_before(std::unique_lock<Lock>& guard, Deadline deadline);
  bool wait_before(std::unique_lock<RLock>& guard, Deadline deadline);

  class Waiting;
  template <class Guard, class Drop, class Retake>
  bool wait_between(Guard& guard, Deadline deadline, Drop drop, Retake retake);
};

}  // namespace brood::inline v1
