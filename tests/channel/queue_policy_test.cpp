// QueueOptions::when_full: what put does when there is no room.
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "support/inspect.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using brood::WhenFull;
using QueuePolicy = Ladder;

std::vector<int> contents(brood::Queue<int>& queue) {
  std::vector<int> out;
  (void)queue.try_get_many(out, 1'000'000);
  return out;
}

TEST_F(QueuePolicy, FailSaysNoAtOnce) {
  brood::Queue<int> queue({.capacity = 2, .when_full = WhenFull::fail});
  queue.put(1);
  EXPECT_TRUE(queue.try_put_for(2, 1h));
  expect_error<brood::Full>([&] { queue.put(3); }, {queue.handle().str(), "WhenFull::fail"});
  EXPECT_FALSE(queue.try_put_for(3, 1h));
  expect_error<brood::Full>([&] { queue.put_many(std::vector<int>{3, 4}); }, {"full"});
  EXPECT_EQ(queue.get(), 1);
  expect_error<brood::Full>([&] { queue.put_many(std::vector<int>{3, 4}); }, {"full"});
  EXPECT_EQ(contents(queue), (std::vector<int>{2, 3}));
  EXPECT_EQ(queue.dropped(), 0U);
  queue.shutdown();
  EXPECT_THROW(queue.put(5), brood::QueueClosed);
}

TEST_F(QueuePolicy, DropOldestKeepsTheLastOnes) {
  brood::Queue<int> queue({.capacity = 3, .when_full = WhenFull::drop_oldest});
  for (int i = 1; i <= 5; ++i) queue.put(i);
  EXPECT_TRUE(queue.full());
  EXPECT_EQ(queue.dropped(), 2U);
  EXPECT_TRUE(queue.try_put(6));
  EXPECT_EQ(queue.try_put_many(std::vector<int>{7, 8, 9, 10}), 4U);
  EXPECT_EQ(contents(queue), (std::vector<int>{8, 9, 10}));
  EXPECT_EQ(queue.dropped(), 7U);
}

TEST_F(QueuePolicy, DropOldestMakesRoomForALargeItemWithSeveralSmallOnes) {
  brood::Queue<std::string> queue({.capacity = 0, .byte_budget = 4096, .when_full = WhenFull::drop_oldest});
  for (int i = 0; i < 10; ++i) queue.put(std::string(300, static_cast<char>('0' + i)));
  EXPECT_EQ(queue.dropped(), 0U);
  queue.put(std::string(2000, 'x'));
  EXPECT_EQ(queue.dropped(), 4U);
  EXPECT_EQ(queue.get(), std::string(300, '4'));
  queue.put(std::string(4000, 'y'));
  EXPECT_EQ(queue.get(), std::string(4000, 'y'));
  EXPECT_THROW(queue.put(std::string(5000, 'z')), brood::NoSpace);
}

TEST_F(QueuePolicy, DropNewestKeepsTheFirstOnes) {
  brood::Queue<int> queue({.capacity = 3, .when_full = WhenFull::drop_newest});
  for (int i = 1; i <= 5; ++i) queue.put(i);
  EXPECT_FALSE(queue.try_put_for(6, 1h));
  queue.put_many(std::vector<int>{7, 8});
  EXPECT_EQ(queue.dropped(), 5U);
  EXPECT_EQ(contents(queue), (std::vector<int>{1, 2, 3}));
}

TEST_F(QueuePolicy, ObjectsInDroppedItemsAreFreed) {
  const auto before = support::files_below(support::test_domain());
  brood::Queue<brood::Lock> queue({.capacity = 1, .when_full = WhenFull::drop_oldest});
  const auto with_queue = support::files_below(support::test_domain()).size();
  for (int i = 0; i < 5; ++i) queue.put(brood::Lock());
  EXPECT_EQ(queue.dropped(), 4U);
  // One lock and the pin that keeps it.
  EXPECT_EQ(support::files_below(support::test_domain()).size(), with_queue + 2);
  EXPECT_TRUE(queue.get().try_lock());
  EXPECT_EQ(support::files_below(support::test_domain()).size(), with_queue);
  EXPECT_LT(before.size(), with_queue);
}

TEST_F(QueuePolicy, BelongsToTheQueueAndShows) {
  const auto queue = brood::Queue<int>::create("policy", {.capacity = 1, .when_full = WhenFull::drop_newest});
  auto same = brood::Queue<int>::open_or_create("policy", {.capacity = 9, .when_full = WhenFull::fail});
  EXPECT_EQ(same.when_full(), WhenFull::drop_newest);
  same.put(1);
  same.put(2);
  EXPECT_NE(printed(queue).find("drop_newest dropped=1"), std::string::npos) << printed(queue);
  EXPECT_EQ(printed(brood::Queue<int>(1)).find("dropped"), std::string::npos);
  brood::Queue<int>::remove("policy");
}

TEST_F(QueuePolicy, WhatIsNotDroppedArrivesInOrder) {
  constexpr int kEach = 20'000;
  brood::Queue<std::pair<int, int>> queue({.capacity = 16, .when_full = WhenFull::drop_oldest});
  std::vector<Child> producers;
  for (int who = 0; who < 2; ++who) {
    producers.push_back(Child([&queue, who](Line&) {
      for (int i = 0; i < kEach; ++i) queue.put({who, i});
    }));
  }
  std::uint64_t got = 0;
  std::array<int, 2> last{-1, -1};
  const auto take = [&] {
    std::vector<std::pair<int, int>> items;
    (void)queue.try_get_many(items, 5);
    for (const auto& [who, i] : items) {
      EXPECT_GT(i, last.at(static_cast<std::size_t>(who)));
      last.at(static_cast<std::size_t>(who)) = i;
      ++got;
    }
    return !items.empty();
  };
  while (got + queue.dropped() + queue.qsize() < 2 * kEach) take();
  for (auto& producer : producers) EXPECT_EQ(producer.wait(), 0);
  while (take()) {}
  EXPECT_EQ(got + queue.dropped(), 2U * kEach);
}

}  // namespace
}  // namespace ladder
