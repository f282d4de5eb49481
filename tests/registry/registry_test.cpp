// Who lives, who died, who waits: joining, leaving, dying.
#include "registry/registry.hpp"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <set>

#include "brood/domain.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/semaphore.hpp"
#include "support/inspect.hpp"
#include "support/poke.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

namespace registry = brood::registry;
using RegistryLadder = Ladder;

std::uint32_t living() {
  std::uint32_t count = 0;
  auto& all = registry::registry();
  for (std::uint32_t i = 1; i < all.heads.slots_used.load(); ++i) {
    if (registry::StateWord::unpack(all.slots[i].state.load()).state == registry::SlotState::alive) ++count;
  }
  return count;
}
std::uint32_t slots_used() { return registry::registry().heads.slots_used.load(); }

TEST_F(RegistryLadder, RecordSaysWhoThisProcessIs) {
  const registry::Id me = registry::self();
  EXPECT_NE(me, registry::kNobody);
  EXPECT_TRUE(registry::is_alive(me));
  EXPECT_EQ(registry::pid_of(me), ::getpid());
  EXPECT_EQ(registry::name_of(me), "MainProcess");
  EXPECT_EQ(registry::slot(me).uid, ::geteuid());
  EXPECT_EQ(registry::self(), me);
}

TEST_F(RegistryLadder, ForkedChildIsNobodyUntilItJoinsAndThenAnother) {
  const registry::Id me = registry::self();
  Child child([&](Line&) {
    require(registry::self_if_joined() == registry::kNobody, "nobody");
    const registry::Id mine = registry::self();
    require(mine != me && registry::is_alive(mine) && registry::is_alive(me), "another");
    require(registry::pid_of(mine) == ::getpid(), "its own pid");
    require(registry::self_tid(mine) == static_cast<std::uint32_t>(::getpid()), "its own thread");
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(registry::self(), me);
}

TEST_F(RegistryLadder, CleanLeaveWakesTheWaiterOfAHeldLock) {
  const auto deaths = registry::registry().heads.deaths.load();
  brood::Lock lock({.on_owner_death = brood::OwnerDeath::heal});
  Child holder([&](Line& line) {
    lock.lock();
    line.say('h');
    line.expect();
  });
  holder.line.expect('h');
  std::thread waiter([&] {
    lock.lock();
    lock.unlock();
  });
  await_sleepers(lock.handle(), 1);
  holder.line.say();
  waiter.join();
  EXPECT_EQ(holder.wait(), 0);
  EXPECT_EQ(registry::registry().heads.deaths.load(), deaths);  // it left, it did not die
}

TEST_F(RegistryLadder, SlotsAreReusedUnderNewGenerations) {
  std::set<registry::Id> ids;
  std::uint32_t used = 0;
  for (int round = 0; round < 40; ++round) {
    const bool dies = round % 2 == 0;
    Child child([&](Line& line) {
      line.send_text(std::to_string(registry::self()));
      if (dies) (void)line.hear();
    });
    const auto id = static_cast<registry::Id>(std::stoul(child.line.hear_text()));
    EXPECT_TRUE(ids.insert(id).second) << "an identity was given twice";
    if (dies) {
      child.kill();
      await([&] { return !registry::is_alive(id); });
    } else {
      EXPECT_EQ(child.wait(), 0);
      EXPECT_FALSE(registry::is_alive(id));
    }
    if (round == 0) used = slots_used();
  }
  EXPECT_LE(slots_used(), used + 1);
}

TEST_F(RegistryLadder, TwoHundredProcessesJoinAtOnce) {
  brood::Event go;
  brood::Semaphore arrived(0);
  const auto before = living();
  {
    std::vector<Child> children;
    for (int i = 0; i < 200; ++i) {
      children.emplace_back([&](Line& line) {
        line.expect();
        const registry::Id mine = registry::self();
        require(registry::is_alive(mine), "alive");
        arrived.release();
        go.wait();
      });
    }
    for (auto& child : children) child.line.say();
    for (int i = 0; i < 200; ++i) arrived.acquire();
    EXPECT_EQ(living(), before + 200);
    for (std::size_t i = 0; i < 200; i += 3) children[i].shoot();
    go.set();
    for (std::size_t i = 0; i < 200; ++i) {
      if (i % 3 != 0) {
        EXPECT_EQ(children[i].wait(), 0);
      } else {
        children[i].kill();
      }
    }
  }
  await([&] { return living() == before; });
}

TEST_F(RegistryLadder, HelperSurvivesAForkStorm) {
  const registry::Id me = registry::self();
  brood::Lock lock({.on_owner_death = brood::OwnerDeath::heal});
  std::atomic<bool> over = false;
  std::thread user([&] {
    while (!over.load()) {
      const std::scoped_lock guard(lock);
    }
  });
  for (int round = 0; round < 150; ++round) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (round % 3 == 0) ::_exit(0);        // never joins
      lock.lock();                           // joins
      if (round % 3 == 1) ::raise(SIGKILL);  // dies holding
      lock.unlock();
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  }
  over = true;
  user.join();
  EXPECT_EQ(registry::self(), me);
  // And it still watches.
  Child holder = victim([&] { lock.lock(); });
  holder.shoot();
  lock.lock();
  lock.unlock();
}

TEST_F(RegistryLadder, JoinersKilledOnTheWayLeaveNoSlotBehind) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  const auto before = slots_used();
  for (int round = 0; round < 80; ++round) {
    Child joiner([&](Line& line) {
      line.say('r');
      (void)registry::self();
      (void)line.hear();
    });
    joiner.line.expect('r');
    for (auto i = random() % 30000; i > 0; --i) (void)registry::self_if_joined();
    joiner.kill();
  }
  await([&] {
    Child last([](Line&) { (void)registry::self(); });
    return last.wait() == 0 && living() == 1;
  });
  EXPECT_LE(slots_used(), before + 6);
}

