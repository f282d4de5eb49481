// WorkQueue: items are leased, finished, given back; what the dead held is given to others.
#include "brood/work_queue.hpp"

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "brood/domain.hpp"
#include "brood/joinable_queue.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "support/inspect.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using brood::Task;
using brood::WorkQueue;
using WorkQueueTest = Ladder;

TEST_F(WorkQueueTest, GetAndDoneInOrder) {
  WorkQueue<int> queue;
  for (int i = 0; i < 5; ++i) queue.put(i);
  EXPECT_EQ(queue.qsize(), 5U);
  for (int i = 0; i < 5; ++i) {
    Task<int> task = queue.get();
    EXPECT_EQ(*task, i);
    EXPECT_EQ(task.deliveries(), 1U);
    EXPECT_EQ(task.sequence(), static_cast<std::uint64_t>(i));
    EXPECT_EQ(queue.leased(), 1U);
    task.done();
    EXPECT_EQ(queue.leased(), 0U);
  }
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.try_get());
  EXPECT_FALSE(queue.try_get_for(-1s));
  EXPECT_FALSE(queue.try_get_for(1ms));
  EXPECT_THROW((void)queue.get_nowait(), brood::Empty);
}

TEST_F(WorkQueueTest, ATaskThatIsDroppedGoesBackFirstInLine) {
  WorkQueue<std::string> queue;
  queue.put("first");
  queue.put("second");
  queue.put("third");
  {
    const Task<std::string> one = queue.get();
    const Task<std::string> two = queue.get();
    EXPECT_EQ(*two, "second");
    EXPECT_EQ(queue.qsize(), 1U);
  }
  EXPECT_EQ(queue.qsize(), 3U);
  Task<std::string> again = queue.get();
  EXPECT_EQ(*again, "first");
  EXPECT_EQ(again.deliveries(), 2U);
  again.done();
  again = queue.get();
  EXPECT_EQ(*again, "second");
  again.give_back();
  again = queue.get();
  EXPECT_EQ(*again, "second");
  EXPECT_EQ(again.deliveries(), 3U);
  again.done();
  again = queue.get();
  EXPECT_EQ(*again, "third");
  EXPECT_EQ(again.deliveries(), 1U);
  again.done();
  EXPECT_TRUE(queue.try_join());
}

TEST_F(WorkQueueTest, AnExceptionInTheWorkerGivesTheItemBack) {
  WorkQueue<int> queue;
  queue.put(7);
  const auto work = [&] {
    const Task<int> task = queue.get();
    throw std::runtime_error("no luck");
  };
  EXPECT_THROW(work(), std::runtime_error);
  EXPECT_EQ(queue.get().deliveries(), 2U);
}

TEST_F(WorkQueueTest, AnItemThatIsDeliveredTooOftenIsADeadLetter) {
  WorkQueue<int> queue({.max_deliveries = 3});
  EXPECT_EQ(queue.max_deliveries(), 3U);
  queue.put(13);
  queue.put(14);
  for (unsigned i = 1; i <= 3; ++i) {
    const Task<int> task = queue.get();
    EXPECT_EQ(*task, 13);
    EXPECT_EQ(task.deliveries(), i);
  }
  EXPECT_EQ(queue.dead_letters(), 1U);
  EXPECT_FALSE(queue.try_join());
  queue.get().done();
  EXPECT_TRUE(queue.try_join()) << "a dead letter holds nobody up";
  EXPECT_FALSE(queue.try_get());
  {
    const std::optional<Task<int>> letter = queue.try_get_dead_letter();
    ASSERT_TRUE(letter);
    EXPECT_EQ(**letter, 13);
    EXPECT_EQ(letter->deliveries(), 3U);
    EXPECT_FALSE(queue.try_get_dead_letter()) << "it is in somebody's hands";
    EXPECT_TRUE(queue.try_join());
  }
  queue.try_get_dead_letter()->requeue();
  EXPECT_EQ(queue.dead_letters(), 0U);
  Task<int> task = queue.get();
  EXPECT_EQ(*task, 13);
  EXPECT_EQ(task.deliveries(), 1U);
  task.condemn();
  EXPECT_EQ(queue.dead_letters(), 1U);
  queue.try_get_dead_letter()->done();
  EXPECT_EQ(queue.dead_letters(), 0U);
  EXPECT_FALSE(queue.try_get_dead_letter());
}

