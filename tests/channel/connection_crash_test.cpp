// What the others see when somebody who holds an end is killed or stopped.
#include <iterator>
#include <list>
#include <random>
#include <string>
#include <vector>

#include "brood/connection.hpp"
#include "brood/domain.hpp"
#include "brood/queue.hpp"
#include "support/inspect.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using ConnectionCrash = Ladder;
using IntEnd = brood::Connection<int>;
using Words = std::vector<int>;

Words uniform(int number, std::size_t size) { return Words(size, number); }
/// More than any ring here.
constexpr std::size_t kLong = 100'000;

TEST_F(ConnectionCrash, TheLastHoldersDeathIsTheEnd) {
  for (int round = 0; round < 10; ++round) {
    auto [a, b] = brood::pipe<int>();
    Child child = victim([&end = b, round] { end.send(round); });
    b.close();
    EXPECT_EQ(a.recv(), round);
    std::thread sleeper([&end = a] { EXPECT_THROW((void)end.recv(), brood::EndOfFile); });
    await_sleepers(a.handle(), 1);
    child.kill();
    sleeper.join();
    EXPECT_THROW(a.send(1), brood::BrokenPipe);
  }
}

TEST_F(ConnectionCrash, TheEndIsSeenAtOnceWhenTheDeadProcessWasReaped) {
  for (int round = 0; round < 20; ++round) {
    auto [a, b] = brood::pipe<int>();
    Child child = victim([&end = b] { end.send(1); });
    b.close();
    child.kill();
    EXPECT_EQ(a.try_recv(), 1);
    EXPECT_TRUE(a.poll());
    EXPECT_THROW((void)a.try_recv(), brood::EndOfFile);
  }
}

TEST_F(ConnectionCrash, ASenderIsToldWhenTheReaderIsKilledInTheMiddle) {
  auto [a, b] = brood::pipe<int>({.ring_bytes = 4096});
  Child child = victim([&end = b] { (void)end.handle(); });
  b.close();
  std::thread sender([&end = a] {
    EXPECT_THROW(
        {
          for (;;) end.send(1);
        },
        brood::BrokenPipe);
  });
  await_sleepers(a.handle(), 1);
  child.kill();
  sender.join();
}

TEST_F(ConnectionCrash, ASenderKilledInsideALongMessageBreaksThatOneOnly) {
  auto [a, b] = brood::pipe<Words>({.ring_bytes = 8192});
  Child victim([&end = b](Line&) { end.send(uniform(1, kLong)); });
  await_sleepers(b.handle(), 1);  // it waits for room
  victim.kill();
  // `b` is alive, but does not send: nobody but the receiver can find out.
  EXPECT_THROW((void)a.recv(), brood::BrokenMessage);
  EXPECT_EQ(a.try_recv(), std::nullopt) << "once";
  b.send(uniform(2, 10));
  EXPECT_EQ(a.recv(), uniform(2, 10));
}

TEST_F(ConnectionCrash, TheNextSenderCutsOffABrokenMessage) {
  auto [a, b] = brood::pipe<Words>({.ring_bytes = 8192});
  for (int round = 0; round < 5; ++round) {
    Child victim([&end = b](Line&) { end.send(uniform(1, kLong)); });
    await_sleepers(b.handle(), 1);
    victim.kill();
    std::thread sender([&end = b] { end.send(uniform(2, kLong)); });
    EXPECT_THROW((void)a.recv(), brood::BrokenMessage);
    EXPECT_EQ(a.recv(), uniform(2, kLong));
    sender.join();
  }
}

TEST_F(ConnectionCrash, ABrokenMessageIsSaidOnceThenTheEnd) {
  auto [a, b] = brood::pipe<Words>({.ring_bytes = 8192});
  Child victim([&end = b](Line&) {
    end.send(uniform(1, 3));
    end.send(uniform(2, kLong));
  });
  await_sleepers(b.handle(), 1);
  victim.stop();
  b.close();
  EXPECT_EQ(a.recv(), uniform(1, 3));
  std::thread sleeper([&end = a] { EXPECT_THROW((void)end.recv(), brood::BrokenMessage); });
  await_sleepers(a.handle(), 1);  // it has what there was, and wants more
  victim.kill();
  sleeper.join();
  EXPECT_TRUE(a.poll());
  EXPECT_THROW((void)a.recv(), brood::EndOfFile);
  EXPECT_THROW((void)a.recv(), brood::EndOfFile);
}

