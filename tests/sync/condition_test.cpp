#include "brood/condition.hpp"

#include <mutex>
#include <random>

#include "brood/semaphore.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

template <class L>
class ConditionWith : public support::NoLeaks {};
using Locks = ::testing::Types<brood::Lock, brood::RLock>;
TYPED_TEST_SUITE(ConditionWith, Locks);

TYPED_TEST(ConditionWith, WaitForms) {
  brood::Condition condition;
  TypeParam lock;
  std::unique_lock guard(lock);
  EXPECT_EQ(condition.wait_for(guard, -1h), std::cv_status::timeout);
  {
    const Stopwatch watch;
    EXPECT_EQ(condition.wait_for(guard, 25ms), std::cv_status::timeout);
    EXPECT_GE(watch.elapsed(), 25ms);
  }
  {
    const auto when = std::chrono::system_clock::now() + 25ms;
    EXPECT_EQ(condition.wait_until(guard, when), std::cv_status::timeout);
    EXPECT_GE(std::chrono::system_clock::now(), when);
  }
  EXPECT_FALSE(condition.wait_until(guard, std::chrono::system_clock::now() + 5ms, [] { return false; }));
  EXPECT_TRUE(condition.wait_until(guard, std::chrono::steady_clock::time_point::min(), [] { return true; }));
  EXPECT_TRUE(guard.owns_lock());
  EXPECT_EQ(printed(condition), "<Condition " + condition.handle().str() + " waiters=0>");
}

TYPED_TEST(ConditionWith, GuardThatHoldsNothingIsMisuse) {
  brood::Condition condition;
  TypeParam lock;
  std::unique_lock unowned(lock, std::defer_lock);
  expect_error<brood::NotOwner>([&] { condition.wait(unowned); }, {condition.handle().str(), "does not hold"});
  expect_error<brood::NotOwner>([&] { (void)condition.wait_for(unowned, 1ms); }, {"does not hold"});
  EXPECT_EQ(printed(condition), "<Condition " + condition.handle().str() + " waiters=0>");
}

