// CPython's _TestSemaphore, and the SEM rows.
#include "brood/semaphore.hpp"

#include "brood/error.hpp"
#include "brood/value.hpp"
#include "conformance/bodies.hpp"

namespace conformance {
namespace {

class SemaphoreConformance : public Bodies {};
BROOD_BODIES(SemaphoreConformance);

template <class S>
void expect_value(S& semaphore, std::int64_t value) {
  require(semaphore.get_value() == value,
          "value is " + std::to_string(semaphore.get_value()) + ", expected " + std::to_string(value));
}

/// Steps a semaphore of two units down to none.
template <class S>
void step_down(S& semaphore) {
  expect_value(semaphore, 2);
  semaphore.acquire();
  expect_value(semaphore, 1);
  require(semaphore.try_acquire(), "the second unit");
  expect_value(semaphore, 0);
  require(!semaphore.try_acquire(), "no third unit");
  expect_value(semaphore, 0);
}
template <class S>
void release_twice(S& semaphore) {
  semaphore.release();
  expect_value(semaphore, 1);
  semaphore.release();
  expect_value(semaphore, 2);
}
template <class S>
void step_down_and_up(S& semaphore) {
  step_down(semaphore);
  release_twice(semaphore);
}

// _TestSemaphore.test_semaphore
TEST_P(SemaphoreConformance, CountsDownAndReleaseMayExceedTheInitialValue) {
  brood::Semaphore semaphore(2);
  worker(step_down_and_up<brood::Semaphore>, semaphore).join();
  semaphore.release();
  EXPECT_EQ(semaphore.get_value(), 3);
  semaphore.release();
  EXPECT_EQ(semaphore.get_value(), 4);
}

// _TestSemaphore.test_bounded_semaphore, SEM-05
TEST_P(SemaphoreConformance, BoundedCountsToItsBoundAndNotAbove) {
  brood::BoundedSemaphore semaphore(2);
  worker(step_down_and_up<brood::BoundedSemaphore>, semaphore).join();
  EXPECT_THROW(semaphore.release(), brood::ReleasedTooOften);
  EXPECT_EQ(semaphore.get_value(), 2);
}

void refuse_release(brood::BoundedSemaphore& semaphore) {
  try {
    semaphore.release();
  } catch (const brood::ReleasedTooOften&) {
    return;
  }
  require(false, "release above the bound throws ReleasedTooOften");
}
TEST_P(SemaphoreConformance, BoundedOfZeroCanNeverBeReleased) {
  brood::BoundedSemaphore semaphore(0);
  EXPECT_FALSE(semaphore.try_acquire());
  worker(refuse_release, semaphore).join();
  EXPECT_EQ(semaphore.get_value(), 0);
}

template <class S>
void time_out(S& semaphore) {
  require(!semaphore.try_acquire(), "an attempt without timeout");
  require(!semaphore.try_acquire_for(0s), "zero polls");
  require(!semaphore.try_acquire_for(-2s), "negative polls");
  for (const auto timeout : {20ms, 50ms}) {
    const Stopwatch watch;
    require(!semaphore.try_acquire_for(timeout), "no unit comes");
    require(watch.elapsed() >= timeout, "a timed acquire lasts its whole timeout");
  }
}

// _TestSemaphore.test_timeout, SEM-02
TEST_P(SemaphoreConformance, TimedAcquireWaitsAndAnswersFalse) {
  brood::Semaphore semaphore(0);
  worker(time_out<brood::Semaphore>, semaphore).join();
  semaphore.release();
  EXPECT_TRUE(semaphore.try_acquire_for(std::chrono::hours::max()));
  EXPECT_EQ(semaphore.get_value(), 0);
}

// SEM-01
TEST_P(SemaphoreConformance, ValueMustBeInRange) {
  EXPECT_THROW(brood::Semaphore(-1), brood::UsageError);
  EXPECT_THROW(brood::BoundedSemaphore(-1), brood::UsageError);
  EXPECT_THROW(brood::Semaphore(brood::Semaphore::kMaxValue + 1), brood::UsageError);
  brood::Semaphore none(0);
  EXPECT_EQ(none.get_value(), 0);
  brood::Semaphore most(brood::Semaphore::kMaxValue);
  EXPECT_EQ(most.get_value(), brood::Semaphore::kMaxValue);
  EXPECT_EQ(brood::Semaphore().get_value(), 1);
  worker([](brood::Semaphore& semaphore) { expect_value(semaphore, brood::Semaphore::kMaxValue); }, most).join();
}

void acquire_one(brood::Semaphore& semaphore, brood::Value<long>& counter) {
  semaphore.acquire();
  *counter.lock() += 1;
}

// SEM-03
TEST_P(SemaphoreConformance, ReleaseAddsExactlyOne) {
  brood::Semaphore semaphore(0);
  brood::Value<long> counter;
  auto waiters = workers(3, acquire_one, semaphore, counter);
  support::await_sleepers(semaphore.handle(), 3);
  for (long released = 1; released <= 3; ++released) {
    semaphore.release();
    support::await([&] { return counter.get() == released; });
    support::await_sleepers(semaphore.handle(), static_cast<std::size_t>(3 - released));
    EXPECT_EQ(counter.get(), released);
  }
  for (auto& waiter : waiters) waiter->join();
  EXPECT_EQ(semaphore.get_value(), 0);

  brood::Semaphore most(brood::Semaphore::kMaxValue);
  EXPECT_THROW(most.release(), brood::ReleasedTooOften);
  EXPECT_EQ(most.get_value(), brood::Semaphore::kMaxValue);
}

// SEM-04
TEST_P(SemaphoreConformance, GetValueIsNeverNegative) {
  brood::Semaphore semaphore(0);
  brood::Value<long> counter;
  auto waiters = workers(2, acquire_one, semaphore, counter);
  support::await_sleepers(semaphore.handle(), 2);
  EXPECT_EQ(semaphore.get_value(), 0);
  semaphore.release();
  semaphore.release();
  for (auto& waiter : waiters) waiter->join();
  EXPECT_EQ(semaphore.get_value(), 0);
}

}  // namespace
}  // namespace conformance
