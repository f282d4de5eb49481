// Several futures at once, and promises.
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "brood/error.hpp"
#include "brood/futures.hpp"

namespace {

using namespace std::chrono_literals;
using brood::Future;
using brood::Promise;
using brood::ReturnWhen;

struct Several {
  explicit Several(std::size_t count) : promises(count) {
    for (auto& one : promises) futures.push_back(one.future());
  }
  std::vector<Promise<int>> promises;
  std::vector<Future<int>> futures;
};

TEST(Promise, IsKeptOnce) {
  Promise<int> promise;
  const Future<int> future = promise.future();
  EXPECT_FALSE(future.done());
  promise.set_result(7);
  EXPECT_EQ(future.get(), 7);
  EXPECT_EQ(promise.future().get(), 7);
  EXPECT_THROW(promise.set_result(8), brood::InvalidState);
  EXPECT_THROW(promise.set_exception(std::runtime_error("late")), brood::UsageError);
  EXPECT_EQ(future.get(), 7);
  Promise<void> nothing;
  nothing.set_exception(std::out_of_range("far"));
  EXPECT_THROW(nothing.future().get(), std::out_of_range);
  EXPECT_THROW(nothing.set_result(), brood::InvalidState);
  EXPECT_THROW(nothing.set_exception(std::exception_ptr()), brood::UsageError);
}

TEST(Promise, MayBeCancelledUntilItBegins) {
  Promise<int> promise;
  Future<int> future = promise.future();
  EXPECT_TRUE(future.cancel());
  EXPECT_FALSE(promise.begin());
  EXPECT_THROW(promise.set_result(1), brood::InvalidState);
  Promise<int> begun;
  EXPECT_TRUE(begun.begin());
  EXPECT_TRUE(begun.future().running());
  EXPECT_FALSE(begun.future().cancel());
  begun.set_result(2);
  EXPECT_EQ(begun.future().get(), 2);
}

TEST(Promise, ThatIsDroppedCancels) {
  Future<int> left;
  {
    const Promise<int> promise;
    left = promise.future();
  }
  EXPECT_TRUE(left.cancelled());
  EXPECT_THROW((void)left.get(), brood::CancelledError);
  Promise<int> one;
  left = one.future();
  Promise<int> other = std::move(one);
  EXPECT_FALSE(left.done());
  other = Promise<int>();
  EXPECT_TRUE(left.cancelled());
  EXPECT_THROW((void)one.future(), brood::UsageError);
}

TEST(Futures, WaitReturnsWhenEnoughAreSettled) {
  Several s(4);
  s.promises[2].set_result(5);
  auto found = brood::wait(s.futures, ReturnWhen::any);
  EXPECT_EQ(found.done.size(), 1U);
  EXPECT_EQ(found.done.at(0).get(), 5);
  EXPECT_EQ(found.not_done.size(), 3U);
  EXPECT_EQ(brood::wait(s.futures, ReturnWhen::all, 0s).not_done.size(), 3U);
  EXPECT_EQ(brood::wait(s.futures, ReturnWhen::first_exception, 1ms).not_done.size(), 3U);
  EXPECT_TRUE(s.futures[0].cancel());  // is no exception
  EXPECT_EQ(brood::wait(s.futures, ReturnWhen::first_exception, 1ms).done.size(), 2U);
  std::jthread later([&] { s.promises[3].set_exception(std::runtime_error("bad")); });
  found = brood::wait(s.futures, ReturnWhen::first_exception);
  EXPECT_EQ(found.done.size(), 3U);
  ASSERT_EQ(found.not_done.size(), 1U);
  later = std::jthread([&] { s.promises[1].set_result(1); });
  found = brood::wait(s.futures);
  EXPECT_EQ(found.done.size(), 4U);
  EXPECT_EQ(found.done.at(1).get(), 1);  // in the order of the input
  EXPECT_TRUE(brood::wait(std::vector<Future<int>>()).done.empty());
}

TEST(Futures, DuplicatesCountOnce) {
  Several s(2);
  s.promises[0].set_result(1);
  const std::vector<Future<int>> twice{s.futures[0], s.futures[1], s.futures[0], s.futures[1]};
  const auto found = brood::wait(twice, ReturnWhen::all, 0s);
  EXPECT_EQ(found.done.size(), 1U);
  EXPECT_EQ(found.not_done.size(), 1U);
  s.promises[1].set_result(2);
  int count = 0;
  for (const Future<int>& one : brood::as_completed(twice)) count += one.get();
  EXPECT_EQ(count, 3);
  EXPECT_THROW((void)brood::wait(std::vector<Future<int>>(1)), brood::UsageError);
  EXPECT_THROW((void)brood::wait(s.futures, static_cast<ReturnWhen>(7)), brood::UsageError);
}

TEST(Futures, AsCompletedTellsTheSettledFirst) {
  Several s(3);
  s.promises[2].set_result(2);
  auto completed = brood::as_completed(s.futures);
  EXPECT_EQ(completed.next()->get(), 2);
  std::jthread later([&] {
    s.promises[1].set_result(1);
    s.promises[0].set_exception(std::runtime_error("bad"));
  });
  EXPECT_EQ(completed.next()->get(), 1);
  EXPECT_THROW((void)completed.next()->get(), std::runtime_error);
  EXPECT_FALSE(completed.next().has_value());
  EXPECT_FALSE(completed.next().has_value());
}

TEST(Futures, AsCompletedSaysHowManyAreLate) {
  Several s(5);
  s.promises[0].set_result(0);
  s.promises[4].set_result(4);
  auto completed = brood::as_completed(s.futures, 1ms);
  int found = 0;
  try {
    for (const Future<int>& one : completed) found += one.get() + 1;
    ADD_FAILURE();
  } catch (const brood::TimeoutError& late) {
    EXPECT_NE(std::string(late.what()).find("3 (of 5)"), std::string::npos) << late.what();
  }
  EXPECT_EQ(found, 6);
}

TEST(Futures, WhatIsSettledAfterNobodyWaitsAnyMoreHurtsNobody) {
  Several s(2);
  (void)brood::wait(s.futures, ReturnWhen::all, 0s);
  { auto dropped = brood::as_completed(s.futures, 0s); }
  s.promises[0].set_result(1);
  s.promises[1].set_result(1);
}

}  // namespace
