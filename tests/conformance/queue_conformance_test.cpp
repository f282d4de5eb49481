// CPython's _TestQueue, and the QUE rows of a queue without task_done.
#include "brood/queue.hpp"

#include <numeric>
#include <optional>
#include <string>

#include "brood/error.hpp"
#include "brood/event.hpp"
#include "brood/simple_queue.hpp"
#include "brood/value.hpp"
#include "conformance/bodies.hpp"

namespace conformance {
namespace {

class QueueConformance : public Bodies {};
BROOD_BODIES(QueueConformance);

void drain_when_told(brood::Queue<int>& queue, brood::Event& may_start, brood::Event& may_go_on) {
  may_start.wait();
  for (int i = 0; i < 6; ++i) (void)queue.get();
  may_go_on.set();
}

template <class F>
void expect_full(F put_nowait) {
  EXPECT_THROW(put_nowait(), brood::Full);
}

// _TestQueue.test_put, QUE-02, QUE-03
TEST_P(QueueConformance, BoundedPutInAllFormsAndFullWhenFull) {
  brood::Queue<int> queue(6);
  brood::Event may_start;
  brood::Event may_go_on;
  auto drainer = worker(drain_when_told, queue, may_start, may_go_on);
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.full());
  queue.put(1);
  EXPECT_TRUE(queue.try_put_for(2, 1h));
  EXPECT_TRUE(queue.try_put_for(3, std::chrono::hours::max()));
  EXPECT_TRUE(queue.try_put(4));
  EXPECT_TRUE(queue.try_put_until(5, std::chrono::system_clock::now() + 1h));
  queue.put_nowait(6);
  EXPECT_FALSE(queue.empty());
  EXPECT_TRUE(queue.full());
  EXPECT_FALSE(queue.try_put(7));
  EXPECT_FALSE(queue.try_put_for(7, 0s));
  EXPECT_FALSE(queue.try_put_for(7, -1s));
  EXPECT_FALSE(queue.try_put_until(7, std::chrono::steady_clock::now()));
  const Stopwatch watch;
  EXPECT_FALSE(queue.try_put_for(7, 30ms));
  EXPECT_GE(watch.elapsed(), 30ms);
  expect_full([&] { queue.put_nowait(7); });
  may_start.set();
  may_go_on.wait();
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.full());
  EXPECT_EQ(queue.qsize(), 0U);
  drainer.join();
}

// _TestQueue.test_get, QUE-04, QUE-05
TEST_P(QueueConformance, GetInAllFormsInOrderThenEmpty) {
  brood::Queue<int> queue;
  auto feeder = worker(
      [](brood::Queue<int>& out) {
        for (int i = 2; i <= 6; ++i) out.put(i);
      },
      queue);
  EXPECT_EQ(queue.get(), 2);
  EXPECT_EQ(queue.try_get_for(1h), 3);
  EXPECT_EQ(queue.try_get_for(std::chrono::hours::max()), 4);
  feeder.join();  // no hidden thread: what was put is there
  EXPECT_EQ(queue.try_get(), 5);
  EXPECT_EQ(queue.get_nowait(), 6);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.try_get(), std::nullopt);
  EXPECT_EQ(queue.try_get_for(0s), std::nullopt);
  EXPECT_EQ(queue.try_get_for(-1s), std::nullopt);
  const Stopwatch watch;
  EXPECT_EQ(queue.try_get_for(30ms), std::nullopt);
  EXPECT_GE(watch.elapsed(), 30ms);
  EXPECT_THROW((void)queue.get_nowait(), brood::Empty);
}

// _TestQueue.test_fork
TEST_P(QueueConformance, QueueUsedBeforeTheStartKeepsItsOrder) {
  brood::Queue<int> queue;
  for (int i = 0; i < 10; ++i) queue.put(i);
  auto other = worker(
      [](brood::Queue<int>& out) {
        for (int i = 10; i < 20; ++i) out.put(i);
      },
      queue);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(queue.get(), i);
  EXPECT_EQ(queue.try_get(), std::nullopt);
  other.join();
}

