#include "stress/world.hpp"

#include <mutex>

#include "brood/error.hpp"

namespace stress {
namespace {

using brood::LockOptions;
using brood::OwnerDeath;

constexpr std::size_t kQueueItems = 64;

/// The barrier's action: counts the passes and clears the next one's record of who came as which.
void on_pass() {
  Board& b = board();
  const std::uint64_t pass = b.passes.load() + 1;
  b.pass_indices[pass % b.pass_indices.size()].store(0);
  b.passes.store(pass);
}

template <class L>
void through_lock(L& lock, const World::Area& area, const World::Body& body) {
  for (;;) {
    try {
      const std::lock_guard guard(lock);
      body(area, false);
      return;
    } catch (const brood::OwnerDied&) {
      // Another one may repair before us; then it is a lock in good order again.
      if (lock.recover([&] { body(area, true); })) return;
    }
  }
}

/// The negative control: believes that a process is gone as soon as the signal is about to be sent.
void through_careless(const World::Area& area, const World::Body& body) {
  static constexpr std::int64_t kLookNs = 5'000;
  for (;;) {
    const Token holder = board().doors[kCareless].holder.load();
    if (holder == 0 || was_struck(holder)) break;
    nap_ns(kLookNs);
  }
  body(area, false);
}

}  // namespace

const char* door_name(int door) noexcept {
  switch (door) {
    case kReport: return "Lock";
    case kHeal: return "Lock (heal)";
    case kRLock: return "RLock";
    case kRLockHeal: return "RLock (heal)";
    case kSemaphore: return "Semaphore with Permit";
    case kBounded: return "BoundedSemaphore";
    case kValue: return "Value";
    case kCareless: return "careless door (negative control)";
  }
  return "?";
}

World::World()
    : report(LockOptions{OwnerDeath::report}),
      heal(LockOptions{OwnerDeath::heal}),
      rlock(LockOptions{OwnerDeath::report}),
      rlock_heal(LockOptions{OwnerDeath::heal}),
      semaphore(1),
      bounded(1),
      pool(kPoolSize),
      bounded_pool(kPoolSize),
      table(LockOptions{OwnerDeath::report}),
      barrier(kParties, {.action = &on_pass}),
      barrier_mender(LockOptions{OwnerDeath::heal}),
      queue(kQueueItems),
      jobs({.capacity = kQueueItems, .max_deliveries = 0}) {
  (void)queue.loan(1);  // from now on it has its chunks
}

World::World(const World& other)
    : report(brood::Lock::open(other.report.handle())),
      heal(brood::Lock::open(other.heal.handle())),
      rlock(brood::RLock::open(other.rlock.handle())),
      rlock_heal(brood::RLock::open(other.rlock_heal.handle())),
      semaphore(brood::Semaphore::open(other.semaphore.handle())),
      bounded(brood::BoundedSemaphore::open(other.bounded.handle())),
      value(brood::Value<Page>::open(other.value.handle())),
      pool(brood::Semaphore::open(other.pool.handle())),
      bounded_pool(brood::BoundedSemaphore::open(other.bounded_pool.handle())),
      table(brood::Lock::open(other.table.handle())),
      not_empty(brood::Condition::open(other.not_empty.handle())),
      not_full(brood::Condition::open(other.not_full.handle())),
      barrier(brood::Barrier::open(other.barrier.handle())),
      barrier_mender(brood::Lock::open(other.barrier_mender.handle())),
      queue(brood::Queue<Message>::open(other.queue.handle())),
      jobs(brood::WorkQueue<Message>::open(other.jobs.handle())) {}

void World::go_through(int door, const Body& body) {
  const Area area{region(door), kRegionBytes};
  switch (door) {
    case kReport: return through_lock(report, area, body);
    case kHeal: return through_lock(heal, area, body);
    case kRLock: {
      // A second level, so that a takeover has a depth to forget.
      return through_lock(rlock, area, [&](Area given, bool told) {
        const std::lock_guard again(rlock);
        body(given, told);
      });
    }
    case kRLockHeal: return through_lock(rlock_heal, area, body);
    case kSemaphore: {
      const brood::Permit permit(semaphore);
      return body(area, false);
    }
    case kBounded: {
      bounded.acquire();
      body(area, false);
      return bounded.release();
    }
    case kValue: {
      const auto guard = value.lock();
      return body({guard->word.data(), kStampBytes}, false);
    }
    default: return through_careless(area, body);
  }
}

}  // namespace stress
