#include "brood/lock.hpp"

#include <sys/mman.h>

#include <concepts>
#include <mutex>
#include <optional>
#include <random>

#include "brood/rlock.hpp"
#include "support/tsan.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

template <class L>
concept BasicLockable = requires(L lock) {
  { lock.lock() } -> std::same_as<void>;
  { lock.unlock() } -> std::same_as<void>;
};
template <class L>
concept Lockable = BasicLockable<L> && requires(L lock) {
  { lock.try_lock() } -> std::same_as<bool>;
};
template <class L>
concept TimedLockable = Lockable<L> && requires(L lock) {
  { lock.try_lock_for(1ms) } -> std::same_as<bool>;
  { lock.try_lock_until(std::chrono::steady_clock::now()) } -> std::same_as<bool>;
};
static_assert(TimedLockable<brood::Lock> && TimedLockable<brood::RLock>);

template <class L>
class EitherLock : public support::NoLeaks {};
using Locks = ::testing::Types<brood::Lock, brood::RLock>;
TYPED_TEST_SUITE(EitherLock, Locks);

TYPED_TEST(EitherLock, WorksWithTheStandardGuards) {
  TypeParam first;
  TypeParam second;
  {
    const std::scoped_lock both(first, second);
    EXPECT_TRUE(first.locked());
    EXPECT_TRUE(second.locked());
  }
  {
    const std::unique_lock guard(first, 100ms);
    EXPECT_TRUE(guard.owns_lock());
  }
  {
    const std::unique_lock guard(first, std::chrono::system_clock::now() + 1h);
    EXPECT_TRUE(guard.owns_lock());
  }
  {
    const std::unique_lock guard(first, std::try_to_lock);
    EXPECT_TRUE(guard.owns_lock());
  }
  EXPECT_EQ(std::try_lock(first, second), -1);
  first.unlock();
  second.unlock();
  EXPECT_FALSE(first.locked());
}

TYPED_TEST(EitherLock, TwoScopedLocksInOppositeOrderDoNotDeadlock) {
  TypeParam first;
  TypeParam second;
  long sum = 0;
  in_threads(4, [&](std::size_t i) {
    for (int round = 0; round < 200; ++round) {
      if (i % 2 == 0) {
        const std::scoped_lock both(first, second);
        ++sum;
      } else {
        const std::scoped_lock both(second, first);
        ++sum;
      }
    }
  });
  EXPECT_EQ(sum, 800);
}

TYPED_TEST(EitherLock, TimedAttemptsLastTheirWholeTimeout) {
  TypeParam lock;
  lock.lock();
  std::thread([&] {
    EXPECT_FALSE(lock.try_lock());
    {
      const Stopwatch watch;
      EXPECT_FALSE(lock.try_lock_for(30ms));
      EXPECT_GE(watch.elapsed(), 30ms);
    }
    {
      const auto when = std::chrono::steady_clock::now() + 30ms;
      EXPECT_FALSE(lock.try_lock_until(when));
      EXPECT_GE(std::chrono::steady_clock::now(), when);
    }
    {
      const auto when = std::chrono::system_clock::now() + 30ms;
      EXPECT_FALSE(lock.try_lock_until(when));
      EXPECT_GE(std::chrono::system_clock::now(), when);
    }
    EXPECT_FALSE(lock.try_lock_until(std::chrono::system_clock::time_point::min()));
    EXPECT_FALSE(lock.try_lock_for(std::chrono::duration<double>(-1e300)));
  }).join();
  lock.unlock();
  EXPECT_TRUE(lock.try_lock_until(std::chrono::system_clock::time_point::max()));
  lock.unlock();
  EXPECT_TRUE(lock.try_lock_until(std::chrono::steady_clock::time_point::max()));
  lock.unlock();
}

TYPED_TEST(EitherLock, HugeTimeoutsDoNotOverflowWhileWaiting) {
  TypeParam lock;
  lock.lock();
  std::thread waiter([&] {
    EXPECT_TRUE(lock.try_lock_for(std::chrono::hours::max()));
    lock.unlock();
    EXPECT_TRUE(lock.try_lock_for(std::chrono::duration<double>(1e300)));
    lock.unlock();
  });
  await_sleepers(lock.handle(), 1);
  lock.unlock();
  waiter.join();
}

TYPED_TEST(EitherLock, SumsUnderContentionOfThreads) {
  TypeParam lock;
  long sum = 0;
  constexpr int kThreads = 4;
  constexpr int kRounds = 5000;
  in_threads(kThreads, [&](std::size_t i) {
    // An object of its own for every thread; under the thread sanitizer, which does not know that two mappings are one
    // memory, the same one.
    std::optional<TypeParam> opened;
    if (!SUPPORT_TSAN) opened = TypeParam::open(lock.handle());
    TypeParam& mine = opened ? *opened : lock;
    for (int round = 0; round < kRounds; ++round) {
      if ((round + static_cast<int>(i)) % 7 == 0) {
        while (!mine.try_lock_for(1ms)) {}
      } else {
        mine.lock();
      }
      ++sum;
      mine.unlock();
    }
  });
  EXPECT_EQ(sum, kThreads * kRounds);
  EXPECT_FALSE(lock.locked());
}