TEST_F(WorkQueueTest, WithoutALimitAnItemComesBackForEver) {
  WorkQueue<int> queue({.max_deliveries = 0});
  queue.put(1);
  for (unsigned i = 1; i <= 100; ++i) EXPECT_EQ(queue.get().deliveries(), i);
  EXPECT_EQ(queue.dead_letters(), 0U);
}

TEST_F(WorkQueueTest, MisuseIsToldAndChangesNothing) {
  WorkQueue<int> queue;
  queue.put(1);
  Task<int> task = queue.get();
  task.done();
  EXPECT_FALSE(task.is_open());
  expect_error<brood::NotOwner>([&] { task.done(); }, {"not open"});
  expect_error<brood::NotOwner>([&] { task.give_back(); }, {"not open"});
  queue.put(2);
  Task<int> held = queue.get();
  Child forked([&](Line&) { expect_error<brood::NotOwner>([&] { held.done(); }, {queue.handle().str(), "fork"}); });
  EXPECT_EQ(forked.wait(), 0);
  EXPECT_EQ(queue.leased(), 1U);
  held.done();
  EXPECT_TRUE(queue.try_join());
  WorkQueue<int> moved = std::move(queue);
  EXPECT_THROW(queue.put(1), brood::UsageError);         // NOLINT(bugprone-use-after-move)
  EXPECT_THROW((void)queue.qsize(), brood::UsageError);  // NOLINT(bugprone-use-after-move)
  queue.close();                                         // NOLINT(bugprone-use-after-move)
  EXPECT_FALSE(queue.closed());                          // NOLINT(bugprone-use-after-move)
  moved.close();
  EXPECT_TRUE(moved.closed());
  EXPECT_THROW((void)moved.try_get(), brood::QueueClosed);
  EXPECT_THROW((void)moved.try_join(), brood::QueueClosed);
  expect_error<brood::UsageError>([] { WorkQueue<int>({.capacity = std::size_t{1} << 40}); }, {"capacity"});
  expect_error<brood::UsageError>([] { WorkQueue<int>({.max_deliveries = 1U << 20}); }, {"1048575"});
  EXPECT_THROW((void)brood::Queue<int>::open(moved.handle()), brood::TypeMismatch);
  EXPECT_THROW((void)WorkQueue<long>::open(moved.handle()), brood::TypeMismatch);
}

TEST_F(WorkQueueTest, ATaskOutlivesItsQueueObject) {
  std::optional<WorkQueue<int>> queue(std::in_place);
  const brood::Handle handle = queue->handle();
  queue->put(5);
  std::optional<Task<int>> task = queue->get();
  queue.reset();
  WorkQueue<int> other = WorkQueue<int>::open(handle);
  EXPECT_EQ(other.leased(), 1U);
  task->done();
  EXPECT_TRUE(other.try_join());
}

TEST_F(WorkQueueTest, ItemsOfAKilledWorkerGoToTheNextOne) {
  WorkQueue<std::string> queue;
  for (int i = 0; i < 3; ++i) queue.put("item " + std::to_string(i));
  Child worker([&](Line& line) {
    const Task<std::string> one = queue.get();
    const Task<std::string> two = queue.get();
    line.say('t');
    line.expect('x');
  });
  worker.line.expect('t');
  EXPECT_EQ(queue.leased(), 2U);
  worker.kill();
  // It is dead to the kernel; the domain has yet to learn of it. Whoever joins looks for items of the dead.
  support::await([&] { return !queue.try_join() && queue.leased() == 0; });
  EXPECT_EQ(queue.qsize(), 3U);
  for (int i = 0; i < 3; ++i) {
    Task<std::string> task = queue.get();
    EXPECT_EQ(*task, "item " + std::to_string(i));
    EXPECT_EQ(task.deliveries(), i < 2 ? 2U : 1U);
    task.done();
  }
  EXPECT_TRUE(queue.try_join());
}

