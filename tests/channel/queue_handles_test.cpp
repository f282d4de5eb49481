// Shared objects inside messages: they live as long as the message does, and no longer.
#include <string>
#include <vector>

#include "brood/domain.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "brood/value.hpp"
#include "support/inspect.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using QueueHandles = Ladder;

std::size_t files_in_domain() { return support::files_below(support::test_domain()).size(); }

TEST_F(QueueHandles, LockInAMessageOutlivesItsMakerAndGc) {
  brood::Queue<brood::Lock> queue;
  Child maker([&](Line&) {
    const brood::Lock lock;
    queue.put(lock);
  });
  EXPECT_EQ(maker.wait(), 0);
  EXPECT_EQ(brood::gc().objects, 0U);
  EXPECT_EQ(brood::gc().pins, 0U);
  brood::Lock lock = queue.get();
  lock.lock();
  Child other([&](Line&) { EXPECT_FALSE(brood::Lock::open(lock.handle()).try_lock()); });
  EXPECT_EQ(other.wait(), 0);
  lock.unlock();
}

TEST_F(QueueHandles, MakerKilledAfterPutDoesNoHarm) {
  brood::Queue<brood::Lock> queue;
  Child maker([&](Line&) {
    const brood::Lock lock;
    queue.put(lock);
    ::raise(SIGKILL);
  });
  EXPECT_EQ(maker.wait(), -SIGKILL);
  (void)brood::gc();
  brood::Lock lock = queue.get();
  lock.lock();
  lock.unlock();
}

TEST_F(QueueHandles, ReceivedAndDroppedObjectsAreFreed) {
  brood::Queue<brood::Event> queue;
  const auto before = files_in_domain();
  for (int i = 0; i < 50; ++i) queue.put(brood::Event());
  EXPECT_GE(files_in_domain(), before + 50);
  for (int i = 0; i < 50; ++i) (void)queue.get();
  EXPECT_EQ(files_in_domain(), before);
}

TEST_F(QueueHandles, QueueDestroyedWithUndeliveredHandlesFreesThem) {
  const auto before = files_in_domain();
  {
    brood::Queue<brood::Event> queue;
    for (int i = 0; i < 10; ++i) queue.put(brood::Event());
  }
  EXPECT_EQ(files_in_domain(), before);
}

TEST_F(QueueHandles, ImmediateShutdownFreesTheUndelivered) {
  brood::Queue<brood::Event> queue;
  const auto before = files_in_domain();
  for (int i = 0; i < 10; ++i) queue.put(brood::Event());
  queue.shutdown(true);
  EXPECT_EQ(files_in_domain(), before);
}

TEST_F(QueueHandles, QueueOfAKilledLastUserIsFreedWithWhatIsInIt) {
  const auto before = files_in_domain();
  Child maker([](Line&) {
    brood::Queue<brood::Event> queue;
    queue.put(brood::Event());
    queue.put(brood::Event());
    ::raise(SIGKILL);
  });
  EXPECT_EQ(maker.wait(), -SIGKILL);
  EXPECT_GT(files_in_domain(), before);
  const auto report = brood::gc();
  EXPECT_EQ(report.objects, 3U);
  EXPECT_EQ(report.pins, 2U);
  EXPECT_GT(report.bytes, 0U);
  EXPECT_EQ(files_in_domain(), before);
}

TEST_F(QueueHandles, ConsumerKilledBetweenTakingAndOpeningLeaksNothing) {
  const auto before = files_in_domain();
  for (int round = 0; round < 20; ++round) {
    brood::Queue<brood::Event> queue;
    for (int i = 0; i < 20; ++i) queue.put(brood::Event());
    Child consumer([&](Line& line) {
      line.say('r');
      for (;;) (void)queue.get();
    });
    consumer.line.expect('r');
    for (int i = 0; i < round * 40; ++i) (void)queue.qsize();
    consumer.kill();
    while (auto event = queue.try_get()) event->set();  // each that is left can be opened and used
  }
  (void)brood::gc();
  EXPECT_EQ(files_in_domain(), before);
}

struct Parcel {
  int number = 0;
  brood::Queue<std::string> reply;
  brood::Lock lock;
};

TEST_F(QueueHandles, SeveralObjectsAndDataInOneMessage) {
  brood::Queue<Parcel> queue;
  Child worker([&](Line&) {
    Parcel parcel = queue.get();
    parcel.lock.lock();
    parcel.reply.put("number " + std::to_string(parcel.number));
    parcel.lock.unlock();
  });
  Parcel parcel{5, brood::Queue<std::string>(), brood::Lock()};
  queue.put(parcel);
  EXPECT_EQ(parcel.reply.get(), "number 5");
  EXPECT_EQ(worker.wait(), 0);
  EXPECT_TRUE(parcel.lock.try_lock());
  parcel.lock.unlock();
}

TEST_F(QueueHandles, SameObjectTwiceAndInTwoMessages) {
  brood::Queue<std::vector<brood::Event>> queue;
  {
    brood::Event event;
    std::vector<brood::Event> twice;
    twice.push_back(brood::Event::open(event.handle()));
    twice.push_back(brood::Event::open(event.handle()));
    queue.put(twice);
    queue.put(twice);
  }
  auto first = queue.get();
  first[0].set();
  EXPECT_TRUE(first[1].is_set());
  first.clear();
  (void)brood::gc();
  auto second = queue.get();
  EXPECT_TRUE(second[0].is_set());
}

TEST_F(QueueHandles, HandleAsTextDoesNotPin) {
  brood::Queue<std::string> queue;
  {
    const brood::Event event;
    queue.put(event.handle().str());
  }
  const std::string text = queue.get();
  expect_error<brood::HandleError>([&] { (void)brood::Event::open(text); }, {text});
}

TEST_F(QueueHandles, NamedObjectTravelsToo) {
  auto named = brood::Value<long>::create("ladder.travels", 5);
  brood::Queue<brood::Value<long>> queue;
  queue.put(named);
  EXPECT_EQ(queue.get().get(), 5);
  EXPECT_TRUE(brood::Value<long>::remove("ladder.travels"));
}

}  // namespace
}  // namespace ladder