TEST_F(ConnectionCrash, AReceiverKilledInsideALongMessageLosesThatOneOnly) {
  auto [a, b] = brood::pipe<Words>({.ring_bytes = 8192});
  auto [go, told] = brood::pipe<int>();
  Child sender([&end = b, &may = told](Line&) {
    end.send(uniform(1, kLong));
    end.send(uniform(2, kLong));
    (void)may.recv();
  });
  await_sleepers(b.handle(), 1);  // it waits for room
  sender.stop();
  Child receiver([&end = a](Line&) { (void)end.recv(); });
  await_sleepers(a.handle(), 1);  // it has what there was, and wants more
  receiver.kill();
  sender.resume();
  EXPECT_EQ(a.recv(), uniform(2, kLong));
  go.send(0);
  EXPECT_EQ(sender.wait(), 0);
}

TEST_F(ConnectionCrash, MessagesOfAKilledSenderAreWholeInOrderAndWithoutGaps) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    auto [a, b] = brood::pipe<Words>({.ring_bytes = 16384});
    Child sender([&end = b](Line& line) {
      line.say('r');
      for (int i = 0;; ++i) end.send(uniform(i, i % 7 == 6 ? 6000 : 1 + static_cast<std::size_t>(i % 50)));
    });
    sender.line.expect('r');
    int next = 0;
    for (auto i = random() % 200; i > 0; --i) {
      const auto got = a.recv();
      ASSERT_EQ(got, uniform(next, got.size()));
      ++next;
    }
    sender.kill();
    int broken = 0;
    for (;;) {
      try {
        const auto got = a.try_recv();
        if (!got) break;
        ASSERT_EQ(*got, uniform(next, got->size())) << "round " << round;
        ++next;
      } catch (const brood::BrokenMessage&) {
        ++broken;
      }
    }
    EXPECT_LE(broken, 1);
    b.send(uniform(-1, 3));
    EXPECT_EQ(a.recv(), uniform(-1, 3));
  }
}

TEST_F(ConnectionCrash, AKilledReceiverHasTakenAMessageOrLeftItToOthers) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    auto [a, b] = brood::pipe<int>({.ring_bytes = std::size_t{1} << 16});
    auto [log, note] = brood::pipe<int>({.ring_bytes = std::size_t{1} << 17});
    constexpr int kMessages = 2000;
    for (int i = 0; i < kMessages; ++i) b.send(i);
    Child receiver([&in = a, &out = note](Line& line) {
      line.say('r');
      for (;;) out.send(in.recv());
    });
    receiver.line.expect('r');
    for (auto i = random() % 3000; i > 0; --i) (void)log.poll();
    receiver.kill();
    int noted = -1;
    while (const auto seen = log.try_recv()) ASSERT_EQ(*seen, ++noted);
    const auto first = a.try_recv();
    if (!first) {
      EXPECT_GE(noted, kMessages - 2);
      continue;
    }
    EXPECT_GE(*first, noted + 1);
    EXPECT_LE(*first, noted + 2) << "at most one was in its hands";
    for (int i = *first + 1; i < kMessages; ++i) ASSERT_EQ(a.recv(), i);
  }
}

TEST_F(ConnectionCrash, DeadSleepersLoseNoWakeUp) {
  auto [a, b] = brood::pipe<int>();
  for (int round = 0; round < 15; ++round) {
    Child first([&end = a](Line&) { (void)end.recv(); });
    await_sleepers(a.handle(), 1);
    Child second([&end = a](Line&) { require(end.recv() == 7, "seven"); });
    await_sleepers(a.handle(), 2);
    first.stop();
    b.send(7);
    first.shoot();
    EXPECT_EQ(second.wait(), 0) << "round " << round;
  }
}

TEST_F(ConnectionCrash, AStoppedReceiverDoesNotHoldUpTheOthers) {
  auto [a, b] = brood::pipe<int>();
  Child stopped([&end = a](Line&) { (void)end.recv(); });
  await_sleepers(a.handle(), 1);
  stopped.stop();
  Child other([&end = a](Line&) {
    for (int i = 0; i < 99; ++i) (void)end.recv();
  });
  for (int i = 0; i < 100; ++i) b.send(i);
  EXPECT_EQ(other.wait(), 0);
  stopped.resume();
  EXPECT_EQ(stopped.wait(), 0);
  EXPECT_FALSE(a.poll());
}

