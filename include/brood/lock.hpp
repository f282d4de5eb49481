// Lock: mutual exclusion between any processes, told when its owner dies.                           (room: sync)
//
// Complete example: examples/02_lock.cpp
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string_view>

#include "brood/deadline.hpp"
#include "brood/detail/shared_object.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

/// What a lock does when the process that holds it dies.
enum class OwnerDeath : std::uint8_t {
  /// Nobody gets the lock any more: lock() throws OwnerDied, for everybody, until one process runs recover().
  report = 0,
  /// The next taker just gets it. For locks that guard nothing that could be half changed (a terminal, say).
  heal = 1,
};

struct LockOptions {
  OwnerDeath on_owner_death = OwnerDeath::report;
};

/// A lock in shared memory. Meets BasicLockable, Lockable and TimedLockable: use std::scoped_lock and std::unique_lock.
///
/// Not recursive. As in Python, any thread of any process may release it (hand-over patterns).
///
/// Shape:      one 4 KiB segment; no descriptor stays open.
/// Threads:    safe.     Processes: safe; reopen in another process with open(handle()).
/// Cost:       two locked instructions for a pair, no system call while nobody waits.
/// Crash:      death of the owner by any cause, also by exec or by exiting while holding, is noticed within about a
///             millisecond; see OwnerDeath. What it wrote before is visible; nothing of it is written afterwards.
/// Lifetime:   an unnamed lock is freed with its last user; a named one lives until remove().
/// Source:     Python multiprocessing.Lock; owner ids and death broadcast: lib/registry/README.md.
class Lock : public detail::SharedObject<Lock, Kind::lock> {
 public:
  /// A new, unnamed lock. Errors: NoSpace, PermissionDenied, OsError.
  explicit Lock(LockOptions options = {});
  /// A new lock with a name. Errors: as above; AlreadyExists, UsageError (a bad name).
  [[nodiscard]] static Lock create(std::string_view name, LockOptions options = {});
  /// The lock of that name, made if there is none; an existing one keeps its own options.
  [[nodiscard]] static Lock open_or_create(std::string_view name, LockOptions options = {});

  /// Take the lock; sleep while another holds it.
  /// Errors: OwnerDied — the lock is not held.
  void lock();
  /// One attempt. Errors: OwnerDied.
  [[nodiscard]] bool try_lock() { return try_lock_before(Deadline::now()); }
  /// Units: any chrono duration; zero or less means one attempt. Errors: OwnerDied.
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) {
    return try_lock_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [this](Deadline deadline) { return try_lock_before(deadline); });
  }
  [[nodiscard]] bool try_lock_before(Deadline deadline);
  /// Give it back; wakes one waiter. Errors: ReleasedTooOften if nobody holds it.
  void unlock();

  /// True while any living process holds it.
  [[nodiscard]] bool locked() const;

  /// If the last owner died: run `repair` while holding the lock, then release it in good order; returns true.
  /// If the lock is fine: returns false, `repair` does not run. When several processes call this, one repairs and the
  /// others wait for it. Crash: if the repairer dies, or `repair` throws, the lock stays reported as before.
  bool recover(const std::function<void()>& repair);

  /// `<Lock brood:lock:… owner=none>`; the owner is named by process and, where it is ours, by thread.
  friend std::ostream& operator<<(std::ostream& out, const Lock& lock);

 private:
  friend detail::SharedObject<Lock, Kind::lock>;
  explicit Lock(detail::Object object) noexcept : SharedObject(std::move(object)) {}
  [[noreturn]] void throw_owner_died() const;
  [[noreturn]] void throw_not_held() const;
};

}  // namespace brood::inline v1