// _TestQueue.test_qsize, QUE-07
TEST_P(QueueConformance, QsizeCountsPutsMinusGetsExactly) {
  brood::Queue<int> queue;
  EXPECT_EQ(queue.qsize(), 0U);
  queue.put(1);
  EXPECT_EQ(queue.qsize(), 1U);
  worker(
      [](brood::Queue<int>& out) {
        out.put(5);
        require(out.qsize() == 2, "two");
      },
      queue)
      .join();
  EXPECT_EQ(queue.qsize(), 2U);
  (void)queue.get();
  EXPECT_EQ(queue.qsize(), 1U);
  worker(
      [](brood::Queue<int>& in) {
        (void)in.get();
        require(in.qsize() == 0, "none");
      },
      queue)
      .join();
  EXPECT_EQ(queue.qsize(), 0U);
  queue.close();
  EXPECT_EQ(queue.qsize(), 0U);  // works after close
}

// _TestQueue.test_timeout
TEST_P(QueueConformance, TimedGetIsEmptyNoEarlierThanTheTimeout) {
  brood::Queue<int> queue;
  worker(
      [](brood::Queue<int>& in) {
        const Stopwatch watch;
        require(!in.try_get_for(200ms), "nothing comes");
        require(watch.elapsed() >= 200ms, "lasts its whole timeout");
      },
      queue)
      .join();
}

/// Encodes unless its text says that it cannot.
struct Picky {
  std::string text;
  template <class Archive>
  void serialize(Archive& ar) {
    if (text == "cannot") throw std::invalid_argument("this one cannot be sent");
    ar(text);
  }
};

void put_a_picky_one(brood::Queue<Picky>& out) {
  bool reported = false;
  try {
    out.put({"cannot"});
  } catch (const std::invalid_argument&) {
    reported = true;  // _TestQueue.test_queue_feeder_on_queue_feeder_error: the caller of put is the hook
  }
  require(reported, "the error reaches the caller of put");
  out.put({"can"});
}

// _TestQueue.test_queue_feeder_donot_stop_onexc
TEST_P(QueueConformance, UnserializableItemTakesNoSlotAndTheQueueGoesOn) {
  brood::Queue<Picky> queue(1);
  worker(put_a_picky_one, queue).join();
  EXPECT_EQ(queue.qsize(), 1U);
  EXPECT_EQ(queue.get().text, "can");
  EXPECT_TRUE(queue.empty());
}

// _TestQueue.test_queue_feeder_on_queue_feeder_error
TEST_P(QueueConformance, SerializationErrorReachesThePutCallerAsItWas) {
  brood::Queue<Picky> queue(1);
  try {
    queue.put({"cannot"});
    ADD_FAILURE() << "put() swallowed the error";
  } catch (const std::invalid_argument& error) {
    EXPECT_STREQ(error.what(), "this one cannot be sent");
  }
  worker(put_a_picky_one, queue).join();
  EXPECT_EQ(queue.get().text, "can");
}

template <class Call>
void require_closed(Call call, const char* what) {
  try {
    call();
  } catch (const brood::QueueClosed&) {
    return;
  }
  require(false, std::string(what) + " on a closed queue throws QueueClosed");
}
void use_a_closed_queue(brood::Queue<int>& queue) {
  auto mine = brood::Queue<int>::open(queue.handle());
  mine.close();
  mine.close();  // QUE-10: repeated is fine
  require(mine.closed(), "closed");
  require_closed([&] { mine.put(1); }, "put");
  require_closed([&] { mine.put_nowait(1); }, "put_nowait");
  require_closed([&] { (void)mine.try_put_for(1, 1s); }, "try_put_for");
  require_closed([&] { (void)mine.get(); }, "get");
  require_closed([&] { (void)mine.get_nowait(); }, "get_nowait");
  require_closed([&] { (void)mine.try_get_for(1s); }, "try_get_for");
}

// _TestQueue.test_closed_queue_put_get_exceptions, QUE-10
TEST_P(QueueConformance, PutAndGetOnAClosedQueueThrowQueueClosed) {
  brood::Queue<int> queue;
  queue.put(1);
  worker(use_a_closed_queue, queue).join();
  EXPECT_FALSE(queue.closed());  // each object for itself: everybody else goes on
  EXPECT_EQ(queue.get(), 1);
  use_a_closed_queue(queue);
}

// _TestQueue.test_closed_queue_empty_exceptions; one answer for both: the state can still be asked
TEST_P(QueueConformance, ClosedQueueStillAnswersEmptyUsedOrNot) {
  brood::Queue<int> unused;
  unused.close();
  EXPECT_TRUE(unused.empty());
  brood::Queue<int> used;
  used.put(1);
  worker(
      [](brood::Queue<int>& queue) {
        queue.close();
        require(!queue.empty(), "one item is in it");
        require(queue.qsize() == 1, "qsize works after close");
      },
      used)
      .join();
}