TEST_F(ConnectionCrash, TimeoutsHoldWhileASenderIsStoppedInsideItsMessage) {
  auto [a, b] = brood::pipe<Words>({.ring_bytes = 8192});
  Child stopped([&end = b](Line&) { end.send(uniform(1, kLong)); });
  await_sleepers(b.handle(), 1);
  stopped.stop();
  const Stopwatch watch;
  EXPECT_FALSE(b.try_send(uniform(2, 1)));
  EXPECT_FALSE(b.try_send_for(uniform(2, 1), 20ms));
  EXPECT_EQ(a.try_recv_for(20ms), std::nullopt);
  EXPECT_GE(watch.elapsed(), 40ms);
  stopped.resume();
  EXPECT_EQ(a.recv(), uniform(1, kLong));
  EXPECT_EQ(stopped.wait(), 0);
}

/// What is received until end-of-file.
std::vector<int> all_until_the_end(IntEnd& end) {
  std::vector<int> out;
  for (;;) {
    try {
      out.push_back(end.recv());
    } catch (const brood::EndOfFile&) {
      return out;
    }
  }
}

TEST_F(ConnectionCrash, AReceiverOfAnEndIsKilledAnywhereAndTheEndComes) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  const auto before = support::files_below(support::test_domain()).size();
  for (int round = 0; round < 40; ++round) {
    brood::Queue<IntEnd> queue;
    auto [a, b] = brood::pipe<int>();
    Child receiver([&](Line& line) {
      line.say('r');
      IntEnd end = queue.get();
      end.send(1);
      (void)end.recv();
    });
    receiver.line.expect('r');
    queue.put(b);
    b.close();
    for (auto i = random() % 4000; i > 0; --i) (void)queue.qsize();
    receiver.kill();
    // Received or not: then it is ours to receive, and we hold it until the end of this statement.
    const bool was_left = queue.try_get().has_value();
    EXPECT_TRUE(a.poll_for(1h));
    const std::vector<int> came = all_until_the_end(a);
    if (was_left) EXPECT_EQ(came, std::vector<int>{}) << "nobody had it who could have sent";
    else EXPECT_TRUE(came.empty() || came == std::vector<int>{1}) << came.size();
  }
  (void)brood::gc();
  EXPECT_EQ(support::files_below(support::test_domain()).size(), before);
}

TEST_F(ConnectionCrash, SurvivorsGoOnWhileOthersAreKilled) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  auto [a, b] = brood::pipe<Words>({.ring_bytes = 8192});
  std::list<Child> victims;
  for (int i = 0; i < 8; ++i) {
    if (i % 2 == 0) {
      victims.emplace_back([&end = a](Line&) {
        for (;;) {
          try {
            const auto got = end.recv();
            require(got == Words(got.size(), got.front()), "whole");
          } catch (const brood::BrokenMessage&) {
            continue;
          }
        }
      });
    } else {
      victims.emplace_back([&end = b, i](Line&) {
        for (int n = 0;; ++n) end.send(uniform(i, n % 3 == 0 ? 5000 : 1));
      });
    }
  }
  while (!victims.empty()) {
    for (auto i = random() % 20000; i > 0; --i) (void)a.closed();
    victims.erase(std::next(victims.begin(), static_cast<std::ptrdiff_t>(random() % victims.size())));  // killed
  }
  // Quiet now: nobody dies any more, so no death hides a lost wake-up.
  for (;;) {
    try {
      if (!a.try_recv()) break;
    } catch (const brood::BrokenMessage&) {
      continue;
    }
  }
  Child echo([&end = b](Line&) {
    for (int n = 0; n < 500; ++n) end.send(end.recv());
  });
  for (int n = 0; n < 500; ++n) {
    a.send(uniform(n, n % 50 == 0 ? 6000 : 1));
    ASSERT_EQ(a.recv().front(), n);
  }
  EXPECT_EQ(echo.wait(), 0);
}

}  // namespace
}  // namespace ladder
