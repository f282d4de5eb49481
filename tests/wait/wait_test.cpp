// wait_any(): mixes, many, timeouts, batons, forks; as_fd() in a loop of epoll.
#include "brood/wait.hpp"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "brood/brood.hpp"
#include "support/tsan.hpp"
#include "sync/ladder.hpp"
#include "wait/socket_pair.hpp"

namespace ladder {
namespace {

using WaitAny = Ladder;
using AsFd = Ladder;
using Indices = brood::Ready;

TEST_F(WaitAny, ReturnsAllThatAreReadyAndTheSameObjectTwice) {
  brood::Queue<int> queue;
  brood::Event event;
  brood::Lock lock;
  const SocketPair pair;
  queue.put(1);
  EXPECT_EQ(brood::wait_any(queue, event, lock, queue), (Indices{0, 2, 3}));
  pair.say();
  EXPECT_EQ(brood::wait_any(event, brood::readable(pair.ours()), queue, brood::readable(pair.ours())),
            (Indices{1, 2, 3}));
  EXPECT_EQ(queue.get(), 1);
  std::thread waiting([&] { EXPECT_EQ(brood::wait_any(event, queue, event), (Indices{0, 2})); });
  await_sleepers(event.handle(), 1);
  event.set();
  waiting.join();
}

TEST_F(WaitAny, TakesAnyForm) {
  brood::Queue<int> queue;
  const brood::Event event;
  queue.put(1);
  EXPECT_EQ(brood::wait_any({event, queue}), (Indices{1}));
  const std::vector<brood::Waitable> all = {queue, event};
  EXPECT_EQ(brood::wait_any(all), (Indices{0}));
  std::deque<brood::Queue<int>> queues;
  queues.emplace_back();
  queues.emplace_back();
  queues[1].put(1);
  EXPECT_EQ(brood::wait_any(queues), (Indices{1})) << "a range of the objects themselves";
  EXPECT_EQ(brood::wait_any_for(0s, {event, queue}), (Indices{1}));
  EXPECT_EQ(brood::wait_any_for(1h, event, queue), (Indices{1}));
  EXPECT_EQ(brood::wait_any_for(1h, queues), (Indices{1}));
  EXPECT_EQ(brood::wait_any_until(std::chrono::steady_clock::now() + 1h, event, queue), (Indices{1}));
  EXPECT_EQ(brood::wait_any_until(std::chrono::system_clock::now() + 10ms, event), Indices{});
  EXPECT_EQ(brood::wait_any_until(std::chrono::system_clock::now() - 1h, all), (Indices{0}));
}

TEST_F(WaitAny, OfNothingSleepsForTheTimeOrIsMisuse) {
  const std::vector<brood::Waitable> nothing;
  const Stopwatch watch;
  EXPECT_EQ(brood::wait_any_for(20ms, nothing), Indices{});
  EXPECT_GE(watch.elapsed(), 20ms);
  EXPECT_EQ(brood::wait_any_for(-1s, nothing), Indices{});
  expect_error<brood::UsageError>([&] { (void)brood::wait_any(nothing); }, {"nothing", "timeout"});
  EXPECT_THROW((void)brood::as_fd(nothing), brood::UsageError);
}

void ignore_signal(int /*number*/) {}

TEST_F(WaitAny, SignalsNeitherEndNorLengthenIt) {
  struct sigaction action {};
  action.sa_handler = ignore_signal;  // without SA_RESTART
  struct sigaction before {};
  ::sigaction(SIGUSR1, &action, &before);
  const brood::Event event;
  const SocketPair pair;
  for (const bool with_descriptor : {false, true}) {
    std::vector<brood::Waitable> all = {event};
    if (with_descriptor) all.push_back(brood::readable(pair.ours()));
    std::atomic<bool> over = false;
    const Stopwatch watch;
    std::thread sleeper([&] {
      EXPECT_EQ(brood::wait_any_for(60ms, all), Indices{});
      over = true;
    });
    while (!over) {
      ::pthread_kill(sleeper.native_handle(), SIGUSR1);
      std::this_thread::yield();
    }
    sleeper.join();
    EXPECT_GE(watch.elapsed(), 60ms);
  }
  ::sigaction(SIGUSR1, &before, nullptr);
}

/// Each of a thousand wakes the one who sleeps on all of them; on its own or together with a descriptor.
TEST_F(WaitAny, AThousandObjects) {
  std::deque<brood::Event> events(1000);
  const SocketPair pair;
  for (const bool with_descriptor : {false, true}) {
    std::vector<brood::Waitable> all(events.begin(), events.end());
    if (with_descriptor) all.push_back(brood::readable(pair.ours()));
    for (const std::size_t index : {0U, 125U, 126U, 127U, 500U, 999U}) {
      Indices woken;
      std::thread sleeper([&] { woken = brood::wait_any(all); });
      // The last one's waiter thread sleeps, too.
      await([&] { return support::sleepers_on(events[0].handle()) != 0; });
      events[index].set();
      sleeper.join();
      EXPECT_EQ(woken, Indices{index});
      events[index].clear();
    }
  }
}

/// As many words as one thread can sleep on, and one more.
TEST_F(WaitAny, AtTheEdgeOfOneSleep) {
  for (const std::size_t count : {126U, 127U, 128U, 129U}) {
    std::deque<brood::Event> events(count);
    Indices woken;
    std::thread sleeper([&] { woken = brood::wait_any(events); });
    await_sleepers(events[0].handle(), 1);
    events.back().set();
    sleeper.join();
    EXPECT_EQ(woken, Indices{count - 1});
  }
}

/// Wake-ups of queues, locks and semaphores go to one sleeper. Those who wait for many are given them too and take nothing:
/// each must be handed on, or a getter sleeps for ever (tickless; else for a second each time). Those who sleep themselves, and those for whom a waiter thread does, apart: one would help out for the other.
void expect_wakes_are_handed_on(bool with_descriptor) {
  brood::Queue<int> queue;
  brood::Semaphore units(0);
  brood::Lock lock;
  brood::WorkQueue<int> work;
  brood::PriorityQueue<int> sorted;
  constexpr int kRounds = 1000;
  std::atomic<bool> over = false;
  std::list<std::thread> watchers;
  for (int i = 0; i < 4; ++i) {
    watchers.emplace_back([&] {
      const brood::Event never;
      const SocketPair pair;
      std::vector<brood::Waitable> all = {queue, units, lock, work, sorted, never};
      if (with_descriptor) all.push_back(brood::readable(pair.ours()));
      while (!over) (void)brood::wait_any_for(5ms, all);
    });
  }
  std::atomic<int> got = 0;
  std::list<std::thread> takers;
  const auto taker = [&](auto take) {
    takers.emplace_back([&got, take] {
      for (int i = 0; i < kRounds; ++i) {
        take();
        ++got;
      }
    });
  };
  taker([&] { EXPECT_GE(queue.get(), 0); });
  taker([&] { units.acquire(); });
  taker([&] { work.get().done(); });
  taker([&] { EXPECT_GE(sorted.get(), 0); });
  taker([&] { const std::scoped_lock guard(lock); });
  for (int i = 0; i < kRounds; ++i) {
    // In step with those who take, so that they sleep and their wake-ups count.
    const std::unique_lock guard(lock);
    queue.put(i);
    units.release();
    work.put(i);
    sorted.put(i);
    if (i % 16 == 0) await([&] { return got >= 4 * i; });
  }
  for (auto& thread : takers) thread.join();
  over = true;
  for (auto& thread : watchers) thread.join();
  EXPECT_EQ(got, 5 * kRounds);
}

TEST_F(WaitAny, WhoTakesNothingHandsTheWakeOn) { expect_wakes_are_handed_on(false); }
TEST_F(WaitAny, WaiterThreadsHandTheWakeOn) { expect_wakes_are_handed_on(true); }

/// The same in the smallest form: one getter, several who only wait, one item at a time.
TEST_F(WaitAny, OneItemReachesTheOnlyOneWhoTakesIt) {
  brood::Queue<int> queue;
  const brood::Event never;
  std::atomic<bool> over = false;
  std::list<std::thread> watchers;
  for (int i = 0; i < 3; ++i) {
    watchers.emplace_back([&] {
      while (!over) {
        if (!brood::wait_any(queue, never).empty()) std::this_thread::yield();
      }
    });
  }
  for (int i = 0; i < 3000; ++i) {
    std::thread getter;
    std::atomic<int> got = -1;
    if (i % 100 == 0) {
      // All asleep: the item's wake-up goes to one of the four.
      await_sleepers(queue.handle(), 3);
      getter = std::thread([&] { got = queue.get(); });
      await_sleepers(queue.handle(), 4);
      queue.put(i);
      getter.join();
      EXPECT_EQ(got, i);
    } else {
      queue.put(i);
      EXPECT_EQ(queue.get(), i);
    }
  }
  over = true;
  queue.shutdown();
  for (auto& watcher : watchers) watcher.join();
}

/// Nobody is missed when everything comes at once from everywhere.
TEST_F(WaitAny, DrainsQueuesPipesAndSocketsWithoutMissingAnything) {
  constexpr int kEach = 3000;
  brood::Queue<int> queue;
  brood::WorkQueue<int> work;
  auto [a, b] = brood::pipe<int>();
  auto& reader = a;
  auto& writer = b;
  brood::Broadcast<int> news;
  auto subscription = news.subscribe();
  const SocketPair pair;
  for (const bool with_descriptor : {false, true}) {
    std::list<std::thread> producers;
    producers.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) queue.put(i);
    });
    producers.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) work.put(i);
    });
    producers.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) writer.send(i);
    });
    producers.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) news.publish(i);
    });
    if (with_descriptor) {
      producers.emplace_back([&] {
        for (int i = 0; i < kEach; ++i) pair.say();
      });
    }
    std::vector<brood::Waitable> all = {queue, work, reader, subscription};
    if (with_descriptor) all.push_back(brood::readable(pair.ours()));
    std::vector<int> next(all.size(), 0);
    for (int left = kEach * static_cast<int>(all.size()); left > 0;) {
      for (const std::size_t ready : brood::wait_any(all)) {
        switch (ready) {
          case 0: EXPECT_EQ(queue.try_get(), next[0]); break;
          case 1: {
            auto task = work.try_get();
            ASSERT_TRUE(task);
            EXPECT_EQ(**task, next[1]);
            task->done();
            break;
          }
          case 2: EXPECT_EQ(reader.try_recv(), next[2]); break;
          case 3: EXPECT_EQ(subscription.try_get(), next[3]); break;
          default: pair.hear(); break;
        }
        ++next[ready];
        --left;
      }
    }
    for (auto& producer : producers) producer.join();
  }
}