/// Timed attempts that fail at random moments must not swallow a wake-up meant for others.
TYPED_TEST(EitherLock, TimeoutsAmongSleepersLoseNoWakeUp) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  TypeParam lock;
  long sum = 0;
  in_threads(6, [&](std::size_t i) {
    std::mt19937 random(seed + static_cast<unsigned>(i));
    for (int round = 0; round < 300; ++round) {
      if (i < 3) {
        lock.lock();
      } else if (!lock.try_lock_for(std::chrono::microseconds(random() % 200))) {
        continue;
      }
      ++sum;
      lock.unlock();
    }
  });
  EXPECT_GE(sum, 900);
  EXPECT_FALSE(lock.locked());
}

TYPED_TEST(EitherLock, SumsUnderContentionOfProcesses) {
  TypeParam lock;
  constexpr int kChildren = 3;
  constexpr int kRounds = 3000;
  auto* sum = static_cast<long*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  {
    std::vector<Child> children;
    for (int i = 0; i < kChildren; ++i) {
      children.emplace_back([&](Line&) {
        for (int round = 0; round < kRounds; ++round) {
          const std::scoped_lock guard(lock);
          *sum = *sum + 1;
        }
      });
    }
    for (auto& child : children) EXPECT_EQ(child.wait(), 0);
  }
  EXPECT_EQ(*sum, long{kChildren} * kRounds);
  ::munmap(sum, 4096);
}

using LockLadder = Ladder;
using RLockLadder = Ladder;

TEST_F(LockLadder, ReleasingWhatIsFreeIsMisuseAndNamesTheLock) {
  brood::Lock lock;
  expect_error<brood::ReleasedTooOften>([&] { lock.unlock(); }, {lock.handle().str(), "nobody holds"});
  const brood::UsageError* base = nullptr;
  try {
    lock.unlock();
  } catch (const brood::UsageError& error) {
    base = &error;
  }
  EXPECT_NE(base, nullptr);  // misuse is one family
}

TEST_F(LockLadder, FirstActOfAProcessMayBeToReleaseAnothersLock) {
  brood::Lock lock;
  lock.lock();
  std::thread sleeper([&] {
    lock.lock();
    lock.unlock();
  });
  await_sleepers(lock.handle(), 1);
  Child child([&](Line&) { lock.unlock(); });
  EXPECT_EQ(child.wait(), 0);
  sleeper.join();
}

TEST_F(RLockLadder, FirstActOfAProcessMayBeAMistake) {
  brood::RLock lock;
  lock.lock();
  Child child([&](Line&) { expect_error<brood::NotOwner>([&] { lock.unlock(); }, {"MainProcess"}); });
  EXPECT_EQ(child.wait(), 0);
  lock.unlock();
}

TEST_F(RLockLadder, ReleaseByAnotherThreadNamesTheOwner) {
  brood::RLock lock;
  lock.lock();
  std::thread([&] {
    expect_error<brood::NotOwner>([&] { lock.unlock(); }, {lock.handle().str(), "does not hold", "another thread of"});
  }).join();
  lock.unlock();
  expect_error<brood::NotOwner>([&] { lock.unlock(); }, {lock.handle().str(), "none"});
}

TEST_F(RLockLadder, DepthIsTheCallersOwn) {
  brood::RLock lock;
  lock.lock();
  EXPECT_TRUE(lock.try_lock_for(-1s));  // taking it again needs no wait
  EXPECT_EQ(lock.depth(), 2U);
  std::thread([&] { EXPECT_EQ(lock.depth(), 0U); }).join();
  auto again = brood::RLock::open(lock.handle());
  EXPECT_EQ(again.depth(), 2U);  // the owner is the thread, not the object
  again.unlock();
  EXPECT_EQ(lock.depth(), 1U);
  lock.unlock();
}

TEST_F(LockLadder, OpenOrCreateKeepsTheOptionsOfTheExisting) {
  auto healing = brood::Lock::create("ladder.heals", {.on_owner_death = brood::OwnerDeath::heal});
  auto same = brood::Lock::open_or_create("ladder.heals", {.on_owner_death = brood::OwnerDeath::report});
  victim([&] { same.lock(); }).kill();
  same.lock();
  same.unlock();
  EXPECT_TRUE(brood::Lock::remove("ladder.heals"));
}

}  // namespace
}  // namespace ladder
