// What happens to a Lock or RLock when its holder, a waiter or a repairer is killed.
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "brood/domain.hpp"
#include "brood/lock.hpp"
#include "brood/rlock.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

template <class L>
class LockCrash : public support::NoLeaks {
 protected:
  /// A lock whose owner has died; its pid in `pid`.
  static void kill_an_owner(L& lock, pid_t* pid = nullptr) {
    Child child = victim([&] { lock.lock(); });
    if (pid != nullptr) *pid = child.pid();
    child.kill();
  }
};
using Locks = ::testing::Types<brood::Lock, brood::RLock>;
TYPED_TEST_SUITE(LockCrash, Locks);

TYPED_TEST(LockCrash, OwnerDiedIsReportedToEverybodyUntilRecovered) {
  TypeParam lock;
  pid_t pid = 0;
  this->kill_an_owner(lock, &pid);
  for (int again = 0; again < 2; ++again) {
    try {
      lock.lock();
      FAIL() << "a dead owner's lock was taken";
    } catch (const brood::OwnerDied& died) {
      EXPECT_EQ(died.dead_pid(), pid);
      EXPECT_NE(std::string(died.what()).find(lock.handle().str()), std::string::npos);
      EXPECT_NE(std::string(died.what()).find(std::to_string(pid)), std::string::npos);
      EXPECT_NE(std::string(died.what()).find("recover"), std::string::npos);
    }
    EXPECT_THROW((void)lock.try_lock(), brood::OwnerDied);
    EXPECT_THROW((void)lock.try_lock_for(1h), brood::OwnerDied);
    EXPECT_THROW(const std::scoped_lock guard(lock), brood::OwnerDied);
    EXPECT_FALSE(lock.locked());  // by nobody who lives
    EXPECT_NE(printed(lock).find("dead (pid " + std::to_string(pid) + ")"), std::string::npos) << printed(lock);
    Child other([&](Line&) {
      EXPECT_THROW(lock.lock(), brood::OwnerDied);
      EXPECT_THROW(TypeParam::open(lock.handle()).lock(), brood::OwnerDied);
    });
    EXPECT_EQ(other.wait(), 0);
  }
  EXPECT_THROW(lock.unlock(), brood::UsageError);  // it is not held
  int repairs = 0;
  EXPECT_TRUE(lock.recover([&] {
    ++repairs;
    EXPECT_TRUE(lock.locked());
  }));
  EXPECT_EQ(repairs, 1);
  EXPECT_FALSE(lock.locked());
  EXPECT_FALSE(lock.recover([&] { ++repairs; }));
  EXPECT_EQ(repairs, 1);
  lock.lock();
  lock.unlock();
}

TYPED_TEST(LockCrash, ReleaseOfADeadOwnersLockDoesNotHideTheDeath) {
  TypeParam lock;
  this->kill_an_owner(lock);
  EXPECT_FALSE(lock.locked());                     // also before anybody has noticed the death
  EXPECT_THROW(lock.unlock(), brood::UsageError);  // nobody has met the dead owner yet
  EXPECT_THROW(lock.lock(), brood::OwnerDied);
  EXPECT_TRUE(lock.recover([] {}));
}

TYPED_TEST(LockCrash, SleepersWakeAndAreTold) {
  TypeParam lock;
  Child holder = victim([&] { lock.lock(); });
  std::vector<Child> sleepers;
  for (int i = 0; i < 3; ++i) {
    sleepers.emplace_back([&](Line&) { EXPECT_THROW(lock.lock(), brood::OwnerDied); });
  }
  std::thread here([&] { EXPECT_THROW((void)lock.try_lock_for(1h), brood::OwnerDied); });
  await_sleepers(lock.handle(), 4);
  holder.shoot();
  here.join();
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper.wait(), 0);
  EXPECT_TRUE(lock.recover([] {}));
}