// QUE-01: zero means unlimited; a count that came out of a negative number is refused
TEST_P(QueueConformance, CapacityOfZeroIsUnlimited) {
  brood::Queue<int> queue;
  EXPECT_EQ(queue.capacity(), 0U);
  worker(
      [](brood::Queue<int>& out) {
        for (int i = 0; i < 20000; ++i) out.put(i);
      },
      queue)
      .join();
  EXPECT_EQ(queue.qsize(), 20000U);
  EXPECT_FALSE(queue.full());
  for (int i = 0; i < 20000; ++i) ASSERT_EQ(queue.get(), i);
  EXPECT_THROW(brood::Queue<int>(static_cast<std::size_t>(-1)), brood::UsageError);
}

struct Numbered {
  int producer = 0;
  int number = 0;
};
void put_numbered(brood::Queue<Numbered>& out, brood::Value<int>& next_producer, int items) {
  const int me = next_producer.with([](int& next) { return next++; });
  for (int i = 0; i < items; ++i) out.put({me, i});
}

// QUE-06
TEST_P(QueueConformance, ItemsOfOneProducerStayInOrder) {
  constexpr int kProducers = 3;
  int items = 3000;
  brood::Queue<Numbered> queue(50);
  brood::Value<int> next_producer;
  auto producers = workers(kProducers, put_numbered, queue, next_producer, items);
  std::array<int, kProducers> expected{};
  for (int i = 0; i < kProducers * items; ++i) {
    const Numbered got = queue.get();
    ASSERT_LT(got.producer, kProducers);
    ASSERT_EQ(got.number, expected[static_cast<std::size_t>(got.producer)]++);
  }
  for (auto& producer : producers) producer->join();
  EXPECT_TRUE(queue.empty());
}

// QUE-08, W-13: empty(), get_nowait() and qsize() agree at once after another process's put
TEST_P(QueueConformance, EmptyAgreesWithQsizeRightAfterAPut) {
  brood::Queue<int> queue;
  EXPECT_TRUE(queue.empty());
  worker(
      [](brood::Queue<int>& out) {
        out.put(1);
        require(!out.empty(), "not empty right after put");
      },
      queue)
      .join();
  EXPECT_FALSE(queue.empty());
  EXPECT_EQ(queue.get_nowait(), 1);
  EXPECT_TRUE(queue.empty());
}

// QUE-09
TEST_P(QueueConformance, FullTellsThatThereIsNoFreeSlot) {
  brood::Queue<int> queue(2);
  EXPECT_FALSE(queue.full());
  worker(
      [](brood::Queue<int>& out) {
        out.put(1);
        require(!out.full(), "one slot left");
        out.put(2);
        require(out.full(), "full");
      },
      queue)
      .join();
  EXPECT_TRUE(queue.full());
  (void)queue.get();
  EXPECT_FALSE(queue.full());
}

// QUE-11, QUE-12, QUE-13: there is no feeder to join or to cancel. A producer ends before anything was taken, however
// much it has put, and nothing is lost or torn.
TEST_P(QueueConformance, ProducerEndsBeforeItsItemsAreTaken) {
  brood::Queue<std::string> queue;
  worker(
      [](brood::Queue<std::string>& out) {
        auto mine = brood::Queue<std::string>::open(out.handle());
        for (int i = 0; i < 40; ++i) mine.put(std::string(100000, static_cast<char>('a' + i % 26)));
        mine.close();
      },
      queue)
      .join();
  for (int i = 0; i < 40; ++i) ASSERT_EQ(queue.get(), std::string(100000, static_cast<char>('a' + i % 26)));
}

void mutate_after_put(brood::Queue<std::vector<int>>& out) {
  std::vector<int> item = {1, 2, 3};
  out.put(item);
  item.assign(3, 9);
}
// W-12: what was put is not seen to change afterwards
TEST_P(QueueConformance, MutationAfterPutIsNotSeen) {
  brood::Queue<std::vector<int>> queue;
  worker(mutate_after_put, queue).join();
  EXPECT_EQ(queue.get(), (std::vector<int>{1, 2, 3}));
}

