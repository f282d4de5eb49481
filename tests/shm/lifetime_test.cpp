// Who frees an object, and when.
#include <sys/wait.h>
#include <unistd.h>

#include "brood/domain.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "brood/semaphore.hpp"
#include "support/inspect.hpp"
#include "support/poke.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using Lifetime = Ladder;

std::set<std::string> files() { return support::files_below(support::test_domain()); }

TEST_F(Lifetime, LastUserThatClosesFrees) {
  const auto before = files();
  auto lock = std::make_unique<brood::Lock>();
  EXPECT_EQ(files().size(), before.size() + 1);
  auto again = std::make_unique<brood::Lock>(brood::Lock::open(lock->handle()));
  lock.reset();
  EXPECT_EQ(files().size(), before.size() + 1);
  again.reset();
  EXPECT_EQ(files(), before);
}

TEST_F(Lifetime, NormalExitFreesWhatTheProcessHadOpen) {
  const auto before = files();
  Child child([](Line&) {
    static const brood::Lock kept;           // with static storage
    static auto* lost = new brood::Event();  // never destroyed
    lost->set();
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(files(), before);
}

TEST_F(Lifetime, ObjectsOfTheKilledAreFreedByGcAndCounted) {
  const auto before = files();
  victim([] {
    new brood::Lock();
    new brood::Semaphore();
    new brood::Queue<int>();
  }).kill();
  EXPECT_EQ(files().size(), before.size() + 3);
  const auto report = brood::gc();
  EXPECT_EQ(report.objects, 3U);
  EXPECT_EQ(report.pins, 0U);
  EXPECT_GE(report.bytes, 3U * 4096);
  EXPECT_EQ(files(), before);
  EXPECT_EQ(brood::gc().objects, 0U);
}

TEST_F(Lifetime, ObjectsOfTheKilledAreFreedByTheNextProcessThatJoins) {
  const auto before = files();
  Child child = victim([] {
    auto* lock = new brood::Lock();
    lock->lock();
  });
  EXPECT_EQ(files().size(), before.size() + 1);
  child.kill();
  // The death is noticed and marked by those who live; the next one to join sees the mark.
  await([&] {
    Child next([](Line&) {
      brood::Lock lock;
      lock.lock();
      lock.unlock();
    });
    return next.wait() == 0 && files() == before;
  });
}

TEST_F(Lifetime, WhatAKilledUserKeptGoesWhenTheProcessThatMadeItFreesOtherThings) {
  const auto before = files();
  std::vector<brood::Lock> made(200);
  Child user = victim([&] {
    for (const auto& lock : made) new brood::Lock(brood::Lock::open(lock.handle()));
  });
  made.clear();
  EXPECT_EQ(files().size(), before.size() + 200);
  user.kill();
  for (int i = 0; i < 400; ++i) const brood::Lock other;
  EXPECT_EQ(files(), before);
}

TEST_F(Lifetime, ObjectsInUseSurviveGc) {
  brood::Lock lock;
  Child child([&](Line& line) {
    auto mine = brood::Lock::open(lock.handle());
    brood::Event theirs;
    line.send_text(theirs.handle().str());
    line.expect();
    mine.lock();
    theirs.set();
    mine.unlock();
  });
  const std::string text = child.line.hear_text();
  EXPECT_EQ(brood::gc().objects, 0U);
  auto event = brood::Event::open(text);
  child.line.say();
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(brood::gc().objects, 0U);
  EXPECT_TRUE(event.is_set());
}

TEST_F(Lifetime, ForkedChildKeepsInheritedObjectsAlive) {
  auto lock = std::make_unique<brood::Lock>();
  const auto handle = lock->handle();
  Child child([&](Line& line) {
    line.expect();
    lock->lock();
    auto again = brood::Lock::open(lock->handle());
    EXPECT_FALSE(again.try_lock());
    lock->unlock();
    lock.reset();
  });
  lock.reset();
  EXPECT_EQ(brood::gc().objects, 0U);
  child.line.say();
  EXPECT_EQ(child.wait(), 0);
  expect_error<brood::HandleError>([&] { (void)brood::Lock::open(handle); }, {"no such object"});
}

TEST_F(Lifetime, StoppedUserKeepsItsObjects) {
  Child child([](Line& line) {
    brood::Event event;
    line.send_text(event.handle().str());
    line.expect();
    require(event.is_set(), "set while stopped");
  });
  const std::string text = child.line.hear_text();
  child.stop();
  EXPECT_EQ(brood::gc().objects, 0U);
  brood::Event::open(text).set();
  child.resume();
  child.line.say();
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(Lifetime, SeveralGcsAtOnceFreeEachObjectOnce) {
  const auto before = files();
  victim([] {
    for (int i = 0; i < 100; ++i) new brood::Event();
  }).kill();
  std::vector<Child> children;
  for (int i = 0; i < 4; ++i) {
    children.emplace_back([](Line& line) {
      line.expect();
      line.send_text(std::to_string(brood::gc().objects));
    });
  }
  for (auto& child : children) child.line.say();
  std::size_t freed = 0;
  for (auto& child : children) {
    freed += std::stoul(child.line.hear_text());
    EXPECT_EQ(child.wait(), 0);
  }
  EXPECT_EQ(freed, 100U);
  EXPECT_EQ(files(), before);
}

TEST_F(Lifetime, GcKilledAtAnyMomentLeavesTheRestToTheNext) {
  const auto before = files();
  for (int round = 0; round < 10; ++round) {
    victim([] {
      for (int i = 0; i < 50; ++i) new brood::Event();
      auto* queue = new brood::Queue<brood::Event>();
      for (int i = 0; i < 20; ++i) queue->put(brood::Event());
    }).kill();
    Child collector([](Line& line) {
      line.say('r');
      brood::gc();
    });
    collector.line.expect('r');
    for (int i = 0; i < round * 50; ++i) (void)brood::domain_directory();
    collector.kill();
    (void)brood::gc();
    EXPECT_EQ(files(), before);
  }
}

TEST_F(Lifetime, DomainDirectoryGoesWithItsLastProcess) {
  const support::OwnDomain own;
  const std::string domain = own.path() + "/domain";
  const auto made = support::poke([&] { ::setenv("BROOD_DOMAIN", domain.c_str(), 1); }, "lock");
  EXPECT_EQ(made.said, "ok\n");
  struct stat st {};
  EXPECT_NE(::stat(domain.c_str(), &st), 0);
}

TEST_F(Lifetime, FilesThatAreNotOursAreLeftAlone) {
  const support::OwnDomain own;
  for (const char* name : {"readme.txt", "pin.zzz", "=named", "0123456789abcdeg"}) {
    FILE* file = std::fopen((own.path() + "/" + name).c_str(), "w");
    ASSERT_NE(file, nullptr);
    std::fclose(file);
  }
  EXPECT_EQ(support::poke([&] { own.choose(); }, "lock").said, "ok\n");
  // The registry stays as long as anything else does.
  EXPECT_EQ(support::files_below(own.path()),
            (std::set<std::string>{"0123456789abcdeg", "=named", "pin.zzz", "readme.txt", "registry"}));
}

}  // namespace
}  // namespace ladder
