// CPython's _TestBarrier, and the BAR rows.
#include "brood/barrier.hpp"

#include <functional>

#include "brood/error.hpp"
#include "brood/event.hpp"
#include "brood/semaphore.hpp"
#include "brood/value.hpp"
#include "conformance/bodies.hpp"

namespace conformance {
namespace {

constexpr long kParties = 5;

class BarrierConformance : public Bodies {
 protected:
  /// Runs the same function in four workers and in this thread, as Python's run_threads does.
  template <class F, class... Args>
  void run_five(F f, Args&... args) {
    auto others = workers(kParties - 1, f, args...);
    f(args...);
    for (auto& other : others) other->join();
  }
};
BROOD_BODIES(BarrierConformance);

/// One counter for each step of the lockstep test.
struct Steps {
  std::array<std::int32_t, 20> passed{};
};

void lockstep(brood::Barrier& barrier, brood::Value<Steps>& steps, int passes) {
  for (int pass = 0; pass < passes; ++pass) {
    const auto at = static_cast<std::size_t>(pass);
    steps.with([&](Steps& all) { ++all.passed[2 * at]; });
    barrier.wait();
    require(steps.get().passed[2 * at] == kParties, "everybody is here before anybody leaves");
    steps.with([&](Steps& all) { ++all.passed[2 * at + 1]; });
    barrier.wait();
    require(steps.get().passed[2 * at + 1] == kParties, "and again");
  }
}

// _TestBarrier.test_barrier, BAR-06
TEST_P(BarrierConformance, FivePassInLockstepAndNobodyWaitsAfterwards) {
  brood::Barrier barrier(kParties);
  brood::Value<Steps> steps;
  int passes = 1;
  run_five(lockstep, barrier, steps, passes);
  EXPECT_EQ(barrier.n_waiting(), 0U);
  EXPECT_FALSE(barrier.broken());
  EXPECT_EQ(barrier.parties(), static_cast<std::size_t>(kParties));
}

// _TestBarrier.test_barrier_10
TEST_P(BarrierConformance, LockstepHoldsForTenPasses) {
  brood::Barrier barrier(kParties);
  brood::Value<Steps> steps;
  int passes = 10;
  run_five(lockstep, barrier, steps, passes);
  EXPECT_EQ(barrier.n_waiting(), 0U);
  EXPECT_FALSE(barrier.broken());
}

struct Indices {
  std::array<std::int32_t, kParties> seen{};
};
void note_index(brood::Barrier& barrier, brood::Value<Indices>& indices) {
  const std::size_t index = barrier.wait();
  require(index < static_cast<std::size_t>(kParties), "the index is below the number of parties");
  indices.with([&](Indices& all) { ++all.seen[index]; });
}

// _TestBarrier.test_wait_return, BAR-02
TEST_P(BarrierConformance, EachPartyReceivesADifferentIndexAndOneIsZero) {
  brood::Barrier barrier(kParties);
  brood::Value<Indices> indices;
  run_five(note_index, barrier, indices);
  for (const auto count : indices.get().seen) EXPECT_EQ(count, 1);
}

// The action finds its data by name, since it takes no arguments and runs in any of the processes.
constexpr const char* kActionRuns = "conformance-barrier-action-runs";
void count_a_run() {
  brood::Value<long>::open_named(kActionRuns).with([](long& runs) { ++runs; });
}
void fail_in_action() { throw std::runtime_error("the action failed"); }

void pass_with_action(brood::Barrier& barrier) {
  auto runs = brood::Value<long>::open_named(kActionRuns);
  barrier.wait();
  require(runs.get() == 1, "the action ran once before anybody left");
  barrier.wait();
  require(runs.get() == 2, "and once more");
}

// _TestBarrier.test_action, BAR-01
TEST_P(BarrierConformance, ActionRunsExactlyOncePerPassBeforeRelease) {
  auto runs = brood::Value<long>::create(kActionRuns);
  brood::Barrier barrier(kParties, {.action = count_a_run});
  auto others = workers(kParties - 1, pass_with_action, barrier);
  barrier.wait();
  EXPECT_GE(runs.get(), 1);
  barrier.wait();
  EXPECT_EQ(runs.get(), 2);
  for (auto& other : others) other->join();
  EXPECT_TRUE(brood::Value<long>::remove(kActionRuns));
}

struct Tally {
  std::int32_t passed = 0;
  std::int32_t broken = 0;
};
void count_outcome(brood::Value<Tally>& tally, const std::function<void()>& wait) {
  try {
    wait();
    tally.with([](Tally& all) { ++all.passed; });
  } catch (const brood::BrokenBarrier&) {
    tally.with([](Tally& all) { ++all.broken; });
  }
}
void wait_and_tally(brood::Barrier& barrier, brood::Value<Tally>& tally) {
  count_outcome(tally, [&] { barrier.wait(); });
}

// BAR-03
TEST_P(BarrierConformance, FailingActionThrowsInTheArriverAndBreaksTheBarrier) {
  brood::Barrier barrier(3, {.action = fail_in_action});
  brood::Value<Tally> tally;
  auto others = workers(2, wait_and_tally, barrier, tally);
  support::await([&] { return barrier.n_waiting() == 2; });
  EXPECT_THROW(barrier.wait(), std::runtime_error);
  for (auto& other : others) other->join();
  EXPECT_TRUE(barrier.broken());
  EXPECT_EQ(tally.get().broken, 2);
  EXPECT_EQ(tally.get().passed, 0);
}

// _TestBarrier.test_abort, BAR-05
TEST_P(BarrierConformance, AbortBreaksItForEveryCurrentWaiterUntilReset) {
  brood::Barrier barrier(kParties);
  brood::Value<Tally> tally;
  auto others = workers(kParties - 1, wait_and_tally, barrier, tally);
  support::await([&] { return barrier.n_waiting() == kParties - 1; });
  barrier.abort();
  for (auto& other : others) other->join();
  EXPECT_EQ(tally.get().broken, kParties - 1);
  EXPECT_TRUE(barrier.broken());
  EXPECT_EQ(barrier.n_waiting(), 0U);
  EXPECT_THROW(barrier.wait(), brood::BrokenBarrier);  // on entry
  EXPECT_THROW(barrier.wait_for(1h), brood::BrokenBarrier);
  barrier.abort();  // works with no waiters, and again
  barrier.reset();
  EXPECT_FALSE(barrier.broken());
}

// _TestBarrier.test_reset, BAR-04
TEST_P(BarrierConformance, ResetFreesTheWaitersAndLeavesItUsable) {
  brood::Barrier barrier(kParties);
  brood::Value<Tally> tally;
  brood::Value<Indices> indices;
  {
    auto others = workers(kParties - 1, wait_and_tally, barrier, tally);
    support::await([&] { return barrier.n_waiting() == kParties - 1; });
    barrier.reset();
    for (auto& other : others) other->join();
  }
  EXPECT_EQ(tally.get().broken, kParties - 1);
  EXPECT_FALSE(barrier.broken());
  run_five(note_index, barrier, indices);
  for (const auto count : indices.get().seen) EXPECT_EQ(count, 1);
}

// _TestBarrier.test_abort_and_reset
TEST_P(BarrierConformance, BrokenBarrierWorksAgainAfterReset) {
  brood::Barrier barrier(kParties);
  brood::Value<Tally> tally;
  brood::Value<Indices> indices;
  {
    auto others = workers(kParties - 1, wait_and_tally, barrier, tally);
    support::await([&] { return barrier.n_waiting() == kParties - 1; });
    barrier.abort();
    for (auto& other : others) other->join();
  }
  EXPECT_EQ(tally.get().broken, kParties - 1);
  barrier.reset();
  EXPECT_FALSE(barrier.broken());
  run_five(note_index, barrier, indices);
  EXPECT_FALSE(barrier.broken());
  for (const auto count : indices.get().seen) EXPECT_EQ(count, 1);
}

// _TestBarrier.test_timeout
TEST_P(BarrierConformance, OneLateParticipantBreaksAllAndItself) {
  brood::Barrier barrier(kParties);
  brood::Value<Tally> tally;
  auto others = workers(
      kParties - 1,
      [](brood::Barrier& one, brood::Value<Tally>& all) {
        const Stopwatch watch;
        count_outcome(all, [&] { one.wait_for(1s); });
      },
      barrier, tally);
  support::await([&] { return barrier.broken(); });
  EXPECT_THROW(barrier.wait_for(1s), brood::BrokenBarrier);  // the late one
  for (auto& other : others) other->join();
  EXPECT_EQ(tally.get().broken, kParties - 1);
  EXPECT_EQ(tally.get().passed, 0);
}

// _TestBarrier.test_default_timeout
TEST_P(BarrierConformance, ConstructorTimeoutAppliesWhenWaitGetsNone) {
  brood::Barrier barrier(kParties, {.timeout = 500ms});
  brood::Value<Tally> tally;
  const Stopwatch watch;
  auto others = workers(kParties - 1, wait_and_tally, barrier, tally);
  for (auto& other : others) other->join();
  EXPECT_GE(watch.elapsed(), 500ms);
  EXPECT_EQ(tally.get().broken, kParties - 1);
  EXPECT_THROW(barrier.wait(), brood::BrokenBarrier);
}

// BAR-02: the argument overrides the constructor's timeout; negative counts as expired
TEST_P(BarrierConformance, ArgumentOverridesTheDefaultTimeoutAndNegativeCountsAsExpired) {
  brood::Barrier barrier(2, {.timeout = 0ns});
  brood::Value<Tally> tally;
  auto other =
      worker([](brood::Barrier& one, brood::Value<Tally>& all) { count_outcome(all, [&] { one.wait_for(1h); }); },
             barrier, tally);
  support::await([&] { return barrier.n_waiting() == 1; });
  EXPECT_EQ(barrier.wait_for(-1s), 1U);  // the last to arrive waits for nobody
  other.join();
  EXPECT_EQ(tally.get().passed, 1);
  EXPECT_THROW(barrier.wait_for(-1s), brood::BrokenBarrier);
  EXPECT_TRUE(barrier.broken());
}

// _TestBarrier.test_single_thread
TEST_P(BarrierConformance, SinglePartyPassesAtOnceRepeatedly) {
  brood::Barrier barrier(1);
  worker(
      [](brood::Barrier& one) {
        for (int i = 0; i < 10; ++i) require(one.wait() == 0, "index zero");
      },
      barrier)
      .join();
  EXPECT_EQ(barrier.wait(), 0U);
}

constexpr int kThousand = 1000;
void pass_a_thousand(brood::Barrier& barrier, brood::Value<std::int64_t>& arrivals) {
  for (std::int64_t pass = 0; pass < kThousand; ++pass) {
    const std::int64_t seen = arrivals.with([](std::int64_t& all) { return all++; });
    require(seen / kParties == pass, "nobody is a pass ahead or behind");
    barrier.wait();
  }
}

// _TestBarrier.test_thousand
TEST_P(BarrierConformance, AThousandPassesStayInOrder) {
  brood::Barrier barrier(kParties);
  brood::Value<std::int64_t> arrivals;
  run_five(pass_a_thousand, barrier, arrivals);
  EXPECT_EQ(arrivals.get(), kParties * kThousand);
}

// BAR-01: Python accepts zero and negative parties silently; brood refuses
TEST_P(BarrierConformance, ZeroOrNegativePartiesAreRefused) {
  for (const std::int64_t parties :
       {std::int64_t{0}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::min(), brood::Barrier::kMaxParties + 1}) {
    try {
      brood::Barrier barrier(parties);
      ADD_FAILURE() << parties << " parties were accepted";
    } catch (const brood::UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(std::to_string(parties)), std::string::npos) << error.what();
    }
  }
}

// BAR-06
TEST_P(BarrierConformance, NWaitingCountsTheWaitingAndIsZeroWhenBroken) {
  brood::Barrier barrier(3);
  brood::Value<Tally> tally;
  EXPECT_EQ(barrier.n_waiting(), 0U);
  auto first = worker(wait_and_tally, barrier, tally);
  support::await([&] { return barrier.n_waiting() == 1; });
  auto second = worker(wait_and_tally, barrier, tally);
  support::await([&] { return barrier.n_waiting() == 2; });
  EXPECT_EQ(printed(barrier), "<Barrier " + barrier.handle().str() + " waiting=2/3>");
  barrier.abort();
  EXPECT_EQ(barrier.n_waiting(), 0U);
  EXPECT_EQ(printed(barrier), "<Barrier " + barrier.handle().str() + " waiting=0/3 broken>");
  first.join();
  second.join();
}

}  // namespace
}  // namespace conformance
