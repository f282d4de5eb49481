#include "channel/lane.hpp"

#include <algorithm>

#include "registry/sleeper.hpp"

namespace brood::inline v1::channel {
namespace {

using registry::Sleeper;

/// A poll does not say "busy" because somebody is inside for an instant; it does if that somebody is stopped.
constexpr std::chrono::milliseconds kPollPatience{100};
/// The favourite has been told to come by the lock. (A bit of sync's word that is no part of an owner.)
constexpr std::uint64_t kWithdrawn = sync::kDamaged;
/// So often in a row by the lock before a thread becomes the favourite; twice as often after each withdrawal, which
/// costs as much as a hundred locks.
constexpr std::uint32_t kStreak = 16;
constexpr std::uint32_t kMostShy = 8;

}  // namespace

bool InLane::is_orphaned(const LaneBody& lane, const sync::LockBody& lock) noexcept {
  const auto is_dead = [](std::uint64_t word) {
    const registry::Id owner = sync::owner_of(word);
    return owner != registry::kNobody && !registry::is_there(owner);
  };
  return is_dead(lock.word.load(std::memory_order_acquire)) ||
         (lane.inside.load(std::memory_order_acquire) != 0 && is_dead(lane.favourite.load(std::memory_order_acquire)));
}

void InLane::enter_by_lock(bool asymmetric, const sync::LockContext& context, Deadline deadline) {
  if (deadline.is_poll() && lane_.stuck.load(std::memory_order_relaxed) == 0) deadline = Deadline::after(kPollPatience);
  const sync::Acquired got = sync::acquire(lock_, context, deadline);
  if (got == sync::Acquired::timed_out) return;
  healed_ = got == sync::Acquired::healed;
  const std::uint64_t favourite = lane_.favourite.load(std::memory_order_relaxed);
  if (favourite != 0) {
    if (!withdraw(favourite, context, deadline)) {
      sync::release(lock_);
      return;
    }
  }
  way_ = Way::lock;
  was_in_ = true;
  if (asymmetric) maybe_become_favourite();
}

/// The lock is held. False if the favourite did not come out in time; it is withdrawn all the same.
bool InLane::withdraw(std::uint64_t favourite, const sync::LockContext& context, Deadline deadline) {
  if ((favourite & ~kWithdrawn) != me_) {
    lane_.favourite.store(favourite | kWithdrawn);
    os::barrier_for_all();
    const registry::Id owner = sync::owner_of(favourite);
    Sleeper sleeper(registry::Operation::lock, context.kind, context.object, deadline);
    for (bool tick = false;;) {
      const std::uint32_t deaths = Sleeper::deaths();
      // Dead first: what it did before it died is then seen.
      const bool is_dead = !registry::is_alive(owner);
      // SYNC lane: acquire, see leave_as_favourite.
      if (lane_.inside.load(std::memory_order_acquire) == 0) break;
      if (is_dead) {
        healed_ = true;
        break;
      }
      if (std::exchange(tick, false) && registry::bury_if_gone(owner, 0)) {
        registry::registry().heads.deaths_by_tick.fetch_add(1);
        continue;
      }
      switch (sleeper.sleep(lane_.inside, 1, deaths, owner)) {
        case Sleeper::Woken::timed_out: return false;
        case Sleeper::Woken::tick: tick = true; break;
        case Sleeper::Woken::look_again: break;
      }
    }
    lane_.shy.store(std::min(lane_.shy.load(std::memory_order_relaxed) + 1, kMostShy), std::memory_order_relaxed);
  }
  // Killed from here on, the lock says so; until then the dead favourite does.
  lane_.inside.store(0, std::memory_order_relaxed);
  lane_.favourite.store(0, std::memory_order_release);
  return true;
}

void InLane::maybe_become_favourite() noexcept {
  if (lane_.last.load(std::memory_order_relaxed) != me_) {
    lane_.last.store(me_, std::memory_order_relaxed);
    lane_.streak.store(0, std::memory_order_relaxed);
    return;
  }
  const std::uint32_t streak = lane_.streak.load(std::memory_order_relaxed) + 1;
  lane_.streak.store(streak, std::memory_order_relaxed);
  if (streak < kStreak << lane_.shy.load(std::memory_order_relaxed)) return;
  lane_.streak.store(0, std::memory_order_relaxed);
  lane_.favourite.store(me_, std::memory_order_release);
}

}  // namespace brood::inline v1::channel
