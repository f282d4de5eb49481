// wait_any() and as_fd() when others die, and when who waits dies.
#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "brood/brood.hpp"
#include "support/tsan.hpp"
#include "sync/ladder.hpp"
#include "wait/socket_pair.hpp"

namespace ladder {
namespace {

using WaitCrash = Ladder;
using Indices = brood::Ready;

/// Waits for `what` in the three ways while `victim` is shot.
void expect_death_wakes(const brood::Waitable& what, const brood::Handle& object, Child& victim, int way) {
  const SocketPair pair;
  if (way == 2) {
    const auto fd = brood::as_fd(what);
    EXPECT_EQ(brood::wait_any_for(0s, brood::readable(fd.fd())), Indices{});
    victim.shoot();
    EXPECT_EQ(brood::wait_any(brood::readable(fd.fd())), Indices{0});
  } else {
    std::vector<brood::Waitable> all = {what};
    if (way == 1) all.push_back(brood::readable(pair.ours()));
    std::thread sleeper([&] { EXPECT_EQ(brood::wait_any(all), Indices{0}) << "way " << way; });
    await([&] { return support::sleepers_on(object) != 0; });
    victim.shoot();
    sleeper.join();
  }
  victim.wait();
}

TEST_F(WaitCrash, TheLocksOwner) {
  for (const int way : {0, 1, 2}) {
    brood::Lock lock;
    Child owner = victim([&] { lock.lock(); });
    expect_death_wakes(lock, lock.handle(), owner, way);
    EXPECT_THROW(lock.lock(), brood::OwnerDied);
    EXPECT_EQ(brood::wait_any(lock), Indices{0}) << "lock() throws again";
    EXPECT_TRUE(lock.recover([] {}));
  }
}

/// It ends in good order and leaves the lock locked: its end is what wakes us.
TEST_F(WaitCrash, TheLocksOwnerEndsNormally) {
  for (const bool with_descriptor : {false, true}) {
    brood::Lock lock;
    const SocketPair pair;
    Child owner([&](Line& line) {
      lock.lock();
      line.say();
      line.expect();
    });
    owner.line.expect();
    std::vector<brood::Waitable> all = {lock};
    if (with_descriptor) all.push_back(brood::readable(pair.ours()));
    std::thread sleeper([&] { EXPECT_EQ(brood::wait_any(all), Indices{0}); });
    await_sleepers(lock.handle(), 1);
    owner.line.say();
    sleeper.join();
    EXPECT_EQ(owner.wait(), 0);
    EXPECT_TRUE(lock.recover([] {}));
  }
}

TEST_F(WaitCrash, WhoHoldsPermits) {
  for (const int way : {0, 1, 2}) {
    brood::BoundedSemaphore units(1);
    Child holder = victim([&] { units.acquire(); });
    expect_death_wakes(units, units.handle(), holder, way);
    EXPECT_TRUE(units.try_acquire());
    units.release();
  }
}

TEST_F(WaitCrash, ThePipesLastHolder) {
  for (const int way : {0, 1, 2}) {
    auto [a, b] = brood::pipe<int>();
    auto& ours = a;
    auto& theirs = b;
    Child holder = victim([&] { theirs.send(1); });
    EXPECT_EQ(ours.recv(), 1);
    theirs.close();
    expect_death_wakes(ours, ours.handle(), holder, way);
    EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
  }
}

/// The end is held by a message that the dead process had taken and not yet opened, or by nothing but a pin: nobody tells.
TEST_F(WaitCrash, AnEndInTransitInTheHandsOfTheDead) {
  for (const bool with_descriptor : {false, true}) {
    auto [a, b] = brood::pipe<int>();
    auto& ours = a;
    const SocketPair pair;
    auto& theirs = b;
    Child holder([&](Line& line) {
      brood::Queue<brood::Connection<int>> carrier;
      carrier.put(theirs);
      theirs.close();
      line.say();
      (void)line.hear();
    });
    holder.line.expect();
    theirs.close();
    std::vector<brood::Waitable> all = {ours};
    if (with_descriptor) all.push_back(brood::readable(pair.ours()));
    std::thread sleeper([&] { EXPECT_EQ(brood::wait_any(all), Indices{0}); });
    await([&] { return support::sleepers_on(ours.handle()) != 0; });
    holder.shoot();
    sleeper.join();
    EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
    holder.wait();
  }
}

TEST_F(WaitCrash, AWorkerWithAnItem) {
  for (const int way : {0, 1, 2}) {
    brood::WorkQueue<int> queue;
    queue.put(5);
    std::optional<brood::Task<int>> in_child;
    Child worker = victim([&] { in_child = queue.get(); });
    expect_death_wakes(queue, queue.handle(), worker, way);
    auto task = queue.try_get();
    ASSERT_TRUE(task);
    EXPECT_EQ(task->deliveries(), 2U);
    task->done();
  }
}

TEST_F(WaitCrash, APartyOfABarrierThatNobodyElseWaitsIn) {
  for (const int way : {0, 1, 2}) {
    brood::Barrier barrier(3);
    Child party = victim([&] { barrier.enrol(); });
    expect_death_wakes(barrier, barrier.handle(), party, way);
    EXPECT_TRUE(barrier.broken());
  }
}

/// Killed with a wake-up in its hands, or on its way to it: its death hands it on.
TEST_F(WaitCrash, WhoWaitsIsKilledAsTheItemComes) {
  brood::Queue<int> queue;
  const brood::Event never;
  for (int i = 0; i < 100; ++i) {
    const SocketPair pair;
    Child waiter([&](Line&) {
      std::vector<brood::Waitable> all = {queue, never};
      if (i % 2 == 1) all.push_back(brood::readable(pair.ours()));
      for (;;) (void)brood::wait_any(all);
    });
    await_sleepers(queue.handle(), 1);
    int got = -1;
    std::thread getter([&] { got = queue.get(); });
    await_sleepers(queue.handle(), 2);
    std::thread killer([&] { waiter.shoot(); });
    queue.put(i);
    getter.join();
    EXPECT_EQ(got, i);
    killer.join();
    waiter.wait();
  }
}

#if !SUPPORT_TSAN  // as in wait_test.cpp
/// A process that ends in good order while its waiter thread sleeps on a queue: nothing is swallowed.
TEST_F(WaitCrash, WhoWaitsEndsNormallyAsTheItemComes) {
  brood::Queue<int> queue;
  for (int i = 0; i < 60; ++i) {
    Child waiter([&](Line& line) {
      static std::optional<brood::ReadyFd> fd;
      fd = brood::as_fd(queue);
      line.say();
      line.expect();
    });
    waiter.line.expect();
    await_sleepers(queue.handle(), 1);
    int got = -1;
    std::thread getter([&] { got = queue.get(); });
    await_sleepers(queue.handle(), 2);
    waiter.line.say();
    queue.put(i);
    getter.join();
    EXPECT_EQ(got, i);
    EXPECT_EQ(waiter.wait(), 0);
  }
}
#endif

}  // namespace
}  // namespace ladder
