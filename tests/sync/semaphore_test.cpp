#include "brood/semaphore.hpp"

#include <memory>
#include <optional>
#include <random>

#include "sync/ladder.hpp"

namespace ladder {
namespace {

template <class S>
class EitherSemaphore : public support::NoLeaks {};
using Semaphores = ::testing::Types<brood::Semaphore, brood::BoundedSemaphore>;
TYPED_TEST_SUITE(EitherSemaphore, Semaphores);

TYPED_TEST(EitherSemaphore, AttemptsOfAllForms) {
  TypeParam semaphore(1);
  EXPECT_TRUE(semaphore.try_acquire());
  EXPECT_FALSE(semaphore.try_acquire());
  EXPECT_FALSE(semaphore.try_acquire_for(-1h));
  {
    const Stopwatch watch;
    EXPECT_FALSE(semaphore.try_acquire_for(25ms));
    EXPECT_GE(watch.elapsed(), 25ms);
  }
  {
    const auto when = std::chrono::system_clock::now() + 25ms;
    EXPECT_FALSE(semaphore.try_acquire_until(when));
    EXPECT_GE(std::chrono::system_clock::now(), when);
  }
  EXPECT_FALSE(semaphore.try_acquire_until(std::chrono::steady_clock::time_point::min()));
  semaphore.release();
  EXPECT_TRUE(semaphore.try_acquire_until(std::chrono::steady_clock::time_point::max()));
  semaphore.release();
  EXPECT_TRUE(semaphore.try_acquire_for(std::chrono::hours::max()));
  semaphore.release();
  EXPECT_EQ(semaphore.get_value(), 1);
}

TYPED_TEST(EitherSemaphore, ErrorsSayWhatWasExpectedAndFound) {
  expect_error<brood::UsageError>([] { TypeParam bad(-7); }, {"between 0 and 2147483647", "-7"});
  expect_error<brood::UsageError>([] { TypeParam bad(std::int64_t{1} << 40); }, {"2147483647", "1099511627776"});
  expect_error<brood::UsageError>([] { (void)TypeParam::create("ladder.negative", -1); }, {"-1"});
  EXPECT_FALSE(TypeParam::remove("ladder.negative"));
}

TYPED_TEST(EitherSemaphore, SleepersWakeOneByOne) {
  TypeParam semaphore(3);
  for (int i = 0; i < 3; ++i) semaphore.acquire();
  std::atomic<int> through = 0;
  std::vector<std::thread> sleepers;
  for (int i = 0; i < 3; ++i) {
    sleepers.emplace_back([&] {
      semaphore.acquire();
      through.fetch_add(1);
    });
  }
  await_sleepers(semaphore.handle(), 3);
  for (int i = 1; i <= 3; ++i) {
    semaphore.release();
    await([&] { return through.load() == i; });
    await_sleepers(semaphore.handle(), static_cast<std::size_t>(3 - i));
  }
  for (auto& sleeper : sleepers) sleeper.join();
  EXPECT_EQ(semaphore.get_value(), 0);
}

TYPED_TEST(EitherSemaphore, NeverMoreInsideThanUnits) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  constexpr int kUnits = 3;
  TypeParam semaphore(kUnits);
  std::atomic<int> inside = 0;
  std::atomic<int> most = 0;
  in_threads(6, [&](std::size_t i) {
    std::mt19937 random(seed + static_cast<unsigned>(i));
    for (int round = 0; round < 1500; ++round) {
      if (random() % 3 == 0) {
        if (!semaphore.try_acquire_for(std::chrono::microseconds(random() % 100))) continue;
      } else {
        semaphore.acquire();
      }
      const int now = inside.fetch_add(1) + 1;
      for (int seen = most.load(); now > seen && !most.compare_exchange_weak(seen, now);) {}
      inside.fetch_sub(1);
      semaphore.release();
    }
  });
  EXPECT_LE(most.load(), kUnits);
  EXPECT_EQ(semaphore.get_value(), kUnits);
}

TYPED_TEST(EitherSemaphore, BetweenProcessesEveryUnitComesThrough) {
  TypeParam items(5);
  for (int i = 0; i < 5; ++i) items.acquire();
  brood::Semaphore done(0);
  std::vector<Child> children;
  for (int i = 0; i < 3; ++i) {
    children.emplace_back([&](Line& line) {
      for (int round = 0; round < 400; ++round) {
        items.acquire();
        done.release();
      }
      line.expect();  // what a bounded one's taker holds at its end comes back, and would be given twice
    });
  }
  Child giver([&](Line&) {
    for (int round = 0; round < 1200; ++round) {
      // A bounded one cannot be released above its bound: wait until somebody has taken.
      for (;;) {
        try {
          items.release();
          break;
        } catch (const brood::ReleasedTooOften&) {
          ::sched_yield();
        }
      }
    }
  });
  for (int i = 0; i < 1200; ++i) done.acquire();
  EXPECT_EQ(giver.wait(), 0);
  for (auto& child : children) {
    child.line.say();
    EXPECT_EQ(child.wait(), 0);
  }
}

using SemaphoreLadder = Ladder;

TEST_F(SemaphoreLadder, PrintedFormHasTheValue) {
  const brood::Semaphore plain(4);
  EXPECT_EQ(printed(plain), "<Semaphore " + plain.handle().str() + " value=4>");
  const brood::BoundedSemaphore bounded(2);
  EXPECT_EQ(printed(bounded), "<BoundedSemaphore " + bounded.handle().str() + " value=2>");
}

TEST_F(SemaphoreLadder, ReleaseAtTheCeilingNamesItAndChangesNothing) {
  brood::Semaphore full(brood::Semaphore::kMaxValue);
  expect_error<brood::ReleasedTooOften>([&] { full.release(); }, {full.handle().str(), "2147483647"});
  brood::BoundedSemaphore bounded(1);
  expect_error<brood::ReleasedTooOften>([&] { bounded.release(); }, {bounded.handle().str(), "all in"});
  EXPECT_EQ(bounded.get_value(), 1);
}

TEST_F(SemaphoreLadder, BoundIsCheckedInOneStepWithTheRelease) {
  brood::BoundedSemaphore semaphore(1);
  for (int round = 0; round < 200; ++round) {
    semaphore.acquire();
    std::atomic<int> accepted = 0;
    in_threads(3, [&](std::size_t) {
      try {
        semaphore.release();
        accepted.fetch_add(1);
      } catch (const brood::ReleasedTooOften&) {}
    });
    ASSERT_EQ(accepted.load(), 1);
    ASSERT_EQ(semaphore.get_value(), 1);
  }
}

TEST_F(SemaphoreLadder, BoundedUnitMayBeReleasedByAnotherProcess) {
  brood::BoundedSemaphore semaphore(2);
  semaphore.acquire();
  semaphore.acquire();
  Child other([&](Line&) { semaphore.release(); });
  EXPECT_EQ(other.wait(), 0);
  EXPECT_EQ(semaphore.get_value(), 1);
  semaphore.release();
  EXPECT_EQ(semaphore.get_value(), 2);
  EXPECT_THROW(semaphore.release(), brood::ReleasedTooOften);
}

TEST_F(SemaphoreLadder, PermitIsHeldByScope) {
  brood::Semaphore semaphore(2);
  {
    const brood::Permit first(semaphore);
    auto second = semaphore.try_permit();
    ASSERT_TRUE(second);
    EXPECT_EQ(semaphore.get_value(), 0);
    EXPECT_FALSE(semaphore.try_permit());
    const Stopwatch watch;
    EXPECT_FALSE(semaphore.try_permit_for(20ms));
    EXPECT_GE(watch.elapsed(), 20ms);
    brood::Permit moved(*std::move(second));
    moved.release();
    EXPECT_EQ(semaphore.get_value(), 1);
    EXPECT_THROW(moved.release(), brood::ReleasedTooOften);
    EXPECT_THROW(second->release(), brood::ReleasedTooOften);
  }
  EXPECT_EQ(semaphore.get_value(), 2);
}

TEST_F(SemaphoreLadder, MoveAssignedPermitGivesItsOldUnitBack) {
  brood::Semaphore first(1);
  brood::Semaphore second(1);
  brood::Permit permit(first);
  permit = brood::Permit(second);
  EXPECT_EQ(first.get_value(), 1);
  EXPECT_EQ(second.get_value(), 0);
  permit.release();
  EXPECT_EQ(second.get_value(), 1);
}

TEST_F(SemaphoreLadder, ForkedChildDoesNotGiveItsParentsPermitBack) {
  brood::Semaphore semaphore(1);
  auto permit = std::make_unique<brood::Permit>(semaphore);
  Child child([&](Line&) {
    EXPECT_THROW(permit->release(), brood::ReleasedTooOften);
    permit.reset();
    EXPECT_EQ(semaphore.get_value(), 0);
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(semaphore.get_value(), 0);
  permit.reset();
  EXPECT_EQ(semaphore.get_value(), 1);
}

using SemaphoreCrash = Ladder;

TEST_F(SemaphoreCrash, UnitsOfADeadBoundedHolderReturnAndSleepersWake) {
  brood::BoundedSemaphore semaphore(3);
  Child holder = victim([&] {
    for (int i = 0; i < 3; ++i) semaphore.acquire();
  });
  EXPECT_EQ(semaphore.get_value(), 0);
  std::vector<Child> sleepers;
  for (int i = 0; i < 3; ++i) {
    sleepers.emplace_back([&](Line& line) {
      semaphore.acquire();
      line.say('h');
      (void)line.hear();
    });
  }
  await_sleepers(semaphore.handle(), 3);
  holder.shoot();
  for (auto& sleeper : sleepers) sleeper.line.expect('h');
  EXPECT_EQ(semaphore.get_value(), 0);
  for (auto& sleeper : sleepers) sleeper.kill();
  for (int i = 0; i < 3; ++i) semaphore.acquire();
  for (int i = 0; i < 3; ++i) semaphore.release();
  EXPECT_EQ(semaphore.get_value(), 3);
  EXPECT_THROW(semaphore.release(), brood::ReleasedTooOften);
}

TEST_F(SemaphoreCrash, PermitOfTheDeadReturnsButABareUnitDoesNot) {
  brood::Semaphore semaphore(2);
  Child holder = victim([&] {
    semaphore.acquire();  // anybody may release it: nobody can know that it was not meant so
    static brood::Permit permit(semaphore);
  });
  EXPECT_EQ(semaphore.get_value(), 0);
  Child sleeper([&](Line&) {
    semaphore.acquire();
    semaphore.release();
  });
  await_sleepers(semaphore.handle(), 1);
  holder.kill();
  EXPECT_EQ(sleeper.wait(), 0);
  EXPECT_EQ(semaphore.get_value(), 1);
}

TEST_F(SemaphoreCrash, NormalExitWhileHoldingReturnsThemToo) {
  brood::BoundedSemaphore semaphore(2);
  Child holder([&](Line& line) {
    semaphore.acquire();
    semaphore.acquire();
    line.say('h');
    line.expect();
  });
  holder.line.expect('h');
  Child sleeper([&](Line&) {
    semaphore.acquire();
    semaphore.release();
  });
  await_sleepers(semaphore.handle(), 1);
  holder.line.say();
  EXPECT_EQ(sleeper.wait(), 0);
  EXPECT_EQ(holder.wait(), 0);
  EXPECT_EQ(semaphore.get_value(), 2);
}

TEST_F(SemaphoreCrash, DeadSleeperTakesNoUnitAndLosesNoWakeUp) {
  brood::Semaphore semaphore(0);
  for (int round = 0; round < 20; ++round) {
    Child first([&](Line&) { semaphore.acquire(); });
    await_sleepers(semaphore.handle(), 1);
    Child second([&](Line&) { semaphore.acquire(); });
    await_sleepers(semaphore.handle(), 2);
    first.stop();  // it can be woken, but not act on it
    semaphore.release();
    first.shoot();
    EXPECT_EQ(second.wait(), 0) << "round " << round;
    first.kill();
    EXPECT_EQ(semaphore.get_value(), 0);
  }
}

TEST_F(SemaphoreCrash, UnitsAlwaysAddUpWhileHoldersAreKilled) {
  constexpr int kUnits = 4;
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  brood::BoundedSemaphore semaphore(kUnits);
  for (int round = 0; round < 30; ++round) {
    std::vector<Child> children;
    for (int i = 0; i < 3; ++i) {
      children.emplace_back([&](Line& line) {
        line.say('r');
        for (;;) {
          semaphore.acquire();
          semaphore.release();
        }
      });
    }
    for (auto& child : children) child.line.expect('r');
    for (auto i = random() % 300; i > 0; --i) {
      semaphore.acquire();
      semaphore.release();
    }
    for (auto& child : children) child.shoot();
    for (int i = 0; i < kUnits; ++i) semaphore.acquire();  // all of them come back
    EXPECT_FALSE(semaphore.try_acquire());
    for (int i = 0; i < kUnits; ++i) semaphore.release();
    EXPECT_THROW(semaphore.release(), brood::ReleasedTooOften);
    ASSERT_EQ(semaphore.get_value(), kUnits) << "round " << round;
  }
}

}  // namespace
}  // namespace ladder
