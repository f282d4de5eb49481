// Many objects, many holders, few descriptors.
#include <sys/resource.h>

#include <deque>
#include <list>

#include "brood/domain.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "support/inspect.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using Scale = Ladder;

TEST_F(Scale, TenThousandLocksEachLockedInTurn) {
  std::deque<brood::Lock> locks;
  for (int i = 0; i < 10000; ++i) locks.emplace_back();
  for (auto& lock : locks) {
    lock.lock();
    EXPECT_TRUE(lock.locked());
    lock.unlock();
  }
  EXPECT_EQ(support::files_below(support::test_domain()).size(), 10000U + 1);  // and the registry
}

TEST_F(Scale, ThreeThousandLocksHeldAtOnceAllComeBackAfterAKill) {
  std::deque<brood::Lock> locks;
  for (int i = 0; i < 3000; ++i)
    locks.emplace_back(
        brood::LockOptions{.on_owner_death = i % 2 == 0 ? brood::OwnerDeath::report : brood::OwnerDeath::heal});
  Child holder = victim([&] {
    for (auto& lock : locks) lock.lock();
  });
  for (auto& lock : locks) ASSERT_FALSE(lock.try_lock());
  holder.shoot();
  for (std::size_t i = 0; i < locks.size(); ++i) {
    if (i % 2 == 0) {
      ASSERT_THROW(locks[i].lock(), brood::OwnerDied);
      ASSERT_TRUE(locks[i].recover([] {}));
    }
    locks[i].lock();
    locks[i].unlock();
  }
}

TEST_F(Scale, TwoThousandObjectsOpenUnder256Descriptors) {
  std::list<brood::Event> events;
  Child child([&](Line&) {
    const rlimit limit{256, 256};
    require(::setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    std::list<brood::Event> mine;
    for (int i = 0; i < 1000; ++i) mine.emplace_back();
    std::list<brood::Event> again;
    for (const auto& event : mine) again.push_back(brood::Event::open(event.handle()));
    for (auto& event : mine) event.set();
    for (const auto& event : again) require(event.is_set(), "set");
    brood::Queue<brood::Event> queue;
    for (const auto& event : mine) queue.put(event);
    for (int i = 0; i < 1000; ++i) require(queue.get().is_set(), "set");
  });
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(Scale, ADeathAmongManySleepersWakesAllAndAllSleepAgain) {
  brood::Event event;
  std::vector<Child> sleepers;
  for (int i = 0; i < 10; ++i) {
    sleepers.emplace_back([&](Line&) { in_threads(10, [&](std::size_t) { event.wait(); }); });
  }
  await_sleepers(event.handle(), 100);
  for (int i = 0; i < 5; ++i) victim([] { (void)brood::gc(); }).kill();
  await_sleepers(event.handle(), 100);
  event.set();
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper.wait(), 0);
}

TEST_F(Scale, TenMillionItemsDeep) {
  brood::Queue<int> queue;
  constexpr int kItems = 10'000'000;
  for (int i = 0; i < kItems; ++i) queue.put(i);
  EXPECT_EQ(queue.qsize(), static_cast<std::size_t>(kItems));
  for (int i = 0; i < kItems; ++i) {
    if (queue.get() != i) FAIL() << "item " << i;
  }
  EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace ladder
