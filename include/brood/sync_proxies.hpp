// LockProxy, RLockProxy, SemaphoreProxy, ConditionProxy, EventProxy, BarrierProxy: as their namesakes in shared memory, but kept by
// a Manager, for processes that share no memory.                                                  (room: manager)
//
// The same contract: a client that dies while it holds a lock is reported to the next (OwnerDied, recover) or healed; permits of
// the dead return to a bounded semaphore; a dead party breaks a barrier; a notification goes past a dead waiter. Each call is a
// call to the server: between processes of one machine, Lock and its kin are a thousand times faster.
#pragma once

#include <chrono>
#include <concepts>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "brood/lock.hpp"
#include "brood/proxy.hpp"

namespace brood::inline v1 {
namespace detail {

template <class Self>
class LockProxyForms : public ProxyBase {
 public:
  /// Errors: OwnerDied (policy report: the lock is not held); ManagerDied.
  void lock() const { (void)lock_before(Deadline::never()); }
  [[nodiscard]] bool try_lock() const { return lock_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> timeout) const {
    return lock_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_lock_until(std::chrono::time_point<Clock, Duration> when) const {
    return attempt_until(when, [this](Deadline deadline) { return lock_before(deadline); });
  }
  /// Errors: ReleasedTooOften (Lock), NotOwner (RLock).
  void unlock() const { core_.call<void>("unlock", thread_number()); }
  [[nodiscard]] bool locked() const { return core_.call<bool>("locked"); }
  /// After OwnerDied: runs `repair()` in one process, while the others wait for it; then the lock is usable again. False if
  /// there was nothing to repair (any more). If `repair` throws, or this process dies in it, the next one may try.
  template <std::invocable Repair>
  bool recover(Repair repair) const {
    if (!core_.call<bool>("recover")) return false;
    try {
      repair();
    } catch (...) {
      core_.call<void>("recovered", false);
      throw;
    }
    core_.call<void>("recovered", true);
    return true;
  }
  friend std::ostream& operator<<(std::ostream& out, const Self& lock) {
    return out << lock.core().printed(Self::type());
  }

 protected:
  using ProxyBase::ProxyBase;
  bool lock_before(Deadline deadline) const { return core_.call<bool>("lock", Timeout{deadline}, thread_number()); }
};

}  // namespace detail

/// manager.lock(): held by a process; any process may release it.
class LockProxy : public detail::LockProxyForms<LockProxy> {
 public:
  explicit LockProxy(detail::ProxyCore core) noexcept : LockProxyForms(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "Lock"; }
};
/// manager.rlock(): held by a thread, which may take it several times.
class RLockProxy : public detail::LockProxyForms<RLockProxy> {
 public:
  explicit RLockProxy(detail::ProxyCore core) noexcept : LockProxyForms(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "RLock"; }
  /// How often the calling thread has taken it.
  [[nodiscard]] std::uint32_t depth() const { return core_.call<std::uint32_t>("depth", detail::thread_number()); }
};

/// manager.condition(): a recursive lock, and waiting for notices with it.
class ConditionProxy : public detail::LockProxyForms<ConditionProxy> {
 public:
  explicit ConditionProxy(detail::ProxyCore core) noexcept : LockProxyForms(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "Condition"; }

  /// Give the lock back, sleep until notified, take it again. Errors: NotOwner; OwnerDied (not held then).
  void wait() const { (void)wait_before(Deadline::never()); }
  template <class Rep, class Period>
  [[nodiscard]] std::cv_status wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return wait_before(Deadline::after(timeout)) ? std::cv_status::no_timeout : std::cv_status::timeout;
  }
  template <std::predicate Ready>
  void wait(Ready ready) const {
    while (!ready()) wait();
  }
  /// False if it was not ready in time.
  template <class Rep, class Period, std::predicate Ready>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout, Ready ready) const {
    const Deadline deadline = Deadline::after(timeout);
    while (!ready()) {
      if (!wait_before(deadline)) return ready();
    }
    return true;
  }
  /// Errors: NotOwner.
  void notify_one() const { notify(1); }
  void notify(std::size_t count) const {
    if (count > 0) (void)core_.call<std::size_t>("notify", count, detail::thread_number());
  }
  void notify_all() const { (void)core_.call<std::size_t>("notify", std::size_t{0}, detail::thread_number()); }