TEST_F(WaitAny, AForkedChildHasWaiterThreadsOfItsOwn) {
  brood::Event event;
  const SocketPair pair;
  EXPECT_EQ(brood::wait_any_for(1ms, event, brood::readable(pair.ours())), Indices{}) << "ours have been made";
  const auto fd = brood::as_fd(event);
  Child child([&](Line& line) {
    line.say();
    require(brood::wait_any(event, brood::readable(pair.ours())) == Indices{0}, "woken by the event");
    try {
      const_cast<brood::ReadyFd&>(fd).rearm();
      require(false, "the parent's ReadyFd can be used");
    } catch (const brood::NotOwner&) {}
    line.say();
  });
  child.line.expect();
  event.set();
  child.line.expect();
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(brood::wait_any_for(1h, brood::readable(fd.fd())), Indices{0}) << "the parent's goes on";
}

#if !SUPPORT_TSAN  // its runtime takes the child's first thread for one of the parent's ("dup thread with used id")
/// Forks while other threads wait, arm and disarm: the child gets no mutex locked by a thread it does not have.
TEST_F(WaitAny, ForkingWhileOthersWait) {
  brood::Event event;
  std::atomic<bool> over = false;
  std::list<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      const SocketPair pair;
      while (!over) (void)brood::wait_any_for(100us, event, brood::readable(pair.ours()));
    });
  }
  for (int i = 0; i < 40; ++i) {
    Child child([&](Line&) {
      const SocketPair pair;
      require(brood::wait_any_for(1ms, event, brood::readable(pair.ours())).empty(), "nothing is ready");
      pair.say();
      require(brood::wait_any(event, brood::readable(pair.ours())) == Indices{1}, "the socket is ready");
    });
    EXPECT_EQ(child.wait(), 0);
  }
  over = true;
  for (auto& thread : threads) thread.join();
}
#endif

