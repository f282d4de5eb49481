// SideLock: how both ends of a queue take their side's lock, and how they wait for the other side.
#pragma once

#include <chrono>
#include <cstdint>

#include "brood/deadline.hpp"
#include "brood/detail/object.hpp"
#include "channel/queue_body.hpp"
#include "channel/wake_word.hpp"
#include "registry/sleeper.hpp"
#include "shm/segment.hpp"
#include "sync/lock_body.hpp"
#include "sync/spin.hpp"

namespace brood::inline v1::channel {

/// A poll does not say "full" or "empty" because somebody else is inside for an instant; it does if that somebody is
/// stopped.
inline constexpr std::chrono::milliseconds kPollPatience{100};

inline QueueBody& body_of(const detail::Object& object) { return *static_cast<QueueBody*>(object.body()); }
/// A queue's segment may be that of a queue or of a work queue.
inline Kind kind_of(const detail::Object& object) { return static_cast<Kind>(shm::header_of(object.body()).kind); }
inline sync::LockContext context_of(const detail::Object& object) { return {kind_of(object), object.id()}; }

/// One side's lock for one attempt, within the call's deadline.
class SideLock {
 public:
  SideLock(QueueBody& body, sync::LockBody& lock, const sync::LockContext& context, Deadline deadline)
      : lock_(&lock),
        got_(sync::acquire(lock, context, deadline.is_poll() ? Deadline::after(kPollPatience) : deadline)) {
    // Killed before this, the lock is healed once more and this is done then.
    if (healed()) body.unsure.fetch_or(kPinsUnsure | kItemsUnsure);
  }
  ~SideLock() { release(); }
  SideLock(const SideLock&) = delete;
  SideLock& operator=(const SideLock&) = delete;
  void release() noexcept {
    if (lock_ != nullptr && got_ != sync::Acquired::timed_out) sync::release(*lock_);
    lock_ = nullptr;
  }
  [[nodiscard]] bool timed_out() const noexcept { return got_ == sync::Acquired::timed_out; }
  /// The last owner died inside: its record may be committed and not counted.
  [[nodiscard]] bool healed() const noexcept { return got_ == sync::Acquired::healed; }

 private:
  sync::LockBody* lock_;
  sync::Acquired got_;
};

/// Spin, then sleep until `ready()`. False if the deadline passed.
template <class Ready>
bool wait_until_ready(WakeWord& word, registry::Sleeper& sleeper, sync::SpinBudget& budget, Ready ready) {
  sync::Spinner spinner(budget);
  do {
    if (ready()) {
      spinner.succeeded();
      return true;
    }
  } while (spinner.again());
  for (;;) {
    const std::uint32_t deaths = registry::Sleeper::deaths();
    const std::uint32_t armed = word.arm();
    if (ready()) return true;
    if (sleeper.sleep(word.word, armed, deaths) == registry::Sleeper::Woken::timed_out) return false;
    if (ready()) return true;
  }
}

/// A wake-up may have come to us that was meant for whoever can use it: hand it on if there is more.
template <class Ready>
void pass_baton(WakeWord& word, const registry::Sleeper& sleeper, Ready ready) noexcept {
  if (!sleeper.slept()) return;
  word.arm();
  if (ready()) word.notify();
}

}  // namespace brood::inline v1::channel
