// Shared objects inside messages: they live as long as the message does, and no longer.
#include <sys/resource.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "brood/connection.hpp"
#include "brood/domain.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/priority_queue.hpp"
#include "brood/queue.hpp"
#include "brood/value.hpp"
#include "brood/work_queue.hpp"
#include "channel/side_lock.hpp"
#include "registry/objects.hpp"
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

/// As somebody leaves it who is killed between making the pins of a message and its commit.
template <class Queue>
void leave_a_pin_behind(const Queue& queue, brood::Kind kind, const brood::Handle& target) {
  const brood::detail::QueueCore::Type& type = brood::detail::Items<brood::Lock>::type();
  const brood::detail::Object object = brood::registry::open(queue.handle(), kind, {type.fingerprint, type.name()});
  constexpr std::uint64_t kMessage = 1000;
  brood::shm::header_of(object.body()).may_have_pins.store(1);
  brood::shm::pin(object.id(), kMessage, target);
  brood::channel::body_of(object).unsure.fetch_or(brood::channel::kPinsUnsure);
}

template <class Queue>
void expect_gc_drops_only_what_nobody_needs(Queue& queue, brood::Kind kind) {
  const auto before = files_in_domain();
  queue.put(brood::Lock());
  {
    const brood::Lock forgotten;
    leave_a_pin_behind(queue, kind, forgotten.handle());
  }
  EXPECT_GT(files_in_domain(), before + 2);
  EXPECT_EQ(brood::gc().pins, 1U) << "the one whose message never came";
  auto taken = queue.get();
  brood::Lock& lock = [&]() -> brood::Lock& {
    if constexpr (requires { *taken; }) return *taken;
    else return taken;
  }();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST_F(QueueHandles, GcDropsThePinsThatAKillingLeftAndNoOthers) {
  brood::Queue<brood::Lock> queue;
  expect_gc_drops_only_what_nobody_needs(queue, brood::Kind::queue);
  brood::PriorityQueue<brood::Lock> priority;
  expect_gc_drops_only_what_nobody_needs(priority, brood::Kind::priority_queue);
  brood::WorkQueue<brood::Lock> work;
  expect_gc_drops_only_what_nobody_needs(work, brood::Kind::work_queue);
}

TEST_F(QueueHandles, GcKeepsThePinsOfItemsInSomebodysHands) {
  brood::WorkQueue<brood::Lock> queue;
  for (int i = 0; i < 3; ++i) queue.put(brood::Lock());
  Child worker([&](Line& line) {
    const auto one = queue.get();
    const auto two = queue.get();
    line.say('t');
    line.expect('x');
  });
  worker.line.expect('t');
  leave_a_pin_behind(queue, brood::Kind::work_queue, brood::Lock().handle());
  EXPECT_EQ(brood::gc().pins, 1U);
  worker.kill();
  for (int i = 0; i < 3; ++i) {
    auto task = queue.get();
    EXPECT_TRUE(task->try_lock());
    task->unlock();
    task.done();
  }
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

/// The descriptors of this process are few while it lives.
class FewDescriptors {
 public:
  explicit FewDescriptors(rlim_t most) {
    require(::getrlimit(RLIMIT_NOFILE, &before_) == 0, "getrlimit");
    const rlimit few{most, before_.rlim_max};
    require(::setrlimit(RLIMIT_NOFILE, &few) == 0, "setrlimit");
  }
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  rlimit before_{};
};

TEST_F(QueueHandles, BatchesDoNotTakeMoreObjectsThanThereAreDescriptorsFor) {
  constexpr std::size_t kMessages = 40;
  for (const std::size_t padding : {std::size_t{0}, std::size_t{40} << 10}) {  // in the ring, and in memory beside it
    using Item = std::pair<std::vector<brood::Lock>, std::string>;
    brood::Queue<Item> queue;
    for (std::size_t i = 0; i < kMessages; ++i) queue.put({std::vector<brood::Lock>(3), std::string(padding, 'x')});
    Child consumer([&](Line&) {
      const FewDescriptors few(64);
      std::size_t got = 0;
      while (got < kMessages) {
        std::vector<Item> into;
        got += queue.get_many(into, kMessages);
        for (const Item& item : into) require(item.first.size() == 3 && item.second.size() == padding, "an item");
      }
      require(queue.empty(), "all were taken");
    });
    EXPECT_EQ(consumer.wait(), 0);
  }
}

TEST_F(QueueHandles, AMessageStaysWhileDescriptorsAreTooFewForIt) {
  brood::Queue<std::vector<brood::Lock>> queue;
  brood::PriorityQueue<std::vector<brood::Lock>> priority;
  auto [receiver, sender] = brood::pipe<std::vector<brood::Lock>>();
  queue.put(std::vector<brood::Lock>(70));
  priority.put(std::vector<brood::Lock>(70));
  sender.send(std::vector<brood::Lock>(70));
  Child consumer([&, &from = receiver](Line&) {
    for (const auto& take : std::vector<std::function<std::size_t()>>{[&] { return queue.get().size(); },
                                                                      [&] { return priority.get().size(); },
                                                                      [&] { return from.recv().size(); }}) {
      try {
        const FewDescriptors few(64);
        (void)take();
        require(false, "taken");
      } catch (const brood::OsError& error) {
        require(std::string(error.what()).find("ulimit -n") != std::string::npos, error.what());
      }
      require(take() == 70, "still there");
    }
  });
  EXPECT_EQ(consumer.wait(), 0);
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