TEST_F(RegistryLadder, DeathsAreFoundWithoutTheTick) {
  auto& heads = registry::registry().heads;
  const auto by_tick = heads.deaths_by_tick.load();
  for (int round = 0; round < 30; ++round) {
    brood::Lock lock({.on_owner_death = brood::OwnerDeath::heal});
    Child holder = victim([&] { lock.lock(); });
    std::thread waiter([&] {
      lock.lock();
      lock.unlock();
    });
    await_sleepers(lock.handle(), 1);
    holder.shoot();
    waiter.join();
  }
  EXPECT_EQ(heads.deaths_by_tick.load(), by_tick);
}

TEST_F(RegistryLadder, WatchersThatDieTooAreReplaced) {
  // A chain of processes, each watched by its neighbours; all but two die at once.
  brood::Lock lock({.on_owner_death = brood::OwnerDeath::heal});
  brood::Semaphore ready(0);
  std::vector<Child> children;
  for (int i = 0; i < 12; ++i) {
    children.emplace_back([&, i](Line& line) {
      if (i == 5) lock.lock();
      ready.release();
      (void)line.hear();
    });
  }
  for (int i = 0; i < 12; ++i) ready.acquire();
  std::thread waiter([&] {
    lock.lock();
    lock.unlock();
  });
  await_sleepers(lock.handle(), 1);
  for (auto& child : children) child.shoot();
  waiter.join();
}

TEST_F(RegistryLadder, RegistryOfAKilledLastProcessIsMadeAnew) {
  const support::OwnDomain own;
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  int kept[2];
  ASSERT_EQ(::pipe2(kept, O_CLOEXEC), 0);
  Child holder(
      [&](Line&) {
        own.choose();
        ::dup2(kept[0], STDIN_FILENO);  // it waits for this to end
        support::exec_poke(ends[1], "hold");
      },
      Ending::quick);
  ::close(ends[1]);
  char text[256];
  ASSERT_GT(::read(ends[0], text, sizeof text), 0);
  ::close(ends[0]);
  holder.kill();
  for (const int fd : kept) ::close(fd);
  EXPECT_FALSE(support::files_below(own.path()).empty());
  EXPECT_EQ(support::poke([&] { own.choose(); }, "lock").said, "ok\n");
  EXPECT_TRUE(support::files_below(own.path()).empty());
}

