#include "brood/atomic.hpp"

#include <atomic>
#include <cstdint>

#include "brood/value.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using brood::Atomic;

using AtomicLadder = Ladder;
using AtomicCrash = Ladder;

enum class Colour : std::uint8_t { red, green };
struct Pair {
  std::int32_t first = 0;
  std::int32_t second = 0;
  friend bool operator==(const Pair&, const Pair&) = default;
};

TEST_F(AtomicLadder, OperationsOfStd) {
  Atomic<int> number(5);
  EXPECT_EQ(number.load(), 5);
  number.store(6, std::memory_order_release);
  EXPECT_EQ(number.exchange(7), 6);
  int expected = 1;
  EXPECT_FALSE(number.compare_exchange_strong(expected, 9));
  EXPECT_EQ(expected, 7);
  EXPECT_TRUE(number.compare_exchange_strong(expected, 8, std::memory_order_acq_rel, std::memory_order_relaxed));
  EXPECT_EQ(number.fetch_add(2), 8);
  EXPECT_EQ(number.fetch_sub(4), 10);
  EXPECT_EQ(number.fetch_or(1), 6);
  EXPECT_EQ(number.fetch_and(3), 7);
  EXPECT_EQ(number.fetch_xor(1), 3);
  EXPECT_EQ(++number, 3);
  EXPECT_EQ(--number, 2);
  while (!number.compare_exchange_weak(expected, 50)) {}
  EXPECT_EQ(number.load(), 50);
  Atomic<double> real(1.5);
  EXPECT_DOUBLE_EQ(real.fetch_add(0.5), 1.5);
  EXPECT_DOUBLE_EQ(real.load(), 2);
  Atomic<bool> flag;
  EXPECT_FALSE(flag.exchange(true));
  Atomic<Colour> colour(Colour::green);
  EXPECT_EQ(Atomic<Colour>::open(colour.handle()).load(), Colour::green);
  Atomic<Pair> pair({1, 2});
  EXPECT_EQ(pair.exchange({3, 4}), (Pair{1, 2}));
  Atomic<std::uint8_t> narrow(255);
  EXPECT_EQ(++narrow, 0);
}

