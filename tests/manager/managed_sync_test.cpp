// Locks and their kin in a manager: the contract of their namesakes, deaths included.
#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "manager/manager_support.hpp"

namespace {

using namespace manager_test;
using namespace process_test;

class Synced : public Managed {};
INSTANTIATE_FOR_EVERY_METHOD(Synced);

TEST_F(ManagedOnce, ALockExcludesAndMayBeReleasedByAnybody) {
  auto lock = manager.lock();
  EXPECT_FALSE(lock.locked());
  {
    const std::scoped_lock guard(lock);
    EXPECT_TRUE(lock.locked());
    std::thread([&] {
      EXPECT_FALSE(lock.try_lock());
      EXPECT_FALSE(lock.try_lock_for(1ms));
    }).join();
  }
  lock.lock();
  std::thread([&] { lock.unlock(); }).join();
  EXPECT_THROW(lock.unlock(), brood::ReleasedTooOften);
}

TEST_F(ManagedOnce, AnRLockBelongsToAThread) {
  auto lock = manager.rlock();
  lock.lock();
  lock.lock();
  std::thread([&] {
    EXPECT_FALSE(lock.try_lock());
    EXPECT_THROW(lock.unlock(), brood::NotOwner);
  }).join();
  lock.unlock();
  std::thread([&] { EXPECT_FALSE(lock.try_lock()); }).join();
  lock.unlock();
  std::thread([&] {
    EXPECT_TRUE(lock.try_lock());
    lock.unlock();
  }).join();
  EXPECT_THROW(lock.unlock(), brood::NotOwner);
}

/// Takes the lock and is killed with it.
template <class Lock>
brood::Process killed_with(brood::StartMethod method, const Lock& lock, const brood::EventProxy& told) {
  brood::Process victim(
      {.start_method = method},
      [](const Lock& it, const brood::EventProxy& tell) {
        it.lock();
        tell.set();
        brood::Event().wait();
      },
      lock, told);
  victim.start();
  told.wait();
  return victim;
}

TEST_P(Synced, AKilledOwnerIsReportedUntilSomebodyRepairs) {
  auto lock = manager.lock();
  auto told = manager.event();
  auto victim = killed_with(GetParam(), lock, told);
  EXPECT_FALSE(lock.try_lock());
  std::atomic<bool> reported = false;
  std::thread sleeper([&] {
    try {
      lock.lock();
    } catch (const brood::OwnerDied& died) {
      EXPECT_EQ(died.dead_pid(), victim.pid());
      reported = true;
    }
  });
  victim.kill();
  sleeper.join();
  EXPECT_TRUE(reported);
  EXPECT_THROW(lock.lock(), brood::OwnerDied) << "everybody is told";
  EXPECT_THROW(lock.recover([] { throw std::runtime_error("cannot"); }), std::runtime_error);
  EXPECT_THROW((void)lock.try_lock(), brood::OwnerDied) << "it is not repaired";
  EXPECT_TRUE(lock.recover([] {}));
  EXPECT_FALSE(lock.recover([] { FAIL() << "there is nothing to repair"; }));
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST_P(Synced, AHealingLockGoesToTheNext) {
  auto lock = manager.rlock(brood::OwnerDeath::heal);
  auto told = manager.event();
  auto victim = killed_with(GetParam(), lock, told);
  std::thread sleeper([&] {
    lock.lock();
    lock.unlock();
  });
  victim.kill();
  sleeper.join();
  EXPECT_FALSE(lock.locked());
}

TEST_P(Synced, PermitsOfTheKilledReturn) {
  auto permits = manager.bounded_semaphore(2);
  auto told = manager.event();
  auto victim = make(
      [](const brood::BoundedSemaphoreProxy& it, const brood::EventProxy& tell) {
        it.acquire();
        it.acquire();
        tell.set();
        brood::Event().wait();
      },
      permits, told);
  victim.start();
  told.wait();
  EXPECT_FALSE(permits.try_acquire());
  victim.kill();
  permits.acquire();
  permits.acquire();
  EXPECT_FALSE(permits.try_acquire());
  permits.release(2);
  EXPECT_THROW(permits.release(), brood::ReleasedTooOften);
  EXPECT_EQ(permits.get_value(), 2);
}

TEST_F(ManagedOnce, ASemaphoreOnlyCounts) {
  auto count = manager.semaphore(1);
  EXPECT_TRUE(count.try_acquire());
  EXPECT_FALSE(count.try_acquire_for(1ms));
  count.release(3);
  EXPECT_EQ(count.get_value(), 3);
  EXPECT_THROW(count.release(0), brood::UsageError);
}

TEST_P(Synced, AnEventWakesEverybody) {
  auto event = manager.event();
  auto seen = manager.queue<int>();
  std::vector<brood::Process> children;
  for (int i = 0; i < 3; ++i) {
    children.push_back(make(
        [](const brood::EventProxy& wake, const brood::QueueProxy<int>& out, int id) {
          out.put(-1);
          wake.wait();
          out.put(id);
        },
        event, seen, i));
    children.back().start();
  }
  for (int i = 0; i < 3; ++i) EXPECT_EQ(seen.get(), -1);
  EXPECT_FALSE(event.wait_for(1ms));
  EXPECT_FALSE(event.is_set());
  event.set();
  std::set<int> ids;
  for (int i = 0; i < 3; ++i) ids.insert(seen.get());
  EXPECT_EQ(ids, (std::set{0, 1, 2}));
  EXPECT_TRUE(event.is_set());
  event.clear();
  EXPECT_FALSE(event.is_set());
  for (auto& it : children) it.join();
}

TEST_F(ManagedOnce, AConditionNotifiesOneOrAll) {
  auto condition = manager.condition();
  EXPECT_THROW(condition.notify_one(), brood::NotOwner);
  EXPECT_THROW(condition.wait(), brood::NotOwner);
  int stage = 0;
  std::atomic<int> passed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      const std::scoped_lock guard(condition);
      condition.wait([&] { return stage > 0; });
      ++passed;
    });
  }
  {
    const std::scoped_lock guard(condition);
    EXPECT_EQ(condition.wait_for(1ms), std::cv_status::timeout);
    EXPECT_FALSE(condition.wait_for(1ms, [] { return false; }));
    stage = 1;
    condition.notify_all();
  }
  for (auto& it : threads) it.join();
  EXPECT_EQ(passed, 3);
}

