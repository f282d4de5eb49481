// What happens to a broadcast when its writers and readers are killed, stopped, forked, or many.
#include <unistd.h>

#include <array>
#include <atomic>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "brood/broadcast.hpp"
#include "brood/domain.hpp"
#include "brood/lock.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using brood::Broadcast;
using brood::BroadcastOptions;
using brood::SlowReader;
using brood::StartAt;
using brood::Subscription;
using BroadcastCrash = Ladder;

constexpr BroadcastOptions kBlock{.byte_budget = 4096, .most_readers = 4};
constexpr BroadcastOptions kDrop{.byte_budget = 4096, .most_readers = 4, .slow_reader = SlowReader::drop};

/// Plain data of several cache lines whose every word follows from the first.
struct Wide {
  std::array<std::uint64_t, 24> words{};
  static Wide of(std::uint64_t number) {
    Wide out;
    for (std::size_t i = 0; i < out.words.size(); ++i) out.words[i] = number * 1000 + i;
    return out;
  }
  [[nodiscard]] std::uint64_t number() const {
    for (std::size_t i = 0; i < words.size(); ++i) require(words[i] == words[0] + i, "no item is torn");
    return words[0] / 1000;
  }
};
std::string text_of(std::uint64_t number) {
  return std::to_string(number) + ":" + std::string(number * 131 % 900, static_cast<char>('a' + number % 26));
}

TEST_F(BroadcastCrash, AKilledReaderBlocksNobody) {
  Broadcast<int> news(kBlock);
  for (int round = 0; round < 15; ++round) {
    Child reader([&](Line& line) {
      auto mine = news.subscribe();
      line.say('s');
      (void)line.hear();
    });
    reader.line.expect('s');
    while (news.try_publish(round)) {}
    Child writer([&](Line&) { news.publish(-1); });
    await_sleepers(news.handle(), 1);
    reader.shoot();
    EXPECT_EQ(writer.wait(), 0) << "round " << round;
    EXPECT_EQ(reader.wait(), -SIGKILL);
    EXPECT_EQ(news.readers(), 0U);
  }
}

TEST_F(BroadcastCrash, AReaderWhoseProcessEndsBlocksNobody) {
  Broadcast<int> news(kBlock);
  for (const Ending ending : {Ending::exit, Ending::quick}) {
    Child reader(
        [&](Line& line) {
          static std::optional<Subscription<int>> kept;  // ends with the process, not before
          kept = news.subscribe();
          line.say('s');
          line.expect('e');
        },
        ending);
    reader.line.expect('s');
    while (news.try_publish(1)) {}
    Child writer([&](Line&) { news.publish(-1); });
    await_sleepers(news.handle(), 1);
    reader.line.say('e');
    EXPECT_EQ(writer.wait(), 0);
    EXPECT_EQ(reader.wait(), 0);
  }
}

TEST_F(BroadcastCrash, PlacesOfTheDeadAreGivenAway) {
  Broadcast<int> news(kBlock);
  for (int round = 0; round < 12; ++round) {
    Child reader([&](Line& line) {
      auto mine = news.subscribe();
      line.say('s');
      (void)line.hear();
    });
    reader.line.expect('s');
    reader.kill();
  }
  std::vector<Subscription<int>> readers;
  for (int i = 0; i < 4; ++i) readers.push_back(news.subscribe());
  EXPECT_EQ(news.readers(), 4U);
}

