#include "brood/barrier.hpp"

#include <atomic>
#include <random>

#include "brood/lock.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using BarrierLadder = Ladder;
using BarrierCrash = Ladder;

TEST_F(BarrierLadder, WaitUntilTakesAnyClock) {
  brood::Barrier barrier(2);
  const auto when = std::chrono::system_clock::now() + 25ms;
  EXPECT_THROW(barrier.wait_until(when), brood::BrokenBarrier);
  EXPECT_GE(std::chrono::system_clock::now(), when);
  barrier.reset();
  const auto steady = std::chrono::steady_clock::now() + 25ms;
  EXPECT_THROW(barrier.wait_until(steady), brood::BrokenBarrier);
  EXPECT_GE(std::chrono::steady_clock::now(), steady);
  barrier.reset();
  EXPECT_THROW(barrier.wait_for(-1h), brood::BrokenBarrier);
  EXPECT_TRUE(barrier.broken());
}

TEST_F(BarrierLadder, HugeTimeoutsDoNotOverflow) {
  brood::Barrier barrier(2, {.timeout = std::chrono::nanoseconds::max()});
  std::thread other([&] { EXPECT_EQ(barrier.wait_for(std::chrono::hours::max()), 0U); });
  await_sleepers(barrier.handle(), 1);
  EXPECT_EQ(barrier.wait(), 1U);
  other.join();
  std::thread again([&] { EXPECT_EQ(barrier.wait_until(std::chrono::steady_clock::time_point::max()), 0U); });
  await_sleepers(barrier.handle(), 1);
  EXPECT_EQ(barrier.wait(), 1U);
  again.join();
}

TEST_F(BarrierLadder, ErrorsSayWhatBrokeIt) {
  expect_error<brood::UsageError>([] { brood::Barrier bad(0); }, {"between 1 and", "0"});
  brood::Barrier barrier(2);
  expect_error<brood::BrokenBarrier>([&] { barrier.wait_for(1ms); }, {barrier.handle().str(), "in time"});
  expect_error<brood::BrokenBarrier>([&] { barrier.wait(); }, {barrier.handle().str(), "reset()"});
}

TEST_F(BarrierLadder, IndicesOfManyPassesAreEachAPermutation) {
  constexpr std::size_t kThreads = 4;
  brood::Barrier barrier(kThreads);
  constexpr int kPasses = 500;
  std::array<std::array<int, kThreads>, kPasses> seen{};
  in_threads(kThreads, [&](std::size_t) {
    for (auto& pass : seen) ++pass[barrier.wait()];  // no two parties write the same place
  });
  for (const auto& pass : seen) {
    for (const int count : pass) ASSERT_EQ(count, 1);
  }
}

std::atomic<int> g_action_runs = 0;
std::atomic<bool> g_action_may_go_on = false;
std::atomic<bool> g_action_has_begun = false;

TEST_F(BarrierLadder, LateArrivalsWaitWhileTheActionRuns) {
  brood::Barrier barrier(1, {.action = [] {
                           g_action_has_begun = true;
                           g_action_runs.fetch_add(1);
                           await([] { return g_action_may_go_on.load(); });
                         }});
  std::thread first([&] { EXPECT_EQ(barrier.wait(), 0U); });
  await([] { return g_action_has_begun.load(); });
  std::thread late([&] { EXPECT_EQ(barrier.wait(), 0U); });
  await_sleepers(barrier.handle(), 1);
  EXPECT_EQ(g_action_runs.load(), 1);
  g_action_may_go_on = true;
  first.join();
  late.join();
  EXPECT_EQ(g_action_runs.load(), 2);
}

