// Shared objects that travel inside messages: the message keeps them alive when their sender lets go first.
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "brood/domain.hpp"
#include "brood/process.hpp"
#include "matrix/objects.hpp"
#include "support/inspect.hpp"
#include "support/leak_check.hpp"

namespace {

using namespace matrix;

/// A message that is partly text and partly a queue with numbers in it.
struct Delivery {
  std::string label;
  brood::Queue<int> numbers;
};

class Transit : public support::NoLeaks, public ::testing::WithParamInterface<brood::StartMethod> {
 protected:
  template <class F, class... Args>
  static brood::Process started(F f, Args&&... args) {
    brood::Process p({.start_method = GetParam()}, f, std::forward<Args>(args)...);
    p.start();
    return p;
  }
  static void join(brood::Process& p) {
    p.join();
    EXPECT_EQ(p.exitcode(), 0);
  }
};
INSTANTIATE_TEST_SUITE_P(Methods, Transit,
                         ::testing::Values(brood::StartMethod::fork, brood::StartMethod::spawn,
                                           brood::StartMethod::forkserver),
                         [](const auto& method) { return std::string(to_string(method.param)); });

/// Stale for everybody who has only the text.
bool can_open(const std::string& lock) {
  try {
    const brood::Lock opened = brood::Lock::open(lock);
    return true;
  } catch (const brood::HandleError&) {
    return false;
  }
}

void take_lock_and_send_it_back(brood::Queue<brood::Lock>& queue, const std::string& address) {
  const Line line = call(address);
  line.expect(kGo);
  brood::Lock lock = queue.get();
  line.send_text(lock.handle().str());
  lock.lock();
  line.say(kHeld);
  line.expect(kGo);
  lock.unlock();
  queue.put(lock);
}

TEST_P(Transit, ALockWhoseSenderHasLetGo) {
  brood::Queue<brood::Lock> queue;
  const Doorway doorway;
  auto p = started(take_lock_and_send_it_back, queue, doorway.address());
  const Line line = doorway.accept();
  auto sent = std::make_unique<brood::Lock>();
  const std::string handle = sent->handle().str();
  queue.put(*sent);
  sent.reset();
  line.say(kGo);
  ASSERT_EQ(line.hear_text(), handle);
  line.expect(kHeld);
  brood::Lock opened = brood::Lock::open(handle);  // from the text, while the worker has it
  EXPECT_FALSE(opened.try_lock());
  opened = brood::Lock();
  line.say(kGo);
  join(p);

  // Now only the message holds it. It is whole: not held, and nobody died with it.
  {
    brood::Lock back = queue.get();
    EXPECT_EQ(back.handle().str(), handle);
    EXPECT_TRUE(back.try_lock());
    back.unlock();
  }
  EXPECT_FALSE(can_open(handle)) << "nobody has it any more, so it is freed";
}

void add_up_deliveries(brood::Queue<Delivery>& deliveries, Tally& sum) {
  const Delivery first = deliveries.get();
  require(first.label == "one to ten", "the text of the message");
  Delivery second = deliveries.get();
  require(second.numbers.handle() == first.numbers.handle(), "both messages hold the same queue");
  for (int i = 0; i < 10; ++i) sum.set(sum.get() + second.numbers.get());
  require(second.numbers.empty(), "ten numbers came");
  second.numbers.put(static_cast<int>(sum.get()));
  second.label = "the sum";
  deliveries.put(second);
}

TEST_P(Transit, AQueueInAStructInAQueueSentBeforeTheReceiverExists) {
  brood::Queue<Delivery> deliveries;
  Tally sum(0);
  std::string handle;
  {
    Delivery delivery{.label = "one to ten", .numbers = brood::Queue<int>()};
    handle = delivery.numbers.handle().str();
    for (int i = 1; i <= 10; ++i) delivery.numbers.put(i);
    deliveries.put(delivery);
    delivery.label = "again";
    deliveries.put(delivery);
  }
  auto p = started(add_up_deliveries, deliveries, sum);
  join(p);
  EXPECT_EQ(sum.get(), 55);
  {
    Delivery answer = deliveries.get();
    EXPECT_EQ(answer.label, "the sum");
    EXPECT_EQ(answer.numbers.handle().str(), handle);
    EXPECT_EQ(answer.numbers.get(), 55);
  }
  EXPECT_THROW((void)brood::Queue<int>::open(handle), brood::HandleError) << "nobody has it any more, so it is freed";
}

void receive_a_chain(brood::Queue<brood::Queue<brood::Queue<brood::Lock>>>& outer) {
  brood::Queue<brood::Queue<brood::Lock>> middle = outer.get();
  brood::Queue<brood::Lock> inner = middle.get();
  brood::Lock lock = inner.get();
  lock.lock();
  lock.unlock();
  require(outer.empty() && middle.empty() && inner.empty(), "each held one thing");
}

TEST_P(Transit, AQueueOfAQueueOfAQueueOfALock) {
  brood::Queue<brood::Queue<brood::Queue<brood::Lock>>> outer;
  {
    brood::Queue<brood::Queue<brood::Lock>> middle;
    brood::Queue<brood::Lock> inner;
    const brood::Lock lock;
    inner.put(lock);
    middle.put(inner);
    outer.put(middle);
  }
  // Each lives by the message that it lies in; collecting garbage does not touch them.
  brood::gc();
  auto p = started(receive_a_chain, outer);
  join(p);
}

void leave_it_in_the_queue(brood::Queue<brood::Lock>& queue) {
  const brood::Lock lock;
  queue.put(lock);
}

TEST_P(Transit, ALockWhoseSenderHasEnded) {
  brood::Queue<brood::Lock> queue;
  auto p = started(leave_it_in_the_queue, queue);
  join(p);
  p.close();
  brood::gc();
  brood::Lock lock = queue.get();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TEST_P(Transit, WhatNobodyReceivesGoesWithItsQueue) {
  std::string handle;
  {
    brood::Queue<brood::Lock> queue;
    auto p = started(leave_it_in_the_queue, queue);
    join(p);
    brood::gc();
    brood::Lock lock = queue.get();
    handle = lock.handle().str();
    queue.put(lock);
    lock = brood::Lock();
    EXPECT_TRUE(can_open(handle)) << "the message pins it";
  }
  brood::gc();
  EXPECT_FALSE(can_open(handle));
}

}  // namespace
