#include "brood/deadline.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <ratio>

using brood::Deadline;
using namespace std::chrono_literals;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A clock that only moves when told, forwards or back, as a wall clock that is set.
struct SettableClock {
  using duration = std::chrono::milliseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<SettableClock>;
  static constexpr bool is_steady = false;
  static time_point now() noexcept { return current; }
  static inline time_point current{};
};

}  // namespace

TEST(Deadline, NowHasPassedAndOnlyPolls) {
  EXPECT_TRUE(Deadline::now().passed());
  EXPECT_TRUE(Deadline::now().is_poll());
  EXPECT_FALSE(Deadline::now().is_never());
}

TEST(Deadline, NeverDoesNotPass) {
  EXPECT_FALSE(Deadline::never().passed());
  EXPECT_TRUE(Deadline::never().is_never());
  EXPECT_FALSE(Deadline::never().is_poll());
}

TEST(Deadline, ZeroNegativeAndNanPollOnce) {
  EXPECT_TRUE(Deadline::after(0s).is_poll());
  EXPECT_TRUE(Deadline::after(-1ns).is_poll());
  EXPECT_TRUE(Deadline::after(-1h).is_poll());
  EXPECT_TRUE(Deadline::after(std::chrono::nanoseconds::min()).is_poll());
  EXPECT_TRUE(Deadline::after(std::chrono::hours::min()).is_poll());
  EXPECT_TRUE(Deadline::after(std::chrono::duration<double>(-0.0)).is_poll());
  EXPECT_TRUE(Deadline::after(std::chrono::duration<double>(-kInfinity)).is_poll());
  EXPECT_TRUE(Deadline::after(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())).is_poll());
}

TEST(Deadline, WhatIsTooLargeToAddIsNever) {
  EXPECT_TRUE(Deadline::after(std::chrono::nanoseconds::max()).is_never());
  EXPECT_TRUE(Deadline::after(std::chrono::seconds::max()).is_never());
  EXPECT_TRUE(Deadline::after(std::chrono::hours::max()).is_never());
  EXPECT_TRUE(Deadline::after(std::chrono::duration<std::uint64_t, std::giga>::max()).is_never());
  EXPECT_TRUE(Deadline::after(std::chrono::duration<double>(kInfinity)).is_never());
  EXPECT_TRUE(Deadline::after(std::chrono::duration<double>(1e300)).is_never());
}

TEST(Deadline, LargeButPossibleIsKept) {
  const auto century = std::chrono::hours(24 * 365 * 100);
  const std::int64_t before = Deadline::clock_ns();
  const Deadline deadline = Deadline::after(century);
  EXPECT_FALSE(deadline.is_never());
  EXPECT_GE(deadline.at_ns() - before, std::chrono::nanoseconds(century).count());
}

TEST(Deadline, NeverEarlierThanAskedFor) {
  const auto at_least = [](auto timeout, std::int64_t ns) {
    const std::int64_t before = Deadline::clock_ns();
    EXPECT_GE(Deadline::after(timeout).at_ns() - before, ns);
  };
  at_least(1ns, 1);
  at_least(1500us, 1'500'000);
  at_least(2h, 7'200'000'000'000);
  at_least(std::chrono::duration<double>(0.25), 250'000'000);
  at_least(std::chrono::duration<float, std::milli>(1.5F), 1'500'000);
}

TEST(Deadline, PartsOfANanosecondAreRoundedUp) {
  using Picoseconds = std::chrono::duration<std::int64_t, std::pico>;
  const auto added = [](Picoseconds timeout) {
    // The clock moves between the two readings, so the smallest difference of many is the one looked for.
    std::int64_t smallest = std::numeric_limits<std::int64_t>::max();
    for (int i = 0; i < 1000; ++i) {
      const std::int64_t before = Deadline::clock_ns();
      smallest = std::min(smallest, Deadline::after(timeout).at_ns() - before);
    }
    return smallest;
  };
  EXPECT_GE(added(Picoseconds(1)), 1);
  EXPECT_GE(added(Picoseconds(1001)), 2);
  EXPECT_FALSE(Deadline::after(Picoseconds(1)).is_poll());
}