TEST_F(BroadcastCrash, AForkedCopyIsNoSubscription) {
  Broadcast<int> news(kBlock);
  auto reader = std::make_unique<Subscription<int>>(news.subscribe());
  news.publish(1);
  Child child([&](Line&) {
    const auto is_refused = [](auto call) {
      try {
        call();
      } catch (const brood::NotOwner& error) {
        return std::string(error.what()).find("subscribe()") != std::string::npos;
      }
      return false;
    };
    require(is_refused([&] { (void)reader->try_get(); }), "a copy cannot get");
    require(is_refused([&] { (void)reader->pending(); }), "a copy has nothing pending");
    auto own = news.subscribe();
    require(is_refused([&] { (void)reader->get(); }), "nor when the child has joined");
    reader.reset();
    require(news.readers() == 2, "the end of a copy ends nothing");
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(reader->get(), 1);
  EXPECT_EQ(news.readers(), 1U);
}

TEST_F(BroadcastCrash, DeadSleepersLoseNoWakeUp) {
  for (const BroadcastOptions& options : {kBlock, kDrop}) {
    Broadcast<int> news(options);
    for (int round = 0; round < 10; ++round) {
      Child first([&](Line&) { (void)news.subscribe().get(); });
      await_sleepers(news.handle(), 1);
      Child second([&](Line&) { require(news.subscribe().get() == 7, "seven"); });
      await_sleepers(news.handle(), 2);
      first.stop();
      news.publish(7);
      first.shoot();
      EXPECT_EQ(second.wait(), 0) << "round " << round;
    }
  }
}

/// Items of killed writers are whole, in order and without gaps, for every reader.
TEST_F(BroadcastCrash, WhatKilledWritersPublishedIsWhole) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  for (int round = 0; round < 30; ++round) {
    Broadcast<std::string> news({.byte_budget = 16384});
    auto one = news.subscribe();
    auto two = news.subscribe();
    Child writer([&](Line& line) {
      line.say('r');
      for (std::uint64_t i = 0;; ++i) news.publish(text_of(i));
    });
    writer.line.expect('r');
    std::uint64_t next = 0;
    for (auto i = random() % 200; i > 0; --i) {
      ASSERT_EQ(one.get(), text_of(next));
      ASSERT_EQ(two.get(), text_of(next++));
    }
    writer.kill();
    const std::uint64_t said = one.pending();
    const std::uint64_t from = next;
    while (auto item = one.try_get()) {
      ASSERT_EQ(*item, text_of(next)) << "round " << round;
      ASSERT_EQ(two.try_get(), text_of(next++)) << "round " << round;
    }
    EXPECT_EQ(said, next - from);
    EXPECT_FALSE(two.try_get());
    news.publish("after");
    EXPECT_EQ(news.published(), next + 1);
    EXPECT_EQ(one.get(), "after");
    EXPECT_EQ(two.get(), "after");
    EXPECT_EQ(one.missed() + two.missed(), 0U);
  }
}

/// The writer overtakes the readers all the time: what they get is whole, goes up, and the gaps are what they are told.
template <class Item, class Make, class Number>
void expect_overrun_is_told(std::size_t byte_budget, std::uint64_t items, Make make, Number number) {
  Broadcast<Item> news({.byte_budget = byte_budget, .slow_reader = SlowReader::drop});
  std::atomic<int> ready = 0;
  std::atomic<std::uint64_t> missed = 0;
  in_threads(3, [&](std::size_t i) {
    if (i == 0) {
      while (ready.load() < 2) std::this_thread::yield();
      for (std::uint64_t n = 0; n < items; ++n) news.publish(make(n));
      news.shutdown();
      return;
    }
    auto mine = news.subscribe();
    ++ready;
    std::uint64_t next = 0;
    for (const Item& item : mine) {
      const std::uint64_t seen = number(item);
      ASSERT_EQ(seen, next + mine.just_missed());
      next = seen + 1;
    }
    EXPECT_EQ(next, items) << "the last item is there to be read by everybody";
    missed += mine.missed();
  });
  std::cout << "missed " << missed.load() << " of " << 2 * items << '\n';
}

TEST_F(BroadcastCrash, AnOvertakenReaderGetsNoTornItem) {
  expect_overrun_is_told<Wide>(
      4096, 20'000, [](std::uint64_t n) { return Wide::of(n); }, [](const Wide& item) { return item.number(); });
  expect_overrun_is_told<std::string>(
      4096, 20'000, [](std::uint64_t n) { return text_of(n); },
      [](const std::string& item) {
        const std::uint64_t n = std::stoull(item);
        EXPECT_EQ(item, text_of(n));
        return n;
      });
}

/// The same across processes, with a reader that is stopped again and again until it is overtaken.
TEST_F(BroadcastCrash, AStoppedReaderIsOvertakenAndTold) {
  Broadcast<Wide> news(kDrop);
  Child reader([&](Line& line) {
    auto mine = news.subscribe();
    line.say('s');
    std::uint64_t next = 0;
    std::uint64_t gaps = 0;
    for (const Wide& item : mine) {
      const std::uint64_t seen = item.number();
      require(seen == next + mine.just_missed(), "the gap is what was told");
      gaps += mine.just_missed();
      next = seen + 1;
    }
    require(mine.missed() == gaps && gaps > 0, "it was overtaken, and the sum is right");
    require(next == 3000, "the last item came");
  });
  reader.line.expect('s');
  for (std::uint64_t n = 0; n < 3000; ++n) {
    if (n % 300 == 0) reader.stop();
    news.publish(Wide::of(n));
    if (n % 300 == 200) reader.resume();
  }
  news.shutdown();
  EXPECT_EQ(reader.wait(), 0);
}

/// Two writers, three readers: each reader sees every writer's items in order, all of them, in the same order as others.
TEST_F(BroadcastCrash, SeveralWritersAreSeenInOneOrder) {
  struct Stamped {
    std::size_t writer = 0;
    int number = 0;
  };
  constexpr int kItems = 3000;
  for (const SlowReader policy : {SlowReader::block, SlowReader::drop}) {
    // With drop, a ring that holds them all.
    Broadcast<Stamped> news({.byte_budget = policy == SlowReader::block ? 4096U : 1U << 20, .slow_reader = policy});
    std::array<std::vector<std::size_t>, 3> order;
    std::atomic<int> ready = 0;
    in_threads(5, [&](std::size_t i) {
      if (i < 2) {
        while (ready.load() < 3) std::this_thread::yield();
        for (int n = 0; n < kItems; ++n) news.publish({i, n});
        return;
      }
      auto mine = news.subscribe();
      ++ready;
      std::array<int, 2> next{};
      for (int n = 0; n < 2 * kItems; ++n) {
        const Stamped item = mine.get();
        EXPECT_EQ(item.number, next[item.writer]++);
        order[i - 2].push_back(item.writer);
      }
    });
    EXPECT_EQ(order[0], order[1]);
    EXPECT_EQ(order[0], order[2]);
  }
}

/// Readers come, read and go (or are killed) while the writer never stops: it is held up by nobody for ever.
TEST_F(BroadcastCrash, ReadersComeAndGoWhileTheWriterRuns) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  Broadcast<Wide> news({.byte_budget = 8192, .most_readers = 8});
  Child writer([&](Line& line) {
    line.say('r');
    for (std::uint64_t n = 0;; ++n) news.publish(Wide::of(n));
  });
  writer.line.expect('r');
  const auto read = [&](std::uint64_t count, Line& line) {
    auto mine = news.subscribe();
    std::uint64_t next = mine.get().number() + 1;
    for (std::uint64_t i = 0; i < count; ++i) require(mine.get().number() == next++, "no gap");
    line.say('d');
    (void)line.hear();
  };
  for (int round = 0; round < 25; ++round) {
    const auto count = random() % 300;
    Child one([&](Line& line) { read(count, line); });
    Child two([&](Line& line) { read(std::numeric_limits<std::uint64_t>::max(), line); });
    one.line.expect('d');
    // It reads no more, and soon the writer waits for it; `two` may be in the middle of anything.
    if (round % 2 == 0) two.kill();
    one.kill();
    two.kill();
  }
  auto mine = news.subscribe();
  const std::uint64_t first = mine.get().number();
  for (std::uint64_t i = 1; i <= 1000; ++i) ASSERT_EQ(mine.get().number(), first + i);
  writer.kill();
}

TEST_F(BroadcastCrash, ObjectsOfKilledWritersAreFreed) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  for (int round = 0; round < 6; ++round) {
    Broadcast<brood::Lock> news(kDrop);
    auto reader = news.subscribe();
    Child writer([&](Line& line) {
      line.say('r');
      for (;;) news.publish(brood::Lock());
    });
    writer.line.expect('r');
    for (auto i = random() % 60; i > 0; --i) {
      brood::Lock lock = reader.get();
      lock.lock();
      lock.unlock();
    }
    writer.kill();
    while (auto lock = reader.try_get()) lock->lock(), lock->unlock();
    news.publish(brood::Lock());
    brood::Lock lock = reader.get();
    lock.lock();
    lock.unlock();
  }
}  // the fixture finds what was left

}  // namespace
}  // namespace ladder