// --- as_fd

/// The loop of a program that has a loop of its own.
class Epoll {
 public:
  Epoll() : fd_(::epoll_create1(EPOLL_CLOEXEC)) {}
  void add(int fd, std::uint64_t tag) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = tag;
    if (::epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) != 0) throw std::runtime_error("epoll_ctl");
  }
  /// Nothing at the end of the time.
  [[nodiscard]] std::optional<std::uint64_t> wait(int milliseconds = -1) const {
    epoll_event event{};
    for (;;) {
      const int ready = ::epoll_wait(fd_.get(), &event, 1, milliseconds);
      if (ready == 1) return std::uint64_t{event.data.u64};
      if (ready == 0) return std::nullopt;
    }
  }

 private:
  brood::base::UniqueFd fd_;
};

TEST_F(AsFd, EpollLoopMissesNothing) {
  constexpr int kEach = 4000;
  brood::Queue<int> queue;
  auto [a, b] = brood::pipe<int>();
  auto& reader = a;
  auto& writer = b;
  auto queue_fd = brood::as_fd(queue);
  auto pipe_fd = brood::as_fd(reader);
  const Epoll epoll;
  epoll.add(queue_fd.fd(), 0);
  epoll.add(pipe_fd.fd(), 1);
  std::thread putter([&] {
    for (int i = 0; i < kEach; ++i) queue.put(i);
  });
  std::thread sender([&] {
    for (int i = 0; i < kEach; ++i) writer.send(i);
    writer.close();
  });
  int from_queue = 0;
  int from_pipe = 0;
  bool ended = false;
  while (from_queue < kEach || !ended) {
    if (*epoll.wait() == 0) {
      while (const auto item = queue.try_get()) EXPECT_EQ(*item, from_queue++);
      queue_fd.rearm();
    } else {
      try {
        while (const auto item = reader.try_recv()) EXPECT_EQ(*item, from_pipe++);
        pipe_fd.rearm();
      } catch (const brood::EndOfFile&) {
        EXPECT_FALSE(std::exchange(ended, true));
        const auto gone = std::move(pipe_fd);
      }
    }
  }
  EXPECT_EQ(from_pipe, kEach);
  putter.join();
  sender.join();
  EXPECT_EQ(epoll.wait(0), std::nullopt);
}