TEST_F(RegistryLadder, WhatTheKilledLeftIsFreedAlthoughTheLastProcessLeftCleanly) {
  const support::OwnDomain own;
  int kept[2];
  ASSERT_EQ(::pipe2(kept, O_CLOEXEC), 0);
  int said[2];
  ASSERT_EQ(::pipe2(said, O_CLOEXEC), 0);
  const auto hold = [&](Line&) {
    own.choose();
    ::dup2(kept[0], STDIN_FILENO);
    support::exec_poke(said[1], "hold");
  };
  char text[256];
  Child dies(hold, Ending::quick);
  ASSERT_GT(::read(said[0], text, sizeof text), 0);
  Child leaves(hold, Ending::quick);
  ASSERT_GT(::read(said[0], text, sizeof text), 0);
  dies.kill();
  for (const int fd : {kept[0], kept[1], said[0], said[1]}) ::close(fd);
  EXPECT_EQ(leaves.wait(), 0);
  // The dead one's lock, and the registry that can name its owner.
  EXPECT_EQ(support::files_below(own.path()).size(), 2U);
  EXPECT_EQ(support::poke([&] { own.choose(); }, "lock").said, "ok\n");
  EXPECT_TRUE(support::files_below(own.path()).empty());
}

TEST_F(RegistryLadder, DomainOfAnotherPidNamespaceIsRefused) {
  const support::OwnDomain own;
  int said[2];
  int kept[2];
  ASSERT_EQ(::pipe2(said, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(kept, O_CLOEXEC), 0);
  Child holder(
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
  EXPECT_EQ(refused.said.find("UsageError: the domain " + own.path()), 0U) << refused.said;
  EXPECT_NE(refused.said.find("pid namespace"), std::string::npos) << refused.said;
  EXPECT_NE(refused.said.find("BROOD_DOMAIN"), std::string::npos) << refused.said;
  ::close(said[0]);
  ::close(kept[0]);
  ::close(kept[1]);
  EXPECT_EQ(holder.wait(), 0);
}

/// For the next children of the caller. Without privileges it takes a user namespace, in which we stay who we are.
bool enter_pid_namespace() {
  const uid_t user = ::geteuid();
  if (user == 0) return ::unshare(CLONE_NEWPID) == 0;
  if (::unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) return false;
  std::ofstream map("/proc/self/uid_map");
  map << user << ' ' << user << " 1" << std::flush;
  return map.good();
}

TEST_F(RegistryLadder, ProcessInANewPidNamespaceIsRefused) {
  const auto refused = support::poke(
      [] {
        if (!enter_pid_namespace()) ::_exit(99);
        // The namespace is for children: the first of them goes on, its parent passes its end on.
        const pid_t pid = ::fork();
        if (pid == 0) return;
        int status = 0;
        ::waitpid(pid, &status, 0);
        ::_exit(WEXITSTATUS(status));
      },
      "lock");
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.said.find("pid namespace"), std::string::npos) << refused.said;
}

TEST_F(RegistryLadder, ForkedChildThatEntersANewPidNamespaceIsRefused) {
  brood::Lock lock;
  Child child(
      [&](Line&) {
        require(enter_pid_namespace(), "unshare");
        Child inner([&](Line&) { EXPECT_THROW(lock.lock(), brood::UsageError); }, Ending::quick);
        require(inner.wait() == 0, "refused");
      },
      Ending::quick);  // the leak checker's helper would be born into the new namespace
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(RegistryLadder, SleepersAreOnRecord) {
  brood::Event event;
  Child child([&](Line&) { event.wait(); });
  await_sleepers(event.handle(), 1);
  auto& all = registry::registry();
  bool found = false;
  for (std::uint32_t i = 1; i < slots_used(); ++i) {
    for (auto& record : all.slots[i].threads) {
      if (record.operation.load() == 0 || record.object.load() != event.handle().id()) continue;
      found = true;
      EXPECT_EQ(record.tid.load(), static_cast<std::uint32_t>(child.pid()));
      EXPECT_EQ(record.operation.load(), static_cast<std::uint32_t>(registry::Operation::wait));
      EXPECT_EQ(record.kind.load(), static_cast<std::uint32_t>(brood::Kind::event));
      EXPECT_GT(record.since_ns.load(), 0);
    }
  }
  EXPECT_TRUE(found);
  event.set();
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(RegistryLadder, WaiterOfALockIsOnRecordWithItsOwner) {
  brood::Lock lock;
  lock.lock();
  Child child([&](Line&) {
    lock.lock();
    lock.unlock();
  });
  await_sleepers(lock.handle(), 1);
  bool found = false;
  for (std::uint32_t i = 1; i < slots_used(); ++i) {
    for (auto& record : registry::registry().slots[i].threads) {
      if (record.operation.load() != 0 && record.object.load() == lock.handle().id()) {
        found = true;
        EXPECT_EQ(record.blocked_on.load(), registry::self());
      }
    }
  }
  EXPECT_TRUE(found);
  lock.unlock();
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace ladder
