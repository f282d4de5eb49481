#include "brood/queue.hpp"

#include <cstdint>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "channel/queue_body.hpp"
#include "shm/segment.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using QueueLadder = Ladder;

struct Point {
  int x = 0;
  double y = 0;
  friend bool operator==(const Point&, const Point&) = default;
};
struct Job {
  int id = 0;
  std::string path;
  std::vector<std::string> words;
  friend bool operator==(const Job&, const Job&) = default;
};

TEST_F(QueueLadder, CarriesScalarsStructsAndContainers) {
  brood::Queue<Point> points;
  points.put({1, 2.5});
  EXPECT_EQ(points.get(), (Point{1, 2.5}));
  brood::Queue<Job> jobs;
  const Job job{7, "a/b", {"x", "", std::string(5000, 'y')}};
  jobs.put(job);
  EXPECT_EQ(jobs.get(), job);
  brood::Queue<std::string> texts;
  for (std::size_t size : {0U, 1U, 7U, 8U, 9U, 63U, 64U, 65U, 4095U, 4096U, 70000U}) {
    texts.put(std::string(size, 'z'));
    EXPECT_EQ(texts.get().size(), size);
  }
}

TEST_F(QueueLadder, AttemptsOfAllForms) {
  brood::Queue<int> queue(1);
  EXPECT_TRUE(queue.try_put_until(1, std::chrono::system_clock::now() + 1h));
  const auto when = std::chrono::system_clock::now() + 25ms;
  EXPECT_FALSE(queue.try_put_until(2, when));
  EXPECT_GE(std::chrono::system_clock::now(), when);
  EXPECT_FALSE(queue.try_put_until(2, std::chrono::steady_clock::time_point::min()));
  EXPECT_EQ(queue.try_get_until(std::chrono::steady_clock::time_point::max()), 1);
  const auto later = std::chrono::system_clock::now() + 25ms;
  EXPECT_EQ(queue.try_get_until(later), std::nullopt);
  EXPECT_GE(std::chrono::system_clock::now(), later);
  EXPECT_EQ(queue.try_get_for(-1h), std::nullopt);
  EXPECT_TRUE(queue.try_put_for(3, std::chrono::hours::max()));
  EXPECT_EQ(queue.try_get_for(std::chrono::hours::max()), 3);
}

TEST_F(QueueLadder, ErrorsNameTheQueueAndTheCure) {
  expect_error<brood::UsageError>([] { brood::Queue<int> bad(static_cast<std::size_t>(-1)); },
                                  {"capacity", "18446744073709551615", "byte budget"});
  expect_error<brood::UsageError>(
      [] { brood::Queue<int> bad(brood::QueueOptions{.byte_budget = std::size_t{1} << 40}); },
      {"byte budget", "64 GiB"});
  brood::Queue<std::string> small(brood::QueueOptions{.byte_budget = 4096});
  expect_error<brood::NoSpace>([&] { small.put(std::string(10000, 'x')); },
                               {small.handle().str(), "10003", "4096", "byte_budget"});
  brood::Queue<int> one(1);
  one.put(1);
  expect_error<brood::Full>([&] { one.put_nowait(2); }, {one.handle().str(), "full"});
  (void)one.get();
  expect_error<brood::Empty>([&] { (void)one.get_nowait(); }, {one.handle().str(), "empty"});
  one.close();
  expect_error<brood::QueueClosed>([&] { one.put(1); }, {one.handle().str(), "closed"});
  brood::Queue<int> over;
  over.shutdown();
  expect_error<brood::QueueClosed>([&] { over.put(1); }, {over.handle().str(), "shut down"});
  expect_error<brood::QueueClosed>([&] { (void)over.get(); }, {over.handle().str(), "shut down"});
}

TEST_F(QueueLadder, AnotherPayloadTypeIsRefused) {
  const brood::Queue<int> queue;
  expect_error<brood::TypeMismatch>([&] { (void)brood::Queue<std::string>::open(queue.handle()); },
                                    {queue.handle().str(), "int", "string"});
  expect_error<brood::TypeMismatch>([&] { (void)brood::Queue<unsigned>::open(queue.handle()); }, {"int", "unsigned"});
  (void)brood::Queue<Point>::create("ladder.points");
  expect_error<brood::TypeMismatch>([] { (void)brood::Queue<Job>::open_or_create("ladder.points"); },
                                    {"ladder.points", "Point", "Job"});
  EXPECT_TRUE(brood::Queue<Point>::remove("ladder.points"));
}

TEST_F(QueueLadder, PrintedForm) {
  brood::Queue<int> queue(5);
  queue.put(1);
  EXPECT_EQ(printed(queue), "<Queue " + queue.handle().str() + " items=1/5 bytes<=268435456>");
  queue.shutdown();
  queue.close();
  EXPECT_EQ(printed(queue), "<Queue " + queue.handle().str() + " items=1/5 bytes<=268435456 closed shut down>");
}

