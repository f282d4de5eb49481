// RLock: a lock that its owner thread may take again.                                                (room: sync)
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string_view>

#include "brood/deadline.hpp"
#include "brood/detail/shared_object.hpp"
#include "brood/handle.hpp"
#include "brood/lock.hpp"

namespace brood::inline v1 {

/// A recursive lock in shared memory. Meets BasicLockable, Lockable and TimedLockable.
///
/// Owned by one thread of one process: only that thread may take it again or release it. A forked child does not own
/// what its parent holds.
///
/// Shape, Threads, Processes, Crash, Lifetime: as Lock.
/// Source:     Python multiprocessing.RLock; std::recursive_timed_mutex.
class RLock : public detail::SharedObject<RLock, Kind::rlock> {
 public:
  /// Constructors and openers: as Lock.
  explicit RLock(LockOptions options = {});
  [[nodiscard]] static RLock create(std::string_view name, LockOptions options = {});
  [[nodiscard]] static RLock open_or_create(std::string_view name, LockOptions options = {});

  /// Take it, or take it once more. Errors: OwnerDied — not held; UsageError at a depth of 2³²−1.
  void lock();
  [[nodiscard]] bool try_lock() { return try_lock_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) {
    return try_lock_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [this](Deadline deadline) { return try_lock_before(deadline); });
  }
  [[nodiscard]] bool try_lock_before(Deadline deadline);
  /// One level less; free at zero. Errors: NotOwner if the calling thread does not hold it.
  void unlock();

  /// True while any living process holds it.
  [[nodiscard]] bool locked() const;
  /// How often the calling thread holds it; 0 if it does not.
  [[nodiscard]] std::uint32_t depth() const;

  /// As Lock::recover.
  bool recover(const std::function<void()>& repair);

  friend std::ostream& operator<<(std::ostream& out, const RLock& lock);

 private:
  friend detail::SharedObject<RLock, Kind::rlock>;
  explicit RLock(detail::Object object) noexcept : SharedObject(std::move(object)) {}
  [[noreturn]] void throw_not_held() const;
};

}  // namespace brood::inline v1
