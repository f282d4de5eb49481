// CPython's _TestLock, and the LCK rows.
#include "brood/lock.hpp"

#include <csignal>
#include <mutex>

#include "brood/error.hpp"
#include "brood/event.hpp"
#include "brood/rlock.hpp"
#include "brood/value.hpp"
#include "conformance/bodies.hpp"

namespace conformance {
namespace {

class LockConformance : public Bodies {};
class RLockConformance : public Bodies {};
BROOD_BODIES(LockConformance);
BROOD_BODIES(RLockConformance);

template <class L>
void hold_until(L& lock, brood::Event& held, brood::Event& let_go) {
  const std::scoped_lock guard(lock);
  held.set();
  let_go.wait();
}

/// What another process or thread can do with a lock that is held elsewhere.
template <class L>
void find_it_taken(L& lock) {
  require(lock.locked(), "locked() is true elsewhere than in the holder");
  require(!lock.try_lock(), "a held lock is not taken");
  const Stopwatch watch;
  require(!lock.try_lock_for(20ms), "a timed attempt fails");
  require(watch.elapsed() >= 20ms, "a timed attempt lasts its whole timeout");
  require(!lock.try_lock_for(-5s), "a negative timeout polls");
}

// _TestLock.test_lock
TEST_P(LockConformance, ExcludesItselfAndOverReleaseThrows) {
  brood::Lock lock;
  EXPECT_FALSE(lock.locked());
  lock.lock();
  EXPECT_TRUE(lock.locked());
  EXPECT_FALSE(lock.try_lock());
  worker(find_it_taken<brood::Lock>, lock).join();
  lock.unlock();
  EXPECT_FALSE(lock.locked());
  EXPECT_THROW(lock.unlock(), brood::ReleasedTooOften);
}

// _TestLock.test_lock_locked_2processes
TEST_P(LockConformance, LockedIsSeenElsewhere) {
  brood::Lock lock;
  brood::Event held;
  brood::Event let_go;
  auto holder = worker(hold_until<brood::Lock>, lock, held, let_go);
  held.wait();
  EXPECT_TRUE(lock.locked());
  EXPECT_FALSE(lock.try_lock());
  let_go.set();
  holder.join();
  EXPECT_FALSE(lock.locked());
}

// _TestLock.test_rlock_locked_2processes
TEST_P(RLockConformance, LockedIsSeenElsewhere) {
  brood::RLock lock;
  brood::Event held;
  brood::Event let_go;
  auto holder = worker(hold_until<brood::RLock>, lock, held, let_go);
  held.wait();
  EXPECT_TRUE(lock.locked());
  EXPECT_FALSE(lock.try_lock());
  EXPECT_EQ(lock.depth(), 0U);
  let_go.set();
  holder.join();
  EXPECT_FALSE(lock.locked());
}

// _TestLock.test_rlock
TEST_P(RLockConformance, OwnerTakesItThreeTimesAndReleasesItThreeTimes) {
  brood::RLock lock;
  for (std::uint32_t depth = 1; depth <= 3; ++depth) {
    EXPECT_TRUE(lock.try_lock());
    EXPECT_EQ(lock.depth(), depth);
    worker(find_it_taken<brood::RLock>, lock).join();
  }
  for (std::uint32_t depth = 3; depth >= 1; --depth) {
    EXPECT_TRUE(lock.locked());
    lock.unlock();
    EXPECT_EQ(lock.depth(), depth - 1);
  }
  EXPECT_FALSE(lock.locked());
  EXPECT_THROW(lock.unlock(), brood::NotOwner);
}

template <class L>
void use_by_scope(L& lock, brood::Value<long>& counter) {
  std::unique_lock guard(lock);
  require(guard.owns_lock(), "a scoped guard owns its lock");
  require(lock.locked(), "the lock is taken inside the scope");
  *counter.lock() += 1;
}

// _TestLock.test_lock_context
TEST_P(LockConformance, ScopeEntryTakesAndExitReleases) {
  brood::Lock lock;
  brood::Value<long> counter;
  worker(use_by_scope<brood::Lock>, lock, counter).join();
  EXPECT_FALSE(lock.locked());
  EXPECT_EQ(counter.get(), 1);
}

// _TestLock.test_rlock_context
TEST_P(RLockConformance, ScopeEntryTakesAndExitReleases) {
  brood::RLock lock;
  brood::Value<long> counter;
  worker(use_by_scope<brood::RLock>, lock, counter).join();
  EXPECT_FALSE(lock.locked());
  EXPECT_EQ(counter.get(), 1);
}

template <class L>
void print_while_held_elsewhere(L& lock, brood::Event& asked) {
  const std::string text = printed(lock);
  require(text.find("MainProcess") != std::string::npos || text.find("another thread") != std::string::npos,
          "the owner is named: " + text);
  asked.set();
}

// _TestLock.test_repr_lock, LCK-07
TEST_P(LockConformance, PrintedFormNamesTheOwner) {
  brood::Lock lock;
  EXPECT_EQ(printed(lock), "<Lock " + lock.handle().str() + " owner=none>");
  lock.lock();
  EXPECT_EQ(printed(lock), "<Lock " + lock.handle().str() + " owner=MainProcess>");
  brood::Event asked;
  worker(print_while_held_elsewhere<brood::Lock>, lock, asked).join();
  EXPECT_TRUE(asked.is_set());
  lock.unlock();

  brood::Event held;
  brood::Event let_go;
  auto holder = worker(hold_until<brood::Lock>, lock, held, let_go);
  held.wait();
  const std::string text = printed(lock);
  const std::string expected = body() == Body::thread ? "owner=another thread of MainProcess" : "owner=Process-";
  EXPECT_NE(text.find(expected), std::string::npos) << text;
  let_go.set();
  holder.join();
}

void print_as_owner_in_a_thread(brood::Lock& lock) {
  std::string text;
  std::thread([&] {
    const std::scoped_lock guard(lock);
    text = printed(lock);
  }).join();
  require(text.find("|tid ") != std::string::npos, "an owner that is not the main thread is named by thread: " + text);
}

// _TestLock.test_repr_lock: the thread name appears unless it is the main thread
TEST_P(LockConformance, PrintedFormNamesTheThreadUnlessMain) {
  brood::Lock lock;
  worker(print_as_owner_in_a_thread, lock).join();
}

// _TestLock.test_repr_rlock
TEST_P(RLockConformance, PrintedFormShowsOwnerAndDepth) {
  brood::RLock lock;
  EXPECT_EQ(printed(lock), "<RLock " + lock.handle().str() + " owner=none depth=0>");
  lock.lock();
  lock.lock();
  EXPECT_EQ(printed(lock), "<RLock " + lock.handle().str() + " owner=MainProcess depth=2>");
  brood::Event asked;
  worker(print_while_held_elsewhere<brood::RLock>, lock, asked).join();
  EXPECT_TRUE(asked.is_set());
  lock.unlock();
  lock.unlock();
}

// LCK-01: not recursive; timeouts; signals do not end the wait
std::atomic<int> g_signals = 0;

TEST_P(LockConformance, AcquireFollowsTheTimeoutRules) {
  brood::Lock lock;
  EXPECT_TRUE(lock.try_lock_for(std::chrono::hours::max()));  // huge: never overflows
  EXPECT_FALSE(lock.try_lock_for(-1s));
  EXPECT_FALSE(lock.try_lock_for(std::chrono::nanoseconds::min()));
  EXPECT_FALSE(lock.try_lock_for(0s));
  worker(find_it_taken<brood::Lock>, lock).join();
  lock.unlock();
}

void interrupt_until(pid_t pid, brood::Event& enough) {
  while (!enough.wait_for(1ms)) require(::kill(pid, SIGUSR1) == 0, "kill");
}

TEST_P(LockConformance, SignalsNeitherEndNorLengthenAWait) {
  brood::Lock lock;
  lock.lock();
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) { g_signals.fetch_add(1); };
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);  // without SA_RESTART
  brood::Event enough;
  auto interrupter = worker(interrupt_until, ::getpid(), enough);
  support::await([] { return g_signals.load() > 0; });
  const int seen = g_signals.load();
  const Stopwatch watch;
  EXPECT_FALSE(lock.try_lock_for(100ms));
  EXPECT_GE(watch.elapsed(), 100ms);
  EXPECT_GT(g_signals.load(), seen);
  enough.set();
  interrupter.join();
  ASSERT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
  lock.unlock();
}

