// What happens to a queue when its producers and consumers are killed or stopped.
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <iterator>
#include <list>
#include <random>
#include <stdexcept>
#include <string>

#include "brood/domain.hpp"
#include "brood/joinable_queue.hpp"
#include "brood/priority_queue.hpp"
#include "brood/queue.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using QueueCrash = Ladder;

struct Stamped {
  int producer = 0;
  int number = 0;
};

/// A message whose every byte follows from its number.
std::string message(int number) {
  return std::to_string(number) + ":" +
         std::string(static_cast<std::size_t>(number * 131 % 900), static_cast<char>('a' + number % 26));
}

template <class Queue>
class EveryQueue : public Ladder {};
using KindsOfQueue = ::testing::Types<brood::Queue<int>, brood::PriorityQueue<int>, brood::JoinableQueue<int>>;
TYPED_TEST_SUITE(EveryQueue, KindsOfQueue);

TYPED_TEST(EveryQueue, DeadSleepersLoseNoWakeUp) {
  TypeParam queue;
  for (int round = 0; round < 15; ++round) {
    Child first([&](Line&) { (void)queue.get(); });
    await_sleepers(queue.handle(), 1);
    Child second([&](Line&) {
      require(queue.get() == 7, "seven");
      if constexpr (requires { queue.task_done(); }) queue.task_done();  // else it would go back at this one's end
    });
    await_sleepers(queue.handle(), 2);
    first.stop();
    queue.put(7);
    first.shoot();
    EXPECT_EQ(second.wait(), 0) << "round " << round;
  }
}

// exit() destroys the thread's own objects, the spare buffers among them, before it calls the handlers.
TEST_F(QueueCrash, AnExitHandlerPutsAndGets) {
  static brood::Queue<std::string>* g_queue = nullptr;
  brood::Queue<std::string> queue;
  g_queue = &queue;
  Child child([](Line&) {
    g_queue->put("before exit");
    if (g_queue->get() != "before exit") throw std::runtime_error("another item");
    std::atexit([] {
      for (int i = 0; i < 3; ++i) {
        g_queue->put(std::string(100, 'x'));
        if (g_queue->get().size() != 100) std::_Exit(7);
      }
      g_queue->put("from an exit handler");
    });
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(queue.get(), "from an exit handler");
}

TEST_F(QueueCrash, DeadSleepingPuttersLoseNoWakeUp) {
  brood::Queue<int> queue(1);
  for (int round = 0; round < 15; ++round) {
    queue.put(1);
    Child first([&](Line&) { queue.put(2); });
    await_sleepers(queue.handle(), 1);
    Child second([&](Line&) { queue.put(3); });
    await_sleepers(queue.handle(), 2);
    first.stop();
    EXPECT_EQ(queue.get(), 1);
    first.shoot();
    EXPECT_EQ(second.wait(), 0) << "round " << round;
    EXPECT_EQ(queue.get(), 3);
    EXPECT_TRUE(queue.empty());
  }
}

TEST_F(QueueCrash, ItemsOfAKilledProducerAreWholeInOrderAndWithoutGaps) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    brood::Queue<std::string> queue;
    Child producer([&](Line& line) {
      line.say('r');
      for (int i = 0;; ++i) queue.put(message(i));
    });
    producer.line.expect('r');
    int next = 0;
    for (auto i = random() % 200; i > 0; --i) ASSERT_EQ(queue.get(), message(next++));
    producer.kill();
    while (auto item = queue.try_get()) ASSERT_EQ(*item, message(next++)) << "round " << round;
    EXPECT_EQ(queue.qsize(), 0U);
    queue.put(message(-1 + 26));
    EXPECT_EQ(queue.get(), message(25));
  }
}

TEST_F(QueueCrash, AKilledConsumerHasTakenAnItemOrLeftItToOthers) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    constexpr int kItems = 2000;
    brood::Queue<int> queue;
    for (int i = 0; i < kItems; ++i) queue.put(i);
    auto* taken = static_cast<std::atomic<int>*>(
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    Child consumer([&](Line& line) {
      line.say('r');
      for (;;) taken->store(queue.get() + 1);
    });
    consumer.line.expect('r');
    for (auto i = random() % 3000; i > 0; --i) (void)queue.qsize();
    consumer.kill();
    // In its hands was at most one that it did not write down.
    const int first = queue.qsize() == 0 ? kItems : queue.get();
    EXPECT_GE(first, taken->load());
    EXPECT_LE(first, taken->load() + 1);
    for (int i = first + 1; i < kItems; ++i) ASSERT_EQ(queue.get(), i);
    EXPECT_EQ(queue.try_get(), std::nullopt);
    ::munmap(taken, 4096);
  }
}

TEST_F(QueueCrash, SurvivorsGoOnWhileOthersAreKilled) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  brood::Queue<Stamped> queue(8);
  std::list<Child> victims;
  for (int i = 1; i <= 8; ++i) {
    if (i % 2 == 0) {
      victims.emplace_back([&](Line&) {
        for (;;) (void)queue.get();
      });
    } else {
      victims.emplace_back([&, i](Line&) {
        for (int n = 0;; ++n) queue.put({i, n});
      });
    }
  }
  brood::Queue<int> seen;
  Child survivor([&](Line&) {
    std::array<int, 10> last{};
    for (const Stamped item : queue) {
      require(item.producer >= 0 && item.producer < 10, "a whole record");
      auto& before = last[static_cast<std::size_t>(item.producer)];
      require(item.number >= before, "each producer's items stay in order");
      before = item.number;
      if (item.producer == 9) seen.put(item.number);
    }
  });
  while (!victims.empty()) {
    for (auto i = random() % 20000; i > 0; --i) (void)queue.qsize();
    victims.erase(std::next(victims.begin(), static_cast<std::ptrdiff_t>(random() % victims.size())));  // killed
  }
  // Quiet now: nobody dies any more, so no death hides a lost wake-up.
  for (int n = 1; n <= 500; ++n) {
    queue.put({9, n});
    ASSERT_EQ(seen.get(), n);
  }
  queue.shutdown();
  EXPECT_EQ(survivor.wait(), 0);
}

TEST_F(QueueCrash, StoppedConsumerDoesNotStopTheOthers) {
  brood::Queue<int> queue;
  Child stopped([&](Line&) { (void)queue.get(); });
  await_sleepers(queue.handle(), 1);
  stopped.stop();
  Child other([&](Line&) {
    for (int i = 0; i < 99; ++i) (void)queue.get();
  });
  for (int i = 0; i < 100; ++i) queue.put(i);
  EXPECT_EQ(other.wait(), 0);
  stopped.resume();
  EXPECT_EQ(stopped.wait(), 0);
  EXPECT_TRUE(queue.empty());
}

TEST_F(QueueCrash, NamedQueueKeepsItsItemsWhenEverybodyHasGone) {
  Child maker([](Line&) {
    auto queue = brood::Queue<std::string>::create("ladder.kept");
    for (int i = 0; i < 100; ++i) queue.put(message(i));
    ::raise(SIGKILL);
  });
  EXPECT_EQ(maker.wait(), -SIGKILL);
  (void)brood::gc();
  auto queue = brood::Queue<std::string>::open_named("ladder.kept");
  for (int i = 0; i < 100; ++i) EXPECT_EQ(queue.get(), message(i));
  EXPECT_TRUE(brood::Queue<std::string>::remove("ladder.kept"));
}

}  // namespace
}  // namespace ladder
