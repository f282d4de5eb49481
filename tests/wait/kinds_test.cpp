// What can be waited for, each kind alone: not ready, woken when it becomes ready, ready at once, nothing taken by it.
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "brood/brood.hpp"
#include "sync/ladder.hpp"
#include "wait/socket_pair.hpp"

namespace ladder {
namespace {

using WaitKinds = Ladder;
using Indices = brood::Ready;

const Indices kFirst = {0};
const Indices kNone = {};

/// `what` is not ready; it wakes who sleeps on it when `change` has been called; and then it is ready at once. In all three
/// ways to wait: alone, with many others, and with a descriptor.
void expect_wakes(const std::function<brood::Waitable()>& what, const std::function<void()>& change,
                  const std::function<void()>& undo, const brood::Handle& object) {
  const SocketPair quiet;
  const brood::Event others;
  for (const int way : {0, 1, 2}) {
    std::vector<brood::Waitable> all = {what()};
    if (way == 1) all.resize(200, brood::Waitable(others));
    if (way == 2) all.push_back(brood::readable(quiet.ours()));
    EXPECT_EQ(brood::wait_any_for(0s, all), kNone) << "way " << way;
    EXPECT_EQ(brood::wait_any_for(-1s, all), kNone);
    const Stopwatch watch;
    EXPECT_EQ(brood::wait_any_for(20ms, all), kNone) << "way " << way;
    EXPECT_GE(watch.elapsed(), 20ms);
    Indices woken;
    std::thread sleeper([&] { woken = brood::wait_any(all); });
    await([&] { return support::sleepers_on(object) != 0 || support::sleepers_on(others.handle()) != 0; });
    change();
    sleeper.join();
    EXPECT_EQ(woken, kFirst) << "way " << way;
    EXPECT_EQ(brood::wait_any(all), kFirst) << "nothing was taken";
    EXPECT_EQ(brood::wait_any_for(0s, all), kFirst);
    undo();
  }
}

template <class Queue>
void expect_queue_wakes(Queue& queue, const std::function<void()>& put, const std::function<void()>& take) {
  expect_wakes([&] { return brood::Waitable(queue); }, put, take, queue.handle());
}

TEST_F(WaitKinds, Queue) {
  brood::Queue<std::string> queue;
  expect_queue_wakes(
      queue, [&] { queue.put("x"); }, [&] { EXPECT_EQ(queue.get(), "x"); });
  queue.shutdown();
  EXPECT_EQ(brood::wait_any(queue), kFirst) << "get() would throw";
  queue.close();
  EXPECT_THROW((void)brood::wait_any(queue), brood::QueueClosed);
}

TEST_F(WaitKinds, SimpleQueue) {
  brood::SimpleQueue<int> queue;
  expect_queue_wakes(
      queue, [&] { queue.put(1); }, [&] { EXPECT_EQ(queue.get(), 1); });
}

TEST_F(WaitKinds, PriorityQueue) {
  brood::PriorityQueue<int> queue;
  expect_queue_wakes(
      queue, [&] { queue.put(1, 5); }, [&] { EXPECT_EQ(queue.get(), 1); });
}

TEST_F(WaitKinds, JoinableQueue) {
  brood::JoinableQueue<int> queue;
  expect_queue_wakes(
      queue, [&] { queue.put(1); },
      [&] {
        EXPECT_EQ(queue.get(), 1);
        queue.task_done();
      });
}

TEST_F(WaitKinds, WorkQueueAlsoWhenAnItemComesBack) {
  brood::WorkQueue<int> queue;
  expect_queue_wakes(
      queue, [&] { queue.put(1); }, [&] { queue.get().done(); });
  queue.put(2);
  std::optional<brood::Task<int>> task = queue.get();
  expect_queue_wakes(
      queue, [&] { task->give_back(); }, [&] { task = queue.get(); });
  task->done();
}

TEST_F(WaitKinds, WorkQueueThatIsShutDownIsReadyOnceGetWouldThrow) {
  brood::WorkQueue<int> queue;
  queue.put(1);
  brood::Event taken;
  Child worker([&](Line& line) {
    auto task = queue.get();
    taken.set();
    line.expect();
    task.done();
  });
  taken.wait();
  queue.shutdown();
  EXPECT_EQ(brood::wait_any_for(10ms, queue), kNone) << "the other worker may be killed";
  std::thread waiting([&] { EXPECT_EQ(brood::wait_any(queue), kFirst); });
  await_sleepers(queue.handle(), 1);
  worker.line.say();
  waiting.join();
  EXPECT_THROW((void)queue.get(), brood::QueueClosed);
  EXPECT_EQ(worker.wait(), 0);
}

/// get() of a queue with no room to keep an item until it is finished waits, although there is an item.
TEST_F(WaitKinds, WorkQueueWithoutRoomForMoreLeasesIsNotReady) {
  brood::WorkQueue<std::string> queue({.byte_budget = 4096});
  std::vector<brood::Task<std::string>> tasks;
  const std::string item(700, 'x');
  for (;;) {
    while (queue.try_put(item)) {}
    auto task = queue.try_get();
    if (!task) break;
    tasks.push_back(*std::move(task));
  }
  ASSERT_GT(queue.qsize(), 0U);
  EXPECT_EQ(brood::wait_any_for(10ms, queue), kNone);
  std::thread waiting([&] { EXPECT_EQ(brood::wait_any(queue), kFirst); });
  await_sleepers(queue.handle(), 1);
  tasks.back().done();
  waiting.join();
  EXPECT_TRUE(queue.try_get().has_value());
}

TEST_F(WaitKinds, RoomInQueues) {
  brood::Queue<int> queue(2);
  queue.put(1);
  EXPECT_EQ(brood::wait_any(brood::room_in(queue)), kFirst);
  queue.put(2);
  expect_wakes([&] { return brood::room_in(queue); }, [&] { EXPECT_GT(queue.get(), 0); }, [&] { queue.put(3); },
               queue.handle());
  brood::PriorityQueue<int> sorted(1);
  sorted.put(1);
  expect_wakes([&] { return brood::room_in(sorted); }, [&] { EXPECT_EQ(sorted.get(), 1); }, [&] { sorted.put(1); },
               sorted.handle());
  brood::WorkQueue<int> work(1);
  work.put(1);
  expect_wakes([&] { return brood::room_in(work); }, [&] { work.get().done(); }, [&] { work.put(1); }, work.handle());
  brood::JoinableQueue<int> joinable(1);
  joinable.put(1);
  EXPECT_EQ(brood::wait_any_for(0s, brood::room_in(joinable)), kNone);
  brood::SimpleQueue<int> simple;
  EXPECT_EQ(brood::wait_any(brood::room_in(simple)), kFirst);
  brood::Queue<int> lossy({.capacity = 1, .when_full = brood::WhenFull::drop_newest});
  lossy.put(1);
  EXPECT_EQ(brood::wait_any(brood::room_in(lossy)), kFirst) << "put() never waits";
  queue.shutdown();
  EXPECT_EQ(brood::wait_any(brood::room_in(queue)), kFirst) << "put() would throw";
}

TEST_F(WaitKinds, Subscription) {
  brood::Broadcast<int> news;
  auto reader = news.subscribe();
  expect_queue_wakes(
      reader, [&] { news.publish(1); }, [&] { EXPECT_EQ(reader.get(), 1); });
  news.shutdown();
  EXPECT_EQ(brood::wait_any(reader), kFirst);
  EXPECT_THROW((void)reader.get(), brood::QueueClosed);
  reader.close();
  EXPECT_THROW((void)brood::wait_any(reader), brood::QueueClosed);
}

TEST_F(WaitKinds, ConnectionForAMessageAndForTheEnd) {
  auto [a, b] = brood::pipe<std::string>();
  auto& ours = a;
  auto& theirs = b;
  expect_queue_wakes(
      ours, [&] { theirs.send("x"); }, [&] { EXPECT_EQ(ours.recv(), "x"); });
  std::thread waiting([&] { EXPECT_EQ(brood::wait_any(ours), kFirst); });
  await_sleepers(ours.handle(), 1);
  theirs.close();
  waiting.join();
  EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
  ours.close();
  EXPECT_THROW((void)brood::wait_any(ours), brood::ConnectionClosed);
  auto [reader, writer] = brood::pipe<int>(false);
  EXPECT_THROW((void)brood::wait_any(writer), brood::WrongDirection);
}

/// Its bell is another one while somebody else has the beginning of a long message.
TEST_F(WaitKinds, ConnectionWhileAnotherReceiverIsInAMessage) {
  auto [a, b] = brood::pipe<std::string>({.ring_bytes = 4096});
  auto& ours = a;
  auto& theirs = b;
  auto copy = brood::Connection<std::string>::open(ours.handle());
  for (int round = 0; round < 20; ++round) {
    std::thread sender([&] {
      theirs.send(std::string(30'000, 'l'));
      theirs.send("short");
    });
    std::thread receiver([&] { EXPECT_EQ(copy.recv().size(), 30'000U); });
    receiver.join();
    EXPECT_EQ(brood::wait_any(ours), kFirst);
    EXPECT_EQ(ours.recv(), "short");
    sender.join();
  }
}

TEST_F(WaitKinds, EventAlsoIfItWasClearedAgain) {
  brood::Event event;
  expect_wakes([&] { return brood::Waitable(event); }, [&] { event.set(); }, [&] { event.clear(); }, event.handle());
  const brood::Waitable old = event;
  event.set();
  event.clear();
  EXPECT_EQ(brood::wait_any_for(0s, old), kNone) << "that was before the wait began";
  for (int i = 0; i < 50; ++i) {
    std::thread waiting([&] { EXPECT_EQ(brood::wait_any(event), kFirst); });
    await_sleepers(event.handle(), 1);
    event.set();
    event.clear();
    waiting.join();
  }
}

TEST_F(WaitKinds, Semaphores) {
  brood::Semaphore semaphore(0);
  expect_wakes([&] { return brood::Waitable(semaphore); }, [&] { semaphore.release(); }, [&] { semaphore.acquire(); },
               semaphore.handle());
  brood::BoundedSemaphore bounded(1);
  bounded.acquire();
  expect_wakes([&] { return brood::Waitable(bounded); }, [&] { bounded.release(); }, [&] { bounded.acquire(); },
               bounded.handle());
}

TEST_F(WaitKinds, Locks) {
  brood::Lock lock;
  EXPECT_EQ(brood::wait_any(lock), kFirst);
  EXPECT_FALSE(lock.locked()) << "it was not taken";
  lock.lock();
  expect_wakes([&] { return brood::Waitable(lock); }, [&] { lock.unlock(); }, [&] { lock.lock(); }, lock.handle());
}

TEST_F(WaitKinds, RLockIsReadyForWhoHoldsIt) {
  brood::RLock lock;
  lock.lock();
  EXPECT_EQ(brood::wait_any(lock), kFirst);
  std::thread([&] { EXPECT_EQ(brood::wait_any_for(5ms, lock), kNone); }).join();
  std::thread other([&] { EXPECT_EQ(brood::wait_any(lock), kFirst); });
  await_sleepers(lock.handle(), 1);
  lock.unlock();
  other.join();
}

TEST_F(WaitKinds, ConditionSeesNotificationsAndTakesNone) {
  brood::Condition condition;
  brood::Lock lock;
  bool notified = false;
  std::thread waiter([&] {
    std::unique_lock guard(lock);
    condition.wait(guard);
    notified = true;
  });
  await_sleepers(condition.handle(), 1);
  std::vector<std::thread> watchers;
  for (int i = 0; i < 3; ++i) {
    watchers.emplace_back([&] { EXPECT_EQ(brood::wait_any(condition), kFirst); });
  }
  await_sleepers(condition.handle(), 4);
  condition.notify_one();
  waiter.join();
  for (auto& watcher : watchers) watcher.join();
  EXPECT_TRUE(notified) << "one notification: all who watch see it, and the waiter has it";
}

TEST_F(WaitKinds, ConditionCountsFromWhenTheWaitableWasMade) {
  brood::Condition condition;
  const brood::Waitable since = condition;
  EXPECT_EQ(brood::wait_any_for(0s, since), kNone);
  condition.notify_one();
  EXPECT_EQ(brood::wait_any(since), kFirst) << "although nobody waited";
  EXPECT_EQ(brood::wait_any_for(0s, condition), kNone) << "a new one";
  condition.notify(0);
  EXPECT_EQ(brood::wait_any_for(0s, brood::Waitable(condition)), kNone);
  std::optional<brood::Waitable> what;
  expect_wakes([&] { return *(what = condition); }, [&] { condition.notify_all(); }, [] {}, condition.handle());
}

TEST_F(WaitKinds, BarrierForWhoIsNoParty) {
  brood::Barrier barrier(2);
  std::optional<std::thread> party;
  expect_wakes([&] { return brood::Waitable(barrier); },
               [&] {
                 party.emplace([&] { barrier.wait(); });
                 barrier.wait();
               },
               [&] { party->join(); }, barrier.handle());
  const brood::Waitable broken = barrier;
  std::thread watcher([&] { EXPECT_EQ(brood::wait_any(broken), kFirst); });
  await_sleepers(barrier.handle(), 1);
  barrier.abort();
  watcher.join();
  EXPECT_EQ(brood::wait_any(barrier), kFirst) << "wait() would throw";
  barrier.reset();
  EXPECT_EQ(brood::wait_any_for(0s, brood::Waitable(barrier)), kNone);
  EXPECT_EQ(barrier.n_waiting(), 0U) << "the watcher was none";
}

void wait_for(brood::Event& end) { end.wait(); }

TEST_F(WaitKinds, Process) {
  brood::Event end;
  brood::Process process({.start_method = brood::StartMethod::fork}, wait_for, end);
  EXPECT_THROW((void)brood::wait_any(process), brood::NotStarted);
  process.start();
  EXPECT_EQ(brood::wait_any_for(5ms, process), kNone);
  std::thread waiting([&] { EXPECT_EQ(brood::wait_any(process), kFirst); });
  end.set();
  waiting.join();
  EXPECT_EQ(brood::wait_any(process), kFirst);
  process.join();
  process.close();
  EXPECT_THROW((void)brood::wait_any(process), brood::UsageError);
}

struct Door {
  int fd;
  [[nodiscard]] int descriptor() const { return fd; }
};

TEST_F(WaitKinds, DescriptorsAndWhatHasOne) {
  const SocketPair pair;
  EXPECT_EQ(brood::wait_any_for(5ms, brood::readable(pair.ours())), kNone);
  EXPECT_EQ(brood::wait_any(brood::writable(pair.ours())), kFirst);
  std::thread waiting([&] { EXPECT_EQ(brood::wait_any(Door{pair.ours()}), kFirst); });
  pair.say();
  waiting.join();
  EXPECT_EQ(brood::wait_any(brood::readable(pair.ours()), brood::writable(pair.ours())), (Indices{0, 1}));
  EXPECT_EQ(brood::wait_any(brood::readable(-1)), kFirst) << "a number that is no descriptor is ready";
  EXPECT_EQ(brood::wait_any(brood::readable(1'000'000)), kFirst);
  const brood::Event event;
  EXPECT_EQ(brood::wait_any(event, brood::readable(-1)), (Indices{1}));
}

TEST_F(WaitKinds, MovedFromThrows) {
  brood::Event event;
  const brood::Event moved = std::move(event);
  EXPECT_THROW((void)brood::wait_any(event), brood::UsageError);
  brood::Queue<int> queue;
  const brood::Queue<int> kept = std::move(queue);
  EXPECT_THROW((void)brood::wait_any(queue), brood::UsageError);
}

}  // namespace
}  // namespace ladder