TEST_F(WorkQueueTest, AWorkersNormalEndGivesBackToo) {
  WorkQueue<int> queue;
  queue.put(1);
  Child waiting([&](Line& line) {
    line.say('r');
    line.expect('g');
    Task<int> task = queue.get();
    EXPECT_EQ(task.deliveries(), 2U);
    task.done();
  });
  waiting.line.expect('r');
  Child worker(
      [&](Line& line) {
        Task<int> task = queue.get();
        line.say('t');
        line.expect('x');
        static const Task<int>* const kept = new Task<int>(std::move(task));  // ends with the process
        require(kept->is_open(), "still held");
      },
      Ending::exit);
  worker.line.expect('t');
  waiting.line.say('g');
  await_sleepers(queue.handle(), 1);
  worker.line.say('x');
  EXPECT_EQ(worker.wait(), 0);
  EXPECT_EQ(waiting.wait(), 0);
  queue.join();
}

TEST_F(WorkQueueTest, ASleepingWorkerIsGivenWhatADeadOneHeld) {
  WorkQueue<int> queue;
  for (int round = 0; round < 10; ++round) {
    queue.put(round);
    Child first([&](Line& line) {
      const Task<int> task = queue.get();
      line.say('t');
      line.expect('x');
    });
    first.line.expect('t');
    Child second([&](Line&) {
      Task<int> task = queue.get();
      require(*task == round && task.deliveries() == 2, "the item came back");
      task.done();
    });
    await_sleepers(queue.handle(), 1);
    first.shoot();
    EXPECT_EQ(second.wait(), 0) << "round " << round;
  }
  EXPECT_TRUE(queue.try_join());
}

TEST_F(WorkQueueTest, JoinWaitsForWhatIsInHandsAndForWhatComesBack) {
  WorkQueue<int> queue;
  EXPECT_TRUE(queue.try_join()) << "nothing was put";
  queue.put(1);
  EXPECT_FALSE(queue.try_join());
  EXPECT_FALSE(queue.join_for(1ms));
  Child worker([&](Line& line) {
    const Task<int> task = queue.get();
    line.say('t');
    line.expect('x');
  });
  worker.line.expect('t');
  Child joiner([&](Line&) { queue.join(); });
  await_sleepers(queue.handle(), 1);
  worker.kill();
  await_sleepers(queue.handle(), 1);
  Task<int> task = queue.get();
  EXPECT_EQ(task.deliveries(), 2U);
  task.done();
  EXPECT_EQ(joiner.wait(), 0);
}

TEST_F(WorkQueueTest, ShutDownWorkersStayForWhatOthersMayLeave) {
  WorkQueue<int> queue;
  queue.put(1);
  Child first([&](Line& line) {
    const Task<int> task = queue.get();
    line.say('t');
    line.expect('x');
  });
  first.line.expect('t');
  queue.shutdown();
  EXPECT_THROW(queue.put(2), brood::QueueClosed);
  Child second([&](Line& line) {
    int done = 0;
    for (Task<int>& task : queue) {
      task.done();
      ++done;
    }
    require(done == 1, "one item was left by the dead");
    line.say('d');
  });
  await_sleepers(queue.handle(), 1);
  first.kill();
  second.line.expect('d');
  EXPECT_EQ(second.wait(), 0);
  EXPECT_THROW((void)queue.get(), brood::QueueClosed);
  EXPECT_TRUE(queue.try_join());
}

TEST_F(WorkQueueTest, WhoHoldsSomethingDoesNotWaitForOthersAtTheEnd) {
  WorkQueue<int> queue;
  queue.put(1);
  queue.put(2);
  Child other([&](Line& line) {
    Task<int> task = queue.get();
    line.say('t');
    line.expect('g');
    EXPECT_THROW((void)queue.get(), brood::QueueClosed);
    task.done();
  });
  other.line.expect('t');
  Task<int> mine = queue.get();
  queue.shutdown();
  other.line.say('g');
  EXPECT_THROW((void)queue.get(), brood::QueueClosed);
  mine.done();
  EXPECT_EQ(other.wait(), 0);
}

TEST_F(WorkQueueTest, ImmediateShutdownDiscardsWhatIsLeftAndWhatComesBack) {
  WorkQueue<int> queue;
  for (int i = 0; i < 4; ++i) queue.put(i);
  Task<int> one = queue.get();
  Task<int> two = queue.get();
  two.give_back();
  queue.shutdown(true);
  EXPECT_EQ(queue.qsize(), 0U);
  EXPECT_THROW((void)queue.try_get(), brood::QueueClosed);
  EXPECT_FALSE(queue.try_join());
  one.give_back();
  EXPECT_EQ(queue.qsize(), 0U);
  EXPECT_TRUE(queue.try_join());
}