template <class L>
void release_it(L& lock) {
  lock.unlock();
}

// LCK-02, and LCK-01 "any thread or process may release"
TEST_P(LockConformance, AnybodyMayReleaseAndOneWaiterWakes) {
  brood::Lock lock;
  lock.lock();
  worker(release_it<brood::Lock>, lock).join();
  EXPECT_FALSE(lock.locked());
  lock.lock();
  brood::Value<long> counter;
  auto waiters = workers(3, use_by_scope<brood::Lock>, lock, counter);
  support::await_sleepers(lock.handle(), 3);
  lock.unlock();
  for (auto& waiter : waiters) waiter->join();
  EXPECT_EQ(counter.get(), 3);
}

void over_release_elsewhere(brood::Lock& lock) {
  try {
    lock.unlock();
  } catch (const brood::ReleasedTooOften&) {
    return;
  }
  require(false, "releasing a free lock throws ReleasedTooOften");
}
TEST_P(LockConformance, ReleaseOfAFreeLockThrowsElsewhereToo) {
  brood::Lock lock;
  worker(over_release_elsewhere, lock).join();
  EXPECT_TRUE(lock.try_lock());  // and it is as free as before
  lock.unlock();
}

// LCK-03
TEST_P(LockConformance, LockedIsTrueWhileAnyLivingProcessHoldsIt) {
  brood::Lock lock;
  brood::Event held;
  brood::Event let_go;
  EXPECT_FALSE(lock.locked());
  auto holder = worker(hold_until<brood::Lock>, lock, held, let_go);
  held.wait();
  EXPECT_TRUE(lock.locked());
  let_go.set();
  holder.join();
  EXPECT_FALSE(lock.locked());
}

void release_others_rlock(brood::RLock& lock) {
  try {
    lock.unlock();
  } catch (const brood::NotOwner&) {
    return;
  }
  require(false, "releasing another's RLock throws NotOwner");
}

// LCK-05, LCK-06
TEST_P(RLockConformance, OthersNeitherTakeNorReleaseIt) {
  brood::RLock lock;
  lock.lock();
  lock.lock();
  worker(find_it_taken<brood::RLock>, lock).join();
  worker(release_others_rlock, lock).join();
  EXPECT_EQ(lock.depth(), 2U);
  lock.unlock();
  worker(find_it_taken<brood::RLock>, lock).join();
  lock.unlock();
  brood::Value<long> counter;
  worker(use_by_scope<brood::RLock>, lock, counter).join();
  EXPECT_EQ(counter.get(), 1);
}

// LCK-05: a forked child does not own what its parent holds
TEST(RLockConformanceFork, ChildDoesNotOwnTheParentsHold) {
  brood::RLock lock;
  lock.lock();
  support::Child child([&](support::Line&) {
    require(lock.depth() == 0, "depth() is zero in the child");
    require(!lock.try_lock(), "the child cannot take it");
    release_others_rlock(lock);
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(lock.depth(), 1U);
  lock.unlock();
}

}  // namespace
}  // namespace conformance