TEST_F(AsFd, IsReadableUntilRearmed) {
  brood::Event event;
  auto fd = brood::as_fd(event);
  const Epoll epoll;
  epoll.add(fd.fd(), 7);
  EXPECT_EQ(epoll.wait(0), std::nullopt);
  event.set();
  EXPECT_EQ(epoll.wait(), 7U);
  event.clear();
  EXPECT_EQ(epoll.wait(0), 7U) << "once it was rung it stays readable";
  fd.rearm();
  EXPECT_EQ(epoll.wait(20), std::nullopt);
  event.set();
  EXPECT_EQ(epoll.wait(), 7U);
  fd.rearm();
  EXPECT_EQ(epoll.wait(0), 7U) << "still set: readable at once";
  event.clear();
  event.set();
  event.clear();
  fd.rearm();
  EXPECT_EQ(epoll.wait(0), 7U) << "it was set once more since it rang";
  fd.rearm();
  EXPECT_EQ(epoll.wait(20), std::nullopt);
}

TEST_F(AsFd, OfAConditionAndABarrierMissesNothingBetweenRingAndRearm) {
  brood::Condition condition;
  auto fd = brood::as_fd(condition);
  const Epoll epoll;
  epoll.add(fd.fd(), 1);
  EXPECT_EQ(epoll.wait(5), std::nullopt);
  condition.notify_one();
  EXPECT_EQ(epoll.wait(), 1U);
  condition.notify_one();
  fd.rearm();
  EXPECT_EQ(epoll.wait(0), 1U);
  fd.rearm();
  EXPECT_EQ(epoll.wait(20), std::nullopt);
  brood::Barrier barrier(1);
  auto passes = brood::as_fd(barrier);
  epoll.add(passes.fd(), 2);
  barrier.wait();
  EXPECT_EQ(epoll.wait(), 2U);
  passes.rearm();
  EXPECT_EQ(epoll.wait(20), std::nullopt);
  barrier.wait();
  EXPECT_EQ(epoll.wait(), 2U);
}