TYPED_TEST(ConditionWith, NotifyWakesInOrderOfArrival) {
  brood::Condition condition;
  TypeParam lock;
  std::vector<int> order;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      std::unique_lock guard(lock);
      condition.wait(guard);
      order.push_back(i);
    });
    await_sleepers(condition.handle(), static_cast<std::size_t>(i + 1));
  }
  EXPECT_EQ(printed(condition), "<Condition " + condition.handle().str() + " waiters=4>");
  for (std::size_t i = 0; i < 4; ++i) {
    condition.notify_one();
    await([&] {
      const std::scoped_lock guard(lock);
      return order.size() == i + 1;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
}

/// A hand-made bounded buffer: the classic use, with timeouts mixed in.
TYPED_TEST(ConditionWith, BoundedBufferKeepsItsSum) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  brood::Condition not_empty;
  brood::Condition not_full;
  TypeParam lock;
  int filled = 0;
  long taken = 0;
  constexpr int kEach = 600;
  in_threads(6, [&](std::size_t i) {
    std::mt19937 random(seed + static_cast<unsigned>(i));
    for (int round = 0; round < kEach; ++round) {
      std::unique_lock guard(lock);
      if (i % 2 == 0) {
        not_full.wait(guard, [&] { return filled < 3; });
        ++filled;
        guard.unlock();
        not_empty.notify_one();
      } else {
        while (!not_empty.wait_for(guard, std::chrono::microseconds(random() % 300), [&] { return filled > 0; })) {}
        --filled;
        ++taken;
        guard.unlock();
        not_full.notify_one();
      }
    }
  });
  EXPECT_EQ(filled, 0);
  EXPECT_EQ(taken, 3L * kEach);
}

/// A child that waits on the condition and says what came of it.
template <class L>
Child waiter(brood::Condition& condition, L& lock) {
  return Child([&](Line& line) {
    std::unique_lock guard(lock);
    condition.wait(guard);
    line.say('w');
  });
}

TYPED_TEST(ConditionWith, DeadWaitersAreSkipped) {
  brood::Condition condition;
  TypeParam lock;
  Child first = waiter(condition, lock);
  await_sleepers(condition.handle(), 1);
  Child second = waiter(condition, lock);
  await_sleepers(condition.handle(), 2);
  first.kill();
  await_sleepers(condition.handle(), 1);
  condition.notify_one();
  second.line.expect('w');
  EXPECT_EQ(second.wait(), 0);
  condition.notify_one();  // the dead counts for nothing
  condition.notify_all();
  std::unique_lock guard(lock);
  EXPECT_EQ(condition.wait_for(guard, 5ms), std::cv_status::timeout);
}

TYPED_TEST(ConditionWith, NotificationOfADeadWaiterPassesOn) {
  for (int round = 0; round < 20; ++round) {
    brood::Condition condition;
    TypeParam lock;
    Child first = waiter(condition, lock);
    await_sleepers(condition.handle(), 1);
    Child second = waiter(condition, lock);
    await_sleepers(condition.handle(), 2);
    first.stop();
    condition.notify_one();  // goes to the first, who cannot act on it
    first.shoot();
    second.line.expect('w');
    EXPECT_EQ(second.wait(), 0) << "round " << round;
  }
}

TYPED_TEST(ConditionWith, WaiterKilledWhileItTakesTheLockAgainPassesItsNotificationOn) {
  brood::Condition condition;
  TypeParam lock;
  Child first = waiter(condition, lock);
  await_sleepers(condition.handle(), 1);
  Child second = waiter(condition, lock);
  await_sleepers(condition.handle(), 2);
  {
    const std::scoped_lock guard(lock);
    condition.notify_one();
    await_sleepers(lock.handle(), 1);  // the first has been woken and waits for the lock
    first.kill();
    await_sleepers(condition.handle(), 0);  // so the second is woken instead
  }
  second.line.expect('w');
  EXPECT_EQ(second.wait(), 0);
}

/// What a dead waiter was notified of is not for those who came after the notify: that would be a spurious wake-up.
TYPED_TEST(ConditionWith, NotificationOfADeadWaiterIsNotForLaterOnes) {
  for (const bool all : {false, true}) {
    brood::Condition condition;
    TypeParam lock;
    Child first = waiter(condition, lock);
    await_sleepers(condition.handle(), 1);
    first.stop();
    all ? condition.notify_all() : condition.notify_one();
    first.kill();
    Child later = waiter(condition, lock);
    await_sleepers(condition.handle(), 1);
    victim([] {
      brood::Lock joins;
      joins.lock();
      joins.unlock();
    }).kill();  // another death: everybody looks again
    await_sleepers(condition.handle(), 1);
    condition.notify_one();
    later.line.expect('w');
    EXPECT_EQ(later.wait(), 0);
  }
}

TYPED_TEST(ConditionWith, OwnersDeathIsThrownFromWaitAndTheGuardOwnsNothing) {
  brood::Condition condition;
  TypeParam lock;
  Child sleeper([&](Line&) {
    std::unique_lock guard(lock);
    EXPECT_THROW(condition.wait(guard), brood::OwnerDied);
    EXPECT_FALSE(guard.owns_lock());
  });
  await_sleepers(condition.handle(), 1);
  Child owner = victim([&] { lock.lock(); });
  condition.notify_one();
  await_sleepers(lock.handle(), 1);
  owner.shoot();
  EXPECT_EQ(sleeper.wait(), 0);
  EXPECT_TRUE(lock.recover([] {}));
}

TYPED_TEST(ConditionWith, StoppedWaiterActsWhenItGoesOn) {
  brood::Condition condition;
  TypeParam lock;
  Child sleeper = waiter(condition, lock);
  await_sleepers(condition.handle(), 1);
  sleeper.stop();
  condition.notify_all();
  sleeper.resume();
  sleeper.line.expect('w');
  EXPECT_EQ(sleeper.wait(), 0);
}

TYPED_TEST(ConditionWith, NotifierKilledAtAnyMomentLeavesASoundTable) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  for (int round = 0; round < 25; ++round) {
    brood::Condition condition;
    TypeParam lock;
    std::vector<Child> sleepers;
    for (int i = 0; i < 3; ++i) sleepers.push_back(waiter(condition, lock));
    await_sleepers(condition.handle(), 3);
    Child notifier([&](Line& line) {
      line.say('r');
      condition.notify_all();
      (void)line.hear();
    });
    notifier.line.expect('r');
    for (auto i = random() % 3000; i > 0; --i) (void)condition.handle();
    notifier.kill();
    condition.notify_all();
    for (auto& sleeper : sleepers) EXPECT_EQ(sleeper.wait(), 0) << "round " << round;
  }
}

}  // namespace
}  // namespace ladder