TYPED_TEST(LockCrash, HealPolicyHandsOverToOneSleeperAfterTheOther) {
  TypeParam lock({.on_owner_death = brood::OwnerDeath::heal});
  Child holder = victim([&] { lock.lock(); });
  std::vector<Child> sleepers;
  for (int i = 0; i < 3; ++i) {
    sleepers.emplace_back([&](Line&) {
      lock.lock();
      require(lock.locked(), "locked");
      lock.unlock();
    });
  }
  await_sleepers(lock.handle(), 3);
  holder.shoot();
  for (auto& sleeper : sleepers) EXPECT_EQ(sleeper.wait(), 0);
  EXPECT_FALSE(lock.recover([] { FAIL() << "nothing to repair"; }));
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TYPED_TEST(LockCrash, ExactlyOneOfManyProcessesRepairs) {
  TypeParam lock;
  this->kill_an_owner(lock);
  std::vector<Child> children;
  for (int i = 0; i < 5; ++i) {
    children.emplace_back([&](Line& line) {
      line.expect();
      const bool mine = lock.recover([&] { line.say('R'); });
      line.say(mine ? 'y' : 'n');
      lock.lock();  // whoever comes back from recover() finds a sound lock
      lock.unlock();
    });
  }
  for (auto& child : children) child.line.say();
  int repaired = 0;
  for (auto& child : children) {
    char word = child.line.hear();
    if (word == 'R') {
      ++repaired;
      word = child.line.hear();
      EXPECT_EQ(word, 'y');
    } else {
      EXPECT_EQ(word, 'n');
    }
    EXPECT_EQ(child.wait(), 0);
  }
  EXPECT_EQ(repaired, 1);
}

TYPED_TEST(LockCrash, OthersWaitForTheRepairer) {
  TypeParam lock;
  this->kill_an_owner(lock);
  Child repairer([&](Line& line) {
    require(lock.recover([&] {
      line.say('R');
      line.expect();
    }),
            "repaired");
  });
  repairer.line.expect('R');
  EXPECT_TRUE(lock.locked());
  Child second([&](Line&) { EXPECT_FALSE(lock.recover([] { ADD_FAILURE() << "repaired twice"; })); });
  Child taker([&](Line&) {
    lock.lock();
    lock.unlock();
  });
  await_sleepers(lock.handle(), 2);
  repairer.line.say();
  EXPECT_EQ(repairer.wait(), 0);
  EXPECT_EQ(second.wait(), 0);
  EXPECT_EQ(taker.wait(), 0);
}

TYPED_TEST(LockCrash, DeadRepairerLeavesTheMark) {
  TypeParam lock;
  this->kill_an_owner(lock);
  Child repairer([&](Line& line) {
    lock.recover([&] {
      line.say('R');
      (void)line.hear();
    });
  });
  repairer.line.expect('R');
  Child second([&](Line&) {
    int repairs = 0;
    require(lock.recover([&] { ++repairs; }), "the next one repairs");
    require(repairs == 1, "once");
  });
  await_sleepers(lock.handle(), 1);
  repairer.kill();
  EXPECT_EQ(second.wait(), 0);
  lock.lock();
  lock.unlock();

  this->kill_an_owner(lock);
  Child alone([&](Line& line) {
    lock.recover([&] {
      line.say('R');
      (void)line.hear();
    });
  });
  alone.line.expect('R');
  alone.kill();
  EXPECT_THROW(lock.lock(), brood::OwnerDied);
  EXPECT_TRUE(lock.recover([] {}));
}

TYPED_TEST(LockCrash, ThrowingRepairLeavesTheMarkAndThePidOfTheDead) {
  TypeParam lock;
  pid_t pid = 0;
  this->kill_an_owner(lock, &pid);
  EXPECT_THROW(lock.recover([] { throw std::domain_error("cannot"); }), std::domain_error);
  EXPECT_FALSE(lock.locked());
  try {
    lock.lock();
    FAIL() << "taken without a repair";
  } catch (const brood::OwnerDied& died) {
    EXPECT_EQ(died.dead_pid(), pid);
  }
  EXPECT_TRUE(lock.recover([] {}));
  lock.lock();
  lock.unlock();
}

/// A repairer that waited for another one whose repair threw must not name that one, who lives, as the dead owner.
TYPED_TEST(LockCrash, ThrowingRepairAfterAThrowingRepairStillNamesTheDead) {
  TypeParam lock;
  pid_t pid = 0;
  this->kill_an_owner(lock, &pid);
  Child first([&](Line& line) {
    EXPECT_THROW(lock.recover([&] {
      line.say('R');
      line.expect();
      throw std::domain_error("cannot");
    }),
                 std::domain_error);
    line.say('T');
    line.expect();
  });
  first.line.expect('R');
  Child second([&](Line& line) {
    EXPECT_THROW(lock.recover([] { throw std::domain_error("cannot either"); }), std::domain_error);
    line.say('T');
  });
  await_sleepers(lock.handle(), 1);
  first.line.say();
  first.line.expect('T');
  second.line.expect('T');
  EXPECT_EQ(second.wait(), 0);
  try {
    lock.lock();
    FAIL() << "taken without a repair";
  } catch (const brood::OwnerDied& died) {
    EXPECT_EQ(died.dead_pid(), pid) << "the first repairer, who lives, is " << first.pid();
  }
  first.line.say();
  EXPECT_EQ(first.wait(), 0);
  EXPECT_TRUE(lock.recover([] {}));
}

TYPED_TEST(LockCrash, StoppedHolderIsNotDead) {
  TypeParam lock;
  Child holder([&](Line& line) {
    lock.lock();
    line.say('r');
    line.expect();
    lock.unlock();
  });
  holder.line.expect('r');
  holder.stop();
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(50ms));
  EXPECT_TRUE(lock.locked());
  Child sleeper([&](Line&) {
    lock.lock();
    lock.unlock();
  });
  await_sleepers(lock.handle(), 1);
  holder.resume();
  holder.line.say();
  EXPECT_EQ(holder.wait(), 0);
  EXPECT_EQ(sleeper.wait(), 0);
  lock.lock();
  lock.unlock();
}