TEST(Deadline, PassesWhenItsTimeHasCome) {
  const Deadline deadline = Deadline::after(2ms);
  while (!deadline.passed()) {}
  EXPECT_GE(Deadline::clock_ns(), deadline.at_ns());
  EXPECT_FALSE(Deadline::after(1h).passed());
}

TEST(Deadline, CappedIsTheEarlierOne) {
  const Deadline soon = Deadline::after(1ms);
  EXPECT_EQ(soon.capped(3'600'000'000'000).at_ns(), soon.at_ns());
  EXPECT_FALSE(Deadline::never().capped(1'000'000).is_never());
  EXPECT_LT(Deadline::after(1h).capped(1'000'000).at_ns(), Deadline::after(1h).at_ns());
  EXPECT_TRUE(Deadline::now().capped(1'000'000).is_poll());
}

TEST(AttemptUntil, SuccessEndsAtOnce) {
  SettableClock::current = SettableClock::time_point(1s);
  int attempts = 0;
  const bool answer = brood::detail::attempt_until(SettableClock::time_point(2s), [&](Deadline) {
    ++attempts;
    return true;
  });
  EXPECT_TRUE(answer);
  EXPECT_EQ(attempts, 1);
}

TEST(AttemptUntil, APointInThePastPollsOnce) {
  SettableClock::current = SettableClock::time_point(10s);
  int attempts = 0;
  const bool answer = brood::detail::attempt_until(SettableClock::time_point(9s), [&](Deadline deadline) {
    ++attempts;
    EXPECT_TRUE(deadline.is_poll());
    return false;
  });
  EXPECT_FALSE(answer);
  EXPECT_EQ(attempts, 1);
}

TEST(AttemptUntil, AClockSetBackIsReadAgainAndWaitedFor) {
  SettableClock::current = SettableClock::time_point(10s);
  int attempts = 0;
  const bool answer = brood::detail::attempt_until(SettableClock::time_point(11s), [&](Deadline deadline) {
    const std::int64_t left = deadline.at_ns() - Deadline::clock_ns();
    switch (++attempts) {
      case 1:  // one second to go; while "asleep" the clock is set back by five
        EXPECT_LE(left, 1'000'000'000);
        SettableClock::current = SettableClock::time_point(5s);
        return false;
      case 2:
        EXPECT_GT(left, 5'000'000'000);
        SettableClock::current = SettableClock::time_point(11s);
        return false;
      default: ADD_FAILURE() << "attempted after the time point had passed"; return true;
    }
  });
  EXPECT_FALSE(answer);
  EXPECT_EQ(attempts, 2);
}

TEST(AttemptUntil, AClockSetForwardEndsTheWait) {
  SettableClock::current = SettableClock::time_point(10s);
  int attempts = 0;
  EXPECT_FALSE(brood::detail::attempt_until(SettableClock::time_point(24h), [&](Deadline) {
    ++attempts;
    SettableClock::current = SettableClock::time_point(25h);
    return false;
  }));
  EXPECT_EQ(attempts, 1);
}

TEST(AttemptUntil, HandsTheAnswerThrough) {
  SettableClock::current = SettableClock::time_point(0s);
  const std::optional<int> answer =
      brood::detail::attempt_until(SettableClock::time_point(1s), [](Deadline) { return std::optional<int>(42); });
  EXPECT_EQ(answer, 42);
}

TEST(AttemptUntil, ExtremeTimePointsNeitherOverflowNorWait) {
  SettableClock::current = SettableClock::time_point(10s);
  EXPECT_TRUE(brood::detail::attempt_until(SettableClock::time_point::max(), [](Deadline deadline) {
    EXPECT_TRUE(deadline.is_never());
    return true;
  }));
  EXPECT_FALSE(brood::detail::attempt_until(SettableClock::time_point::min(), [](Deadline deadline) {
    EXPECT_TRUE(deadline.is_poll());
    return false;
  }));
}
