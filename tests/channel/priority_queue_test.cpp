// PriorityQueue: the lowest number first, the oldest among equals; whole items, whoever is killed.
#include "brood/priority_queue.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "brood/domain.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "support/inspect.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using brood::PriorityQueue;
using PriorityQueueTest = Ladder;

TEST_F(PriorityQueueTest, LowestFirstOldestAmongEquals) {
  PriorityQueue<std::string> queue;
  queue.put("c", 5);
  queue.put("d", 5);
  queue.put("a", -1);
  queue.put("b");
  queue.put("e", std::numeric_limits<std::int64_t>::max());
  queue.put("0", std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(queue.qsize(), 6U);
  std::string all;
  while (auto item = queue.try_get()) all += *item;
  EXPECT_EQ(all, "0abcde");
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.try_get_for(-1s));
  EXPECT_FALSE(queue.try_get_for(1ms));
  EXPECT_THROW((void)queue.get_nowait(), brood::Empty);
  queue.put("x", 3);
  const brood::Prioritised<std::string> last = queue.get_with_priority();
  EXPECT_EQ(last.item, "x");
  EXPECT_EQ(last.priority, 3);
}

TEST_F(PriorityQueueTest, AnyOrderComesOutSorted) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  PriorityQueue<std::vector<int>> queue;
  std::vector<std::pair<std::int64_t, int>> in_line;  // sorted as it must come out
  int next = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (random() % 5 < 3) {
      const auto priority = static_cast<std::int64_t>(random() % 40) - 20;
      queue.put(std::vector<int>(random() % 100, next), priority);
      const std::pair<std::int64_t, int> entry(priority, next++);
      in_line.insert(std::upper_bound(in_line.begin(), in_line.end(), entry), entry);
    } else if (const auto taken = queue.get_with_priority_before(brood::Deadline::now())) {
      ASSERT_EQ(taken->priority, in_line.front().first);
      for (const int value : taken->item) ASSERT_EQ(value, in_line.front().second);
      in_line.erase(in_line.begin());
    } else {
      ASSERT_TRUE(in_line.empty());
    }
    ASSERT_EQ(queue.qsize(), in_line.size());
  }
}

TEST_F(PriorityQueueTest, CapacityAndBytesBoundIt) {
  PriorityQueue<int> few(2);
  few.put(1);
  EXPECT_FALSE(few.full());
  few.put(2, -1);
  EXPECT_TRUE(few.full());
  EXPECT_FALSE(few.try_put(3));
  EXPECT_FALSE(few.try_put_for(3, 0, 1ms));
  EXPECT_FALSE(few.try_put_until(3, 0, std::chrono::system_clock::now()));
  EXPECT_THROW(few.put_nowait(3), brood::Full);
  Child putter([&](Line&) { few.put(3, -2); });
  await_sleepers(few.handle(), 1);
  EXPECT_EQ(few.get(), 2);
  EXPECT_EQ(putter.wait(), 0);
  EXPECT_EQ(few.get(), 3);

  PriorityQueue<std::string> small({.byte_budget = 4096});
  EXPECT_EQ(small.byte_budget(), 4096U);
  int fit = 0;
  while (small.try_put(std::string(200, 'x'))) ++fit;
  EXPECT_EQ(fit, 16) << "four blocks of 64 bytes each";
  EXPECT_EQ(small.get(), std::string(200, 'x'));
  small.put(std::string(250, 'y'), -1);
  EXPECT_EQ(small.get(), std::string(250, 'y'));
  expect_error<brood::NoSpace>([&] { small.put(std::string(5000, 'z')); }, {small.handle().str(), "5003", "4096"});
  expect_error<brood::UsageError>([] { PriorityQueue<int>(std::size_t{1} << 30); }, {"capacity", "16777216"});
  expect_error<brood::UsageError>([] { PriorityQueue<int>({.byte_budget = std::size_t{1} << 40}); }, {"64 GiB"});
}