TEST_F(AtomicLadder, IncrementsAddUpInThreadsAndProcesses) {
  Atomic<std::uint64_t> counter;
  std::vector<Child> children;
  for (int i = 0; i < 3; ++i) {
    children.emplace_back([&](Line&) {
      auto mine = Atomic<std::uint64_t>::open(counter.handle());
      for (int round = 0; round < 5000; ++round) {
        ++mine;
        counter.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
  in_threads(4, [&](std::size_t) {
    for (int round = 0; round < 5000; ++round) ++counter;
  });
  EXPECT_EQ(counter.load(), 3 * 10'000U + 4 * 5000);
}

TEST_F(AtomicLadder, TimedWaitsLastTheirTimeoutAndPollsDoNotSleep) {
  const Atomic<int> number(1);
  EXPECT_TRUE(number.wait_for(2, 10s));
  EXPECT_FALSE(number.wait_for(1, 0s));
  EXPECT_FALSE(number.wait_for(1, -1s));
  for (const auto timeout : {5ms, 30ms}) {
    const Stopwatch watch;
    EXPECT_FALSE(number.wait_for(1, timeout));
    EXPECT_GE(watch.elapsed(), timeout);
  }
  const auto when = std::chrono::system_clock::now() + 10ms;
  EXPECT_FALSE(number.wait_until(1, when));
  EXPECT_GE(std::chrono::system_clock::now(), when);
}

TEST_F(AtomicLadder, NotifyWakesThoseForWhomItChanged) {
  Atomic<std::uint8_t> number(1);
  std::vector<Child> children;
  for (int i = 0; i < 3; ++i) {
    children.emplace_back([&](Line&) {
      number.wait(1);
      require(number.load() == 2, "changed");
    });
  }
  await_sleepers(number.handle(), 3);
  number.notify_all();  // nothing has changed: they sleep on
  await_sleepers(number.handle(), 3);
  number.store(2);
  number.notify_all();
  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
}

TEST_F(AtomicLadder, NotifyOneReachesOneAfterTheOther) {
  Atomic<int> number(0);
  Atomic<int> gone(0);
  std::vector<std::thread> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&] {
      number.wait(0);
      ++gone;
      gone.notify_all();
    });
  }
  await_sleepers(number.handle(), 3);
  number.store(1);
  for (int i = 0; i < 3; ++i) {
    number.notify_one();
    gone.wait(i);
  }
  for (auto& waiter : waiters) waiter.join();
}

TEST_F(AtomicLadder, NoWakeUpIsLostInPingPong) {
  Atomic<int> ball(0);
  Child other([&](Line&) {
    for (int i = 0; i < 3000; i += 2) {
      ball.wait(i);
      ball.store(i + 2);
      ball.notify_one();
    }
  });
  for (int i = 0; i < 3000; i += 2) {
    ball.store(i + 1);
    ball.notify_one();
    ball.wait(i + 1);
  }
  EXPECT_EQ(other.wait(), 0);
  EXPECT_EQ(ball.load(), 3000);
}

TEST_F(AtomicLadder, NamesTypesAndPrintedForm) {
  auto made = Atomic<int>::create("ladder.atomic", 5);
  EXPECT_EQ(Atomic<int>::open_or_create("ladder.atomic", 9).load(), 5);
  expect_error<brood::TypeMismatch>([] { (void)Atomic<unsigned>::open_named("ladder.atomic"); },
                                    {"ladder.atomic", "int", "unsigned"});
  expect_error<brood::TypeMismatch>([&] { (void)brood::Value<int>::open_named("ladder.atomic"); }, {"atomic", "value"});
  EXPECT_TRUE(Atomic<int>::remove("ladder.atomic"));
  EXPECT_FALSE(Atomic<int>::remove("ladder.atomic"));
  EXPECT_EQ(printed(made), "<Atomic " + made.handle().str() + " of int>");
}

TEST_F(AtomicLadder, MovedFromAndSwapped) {
  Atomic<int> first(1);
  Atomic<int> second(2);
  std::swap(first, second);
  EXPECT_EQ(first.load(), 2);
  const Atomic<int> third(std::move(first));
  const std::vector<std::function<void()>> uses{[&] { (void)first.load(); },   [&] { first.store(1); },
                                                [&] { (void)++first; },        [&] { first.wait(1); },
                                                [&] { (void)first.handle(); }, [&] { first.notify_all(); },
                                                [&] { first.notify_one(); },   [&] { (void)first.exchange(1); }};
  for (const auto& use : uses) EXPECT_THROW(use(), brood::UsageError);
  EXPECT_EQ(third.load(), 2);
}

TEST_F(AtomicCrash, AChangersDeathBeforeItsNotificationWakesTheWaiters) {
  Atomic<int> number(0);
  Child changer([&](Line& line) {
    number.store(1);
    line.say('s');
    (void)line.hear();  // never notifies
  });
  changer.line.expect('s');
  Child waiter([&](Line&) {
    number.wait(0);  // changed before it came
    number.wait(1);
  });
  await_sleepers(number.handle(), 1);
  number.store(2);  // not notified by us either
  changer.kill();   // but this death makes everybody look again
  EXPECT_EQ(waiter.wait(), 0);
}

TEST_F(AtomicCrash, DeadWaitersDoNotMatter) {
  Atomic<int> number(0);
  Child first([&](Line&) { number.wait(0); });
  Child second([&](Line&) { number.wait(0); });
  await_sleepers(number.handle(), 2);
  first.kill();
  number.store(1);
  number.notify_one();
  EXPECT_EQ(second.wait(), 0);
}

}  // namespace
}  // namespace ladder