TEST_P(Synced, ANotificationGoesPastTheDead) {
  auto condition = manager.condition(brood::OwnerDeath::heal);
  auto told = manager.event();
  auto victim = make(
      [](const brood::ConditionProxy& it, const brood::EventProxy& tell) {
        it.lock();
        tell.set();
        it.wait();
      },
      condition, told);
  victim.start();
  told.wait();
  std::atomic<bool> is_asleep = false;
  bool is_ready = false;
  std::thread other([&] {
    const std::scoped_lock guard(condition);  // so the victim sleeps by now
    is_asleep = true;
    condition.wait([&] { return is_ready; });
  });
  until([&] { return is_asleep.load(); });
  victim.kill();
  victim.join();
  {
    const std::scoped_lock guard(condition);  // so the other one sleeps by now
    is_ready = true;
    condition.notify_one();
  }
  other.join();
}

TEST_P(Synced, ABarrierWaitsForAllAndBreaksWithTheDead) {
  auto barrier = manager.barrier(2);
  EXPECT_EQ(barrier.parties(), 2U);
  auto child = make([](const brood::BarrierProxy& it) { (void)it.wait(); }, barrier);
  child.start();
  EXPECT_LT(barrier.wait(), 2U);
  child.join();
  EXPECT_FALSE(barrier.broken()) << "an orderly end breaks nothing";
  EXPECT_THROW((void)manager.barrier(0), brood::UsageError);

  auto other = manager.barrier(2);
  auto victim = make([](const brood::BarrierProxy& it) { (void)it.wait(); }, other);
  victim.start();
  until([&] { return other.n_waiting() == 1; });
  victim.kill();
  until([&] { return other.broken(); });
  EXPECT_THROW((void)other.wait(), brood::BrokenBarrier);
  other.reset();
  EXPECT_THROW((void)other.wait_for(1ms), brood::BrokenBarrier) << "a timeout breaks it for everybody";
  EXPECT_TRUE(other.broken());
  other.reset();
  other.abort();
  EXPECT_THROW((void)other.wait(), brood::BrokenBarrier);
}

}  // namespace