TYPED_TEST(LockCrash, StoppedThenKilledHolderIsDead) {
  TypeParam lock;
  Child holder = victim([&] { lock.lock(); });
  holder.stop();
  Child sleeper([&](Line&) { EXPECT_THROW(lock.lock(), brood::OwnerDied); });
  await_sleepers(lock.handle(), 1);
  holder.kill();
  EXPECT_EQ(sleeper.wait(), 0);
  EXPECT_TRUE(lock.recover([] {}));
}

TYPED_TEST(LockCrash, ExecWhileHoldingIsADeath) {
  TypeParam lock;
  Child holder([&](Line& line) {
    lock.lock();
    line.say('r');
    line.expect();
    ::execl("/bin/sleep", "sleep", "1000", nullptr);
  });
  holder.line.expect('r');
  Child sleeper([&](Line&) { EXPECT_THROW(lock.lock(), brood::OwnerDied); });
  await_sleepers(lock.handle(), 1);
  holder.line.say();
  EXPECT_EQ(sleeper.wait(), 0);  // although the process goes on as another program
  EXPECT_TRUE(lock.recover([] {}));
  holder.kill();
}

TYPED_TEST(LockCrash, QuickExitWhileHoldingIsADeath) {
  TypeParam lock;
  Child holder(
      [&](Line& line) {
        lock.lock();
        line.say('r');
        line.expect();
      },
      Ending::quick);
  holder.line.expect('r');
  Child sleeper([&](Line&) { EXPECT_THROW(lock.lock(), brood::OwnerDied); });
  await_sleepers(lock.handle(), 1);
  holder.line.say();
  EXPECT_EQ(sleeper.wait(), 0);
  EXPECT_EQ(holder.wait(), 0);
  EXPECT_TRUE(lock.recover([] {}));
}