TEST_F(WorkQueueTest, SharedObjectsInAnItemLiveUntilItIsDone) {
  WorkQueue<brood::Lock> queue;
  Child maker([&](Line&) { queue.put(brood::Lock()); });
  EXPECT_EQ(maker.wait(), 0);
  Child worker([&](Line& line) {
    const Task<brood::Lock> task = queue.get();
    line.say('t');
    line.expect('x');
  });
  worker.line.expect('t');
  worker.kill();
  (void)brood::gc();
  const auto files = [] { return support::files_below(support::test_domain()).size(); };
  {
    Task<brood::Lock> task = queue.get();
    EXPECT_EQ(task.deliveries(), 2U);
    task->lock();
    task->unlock();
    task.done();
  }
  const auto without = files();
  queue.put(brood::Lock());
  EXPECT_GT(files(), without);
  queue.shutdown(true);
  EXPECT_EQ(files(), without);
}

TEST_F(WorkQueueTest, AnItemThatDoesNotDecodeIsADeadLetter) {
  WorkQueue<brood::Lock> queue;
  brood::Lock lock = brood::Lock::create("work-queue-test-lock");
  queue.put(lock);
  ASSERT_TRUE(brood::Lock::remove("work-queue-test-lock"));
  lock = brood::Lock();
  EXPECT_THROW((void)queue.get(), brood::HandleError);
  EXPECT_EQ(queue.dead_letters(), 1U);
  EXPECT_TRUE(queue.try_join());
  EXPECT_THROW((void)queue.try_get_dead_letter(), brood::HandleError);
  EXPECT_EQ(queue.dead_letters(), 1U);
}

TEST_F(WorkQueueTest, ItemsOfAllSizesComeBackWhole) {
  WorkQueue<std::string> queue({.byte_budget = std::size_t{1} << 20});
  const auto text = [](std::size_t i) { return std::string(i * 37 % 3000, static_cast<char>('a' + i % 26)); };
  std::size_t put = 0;
  std::size_t taken = 0;
  for (int round = 0; round < 50; ++round) {
    while (queue.qsize() < 40) queue.put(text(put++));
    std::vector<Task<std::string>> held;
    for (int i = 0; i < 30; ++i) held.push_back(queue.get());
    // Every other one is done; the others come back in order.
    for (std::size_t i = 0; i < held.size(); ++i) {
      ASSERT_EQ(*held[i], text(held[i].sequence()));
      if (i % 2 == 0) {
        held[i].done();
        ++taken;
      }
    }
  }
  while (std::optional<Task<std::string>> task = queue.try_get()) {
    ASSERT_EQ(**task, text(task->sequence()));
    task->done();
    ++taken;
  }
  EXPECT_EQ(taken, put);
  EXPECT_TRUE(queue.try_join());
}

TEST_F(WorkQueueTest, AWorkerWaitsWhileWhatOthersHoldFillsTheirPlace) {
  WorkQueue<std::string> queue({.byte_budget = 4096});
  queue.put(std::string(3000, 'a'));
  Task<std::string> first = queue.get();
  queue.put(std::string(3000, 'b'));
  EXPECT_FALSE(queue.try_get());
  EXPECT_FALSE(queue.try_get_for(1ms));
  Child second([&](Line&) { queue.get().done(); });
  await_sleepers(queue.handle(), 1);
  first.done();
  EXPECT_EQ(second.wait(), 0);
  queue.join();
}

TEST_F(WorkQueueTest, DeadLettersThatFillTheirPlaceAreAnErrorThatSaysSo) {
  WorkQueue<std::string> queue({.byte_budget = 4096, .max_deliveries = 1});
  queue.put(std::string(3000, 'a'));
  queue.get().give_back();
  queue.put(std::string(3000, 'b'));
  expect_error<brood::NoSpace>([&] { (void)queue.get(); },
                               {queue.handle().str(), "1 dead letters", "try_get_dead_letter"});
  queue.try_get_dead_letter()->done();
  EXPECT_EQ(queue.get()->front(), 'b');
}

