#include "brood/event.hpp"

#include <csignal>
#include <random>

#include "registry/registry.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using EventLadder = Ladder;
using EventCrash = Ladder;

TEST_F(EventLadder, WaitForms) {
  brood::Event event;
  EXPECT_FALSE(event.wait_for(-1h));
  {
    const Stopwatch watch;
    EXPECT_FALSE(event.wait_for(25ms));
    EXPECT_GE(watch.elapsed(), 25ms);
  }
  {
    const auto when = std::chrono::system_clock::now() + 25ms;
    EXPECT_FALSE(event.wait_until(when));
    EXPECT_GE(std::chrono::system_clock::now(), when);
  }
  EXPECT_FALSE(event.wait_until(std::chrono::system_clock::time_point::min()));
  event.set();
  EXPECT_TRUE(event.wait_until(std::chrono::system_clock::time_point::min()));
  EXPECT_TRUE(event.wait_until(std::chrono::steady_clock::time_point::max()));
}

TEST_F(EventLadder, HugeTimeoutSleepsUntilSet) {
  brood::Event event;
  std::thread waiter([&] { EXPECT_TRUE(event.wait_for(std::chrono::hours::max())); });
  await_sleepers(event.handle(), 1);
  event.set();
  waiter.join();
}

TEST_F(EventLadder, SixtyFourWaitersWake) {
  brood::Event event;
  brood::Event ready;
  std::vector<Child> children;
  for (int i = 0; i < 8; ++i) {
    children.emplace_back([&](Line&) {
      std::atomic<int> woken = 0;
      in_threads(8, [&](std::size_t) {
        event.wait();
        woken.fetch_add(1);
      });
      require(woken.load() == 8, "all eight threads");
    });
  }
  await_sleepers(event.handle(), 64);
  event.set();
  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
}

TEST_F(EventLadder, MoreSleepersInOneProcessThanRecords) {
  brood::Event event;
  std::atomic<int> woken = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 70; ++i) {
    threads.emplace_back([&] {
      event.wait();
      woken.fetch_add(1);
    });
  }
  auto& slot = brood::registry::slot(brood::registry::self());
  await([&] { return support::sleepers_on(event.handle()) + slot.unrecorded_sleepers.load() == 70; });
  EXPECT_GT(slot.unrecorded_sleepers.load(), 0U);
  event.set();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(woken.load(), 70);
}

TEST_F(EventLadder, PingPongLosesNoSet) {
  brood::Event ping;
  brood::Event pong;
  Child child([&](Line&) {
    for (int i = 0; i < 2000; ++i) {
      ping.wait();
      ping.clear();
      pong.set();
    }
  });
  for (int i = 0; i < 2000; ++i) {
    ping.set();
    pong.wait();
    pong.clear();
  }
  EXPECT_EQ(child.wait(), 0);
}

brood::Event* g_event = nullptr;
TEST_F(EventLadder, SetMayBeCalledFromASignalHandlerThatInterruptsAWait) {
  brood::Event event;
  g_event = &event;
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) { g_event->set(); };
  ASSERT_EQ(::sigaction(SIGUSR2, &action, &before), 0);
  Child child([&](Line& line) {
    line.expect();
    ::kill(::getppid(), SIGUSR2);
  });
  child.line.say();
  event.wait();
  EXPECT_EQ(child.wait(), 0);
  ASSERT_EQ(::sigaction(SIGUSR2, &before, nullptr), 0);
  g_event = nullptr;
}

TEST_F(EventCrash, DeadWaitersDoNoHarm) {
  brood::Event event;
  std::vector<Child> victims;
  for (int i = 0; i < 4; ++i) victims.emplace_back([&](Line&) { event.wait(); });
  Child survivor([&](Line&) { event.wait(); });
  await_sleepers(event.handle(), 5);
  for (auto& one : victims) one.kill();
  event.set();
  EXPECT_EQ(survivor.wait(), 0);
  event.clear();
  EXPECT_FALSE(event.wait_for(5ms));
  event.set();
  EXPECT_TRUE(event.wait_for(0s));
}

TEST_F(EventCrash, StoppedWaiterWakesWhenItGoesOn) {
  brood::Event event;
  Child waiter([&](Line&) { event.wait(); });
  await_sleepers(event.handle(), 1);
  waiter.stop();
  event.set();
  event.clear();
  waiter.resume();
  EXPECT_EQ(waiter.wait(), 0);  // it was waiting when the event was set
}

TEST_F(EventCrash, SetterKilledAtAnyMomentHasWokenAllOrNone) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    brood::Event event;
    Child waiter([&](Line&) { event.wait(); });
    await_sleepers(event.handle(), 1);
    Child setter([&](Line& line) {
      line.say('r');
      event.set();
      (void)line.hear();
    });
    setter.line.expect('r');
    for (auto i = random() % 2000; i > 0; --i) (void)event.is_set();
    setter.kill();
    if (event.is_set()) {
      EXPECT_EQ(waiter.wait(), 0);
    } else {
      event.set();
      EXPECT_EQ(waiter.wait(), 0);
    }
  }
}

}  // namespace
}  // namespace ladder
