// CPython's _TestQueue.test_task_done, and the QUE rows of JoinableQueue.
#include "brood/joinable_queue.hpp"

#include <memory>
#include <vector>

#include "brood/error.hpp"
#include "brood/value.hpp"
#include "conformance/bodies.hpp"

namespace conformance {
namespace {

class JoinableQueueConformance : public Bodies {};
BROOD_BODIES(JoinableQueueConformance);

void finish_all(brood::JoinableQueue<int>& queue, brood::Value<int>& sum) {
  for (const int number : queue) {
    sum.with([&](int& s) { s += number; });
    queue.task_done();
  }
}

// _TestQueue.test_task_done, QUE-16
TEST_P(JoinableQueueConformance, JoinReturnsWhenEveryItemIsDone) {
  brood::JoinableQueue<int> queue;
  brood::Value<int> sum(0);
  const auto helpers = workers(4, finish_all, queue, sum);
  for (int i = 0; i < 10; ++i) queue.put(i);
  queue.join();
  EXPECT_EQ(sum.get(), 45);
  EXPECT_TRUE(queue.empty());
  queue.put(100);
  queue.join();
  EXPECT_EQ(sum.get(), 145);
  queue.shutdown();
  for (const auto& helper : helpers) helper->join();
}

// QUE-15: a process can finish only what it took; so not before the matching get, either.
TEST_P(JoinableQueueConformance, TaskDoneBeyondWhatWasTakenIsAnError) {
  brood::JoinableQueue<int> queue;
  EXPECT_THROW(queue.task_done(), brood::ReleasedTooOften);
  queue.put(1);
  EXPECT_THROW(queue.task_done(), brood::ReleasedTooOften);
  EXPECT_EQ(queue.get(), 1);
  EXPECT_FALSE(queue.try_join());
  queue.task_done();
  EXPECT_TRUE(queue.try_join());
  worker(
      [](brood::JoinableQueue<int>& own) {
        bool refused = false;
        try {
          own.task_done();
        } catch (const brood::ReleasedTooOften&) {
          refused = true;
        }
        require(refused, "too often");
      },
      queue)
      .join();
}

// QUE-16
TEST_P(JoinableQueueConformance, JoinOfAQueueIntoWhichNothingWasPutReturns) {
  brood::JoinableQueue<int> queue;
  queue.join();
  EXPECT_TRUE(queue.join_for(-1s));
  // The count rises with put, not with get.
  queue.put(1);
  EXPECT_FALSE(queue.join_for(0s));
  const Stopwatch watch;
  EXPECT_FALSE(queue.join_for(30ms));
  EXPECT_GE(watch.elapsed(), 30ms);
}

}  // namespace
}  // namespace conformance
