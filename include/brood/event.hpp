// Event: a flag that any process can set and any number can wait for.                               (room: sync)
#pragma once

#include <chrono>
#include <iosfwd>
#include <string_view>

#include "brood/deadline.hpp"
#include "brood/detail/shared_object.hpp"

namespace brood::inline v1 {

/// A flag in one futex word.
///
///   state        is_set()  wait()          set()                 clear()
///   unset        false     sleeps          → set, wakes all      no effect
///   set          true      returns true    no effect             → unset
///
/// Shape:      one 4 KiB segment; no descriptor stays open.
/// Threads:    safe.     Processes: safe, through the handle.    Signals: set() may be called from a signal handler,
///             once the process has used any shared object before.
/// Crash:      dead waiters do not matter; a setter killed half way has set it or not, and if it has, all wake.
/// Source:     Python multiprocessing.Event. Unlike Python's, a waiter never misses a set() that is followed by
/// clear().
class Event : public detail::SharedObject<Event, Kind::event> {
 public:
  /// A new, unset event. Errors: NoSpace, PermissionDenied, OsError.
  Event();
  [[nodiscard]] static Event create(std::string_view name);
  [[nodiscard]] static Event open_or_create(std::string_view name);

  [[nodiscard]] bool is_set() const;
  /// Set the flag and wake everybody.
  void set();
  void clear();

  /// Sleep until it is set.
  void wait() const { (void)wait_before(Deadline::never()); }
  /// True if it was set meanwhile, false after the timeout. Zero and negative timeouts poll.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return wait_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool wait_until(std::chrono::time_point<Clock, Duration> when) const {
    return detail::attempt_until(when, [this](Deadline deadline) { return wait_before(deadline); });
  }
  bool wait_before(Deadline deadline) const;

  friend std::ostream& operator<<(std::ostream& out, const Event& event);

 private:
  friend detail::SharedObject<Event, Kind::event>;
  explicit Event(detail::Object object) noexcept : SharedObject(std::move(object)) {}
};

}  // namespace brood::inline v1