TEST_F(QueueLadder, GrowsByDoublingAndKeepsTheOrder) {
  brood::Queue<std::string> queue;
  // Wrapped records at every growth: take a few out before putting many in.
  int put = 0;
  int taken = 0;
  const auto text = [](int i) { return std::to_string(i) + std::string(static_cast<std::size_t>(i * 37 % 1500), 'g'); };
  for (int round = 0; round < 12; ++round) {
    for (int i = 0; i < 40 << (round / 2); ++i, ++put) queue.put(text(put));
    for (int i = 0; i < 15 << (round / 2); ++i, ++taken) ASSERT_EQ(queue.get(), text(taken));
  }
  EXPECT_EQ(queue.qsize(), static_cast<std::size_t>(put - taken));
  for (; taken < put; ++taken) ASSERT_EQ(queue.get(), text(taken));
  EXPECT_TRUE(queue.empty());
}

TEST_F(QueueLadder, ByteBudgetBlocksAndFreesAsCapacityDoes) {
  brood::Queue<std::string> queue(brood::QueueOptions{.byte_budget = 4096});
  std::size_t put = 0;
  while (queue.try_put(std::string(100, 'b'))) ++put;
  EXPECT_GE(put, 4096U / 128 - 1);
  EXPECT_TRUE(queue.full() || put * 112 <= 4096);
  std::thread putter([&] { queue.put(std::string(100, 'c')); });
  await_sleepers(queue.handle(), 1);
  EXPECT_EQ(queue.get().front(), 'b');
  putter.join();
  EXPECT_EQ(queue.qsize(), put);
}

TEST_F(QueueLadder, SumsFromManyToManyThreads) {
  for (const std::size_t capacity : {1U, 3U, 64U, 0U}) {
    brood::Queue<long> queue(capacity);
    constexpr int kEach = 3000;
    std::atomic<long> sum = 0;
    in_threads(5, [&](std::size_t i) {
      if (i < 3) {
        for (long item = 1; item <= kEach; ++item) queue.put(item);
      } else {
        for (int item = 0; item < 3 * kEach / 2; ++item) sum.fetch_add(queue.get());
      }
    });
    EXPECT_EQ(sum.load(), 3L * kEach * (kEach + 1) / 2) << "capacity " << capacity;
    EXPECT_TRUE(queue.empty());
    EXPECT_EQ(queue.qsize(), 0U);
  }
}

TEST_F(QueueLadder, SumsFromManyToManyProcesses) {
  brood::Queue<long> queue(16);
  brood::Queue<long> sums;
  constexpr int kEach = 2000;
  std::vector<Child> producers;
  std::vector<Child> consumers;
  for (int i = 0; i < 3; ++i) {
    producers.emplace_back([&](Line&) {
      for (long item = 1; item <= kEach; ++item) queue.put(item);
    });
  }
  for (int i = 0; i < 2; ++i) {
    consumers.emplace_back([&](Line&) {
      long sum = 0;
      for (const long item : queue) sum += item;
      sums.put(sum);
    });
  }
  for (auto& producer : producers) EXPECT_EQ(producer.wait(), 0);
  queue.shutdown();
  for (auto& consumer : consumers) EXPECT_EQ(consumer.wait(), 0);
  EXPECT_EQ(sums.get() + sums.get(), 3L * kEach * (kEach + 1) / 2);
}

TEST_F(QueueLadder, TimeoutsAmongSleepersLoseNothing) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  brood::Queue<long> queue(2);
  constexpr int kEach = 800;
  std::atomic<long> sum = 0;
  std::atomic<int> taken = 0;
  in_threads(6, [&](std::size_t i) {
    std::mt19937 random(seed + static_cast<unsigned>(i));
    if (i < 3) {
      for (long item = 1; item <= kEach; ++item) {
        while (!queue.try_put_for(item, std::chrono::microseconds(random() % 200))) {}
      }
    } else {
      while (taken.load() < 3 * kEach) {
        if (const auto item = queue.try_get_for(std::chrono::microseconds(random() % 200))) {
          sum.fetch_add(*item);
          taken.fetch_add(1);
        }
      }
    }
  });
  EXPECT_EQ(sum.load(), 3L * kEach * (kEach + 1) / 2);
}

TEST_F(QueueLadder, ManySleepersAllWakeAtShutdown) {
  brood::Queue<int> queue;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back([&] { EXPECT_THROW((void)queue.get(), brood::QueueClosed); });
  await_sleepers(queue.handle(), 8);
  queue.shutdown();
  for (auto& thread : threads) thread.join();
}

