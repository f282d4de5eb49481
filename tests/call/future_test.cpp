// Future, without a call behind it.
#include <gtest/gtest.h>

#include <atomic>
#include <coroutine>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "brood/error.hpp"
#include "brood/future.hpp"

namespace {

using namespace std::chrono_literals;
using brood::Future;

template <class T>
struct Promised {
  std::shared_ptr<brood::detail::FutureState<T>> state = std::make_shared<brood::detail::FutureState<T>>();
  Future<T> future = brood::detail::FutureMaker::make<T>(state);
};
void fail(brood::detail::FutureCore& state, const std::string& text) {
  state.fail(std::make_exception_ptr(std::out_of_range(text)));
}

TEST(Future, StandsForNothingUntilItIsGivenOne) {
  Future<int> none;
  EXPECT_FALSE(none.valid());
  EXPECT_THROW((void)none.get(), brood::UsageError);
  EXPECT_THROW(none.wait(), brood::UsageError);
  EXPECT_THROW((void)none.done(), brood::UsageError);
  EXPECT_THROW((void)none.cancel(), brood::UsageError);
  EXPECT_THROW((void)none.then([](int) {}), brood::UsageError);
  Promised<int> p;
  EXPECT_TRUE(p.future.valid());
  const Future<int> moved = std::move(p.future);
  EXPECT_FALSE(p.future.valid());
  EXPECT_TRUE(moved.valid());
}

TEST(Future, CopiesStandForTheSameResult) {
  Promised<std::string> p;
  const Future<std::string> copy = p.future;
  EXPECT_FALSE(copy.done());
  p.state->set("text");
  EXPECT_TRUE(copy.done());
  EXPECT_EQ(copy.get(), "text");
  EXPECT_EQ(p.future.get(), "text");
  EXPECT_EQ(p.future.get(), "text");
  EXPECT_EQ(copy.get_for(0s), "text");
  EXPECT_FALSE(copy.exception());
}

TEST(Future, AResultThatOnlyMovesIsTaken) {
  Promised<std::unique_ptr<int>> p;
  p.state->set(std::make_unique<int>(7));
  EXPECT_EQ(*std::move(p.future).get(), 7);
  EXPECT_FALSE(p.future.valid());
  Promised<std::unique_ptr<int>> q;
  q.state->set(std::make_unique<int>(8));
  EXPECT_EQ(*std::move(q.future).get_for(1h), 8);
}

TEST(Future, OfNothing) {
  Promised<void> p;
  EXPECT_FALSE(p.future.done());
  p.state->set();
  p.future.get();
  p.future.get_for(0s);
  std::move(p.future).get();
}

TEST(Future, TimeoutsChangeNothing) {
  Promised<int> p;
  EXPECT_FALSE(p.future.wait_for(0s));
  EXPECT_FALSE(p.future.wait_for(-1h));
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(p.future.wait_for(20ms));
  EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms);
  EXPECT_FALSE(p.future.wait_until(std::chrono::system_clock::now() + 5ms));
  EXPECT_THROW((void)p.future.get_for(1ms), brood::TimeoutError);
  EXPECT_THROW((void)std::move(p.future).get_for(1ms), brood::TimeoutError);
  ASSERT_TRUE(p.future.valid());
  p.state->set(3);
  EXPECT_TRUE(p.future.wait_for(0s));
  EXPECT_TRUE(p.future.wait_for(std::chrono::hours::max()));
  EXPECT_EQ(p.future.get(), 3);
}

TEST(Future, FailuresAreThrownToEverybody) {
  Promised<int> p;
  fail(*p.state, "row");
  EXPECT_THROW((void)p.future.get(), std::out_of_range);
  EXPECT_THROW((void)p.future.get(), std::out_of_range);
  EXPECT_THROW((void)p.future.get_for(1s), std::out_of_range);
  EXPECT_TRUE(p.future.exception());
  EXPECT_FALSE(p.future.cancelled());
}

TEST(Future, TheFirstWordCounts) {
  Promised<int> p;
  p.state->set(1);
  p.state->set(2);
  fail(*p.state, "late");
  EXPECT_FALSE(p.future.cancel());
  EXPECT_EQ(p.future.get(), 1);
}

TEST(Future, WhatWasNotBegunCanBeCancelled) {
  Promised<int> p;
  Future<int> copy = p.future;
  EXPECT_FALSE(p.future.running());
  EXPECT_TRUE(copy.cancel());
  EXPECT_FALSE(copy.cancel());
  EXPECT_TRUE(p.future.cancelled());
  EXPECT_TRUE(p.future.done());
  EXPECT_THROW((void)p.future.get(), brood::CancelledError);
  EXPECT_FALSE(p.state->begin());
  p.state->set(1);
  EXPECT_THROW((void)p.future.get(), brood::CancelledError);

  Promised<int> q;
  EXPECT_TRUE(q.state->begin());
  EXPECT_TRUE(q.future.running());
  EXPECT_FALSE(q.future.cancel());
  q.state->set(1);
  EXPECT_FALSE(q.future.running());
}