 private:
  [[nodiscard]] bool wait_before(Deadline deadline) const {
    return core_.call<bool>("wait", detail::Timeout{deadline}, detail::thread_number());
  }
};

namespace detail {

template <class Self>
class SemaphoreProxyForms : public ProxyBase {
 public:
  void acquire() const { (void)acquire_before(Deadline::never()); }
  [[nodiscard]] bool try_acquire() const { return acquire_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout) const {
    return acquire_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_acquire_until(std::chrono::time_point<Clock, Duration> when) const {
    return attempt_until(when, [this](Deadline deadline) { return acquire_before(deadline); });
  }
  /// Errors: UsageError (0); ReleasedTooOften (above the initial value of a bounded one, or the ceiling of all).
  void release(std::uint32_t count = 1) const { core_.call<void>("release", count); }
  /// Units free now.
  [[nodiscard]] std::int64_t get_value() const { return core_.call<std::int64_t>("value"); }
  friend std::ostream& operator<<(std::ostream& out, const Self& semaphore) {
    return out << semaphore.core().printed(Self::type());
  }

 protected:
  using ProxyBase::ProxyBase;

 private:
  [[nodiscard]] bool acquire_before(Deadline deadline) const { return core_.call<bool>("acquire", Timeout{deadline}); }
};

}  // namespace detail

class SemaphoreProxy : public detail::SemaphoreProxyForms<SemaphoreProxy> {
 public:
  explicit SemaphoreProxy(detail::ProxyCore core) noexcept : SemaphoreProxyForms(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "Semaphore"; }
};
class BoundedSemaphoreProxy : public detail::SemaphoreProxyForms<BoundedSemaphoreProxy> {
 public:
  explicit BoundedSemaphoreProxy(detail::ProxyCore core) noexcept : SemaphoreProxyForms(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "BoundedSemaphore"; }
};

class EventProxy : public detail::ProxyBase {
 public:
  explicit EventProxy(detail::ProxyCore core) noexcept : ProxyBase(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "Event"; }
  void set() const { core_.call<void>("set"); }
  void clear() const { core_.call<void>("clear"); }
  [[nodiscard]] bool is_set() const { return core_.call<bool>("is_set"); }
  void wait() const { (void)wait_before(Deadline::never()); }
  /// False if it was not set in time.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return wait_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool wait_until(std::chrono::time_point<Clock, Duration> when) const {
    return detail::attempt_until(when, [this](Deadline deadline) { return wait_before(deadline); });
  }
  friend std::ostream& operator<<(std::ostream& out, const EventProxy& event) {
    return out << event.core_.printed(type());
  }

 private:
  [[nodiscard]] bool wait_before(Deadline deadline) const {
    return core_.call<bool>("wait", detail::Timeout{deadline});
  }
};

class BarrierProxy : public detail::ProxyBase {
 public:
  explicit BarrierProxy(detail::ProxyCore core) noexcept : ProxyBase(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "Barrier"; }
  /// Sleep until all parties wait; the order of arrival, 0 to parties() - 1. Errors: BrokenBarrier.
  std::uint32_t wait() const { return wait_before(Deadline::never()); }
  /// The same; the barrier breaks for everybody if it takes longer.
  template <class Rep, class Period>
  std::uint32_t wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return wait_before(Deadline::after(timeout));
  }
  void reset() const { core_.call<void>("reset"); }
  void abort() const { core_.call<void>("abort"); }
  /// This process is no party any more: its end breaks nothing.
  void leave() const { core_.call<void>("leave"); }
  [[nodiscard]] std::uint32_t parties() const { return core_.call<std::uint32_t>("parties"); }
  [[nodiscard]] std::uint32_t n_waiting() const { return core_.call<std::uint32_t>("n_waiting"); }
  [[nodiscard]] bool broken() const { return core_.call<bool>("broken"); }
  friend std::ostream& operator<<(std::ostream& out, const BarrierProxy& barrier) {
    return out << barrier.core_.printed(type());
  }

 private:
  [[nodiscard]] std::uint32_t wait_before(Deadline deadline) const {
    return core_.call<std::uint32_t>("wait", detail::Timeout{deadline});
  }
};

}  // namespace brood::inline v1
