// What hangs or breaks with pthread, Boost.Interprocess and Python's multiprocessing on Debian 12, and what becomes of
// it here. One test for each line of the README's table.
#include <unistd.h>

#include <mutex>
#include <string>

#include "brood/condition.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "support/poke.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using Demands = Ladder;

/// A child asleep in `condition`, killed there.
void kill_a_waiter(brood::Condition& condition, brood::Lock& lock) {
  Child waiter([&](Line&) {
    std::unique_lock guard(lock);
    condition.wait(guard);
  });
  await_sleepers(condition.handle(), 1);
  waiter.kill();
}

// pthread_cond, process-shared: the second broadcast hangs.
TEST_F(Demands, BroadcastAfterAWaiterWasKilledAndAgain) {
  brood::Condition condition;
  brood::Lock lock;
  for (int round = 0; round < 5; ++round) {
    kill_a_waiter(condition, lock);
    condition.notify_all();
    Child living([&](Line&) {
      std::unique_lock guard(lock);
      condition.wait(guard);
    });
    await_sleepers(condition.handle(), 1);
    condition.notify_all();
    EXPECT_EQ(living.wait(), 0);
  }
}

// boost::interprocess_condition::notify_all: the second call hangs.
TEST_F(Demands, NotifyAllTwiceAfterAWaiterWasKilled) {
  brood::Condition condition;
  brood::Lock lock;
  kill_a_waiter(condition, lock);
  condition.notify_all();
  condition.notify_all();
  kill_a_waiter(condition, lock);
  condition.notify_one();
  condition.notify_all();
}

// boost::message_queue: after the death of a process blocked in receive, the second send hangs.
TEST_F(Demands, PutTwiceAfterATakerWasKilledInGet) {
  brood::Queue<int> queue;
  Child taker([&](Line&) { (void)queue.get(); });
  await_sleepers(queue.handle(), 1);
  taker.kill();
  queue.put(1);
  queue.put(2);
  EXPECT_EQ(queue.get(), 1);
  EXPECT_EQ(queue.get(), 2);
}

// boost::named_mutex: lock() after the holder's death hangs.
TEST_F(Demands, NamedLockAfterItsHolderWasKilled) {
  auto lock = brood::Lock::create("demands.named");
  victim([] {
    auto mine = brood::Lock::open_named("demands.named");
    mine.lock();
  }).kill();
  EXPECT_THROW(lock.lock(), brood::OwnerDied);
  EXPECT_TRUE(lock.recover([] {}));
  lock.lock();
  lock.unlock();
  EXPECT_TRUE(brood::Lock::remove("demands.named"));
}

// boost::interprocess_mutex: throws lock_exception for ever after.
TEST_F(Demands, LockIsUsableAgainAfterItsHolderWasKilled) {
  brood::Lock lock;
  victim([&] { lock.lock(); }).kill();
  EXPECT_THROW(lock.lock(), brood::OwnerDied);
  EXPECT_THROW(lock.lock(), brood::OwnerDied);
  EXPECT_TRUE(lock.recover([] {}));
  for (int i = 0; i < 3; ++i) {
    lock.lock();
    lock.unlock();
  }
  brood::Lock healing({.on_owner_death = brood::OwnerDeath::heal});
  victim([&] { healing.lock(); }).kill();
  healing.lock();
  healing.unlock();
}

// Python multiprocessing: Event.set() after a waiter's death, Lock.acquire() after the holder's, and Queue.put() and
// get() after a taker's all hang.
TEST_F(Demands, EventLockAndQueueAfterTheirUsersWereKilled) {
  brood::Event event;
  Child waiter([&](Line&) { event.wait(); });
  await_sleepers(event.handle(), 1);
  waiter.kill();
  event.set();
  EXPECT_TRUE(event.wait_for(1h));

  brood::Lock lock;
  Child holder = victim([&] { lock.lock(); });
  Child sleeper([&](Line&) { EXPECT_THROW(lock.lock(), brood::OwnerDied); });
  await_sleepers(lock.handle(), 1);
  holder.kill();
  EXPECT_EQ(sleeper.wait(), 0);

  brood::Queue<std::string> queue;
  Child taker([&](Line&) { (void)queue.get(); });
  await_sleepers(queue.handle(), 1);
  taker.kill();
  queue.put("still there");
  EXPECT_EQ(queue.get(), "still there");
}

// A robust pthread_mutex works across pid namespaces, since the kernel's own bookkeeping does it. Ours needs to see who
// lives: a process in another namespace is told so at its first use, instead of one day being taken for dead.
TEST_F(Demands, ProcessOfAnotherPidNamespaceIsToldSo) {
  const support::OwnDomain own;
  int said[2];
  int kept[2];
  ASSERT_EQ(::pipe2(said, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(kept, O_CLOEXEC), 0);
  Child other(
      [&](Line&) {
        own.choose();
        ::dup2(kept[0], STDIN_FILENO);
        support::exec_poke(said[1], "foreign-namespace");
      },
      Ending::quick);
  ::close(said[1]);
  char text[256];
  ASSERT_GT(::read(said[0], text, sizeof text), 0);
  const auto refused = support::poke([&] { own.choose(); }, "lock");
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.said.find("another pid namespace"), std::string::npos) << refused.said;
  for (const int fd : {said[0], kept[0], kept[1]}) ::close(fd);
  EXPECT_EQ(other.wait(), 0);
}

// An open-file-description lock as a sign of life: the dead owner looks alive while its forked child holds the
// descriptor.
TEST_F(Demands, OwnerIsDeadAlthoughItsForkedChildLives) {
  brood::Lock lock;
  Child owner([&](Line& line) {
    lock.lock();
    if (::fork() == 0) {
      line.say('c');  // inherits everything, lives until the line ends
      try {
        (void)line.hear();
      } catch (const std::runtime_error&) {}
      ::_exit(0);
    }
    line.say('o');
    ::pause();
  });
  (void)owner.line.hear();
  (void)owner.line.hear();
  owner.shoot();
  EXPECT_THROW(lock.lock(), brood::OwnerDied);
  EXPECT_TRUE(lock.recover([] {}));
  owner.line.say();  // the grandchild may go
  owner.kill();
  owner.line.expect_silence();
}

}  // namespace
}  // namespace ladder