TYPED_TEST(LockCrash, NormalExitWhileHoldingIsADeathToo) {
  TypeParam lock;
  Child holder([&](Line& line) {
    lock.lock();
    line.say('r');
    line.expect();
  });
  holder.line.expect('r');
  Child sleeper([&](Line&) { EXPECT_THROW(lock.lock(), brood::OwnerDied); });
  await_sleepers(lock.handle(), 1);
  holder.line.say();
  EXPECT_EQ(sleeper.wait(), 0);
  EXPECT_EQ(holder.wait(), 0);
  EXPECT_TRUE(lock.recover([] {}));
}

TYPED_TEST(LockCrash, AbortAndSegmentationFaultWhileHoldingAreDeaths) {
  for (const int signal : {SIGABRT, SIGSEGV, SIGTERM}) {
    TypeParam lock;
    Child holder = victim([&] {
      const rlimit none{0, 0};
      ::setrlimit(RLIMIT_CORE, &none);
      ::signal(signal, SIG_DFL);
      lock.lock();
    });
    Child sleeper([&](Line&) { EXPECT_THROW(lock.lock(), brood::OwnerDied); });
    await_sleepers(lock.handle(), 1);
    holder.signal(signal);
    EXPECT_EQ(sleeper.wait(), 0);
    EXPECT_EQ(holder.wait(), -signal);
    EXPECT_TRUE(lock.recover([] {}));
  }
}

TYPED_TEST(LockCrash, EndOfAHoldingThreadIsNoDeath) {
  TypeParam lock;
  std::thread([&] { lock.lock(); }).join();
  EXPECT_TRUE(lock.locked());
  EXPECT_FALSE(lock.try_lock_for(20ms));  // its process lives: not taken over
}

TYPED_TEST(LockCrash, DeadWaiterLosesNoWakeUp) {
  TypeParam lock;
  lock.lock();
  Child first([&](Line&) { lock.lock(); });
  await_sleepers(lock.handle(), 1);
  Child second([&](Line&) {
    lock.lock();
    lock.unlock();
  });
  await_sleepers(lock.handle(), 2);
  first.kill();
  await_sleepers(lock.handle(), 1);
  lock.unlock();
  EXPECT_EQ(second.wait(), 0);
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

TYPED_TEST(LockCrash, WaiterKilledAsTheLockIsReleasedLosesNoWakeUp) {
  TypeParam lock({.on_owner_death = brood::OwnerDeath::heal});
  for (int round = 0; round < 20; ++round) {
    lock.lock();
    Child first([&](Line&) { lock.lock(); });
    Child second([&](Line&) {
      lock.lock();
      lock.unlock();
    });
    await_sleepers(lock.handle(), 2);
    first.stop();  // it can be woken, but not act on it
    lock.unlock();
    first.shoot();
    EXPECT_EQ(second.wait(), 0) << "round " << round;
  }
}

/// A chain: each kill passes the lock on to the next.
TYPED_TEST(LockCrash, ManyHoldersDieOneAfterTheOther) {
  TypeParam lock({.on_owner_death = brood::OwnerDeath::heal});
  std::vector<Child> children;
  for (int i = 0; i < 8; ++i) {
    children.emplace_back([&](Line& line) {
      lock.lock();
      line.say('h');
      (void)line.hear();
    });
    children.back().line.expect('h');  // the one before has just been shot
    children.back().shoot();
  }
  lock.lock();
  lock.unlock();
}

TYPED_TEST(LockCrash, WaiterSeesWhatTheDeadWrote) {
  TypeParam lock({.on_owner_death = brood::OwnerDeath::heal});
  auto* shared =
      static_cast<volatile long*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  for (int round = 0; round < 10; ++round) {
    Child holder([&](Line& line) {
      lock.lock();
      line.say('h');
      for (;;) *shared = *shared + 1;
    });
    holder.line.expect('h');
    support::await([&] { return *shared != 0; });
    holder.shoot();
    lock.lock();
    const long seen = *shared;
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(*shared, seen) << "the dead wrote after the take-over";
    *shared = 0;
    lock.unlock();
  }
  ::munmap(const_cast<long*>(shared), 4096);
}

}  // namespace
}  // namespace ladder
