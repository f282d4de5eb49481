#include "sync/lock_body.hpp"

#include "registry/sleeper.hpp"
#include "sync/spin.hpp"

namespace brood::inline v1::sync {
namespace {

/// About 3 µs: what a critical section of a few hundred instructions takes, and a third of a sleep and wake-up.
constinit SpinBudget g_lock_spin(200);

/// Spins while the lock is merely held. True if it was taken.
bool spin_for(LockBody& lock, std::uint64_t mine) noexcept {
  Spinner spinner(g_lock_spin);
  do {
    std::uint64_t word = lock.word.load(std::memory_order_relaxed);
    if (word == 0 &&
        lock.word.compare_exchange_weak(word, mine, std::memory_order_acquire, std::memory_order_relaxed)) {
      spinner.succeeded();
      return true;
    }
    if ((word & kDamaged) != 0) return false;
  } while (spinner.again());
  return false;
}

}  // namespace

void pass_wake_on(LockBody& lock) noexcept {
  std::uint64_t word = lock.word.load();
  for (;;) {
    if (owner_of(word) == registry::kNobody) {
      os::futex_wake(low_half(lock.word), 1);
      return;
    }
    if ((word & kWaiters) != 0 || lock.word.compare_exchange_weak(word, word | kWaiters)) return;
  }
}

std::uint64_t damaged_by(Id dead) noexcept {
  return static_cast<std::uint64_t>(registry::pid_of(dead)) << 32 | kDamaged | dead;
}

std::int64_t owner_pid(std::uint64_t word) noexcept {
  return (word & kDamaged) != 0 ? tid_of(word) : registry::pid_of(owner_of(word));
}

Acquired acquire_slow(LockBody& lock, const LockContext& context, Deadline deadline, std::uint64_t* to_repair) {
  const Id me = registry::self();
  const std::uint64_t mine = held_by(me, registry::self_tid(me));
  if (!deadline.is_poll() && spin_for(lock, mine)) return Acquired::yes;

  registry::Sleeper sleeper(registry::Operation::lock, context.kind, context.object, deadline);
  const bool heals =
      to_repair != nullptr || static_cast<OwnerDeath>(lock.policy.load(std::memory_order_relaxed)) == OwnerDeath::heal;
  std::uint64_t waiters = 0;  // once we have slept, others may sleep too: take the lock with W set
  bool check_owner = false;
  for (;;) {
    const std::uint32_t deaths = registry::Sleeper::deaths();
    std::uint64_t word = lock.word.load(std::memory_order_relaxed);
    const Id owner = owner_of(word);
    if ((word & kDamaged) != 0) {
      if (to_repair == nullptr) return Acquired::damaged;
      *to_repair = word;
      if (lock.word.compare_exchange_strong(word, mine | kWaiters, std::memory_order_acquire)) return Acquired::healed;
      continue;
    }
    if (owner == registry::kNobody) {
      if (lock.word.compare_exchange_strong(word, mine | waiters, std::memory_order_acquire)) return Acquired::yes;
      continue;
    }
    if (!registry::is_alive(owner)) {
      // SYNC lock: acquire, although a dead owner released nothing: its burial did (SYNC burial).
      if (heals) {
        if (to_repair != nullptr) *to_repair = damaged_by(owner);
        if (!lock.word.compare_exchange_strong(word, mine | kWaiters, std::memory_order_acquire)) continue;
        lock.recovered.fetch_add(1, std::memory_order_relaxed);
        return Acquired::healed;
      }
      if (!lock.word.compare_exchange_strong(word, damaged_by(owner))) continue;
      os::futex_wake_all(low_half(lock.word));
      return Acquired::damaged;
    }
    if (check_owner) {
      check_owner = false;
      if (registry::bury_if_gone(owner, 0)) {
        registry::registry().heads.deaths_by_tick.fetch_add(1);
        continue;
      }
    }
    if (deadline.is_poll()) return Acquired::timed_out;
    if ((word & kWaiters) == 0) {
      if (!lock.word.compare_exchange_strong(word, word | kWaiters)) continue;
      word |= kWaiters;
    }
    switch (sleeper.sleep(low_half(lock.word), static_cast<std::uint32_t>(word), deaths, owner)) {
      case registry::Sleeper::Woken::timed_out:
        if (sleeper.slept()) pass_wake_on(lock);
        return Acquired::timed_out;
      case registry::Sleeper::Woken::tick: check_owner = true; break;
      case registry::Sleeper::Woken::look_again: break;
    }
    waiters = kWaiters;
  }
}

bool release_slow(LockBody& lock) noexcept {
  std::uint64_t word = lock.word.load(std::memory_order_relaxed);
  for (;;) {
    // What a dead owner held is not free for the asking: its death must be reported first.
    if (owner_of(word) == registry::kNobody || (word & kDamaged) != 0 || !registry::is_alive(owner_of(word)))
      return false;
    // SYNC lock: release. A killing between this store and the wake is a death, and deaths wake everybody.
    if (lock.word.compare_exchange_weak(word, 0, std::memory_order_release, std::memory_order_relaxed)) break;
  }
  if ((word & kWaiters) != 0) os::futex_wake(low_half(lock.word), 1);
  return true;
}

}  // namespace brood::inline v1::sync
