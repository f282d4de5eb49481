// CPython's _TestCondition, and the CND rows.
#include "brood/condition.hpp"

#include <csignal>
#include <mutex>

#include "brood/error.hpp"
#include "brood/event.hpp"
#include "brood/semaphore.hpp"
#include "brood/value.hpp"
#include "conformance/bodies.hpp"

namespace conformance {
namespace {

class ConditionConformance : public Bodies {};
BROOD_BODIES(ConditionConformance);

using Guard = std::unique_lock<brood::RLock>;

/// Python's helper f: says that it sleeps, sleeps, says that it woke.
void sleep_once(brood::Condition& condition, brood::RLock& lock, brood::Semaphore& sleeping, brood::Semaphore& woken) {
  Guard guard(lock);
  sleeping.release();
  condition.wait(guard);
  woken.release();
}
void sleep_for(brood::Condition& condition, brood::RLock& lock, brood::Semaphore& sleeping, brood::Semaphore& timed_out,
               int ms) {
  Guard guard(lock);
  sleeping.release();
  require(condition.wait_for(guard, std::chrono::milliseconds(ms)) == std::cv_status::timeout,
          "nobody notifies in time");
  require(guard.owns_lock(), "the lock is held again after a timeout");
  timed_out.release();
}

/// Nobody waits: the printed form is the only view of that.
void expect_no_waiters(const brood::Condition& condition) {
  EXPECT_EQ(printed(condition), "<Condition " + condition.handle().str() + " waiters=0>");
}

void notify_under_lock(brood::Condition& condition, brood::RLock& lock, std::int64_t count) {
  const Guard guard(lock);
  condition.notify(count);
}

/// Exactly `count` have woken, and the others sleep on.
void expect_woken(const brood::Condition& condition, const brood::Semaphore& woken, std::int64_t count,
                  std::size_t asleep) {
  support::await([&] { return woken.get_value() >= count; });
  support::await_sleepers(condition.handle(), asleep);
  EXPECT_EQ(woken.get_value(), count);
}

// _TestCondition.test_notify
TEST_P(ConditionConformance, EachNotifyWakesExactlyOneOfTwoSleepers) {
  brood::Condition condition;
  brood::RLock lock;
  brood::Semaphore sleeping(0);
  brood::Semaphore woken(0);
  auto process = worker(sleep_once, condition, lock, sleeping, woken);
  Worker thread(Body::thread, sleep_once, condition, lock, sleeping, woken);
  sleeping.acquire();
  sleeping.acquire();
  support::await_sleepers(condition.handle(), 2);
  expect_woken(condition, woken, 0, 2);
  notify_under_lock(condition, lock, 1);
  expect_woken(condition, woken, 1, 1);
  notify_under_lock(condition, lock, 1);
  expect_woken(condition, woken, 2, 0);
  process.join();
  thread.join();
  expect_no_waiters(condition);
}

// _TestCondition.test_notify_all
TEST_P(ConditionConformance, NotifyAllWakesSixAndTimedOutSleepersLeaveNoTrace) {
  brood::Condition condition;
  brood::RLock lock;
  brood::Semaphore sleeping(0);
  brood::Semaphore timed_out(0);
  brood::Semaphore woken(0);
  for (int round = 0; round < 3; ++round) {
    auto process = worker(sleep_for, condition, lock, sleeping, timed_out, 20);
    Worker thread(Body::thread, sleep_for, condition, lock, sleeping, timed_out, 20);
    process.join();
    thread.join();
  }
  EXPECT_EQ(timed_out.get_value(), 6);
  expect_no_waiters(condition);

  std::vector<std::unique_ptr<Worker>> all;
  // Processes first: under fork they would be made among threads, which sanitizers' allocators do not survive.
  for (const auto kind : {body(), Body::thread}) {
    for (int i = 0; i < 3; ++i)
      all.push_back(std::make_unique<Worker>(kind, sleep_once, condition, lock, sleeping, woken));
  }
  support::await_sleepers(condition.handle(), 6);
  expect_woken(condition, woken, 0, 6);
  {
    const Guard guard(lock);
    condition.notify_all();
  }
  for (auto& one : all) one->join();
  EXPECT_EQ(woken.get_value(), 6);
  expect_no_waiters(condition);
}

// _TestCondition.test_notify_n
TEST_P(ConditionConformance, NotifyNWakesNAndASurplusHasNoLaterEffect) {
  brood::Condition condition;
  brood::RLock lock;
  brood::Semaphore sleeping(0);
  brood::Semaphore woken(0);
  std::vector<std::unique_ptr<Worker>> all;
  // Processes first: under fork they would be made among threads, which sanitizers' allocators do not survive.
  for (const auto kind : {body(), Body::thread}) {
    for (int i = 0; i < 3; ++i)
      all.push_back(std::make_unique<Worker>(kind, sleep_once, condition, lock, sleeping, woken));
  }
  support::await_sleepers(condition.handle(), 6);
  notify_under_lock(condition, lock, 1);
  expect_woken(condition, woken, 1, 5);
  notify_under_lock(condition, lock, 2);
  expect_woken(condition, woken, 3, 3);
  notify_under_lock(condition, lock, 4);  // more than wait
  expect_woken(condition, woken, 6, 0);
  notify_under_lock(condition, lock, 3);  // nobody waits: lost
  for (auto& one : all) one->join();
  {
    Guard guard(lock);
    EXPECT_EQ(condition.wait_for(guard, 10ms), std::cv_status::timeout);
  }
  expect_no_waiters(condition);
}

// _TestCondition.test_timeout, CND-02
TEST_P(ConditionConformance, WaitWithTimeoutIsFalseAfterTheTimeout) {
  brood::Condition condition;
  brood::RLock lock;
  worker(
      [](brood::Condition& one, brood::RLock& its) {
        Guard guard(its);
        const Stopwatch watch;
        require(one.wait_for(guard, 60ms) == std::cv_status::timeout, "timeout");
        require(watch.elapsed() >= 60ms, "lasts its whole timeout");
        require(one.wait_for(guard, -1s) == std::cv_status::timeout, "negative polls");
        require(one.wait_for(guard, 0s) == std::cv_status::timeout, "zero polls");
        require(guard.owns_lock() && its.depth() == 1, "the lock is held again");
      },
      condition, lock)
      .join();
  expect_no_waiters(condition);
}

// _TestCondition.test_waitfor
TEST_P(ConditionConformance, PredicateWaitReturnsOnlyWhenTheStateMatches) {
  brood::Condition condition;
  brood::RLock lock;
  brood::Value<int> state(-1);
  auto other = worker(
      [](brood::Condition& one, brood::RLock& its, brood::Value<int>& shared) {
        Guard guard(its);
        one.wait(guard, [&] { return shared.get() == 0; });
        require(shared.get() == 0, "the state matches");
        for (int i = 0; i < 4; ++i) {
          guard.unlock();
          guard.lock();
          shared.set(shared.get() + 1);
          one.notify_one();
        }
      },
      condition, lock, state);
  Guard guard(lock);
  state.set(0);
  condition.notify_one();
  EXPECT_TRUE(condition.wait_for(guard, 1h, [&] { return state.get() == 4; }));
  EXPECT_EQ(state.get(), 4);
  guard.unlock();
  other.join();
}

// _TestCondition.test_waitfor_timeout, CND-03
TEST_P(ConditionConformance, PredicateWaitTimesOutWithFalseAndFullDuration) {
  brood::Condition condition;
  brood::RLock lock;
  brood::Value<int> state(0);
  auto teaser = worker(
      [](brood::Condition& one, brood::RLock& its, brood::Value<int>& shared) {
        for (int i = 0; i < 3; ++i) {
          const Guard guard(its);
          shared.set(shared.get() + 1);
          one.notify_all();
        }
      },
      condition, lock, state);
  Guard guard(lock);
  const Stopwatch watch;
  EXPECT_FALSE(condition.wait_for(guard, 80ms, [&] { return state.get() == 4; }));
  EXPECT_GE(watch.elapsed(), 80ms);
  guard.unlock();
  teaser.join();
}

TEST_P(ConditionConformance, PredicateIsTestedFirstAndOnceWhenNegative) {
  brood::Condition condition;
  brood::RLock lock;
  int calls = 0;
  Guard unowned(lock, std::defer_lock);
  condition.wait(unowned, [&] { return ++calls == 1; });  // a true predicate needs no lock
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(condition.wait_for(unowned, 1s, [] { return true; }));
  EXPECT_THROW((void)condition.wait_for(unowned, 1s, [] { return false; }), brood::NotOwner);
  unowned.lock();
  calls = 0;
  EXPECT_FALSE(condition.wait_for(unowned, -1s, [&] {
    ++calls;
    return false;
  }));
  EXPECT_GE(calls, 1);
  worker(
      [](brood::Condition& one, brood::RLock& held_elsewhere) {
        Guard mine(held_elsewhere, std::adopt_lock);  // a guard that lies
        try {
          one.wait(mine);
        } catch (const brood::NotOwner&) {
          mine.release();
          return;
        }
        require(false, "wait() by a thread that does not hold the lock throws NotOwner");
      },
      condition, lock)
      .join();
}

// _TestCondition.test_wait_result; brood's signal policy: the handler runs, and the wait goes on to the same deadline
std::atomic<int> g_signals = 0;
TEST_P(ConditionConformance, WaitResultIsFalseOnTimeoutTrueOnNotifyAndSignalsDoNotEndIt) {
  brood::Condition condition;
  brood::RLock lock;
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) { g_signals.fetch_add(1); };
  ASSERT_EQ(::sigaction(SIGINT, &action, &before), 0);
  brood::Event go;
  auto other = worker(
      [](brood::Condition& one, brood::RLock& its, brood::Event& start, pid_t whom) {
        start.wait();
        {
          const Guard guard(its);  // taken only when the main thread sleeps in wait()
          one.notify_one();
        }
        {
          const Guard guard(its);
          require(::kill(whom, SIGINT) == 0, "kill");
        }
      },
      condition, lock, go, ::getpid());
  Guard guard(lock);
  EXPECT_EQ(condition.wait_for(guard, 0s), std::cv_status::timeout);
  EXPECT_EQ(condition.wait_for(guard, 20ms), std::cv_status::timeout);
  go.set();
  EXPECT_EQ(condition.wait_for(guard, 1h), std::cv_status::no_timeout);
  const Stopwatch watch;
  EXPECT_EQ(condition.wait_for(guard, 200ms), std::cv_status::timeout);
  EXPECT_GE(watch.elapsed(), 200ms);
  guard.unlock();
  other.join();
  EXPECT_EQ(g_signals.exchange(0), 1);
  ASSERT_EQ(::sigaction(SIGINT, &before, nullptr), 0);
}

// CND-01: the lock is the caller's, Lock or RLock, one condition for several
template <class L>
void wait_with(brood::Condition& condition, L& lock, brood::Semaphore& woken) {
  std::unique_lock guard(lock);
  condition.wait(guard);
  require(guard.owns_lock() && lock.locked(), "the lock is held after the wait");
  woken.release();
}
TEST_P(ConditionConformance, WorksWithLockAndWithRLock) {
  brood::Condition condition;
  brood::Lock lock;
  brood::RLock rlock;
  brood::Semaphore woken(0);
  auto first = worker(wait_with<brood::Lock>, condition, lock, woken);
  support::await_sleepers(condition.handle(), 1);
  auto second = worker(wait_with<brood::RLock>, condition, rlock, woken);
  support::await_sleepers(condition.handle(), 2);
  condition.notify_all();  // without a lock, as with std::condition_variable
  first.join();
  second.join();
  EXPECT_EQ(woken.get_value(), 2);
}

// CND-02: the whole depth is dropped, and taken again
TEST_P(ConditionConformance, WaitDropsTheWholeDepthAndTakesItAgain) {
  brood::Condition condition;
  brood::RLock lock;
  brood::Event done;
  auto other = worker(
      [](brood::Condition& one, brood::RLock& its, brood::Event& finished) {
        Guard outer(its);
        its.lock();
        its.lock();
        one.wait(outer);
        require(its.depth() == 3, "the depth is the same after a notify");
        require(one.wait_for(outer, 5ms) == std::cv_status::timeout, "timeout");
        require(its.depth() == 3, "the depth is the same after a timeout");
        its.unlock();
        its.unlock();
        finished.set();
      },
      condition, lock, done);
  support::await_sleepers(condition.handle(), 1);
  {
    const Guard guard(lock);  // free although it was held three times
    condition.notify_one();
    EXPECT_FALSE(done.is_set());
  }
  other.join();
  EXPECT_TRUE(done.is_set());
  Guard unowned(lock, std::defer_lock);
  EXPECT_THROW(condition.wait(unowned), brood::NotOwner);
}

// CND-04
TEST_P(ConditionConformance, NotifyOfZeroOrLessAndWithoutWaitersHasNoEffect) {
  brood::Condition condition;
  brood::RLock lock;
  brood::Semaphore sleeping(0);
  brood::Semaphore woken(0);
  notify_under_lock(condition, lock, 1);  // lost
  auto sleeper = worker(sleep_once, condition, lock, sleeping, woken);
  support::await_sleepers(condition.handle(), 1);
  notify_under_lock(condition, lock, 0);
  notify_under_lock(condition, lock, -3);
  expect_woken(condition, woken, 0, 1);
  notify_under_lock(condition, lock, 5);
  sleeper.join();
  EXPECT_EQ(woken.get_value(), 1);
}

// CND-05
TEST_P(ConditionConformance, NotifyAllWakesEveryCurrentWaiter) {
  brood::Condition condition;
  brood::RLock lock;
  brood::Semaphore sleeping(0);
  brood::Semaphore woken(0);
  auto sleepers = workers(4, sleep_once, condition, lock, sleeping, woken);
  support::await_sleepers(condition.handle(), 4);
  condition.notify_all();
  for (auto& sleeper : sleepers) sleeper->join();
  EXPECT_EQ(woken.get_value(), 4);
}

}  // namespace
}  // namespace conformance