TEST_F(BarrierLadder, ActionIsFoundInAForkedChild) {
  g_action_runs = 0;
  brood::Barrier barrier(2, {.action = [] { g_action_runs.fetch_add(1); }});
  Child child([&](Line&) {
    auto mine = brood::Barrier::open(barrier.handle());
    const std::size_t index = mine.wait();
    require(g_action_runs.load() == (index == 1 ? 1 : 0), "the last arriver runs it");
  });
  const std::size_t index = barrier.wait();
  EXPECT_EQ(g_action_runs.load(), index == 1 ? 1 : 0);
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(BarrierLadder, AbortInsideTheActionBreaksThePass) {
  brood::Barrier barrier(2, {.action = [] { throw std::out_of_range("no"); }});
  std::thread other([&] { EXPECT_THROW(barrier.wait(), brood::BrokenBarrier); });
  await_sleepers(barrier.handle(), 1);
  EXPECT_THROW(barrier.wait(), std::out_of_range);
  other.join();
  EXPECT_TRUE(barrier.broken());
}

TEST_F(BarrierLadder, LeaveTakesAPartyOutWithoutBreaking) {
  brood::Barrier barrier(2);
  Child child([&](Line&) {
    auto mine = brood::Barrier::open(barrier.handle());
    mine.wait();
    mine.leave();
    mine.leave();  // again is fine
  });
  barrier.wait();
  EXPECT_EQ(child.wait(), 0);
  EXPECT_FALSE(barrier.broken());
  std::thread other([&] { EXPECT_LT(barrier.wait(), 2U); });
  EXPECT_LT(barrier.wait(), 2U);
  other.join();
}

TEST_F(BarrierLadder, DestroyingTheObjectLeaves) {
  brood::Barrier barrier(2);
  Child child([&](Line&) {
    auto first = brood::Barrier::open(barrier.handle());
    auto second = brood::Barrier::open(barrier.handle());
    first.enrol();
    second.wait();
    brood::Barrier moved(std::move(first));
    moved.enrol();
  });
  barrier.wait();
  EXPECT_EQ(child.wait(), 0);
  EXPECT_FALSE(barrier.broken());
  barrier.reset();
}

TEST_F(BarrierLadder, ThreadsThatEnrolAtOnceEnrolTheirObjectOnce) {
  brood::Barrier barrier(4);
  Child child([&](Line&) {
    constexpr int kRounds = 200;
    for (int round = 0; round < kRounds; ++round) {
      auto mine = brood::Barrier::open(barrier.handle());
      std::atomic<int> ready = 0;
      in_threads(4, [&](std::size_t) {
        ++ready;
        while (ready < 4) std::this_thread::yield();
        mine.wait();
      });
    }
  });
  // Enrolled twice and taken out once, the child's end would be the death of a party.
  EXPECT_EQ(child.wait(), 0);
  in_threads(4, [&](std::size_t) { EXPECT_LT(barrier.wait(), 4U); });
}

TEST_F(BarrierCrash, DeathOfAWaitingPartyBreaksItForAll) {
  brood::Barrier barrier(4);
  Child dies([&](Line&) { barrier.wait(); });
  Child lives([&](Line&) {
    EXPECT_THROW(barrier.wait(), brood::BrokenBarrier);
    barrier.leave();
  });
  std::thread here([&] { EXPECT_THROW(barrier.wait(), brood::BrokenBarrier); });
  await_sleepers(barrier.handle(), 3);
  dies.shoot();
  here.join();
  EXPECT_EQ(lives.wait(), 0);
  EXPECT_TRUE(barrier.broken());
  EXPECT_THROW(barrier.wait(), brood::BrokenBarrier);
  barrier.reset();
  EXPECT_FALSE(barrier.broken());
  std::vector<std::thread> others;
  for (int i = 0; i < 3; ++i) others.emplace_back([&] { EXPECT_LT(barrier.wait(), 4U); });
  EXPECT_LT(barrier.wait(), 4U);
  for (auto& other : others) other.join();
}

TEST_F(BarrierCrash, DeathOfAnEnrolledPartyThatDoesNotWaitBreaksItToo) {
  brood::Barrier barrier(2);
  Child enrolled = victim([&] { barrier.enrol(); });
  std::thread here([&] { EXPECT_THROW(barrier.wait(), brood::BrokenBarrier); });
  await_sleepers(barrier.handle(), 1);
  enrolled.shoot();
  here.join();
  EXPECT_TRUE(barrier.broken());
}

TEST_F(BarrierCrash, DeathBetweenPassesIsNoticedByTheNextWait) {
  brood::Barrier barrier(2);
  Child party([&](Line& line) {
    barrier.wait();
    (void)line.hear();
  });
  EXPECT_LT(barrier.wait(), 2U);
  party.kill();
  EXPECT_THROW(barrier.wait(), brood::BrokenBarrier);
  barrier.reset();
}

TEST_F(BarrierCrash, NormalExitWithoutLeavingIsADeath) {
  brood::Barrier barrier(2);
  Child party([&](Line& line) {
    barrier.enrol();
    line.say('e');
    line.expect();
  });
  party.line.expect('e');
  std::thread here([&] { EXPECT_THROW(barrier.wait(), brood::BrokenBarrier); });
  await_sleepers(barrier.handle(), 1);
  party.line.say();
  EXPECT_EQ(party.wait(), 0);
  here.join();
}

TEST_F(BarrierCrash, OutsidersMayDie) {
  brood::Barrier barrier(2);
  victim([&] { (void)barrier.n_waiting(); }).kill();
  std::thread other([&] { EXPECT_LT(barrier.wait(), 2U); });
  EXPECT_LT(barrier.wait(), 2U);
  other.join();
  EXPECT_FALSE(barrier.broken());
}

TEST_F(BarrierCrash, StoppedPartyIsNotDead) {
  brood::Barrier barrier(2);
  Child party([&](Line&) {
    barrier.wait();
    barrier.leave();
  });
  await_sleepers(barrier.handle(), 1);
  party.stop();
  std::thread lock_user([] {
    brood::Lock lock;
    EXPECT_TRUE(lock.try_lock_for(1h));
    lock.unlock();
  });
  lock_user.join();
  EXPECT_FALSE(barrier.broken());
  EXPECT_EQ(barrier.n_waiting(), 1U);
  EXPECT_EQ(barrier.wait(), 1U);  // the stopped one has arrived
  party.resume();
  EXPECT_EQ(party.wait(), 0);
  EXPECT_FALSE(barrier.broken());
}

TEST_F(BarrierCrash, LastArriverKilledInTheActionBreaksIt) {
  brood::Barrier barrier(2, {.action = [] { ::raise(SIGKILL); }});
  Child last([&](Line& line) {
    line.expect();
    barrier.wait();
  });
  std::thread here([&] { EXPECT_THROW(barrier.wait(), brood::BrokenBarrier); });
  await_sleepers(barrier.handle(), 1);
  last.line.say();
  here.join();
  EXPECT_EQ(last.wait(), -SIGKILL);
  EXPECT_TRUE(barrier.broken());
}

TEST_F(BarrierCrash, LateArrivalIsToldWhenTheLastArriverDiesInTheAction) {
  brood::Barrier barrier(1, {.action = [] { ::pause(); }});
  Child last([&](Line& line) {
    line.say('r');
    barrier.wait();
  });
  last.line.expect('r');
  await([&] { return barrier.n_waiting() == 1; });
  std::thread late([&] { EXPECT_THROW(barrier.wait(), brood::BrokenBarrier); });
  await_sleepers(barrier.handle(), 1);
  last.shoot();
  late.join();
  EXPECT_TRUE(barrier.broken());
}

TEST_F(BarrierCrash, KilledAtAnyMomentOfAPassNobodyHangs) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  for (int round = 0; round < 25; ++round) {
    brood::Barrier barrier(3);
    std::vector<Child> children;
    for (int i = 0; i < 3; ++i) {
      children.emplace_back([&](Line& line) {
        barrier.enrol();  // who dies before that is nobody to the barrier
        line.say('r');
        try {
          for (;;) barrier.wait();
        } catch (const brood::BrokenBarrier&) {
          barrier.leave();
        }
      });
    }
    for (auto& child : children) child.line.expect('r');
    for (auto i = random() % 4000; i > 0; --i) (void)barrier.broken();
    children[0].shoot();
    EXPECT_EQ(children[1].wait(), 0) << "round " << round;
    EXPECT_EQ(children[2].wait(), 0) << "round " << round;
    children[0].kill();
    EXPECT_TRUE(barrier.broken());
    barrier.reset();
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) threads.emplace_back([&] { EXPECT_LT(barrier.wait(), 3U); });
    EXPECT_LT(barrier.wait(), 3U);
    for (auto& thread : threads) thread.join();
  }
}

}  // namespace
}  // namespace ladder