TEST(Future, ActionsRunOnceWhetherBeforeOrAfter) {
  Promised<int> p;
  std::vector<std::string> seen;
  p.future.on_done([&](const Future<int>& it) { seen.push_back("first " + std::to_string(it.get())); });
  p.future.on_done([&](const Future<int>& it) { seen.push_back("second " + std::to_string(it.get())); });
  EXPECT_TRUE(seen.empty());
  p.state->set(4);
  p.future.on_done([&](const Future<int>& it) { seen.push_back("late " + std::to_string(it.get())); });
  EXPECT_EQ(seen, (std::vector<std::string>{"first 4", "second 4", "late 4"}));
}

TEST(Future, WhatAnActionThrowsIsPrintedAndStopsNobody) {
  Promised<int> p;
  int after = 0;
  p.future.on_done([](const Future<int>&) { throw std::domain_error("in the action"); });
  p.future.on_done([&](const Future<int>&) { ++after; });
  ::testing::internal::CaptureStderr();
  p.state->set(1);
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("std::domain_error: in the action"), std::string::npos) << said;
  EXPECT_EQ(after, 1);
}

TEST(Future, ActionsThatOwnTheFutureDoNotKeepItForEver) {
  std::weak_ptr<brood::detail::FutureCore> watched;
  {
    Promised<int> p;
    watched = p.state;
    p.future.on_done([own = p.future](const Future<int>&) { EXPECT_TRUE(own.done()); });
    const auto next = p.future.then([own = p.future](int n) { return n + own.get(); });
    p.state->set(2);
    EXPECT_EQ(next.get(), 4);
  }
  EXPECT_TRUE(watched.expired());
}

TEST(Future, ChainsPassResultsOn) {
  Promised<int> p;
  const Future<std::string> text =
      p.future.then([](int n) { return n * 2; }).then([](int n) { return std::to_string(n); });
  int told = 0;
  const Future<void> last = text.then([&](const std::string& it) { told = static_cast<int>(it.size()); });
  EXPECT_FALSE(last.done());
  p.state->set(21);
  EXPECT_EQ(text.get(), "42");
  last.get();
  EXPECT_EQ(told, 2);
  EXPECT_EQ(last.then([] { return 'x'; }).get(), 'x');
}

TEST(Future, ChainsPassFailuresOnWithoutCalling) {
  Promised<int> p;
  bool called = false;
  const auto last = p.future.then([&](int) { called = true; }).then([&] { called = true; });
  fail(*p.state, "first");
  EXPECT_THROW(last.get(), std::out_of_range);
  EXPECT_FALSE(called);
  Promised<int> q;
  const auto throws = q.future.then([](int) -> int { throw std::domain_error("second"); });
  q.state->set(1);
  EXPECT_THROW((void)throws.get(), std::domain_error);
  EXPECT_EQ(q.future.get(), 1);
}

TEST(Future, APartOfAChainCanBeCancelled) {
  Promised<int> p;
  bool called = false;
  Future<void> next = p.future.then([&](int) { called = true; });
  EXPECT_TRUE(next.cancel());
  p.state->set(1);
  EXPECT_FALSE(called);
  EXPECT_THROW(next.get(), brood::CancelledError);
  EXPECT_EQ(p.future.get(), 1);
}

// A coroutine that begins at once and runs by itself.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { ADD_FAILURE() << "an exception left the coroutine"; }
  };
};
Detached sum_up(Future<int> one, Future<int> two, Future<void> three, int& sum, std::string& caught) {
  sum = co_await one;
  sum += co_await two;
  try {
    co_await three;
  } catch (const std::out_of_range& error) {
    caught = error.what();
  }
}

TEST(Future, CoroutinesWaitForIt) {
  Promised<int> one;
  Promised<int> two;
  Promised<void> three;
  int sum = 0;
  std::string caught;
  one.state->set(1);
  sum_up(one.future, two.future, three.future, sum, caught);
  EXPECT_EQ(sum, 1);
  std::thread other([&] {
    two.state->set(20);
    fail(*three.state, "three");
  });
  other.join();
  EXPECT_EQ(sum, 21);
  EXPECT_EQ(caught, "three");
}

TEST(Future, ManyThreadsWaitForOne) {
  for (int round = 0; round < 200; ++round) {
    Promised<std::string> p;
    std::atomic<int> actions = 0;
    std::latch together(5);
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, copy = p.future] {
        together.arrive_and_wait();
        copy.on_done([&](const Future<std::string>&) { ++actions; });
        EXPECT_EQ(copy.get(), "text");
        EXPECT_EQ(copy.then([](const std::string& it) { return it.size(); }).get(), 4U);
      });
    }
    together.arrive_and_wait();
    p.state->set("text");
    threads.clear();
    EXPECT_EQ(actions, 4);
  }
}

TEST(Future, SettlingRacesWithCancelling) {
  int cancelled = 0;
  for (int round = 0; round < 500; ++round) {
    Promised<int> p;
    std::latch together(2);
    bool did = false;
    std::jthread other([&, copy = p.future]() mutable {
      together.arrive_and_wait();
      did = copy.cancel();
    });
    together.arrive_and_wait();
    p.state->set(1);
    other.join();
    if (did) {
      ++cancelled;
      EXPECT_THROW((void)p.future.get(), brood::CancelledError);
    } else {
      EXPECT_EQ(p.future.get(), 1);
    }
  }
  EXPECT_LE(cancelled, 500);
}

}  // namespace