void take_until_shut_down(brood::Queue<int>& in, brood::Value<long>& sum) {
  for (const int item : in) sum.with([&](long& all) { all += item; });
}

// QUE-14
TEST_P(QueueConformance, ShutdownDrainsThenEndsEverySleepingTaker) {
  brood::Queue<int> queue;
  brood::Value<long> sum;
  auto takers = workers(3, take_until_shut_down, queue, sum);
  for (int i = 1; i <= 100; ++i) queue.put(i);
  queue.shutdown();
  EXPECT_TRUE(queue.is_shut_down());
  EXPECT_THROW(queue.put(1), brood::QueueClosed);
  for (auto& taker : takers) taker->join();
  EXPECT_EQ(sum.get(), 5050);
  EXPECT_THROW((void)queue.get(), brood::QueueClosed);
  EXPECT_THROW((void)queue.get_nowait(), brood::QueueClosed);
}
TEST_P(QueueConformance, ImmediateShutdownDiscardsAndWakesSleepingPutters) {
  brood::Queue<int> queue(1);
  queue.put(1);
  auto putter =
      worker([](brood::Queue<int>& out) { require_closed([&] { out.put(2); }, "put while shutting down"); }, queue);
  support::await_sleepers(queue.handle(), 1);
  queue.shutdown(true);
  putter.join();
  EXPECT_EQ(queue.qsize(), 0U);
  EXPECT_THROW((void)queue.get(), brood::QueueClosed);
}

// QUE-19, W-10: Python leaves the queue locked; here the next one goes on
void take_for_ever(brood::Queue<int>& queue, brood::Event& begun) {
  for (;;) {
    (void)queue.get();
    begun.set();
  }
}
TEST_P(QueueConformance, KilledHolderOfAQueueLeavesItUsable) {
  brood::Queue<int> queue;
  brood::Event begun;
  support::Child taker([&](support::Line&) { take_for_ever(queue, begun); });
  auto putter = worker(
      [](brood::Queue<int>& out) {
        for (int i = 0; i < 2000; ++i) out.put(i);
      },
      queue);
  begun.wait();
  taker.kill();
  putter.join();
  for (std::size_t left = queue.qsize(); left > 0; --left) EXPECT_TRUE(queue.try_get());
  EXPECT_FALSE(queue.try_get_for(10ms));
  worker([](brood::Queue<int>& out) { out.put(7); }, queue).join();
  EXPECT_EQ(queue.get(), 7);
}

// TestSimpleQueue.test_empty, QUE-17
TEST_P(QueueConformance, SimpleQueueIsEmptyExactlyWhenItIs) {
  brood::SimpleQueue<std::optional<bool>> queue;
  brood::Event may_start;
  brood::Event may_go_on;
  auto child = worker(
      [](brood::SimpleQueue<std::optional<bool>>& out, brood::Event& start, brood::Event& go_on) {
        start.wait();
        require(out.empty(), "empty in the child");
        out.put(true);
        out.put(std::nullopt);
        require(!out.empty(), "not empty in the child");
        go_on.set();
      },
      queue, may_start, may_go_on);
  EXPECT_TRUE(queue.empty());
  may_start.set();
  may_go_on.wait();
  EXPECT_FALSE(queue.empty());
  EXPECT_EQ(queue.get(), std::optional(true));
  EXPECT_EQ(queue.get(), std::nullopt);
  EXPECT_TRUE(queue.empty());
  child.join();
}

// TestSimpleQueue.test_empty_exceptions, test_close, test_closed, QUE-18
TEST_P(QueueConformance, SimpleQueueClosedTwiceRefusesEverything) {
  brood::SimpleQueue<int> queue;
  auto mine = brood::SimpleQueue<int>::open(queue.handle());
  EXPECT_FALSE(mine.closed());
  mine.close();
  mine.close();
  EXPECT_TRUE(mine.closed());
  EXPECT_THROW((void)mine.empty(), brood::QueueClosed);
  EXPECT_THROW(mine.put(1), brood::QueueClosed);
  EXPECT_THROW((void)mine.get(), brood::QueueClosed);
  worker([](brood::SimpleQueue<int>& other) { other.put(1); }, queue).join();  // for everybody else it goes on
  EXPECT_EQ(queue.get(), 1);
}

}  // namespace
}  // namespace conformance