TEST_F(AsFd, OfAMixWithDescriptors) {
  brood::Queue<int> queue;
  const SocketPair pair;
  auto fd = brood::as_fd(queue, brood::readable(pair.ours()));
  const Epoll epoll;
  epoll.add(fd.fd(), 1);
  EXPECT_EQ(epoll.wait(10), std::nullopt);
  pair.say();
  EXPECT_EQ(epoll.wait(), 1U);
  pair.hear();
  fd.rearm();
  EXPECT_EQ(epoll.wait(10), std::nullopt);
  queue.put(1);
  EXPECT_EQ(epoll.wait(), 1U);
  EXPECT_EQ(queue.get(), 1);
  fd.rearm();
  EXPECT_EQ(epoll.wait(10), std::nullopt);
}

TEST_F(AsFd, DoesNotKeepAWakeUpToItself) {
  brood::Queue<int> queue;
  auto fd = brood::as_fd(queue);
  for (int i = 0; i < 200; ++i) {
    await_sleepers(queue.handle(), 1);  // the waiter thread
    int got = -1;
    std::thread getter([&] { got = queue.get(); });
    await_sleepers(queue.handle(), 2);
    queue.put(i);
    getter.join();
    EXPECT_EQ(got, i);
    fd.rearm();
  }
}

/// It goes in the moment in which its waiter thread is given the wake-up: that is not lost with it.
TEST_F(AsFd, GoesWhileItsWakeUpComes) {
  brood::Queue<int> queue;
  for (int i = 0; i < 100; ++i) {
    std::optional<brood::ReadyFd> fd = brood::as_fd(queue);
    await_sleepers(queue.handle(), 1);
    int got = -1;
    std::thread getter([&] { got = queue.get(); });
    await_sleepers(queue.handle(), 2);
    std::atomic<int> gate = 0;
    std::thread ender([&] {
      ++gate;
      while (gate < 2) {}
      fd.reset();
    });
    ++gate;
    while (gate < 2) {}
    queue.put(i);
    getter.join();
    EXPECT_EQ(got, i);
    ender.join();
  }
}

TEST_F(AsFd, MovesAndEndsWhileArmed) {
  brood::Queue<int> queue;
  std::vector<brood::ReadyFd> fds;
  for (int i = 0; i < 300; ++i) fds.push_back(brood::as_fd(queue));
  auto first = std::move(fds.front());
  EXPECT_THROW((void)fds.front().fd(), brood::UsageError);
  EXPECT_THROW(fds.front().rearm(), brood::UsageError);
  queue.put(1);
  EXPECT_EQ(brood::wait_any(brood::readable(first.fd()), brood::readable(fds.back().fd())).size() > 0, true);
  fds.clear();
  EXPECT_EQ(queue.get(), 1);
}

TEST_F(AsFd, ErrorsMakeItReadable) {
  brood::Queue<int> queue;
  auto fd = brood::as_fd(queue);
  queue.close();
  fd.rearm();
  EXPECT_EQ(brood::wait_any(brood::readable(fd.fd())), Indices{0});
  EXPECT_THROW((void)queue.try_get(), brood::QueueClosed);
}

}  // namespace
}  // namespace ladder
