// put_many and get_many: several items under one lock.
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "support/inspect.hpp"
#include "sync/ladder.hpp"

namespace moody {
struct Moody {
  int value = 0;
};
constexpr int kUnwritable = 13;
constexpr int kUnreadable = 14;
}  // namespace moody

template <>
struct brood::Codec<moody::Moody> {
  static void encode(brood::Encoder& out, const moody::Moody& moody) {
    if (moody.value == moody::kUnwritable) throw std::domain_error("cannot be written");
    out.sint(moody.value);
  }
  static moody::Moody decode(brood::Decoder& in) {
    const moody::Moody moody{in.integer<int>()};
    if (moody.value == moody::kUnreadable) throw std::domain_error("cannot be read");
    return moody;
  }
};

namespace ladder {
namespace {

using moody::kUnreadable;
using moody::kUnwritable;
using moody::Moody;
using QueueBatch = Ladder;

std::vector<int> numbers(int from, int count) {
  std::vector<int> out(static_cast<std::size_t>(count));
  std::iota(out.begin(), out.end(), from);
  return out;
}

template <class T>
std::vector<T> take_all(brood::Queue<T>& queue) {
  std::vector<T> out;
  while (queue.try_get_many(out, 7) != 0) {}
  return out;
}

TEST_F(QueueBatch, KeepsOrderAndCountWhileTheRingGrows) {
  brood::Queue<int> queue;
  const auto items = numbers(0, 100'000);
  queue.put_many(items);
  EXPECT_EQ(queue.qsize(), items.size());
  std::vector<int> got;
  EXPECT_EQ(queue.get_many(got, 1000), 1000U);
  EXPECT_EQ(queue.get_many(got, 1'000'000), items.size() - 1000);
  EXPECT_EQ(got, items);
  EXPECT_TRUE(queue.empty());
}

TEST_F(QueueBatch, CarriesTextAndMixesWithSingleItems) {
  brood::Queue<std::string> queue;
  queue.put("first");
  queue.put_many(std::vector<std::string>{"", "b", std::string(100'000, 'c')});
  queue.put("last");
  EXPECT_EQ(queue.get(), "first");
  std::vector<std::string> got{"was there"};
  EXPECT_EQ(queue.get_many(got, 3), 3U);
  EXPECT_EQ(got, (std::vector<std::string>{"was there", "", "b", std::string(100'000, 'c')}));
  EXPECT_EQ(queue.get(), "last");
}

TEST_F(QueueBatch, AttemptsPutAndTakeWhatTheyCan) {
  brood::Queue<int> queue(3);
  EXPECT_EQ(queue.try_put_many(numbers(1, 5)), 3U);
  EXPECT_EQ(queue.try_put_many(numbers(1, 5)), 0U);
  EXPECT_EQ(queue.try_put_many_for(numbers(1, 5), 20ms), 0U);
  std::vector<int> got;
  EXPECT_EQ(queue.try_get_many(got, 2), 2U);
  EXPECT_EQ(queue.try_get_many_for(got, 9, 1h), 1U);
  EXPECT_EQ(got, numbers(1, 3));
  EXPECT_EQ(queue.try_get_many(got, 2), 0U);
  EXPECT_EQ(queue.try_get_many_for(got, 2, 20ms), 0U);
}

TEST_F(QueueBatch, NothingOfNothing) {
  brood::Queue<int> queue(1);
  queue.put_many({});
  EXPECT_EQ(queue.try_put_many({}), 0U);
  std::vector<int> got;
  EXPECT_EQ(queue.get_many(got, 0), 0U);
  EXPECT_TRUE(queue.empty());
}

TEST_F(QueueBatch, PutManyWaitsUntilAllAreIn) {
  brood::Queue<int> queue(4);
  Child producer([&](Line&) { queue.put_many(numbers(0, 1000)); });
  std::vector<int> got;
  while (got.size() < 1000) queue.get_many(got, 3);
  EXPECT_EQ(producer.wait(), 0);
  EXPECT_EQ(got, numbers(0, 1000));
}

TEST_F(QueueBatch, OneBatchServesAllWhoSleep) {
  brood::Queue<int> queue;
  std::vector<Child> sleepers;
  for (int i = 0; i < 4; ++i) {
    sleepers.push_back(Child([&](Line&) {
      std::vector<int> got;
      require(queue.get_many(got, 1) == 1, "one item");
    }));
  }
  await_sleepers(queue.handle(), 4);
  queue.put_many(numbers(0, 4));
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper.wait(), 0);
  EXPECT_TRUE(queue.empty());
}

TEST_F(QueueBatch, LargeItemsComeFewerAtATime) {
  brood::Queue<std::string> queue;
  std::vector<std::string> items;
  for (char c = 'a'; c < 'g'; ++c) items.emplace_back(700'000, c);
  queue.put_many(items);
  std::vector<std::string> got;
  int calls = 0;
  for (; got.size() < items.size(); ++calls) EXPECT_GE(queue.get_many(got, 100), 1U);
  EXPECT_GT(calls, 1);
  EXPECT_EQ(got, items);
}

TEST_F(QueueBatch, SharedObjectsTravelInBatches) {
  const auto before = support::files_below(support::test_domain());
  {
    brood::Queue<brood::Lock> queue;
    {
      std::vector<brood::Lock> locks(5);
      locks[3].lock();
      queue.put_many(locks);
      locks[3].unlock();
      locks[4].lock();
    }
    std::vector<brood::Lock> got;
    EXPECT_EQ(queue.get_many(got, 5), 5U);
    EXPECT_TRUE(got[3].try_lock());
    got[3].unlock();
  }
  EXPECT_EQ(support::files_below(support::test_domain()), before);
}

TEST_F(QueueBatch, WhatComesBeforeAnItemThatCannotBeWrittenIsIn) {
  brood::Queue<Moody> queue;
  expect_error<std::domain_error>(
      [&] {
        queue.put_many(std::vector<Moody>{{1}, {2}, {kUnwritable}, {4}});
      },
      {"cannot be written"});
  std::vector<Moody> got;
  EXPECT_EQ(queue.try_get_many(got, 9), 2U);
  EXPECT_EQ(got.back().value, 2);
}

TEST_F(QueueBatch, WhatComesBesideAnItemThatCannotBeReadIsDelivered) {
  brood::Queue<Moody> queue;
  queue.put_many(std::vector<Moody>{{1}, {kUnreadable}, {3}, {4}});
  std::vector<Moody> got;
  expect_error<std::domain_error>([&] { queue.get_many(got, 3); }, {"cannot be read"});
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[1].value, 3);
  EXPECT_EQ(queue.get().value, 4);
}

TEST_F(QueueBatch, AnItemThatCanNeverFitStopsTheBatchThere) {
  brood::Queue<std::string> queue({.capacity = 0, .byte_budget = 4096});
  expect_error<brood::NoSpace>(
      [&] {
        queue.put_many(std::vector<std::string>{"a", std::string(5000, 'x'), "c"});
      },
      {"5003 bytes", "never fit"});
  EXPECT_EQ(take_all(queue), std::vector<std::string>{"a"});
}

TEST_F(QueueBatch, ShutdownEndsABatchWhereItIs) {
  brood::Queue<int> queue(2);
  Child producer([&](Line& line) {
    line.say();
    try {
      queue.put_many(numbers(1, 5));
    } catch (const brood::QueueClosed&) {
      return;
    }
    require(false, "put_many into a queue that was shut down");
  });
  producer.line.expect();
  await_sleepers(queue.handle(), 1);
  queue.shutdown();
  EXPECT_EQ(producer.wait(), 0);
  std::vector<int> got;
  EXPECT_EQ(queue.get_many(got, 9), 2U);
  EXPECT_EQ(got, numbers(1, 2));
  EXPECT_THROW(queue.get_many(got, 9), brood::QueueClosed);
}

}  // namespace
}  // namespace ladder