TEST_F(QueueLadder, OnePutWakesOneSleeperAndABurstWakesAll) {
  brood::Queue<int> queue;
  std::atomic<int> through = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      (void)queue.get();
      through.fetch_add(1);
    });
  }
  await_sleepers(queue.handle(), 6);
  queue.put(1);
  await([&] { return through.load() == 1; });
  await_sleepers(queue.handle(), 5);
  for (int i = 0; i < 5; ++i) queue.put(i);
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(queue.empty());
}

TEST_F(QueueLadder, ItemsAreNotTornHoweverLarge) {
  brood::Queue<std::vector<std::uint32_t>> queue(brood::QueueOptions{.capacity = 3});
  Child producer([&](Line&) {
    for (std::uint32_t i = 0; i < 60; ++i) queue.put(std::vector<std::uint32_t>(20000 + i * 991, i));
  });
  for (std::uint32_t i = 0; i < 60; ++i) {
    const auto got = queue.get();
    ASSERT_EQ(got.size(), 20000 + i * 991);
    for (const auto value : got) ASSERT_EQ(value, i);
  }
  EXPECT_EQ(producer.wait(), 0);
}

TEST_F(QueueLadder, CountsHoldAtTheirLargestToo) {
  // Counts are kept modulo a power of two: the fullest queue must still tell full from empty, limited or not.
  constexpr std::size_t kLargest = (std::size_t{1} << 27) - 1;
  EXPECT_THROW(brood::Queue<int>(kLargest + 1), brood::UsageError);
  for (const std::size_t capacity : {kLargest, std::size_t{0}}) {
    const brood::Queue<int> queue(capacity);
    EXPECT_EQ(queue.capacity(), capacity);
    // As if all items but two were in it: what they would need is 2 GiB.
    const auto attached = brood::shm::open(queue.handle(), brood::Kind::queue,
                                           {brood::detail::type_fingerprint<int>(), brood::detail::type_name<int>()});
    auto& body = *static_cast<brood::channel::QueueBody*>(attached.body());
    const auto tail = brood::channel::Cursor{0, 5 + kLargest - 2};
    body.head.store(brood::channel::Cursor{0, 5}.pack());
    body.known_head.store(body.head.load());
    body.tail.store(tail.pack());
    auto opened = brood::Queue<int>::open(queue.handle());
    EXPECT_TRUE(opened.try_put(1));
    EXPECT_FALSE(opened.full());
    EXPECT_TRUE(opened.try_put(2));
    EXPECT_TRUE(opened.full());
    EXPECT_FALSE(opened.try_put(3));
    EXPECT_EQ(opened.qsize(), kLargest);
    EXPECT_EQ(opened.get(), 1);
    EXPECT_TRUE(opened.try_put(3));
    EXPECT_FALSE(opened.try_put(4));
  }
}

TEST_F(QueueLadder, TenMillionItemsWait) {
  constexpr std::size_t kItems = 10'000'000;
  constexpr std::size_t kBatch = 100'000;
  brood::Queue<std::uint32_t> queue;
  std::vector<std::uint32_t> batch(kBatch);
  for (std::size_t done = 0; done < kItems; done += kBatch) {
    std::iota(batch.begin(), batch.end(), static_cast<std::uint32_t>(done));
    queue.put_many(batch);
  }
  EXPECT_EQ(queue.qsize(), kItems);
  std::vector<std::uint32_t> got;
  std::size_t next = 0;
  while (next < kItems) {
    got.clear();
    (void)queue.get_many(got, kBatch);
    for (const std::uint32_t one : got) ASSERT_EQ(one, next++);
  }
  EXPECT_TRUE(queue.empty());
}

TEST_F(QueueLadder, TwoHundredFiftySixProcessesOnOneQueue) {
  constexpr int kProcesses = 256;
  constexpr int kEach = 40;
  brood::Queue<int> jobs(100);
  brood::Queue<long> sums;
  std::vector<std::unique_ptr<Child>> all;
  for (int who = 0; who < kProcesses; ++who) {
    all.push_back(std::make_unique<Child>([&, who](Line&) {
      if (who % 2 == 0) {
        for (int i = 0; i < kEach; ++i) jobs.put(who * kEach + i);
        return;
      }
      long sum = 0;
      for (const int job : jobs) sum += job + 1;
      sums.put(sum);
    }));
  }
  for (int who = 0; who < kProcesses; who += 2) EXPECT_EQ(all[static_cast<std::size_t>(who)]->wait(), 0);
  jobs.shutdown();
  long total = 0;
  for (int who = 1; who < kProcesses; who += 2) {
    EXPECT_EQ(all[static_cast<std::size_t>(who)]->wait(), 0);
    total += sums.get();
  }
  long expected = 0;
  for (int who = 0; who < kProcesses; who += 2)
    for (int i = 0; i < kEach; ++i) expected += who * kEach + i + 1;
  EXPECT_EQ(total, expected);
}

}  // namespace
}  // namespace ladder