TEST_F(PriorityQueueTest, ShutdownDrainsOrDiscards) {
  PriorityQueue<int> queue;
  queue.put(2, 2);
  queue.put(1, 1);
  queue.shutdown();
  EXPECT_TRUE(queue.is_shut_down());
  EXPECT_THROW(queue.put(3), brood::QueueClosed);
  std::vector<int> all;
  for (const int item : queue) all.push_back(item);
  EXPECT_EQ(all, (std::vector<int>{1, 2}));
  EXPECT_THROW((void)queue.get(), brood::QueueClosed);

  PriorityQueue<int> other(1);
  other.put(1);
  Child putter([&](Line&) { EXPECT_THROW(other.put(2), brood::QueueClosed); });
  await_sleepers(other.handle(), 1);
  other.shutdown(true);
  EXPECT_EQ(putter.wait(), 0);
  EXPECT_EQ(other.qsize(), 0U);
  EXPECT_THROW((void)other.try_get(), brood::QueueClosed);
  other.close();
  other.close();
  EXPECT_THROW((void)other.try_get(), brood::QueueClosed);
}

TEST_F(PriorityQueueTest, ItemsOfTheKilledAreWholeInOrderAndWithoutGaps) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  const auto text = [](int number) {
    return std::to_string(number) + ":" +
           std::string(static_cast<std::size_t>(number * 131 % 900), static_cast<char>('a' + number % 26));
  };
  for (int round = 0; round < 30; ++round) {
    PriorityQueue<std::string> queue;
    Child producer([&](Line& line) {
      line.say('r');
      for (int i = 0;; ++i) queue.put(text(i), i);
    });
    producer.line.expect('r');
    int next = 0;
    for (auto i = random() % 200; i > 0; --i) ASSERT_EQ(queue.get(), text(next++));
    producer.kill();
    while (auto item = queue.try_get()) ASSERT_EQ(*item, text(next++)) << "round " << round;
    queue.put("x", 1);
    queue.put("y", 0);
    EXPECT_EQ(queue.get(), "y");
    EXPECT_EQ(queue.get(), "x");
  }
}

TEST_F(PriorityQueueTest, SharedObjectsInItemsLiveUntilTheyAreTaken) {
  PriorityQueue<brood::Lock> queue;
  const auto files = [] { return support::files_below(support::test_domain()).size(); };
  const auto before = files();
  Child maker([&](Line&) {
    queue.put(brood::Lock(), 2);
    queue.put(brood::Lock(), 1);
  });
  EXPECT_EQ(maker.wait(), 0);
  (void)brood::gc();
  {
    brood::Lock lock = queue.get();
    lock.lock();
    lock.unlock();
    EXPECT_GT(files(), before);
  }
  queue.shutdown(true);
  EXPECT_EQ(files(), before);
}

TEST_F(PriorityQueueTest, NamedAndPrinted) {
  PriorityQueue<int> queue = PriorityQueue<int>::create("urgent-of-test", {.capacity = 3});
  EXPECT_THROW((void)PriorityQueue<int>::create("urgent-of-test"), brood::AlreadyExists);
  queue.put(4);
  EXPECT_EQ(PriorityQueue<int>::open_named("urgent-of-test").qsize(), 1U);
  std::ostringstream text;
  text << queue;
  EXPECT_EQ(text.str(), "<PriorityQueue " + queue.handle().str() + " items=1/3 bytes<=268435456>");
  EXPECT_THROW((void)PriorityQueue<long>::open(queue.handle()), brood::TypeMismatch);
  EXPECT_THROW((void)brood::Queue<int>::open(queue.handle()), brood::TypeMismatch);
  EXPECT_EQ(PriorityQueue<int>::open_or_create("urgent-of-test").get(), 4);
  EXPECT_TRUE(PriorityQueue<int>::remove("urgent-of-test"));
  EXPECT_FALSE(PriorityQueue<int>::remove("urgent-of-test"));
}

}  // namespace
}  // namespace ladder