TEST_F(WorkQueueTest, ThousandsOfLeasesAtOnce) {
  WorkQueue<int> queue;
  constexpr int kItems = 5000;
  for (int i = 0; i < kItems; ++i) queue.put(i);
  std::vector<Task<int>> held;
  for (int i = 0; i < kItems; ++i) held.push_back(queue.get());
  EXPECT_EQ(queue.leased(), static_cast<std::size_t>(kItems));
  // Given back in any order, taken again in the first one.
  for (int i = 0; i < kItems; ++i) held[static_cast<std::size_t>(i * 7 % kItems)].give_back();
  for (int i = 0; i < kItems; ++i) {
    Task<int> task = queue.get();
    ASSERT_EQ(*task, i);
    task.done();
  }
  EXPECT_TRUE(queue.try_join());
}

TEST_F(WorkQueueTest, ThreadsShareTheWork) {
  WorkQueue<int> queue(64);
  constexpr int kItems = 4000;
  std::atomic<long> sum = 0;
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([&, i] {
      int seen = 0;
      for (Task<int>& task : queue) {
        if (++seen % 10 == i) continue;  // goes back
        sum += *task;
        task.done();
      }
    });
  }
  for (int i = 0; i < kItems; ++i) queue.put(i);
  queue.join();
  queue.shutdown();
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(sum, static_cast<long>(kItems) * (kItems - 1) / 2);
}

TEST_F(WorkQueueTest, NamedAndPrinted) {
  WorkQueue<int> queue = WorkQueue<int>::create("jobs-of-test", {.capacity = 3});
  EXPECT_THROW((void)WorkQueue<int>::create("jobs-of-test"), brood::AlreadyExists);
  queue.put(1);
  queue.put(2);
  WorkQueue<int> same = WorkQueue<int>::open_named("jobs-of-test");
  const Task<int> task = same.get();
  std::ostringstream text;
  text << queue;
  EXPECT_EQ(text.str(), "<WorkQueue " + queue.handle().str() + " items=1/3 leased=1 dead letters=0 bytes<=268435456>");
  EXPECT_EQ(WorkQueue<int>::open_or_create("jobs-of-test").qsize(), 1U);
  EXPECT_TRUE(WorkQueue<int>::remove("jobs-of-test"));
  EXPECT_FALSE(WorkQueue<int>::remove("jobs-of-test"));
}

using JoinableQueueTest = Ladder;

TEST_F(JoinableQueueTest, TaskDoneFinishesTheOldestOfThisThread) {
  brood::JoinableQueue<int> queue;
  expect_error<brood::ReleasedTooOften>([&] { queue.task_done(); }, {queue.handle().str(), "task_done()"});
  for (int i = 0; i < 4; ++i) queue.put(i);
  EXPECT_EQ(queue.get(), 0);
  EXPECT_EQ(queue.get(), 1);
  std::thread other([&] {
    EXPECT_EQ(queue.get(), 2);
    queue.task_done();
  });
  other.join();
  queue.task_done();
  // What is left in hands is the second one: it comes back if this process dies, which a child's death is not.
  Child reader([&](Line&) {
    require(queue.get() == 3, "three");
    queue.task_done();
    EXPECT_THROW(queue.task_done(), brood::ReleasedTooOften);
    EXPECT_FALSE(queue.try_join());
  });
  EXPECT_EQ(reader.wait(), 0);
  queue.task_done();
  EXPECT_TRUE(queue.try_join());
  EXPECT_THROW(queue.task_done(), brood::ReleasedTooOften);
}

TEST_F(JoinableQueueTest, IsAWorkQueueInside) {
  brood::JoinableQueue<int> queue({.max_deliveries = 1});
  queue.put(3);
  EXPECT_EQ(queue.get(), 3);
  WorkQueue<int> work = WorkQueue<int>::open(queue.handle());
  EXPECT_EQ(work.leased(), 1U);
  EXPECT_FALSE(work.try_get());
  queue.task_done();
  queue.put(4);
  Task<int> task = work.get();
  EXPECT_THROW(queue.task_done(), brood::ReleasedTooOften) << "a task is finished by done()";
  task.done();
  EXPECT_TRUE(queue.join_for(1h));
  std::ostringstream text;
  text << queue;
  EXPECT_NE(text.str().find("<JoinableQueue brood:work_queue:"), std::string::npos);
}

}  // namespace
}  // namespace ladder
