#include "brood/shared_memory_manager.hpp"

#include <atomic>
#include <csignal>
#include <optional>

#include "brood/array.hpp"
#include "brood/domain.hpp"
#include "brood/queue.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using brood::Handle;
using brood::ShareableList;
using brood::SharedMemory;
using brood::SharedMemoryManager;
using Item = ShareableList::Item;

using ManagerLadder = Ladder;
using ManagerCrash = Ladder;

TEST_F(ManagerLadder, ItsObjectsLiveUntilShutdownWithoutAnyUser) {
  SharedMemoryManager manager;
  manager.start();
  Handle memory;
  Handle list;
  {
    auto made = manager.shared_memory(100);
    made.bytes()[0] = std::byte{7};
    memory = made.handle();
    list = manager.shareable_list({1, "two", 2.5}).handle();
  }
  EXPECT_EQ(brood::gc().objects, 0U);
  EXPECT_EQ(SharedMemory::open(memory).bytes()[0], std::byte{7});
  EXPECT_EQ(ShareableList::open(list).get(1), Item("two"));
  auto in_use = SharedMemory::open(memory);
  manager.shutdown();
  EXPECT_THROW((void)SharedMemory::open(memory), brood::HandleError);
  EXPECT_THROW((void)ShareableList::open(list), brood::HandleError);
  EXPECT_EQ(in_use.bytes()[0], std::byte{7});  // who has it keeps it
  manager.shutdown();
  EXPECT_EQ(brood::gc().objects, 0U);
}

TEST_F(ManagerLadder, MisuseIsATypedError) {
  SharedMemoryManager manager;
  EXPECT_FALSE(manager.is_running());
  manager.shutdown();
  expect_error<brood::NotStarted>([&] { (void)manager.shared_memory(10); }, {"not been started", "start()"});
  EXPECT_THROW((void)manager.shareable_list({1}), brood::NotStarted);
  EXPECT_THROW((void)manager.handle(), brood::NotStarted);
  EXPECT_EQ(printed(manager), "<SharedMemoryManager not started>");
  manager.start();
  EXPECT_TRUE(manager.is_running());
  expect_error<brood::UsageError>([&] { manager.start(); }, {manager.handle().str(), "already"});
  EXPECT_THROW((void)manager.shared_memory(0), brood::UsageError);
  expect_error<brood::TypeMismatch>([&] { (void)SharedMemory::open(manager.handle()); }, {"SharedMemoryManager"});
  const SharedMemory memory(100);
  expect_error<brood::TypeMismatch>([&] { (void)SharedMemoryManager::open(memory.handle()); }, {"SharedMemoryManager"});
  EXPECT_EQ(printed(manager), "<SharedMemoryManager " + manager.handle().str() + " running>");
  manager.shutdown();
  expect_error<brood::UsageError>([&] { (void)manager.shared_memory(10); }, {manager.handle().str(), "shut down"});
  EXPECT_THROW(manager.start(), brood::UsageError);
  EXPECT_EQ(printed(manager), "<SharedMemoryManager " + manager.handle().str() + " shut down>");
}

TEST_F(ManagerLadder, ScopeShutsDownAndMovesCarryItOn) {
  Handle handle;
  {
    auto first = SharedMemoryManager::started();
    handle = first.shared_memory(10).handle();
    SharedMemoryManager second(std::move(first));
    EXPECT_THROW((void)first.shared_memory(10), brood::UsageError);
    (void)SharedMemory::open(handle);
    auto third = SharedMemoryManager::started();
    const Handle others = third.shared_memory(10).handle();
    third = std::move(second);  // the other one is shut down
    EXPECT_THROW((void)SharedMemory::open(others), brood::HandleError);
    (void)SharedMemory::open(handle);
    std::swap(first, third);
    (void)SharedMemory::open(handle);
  }
  EXPECT_THROW((void)SharedMemory::open(handle), brood::HandleError);
}

TEST_F(ManagerLadder, OtherProcessesMakeObjectsThatOutliveThem) {
  auto manager = SharedMemoryManager::started();
  Child child([&](Line& line) {
    auto mine = SharedMemoryManager::open(manager.handle());
    auto list = mine.shareable_list({1, 2});
    line.send_text(list.handle().str());
    EXPECT_THROW(mine.shutdown(), brood::UsageError);
    EXPECT_THROW(manager.shutdown(), brood::UsageError);  // a forked copy is not its parent
    line.expect('e');
    EXPECT_THROW((void)mine.shared_memory(10), brood::UsageError);
    require(!::testing::Test::HasFailure(), "expectations");
  });
  const Handle list = child.line.hear_text();
  EXPECT_EQ(ShareableList::open(list).get(0), Item(1));
  EXPECT_TRUE(manager.is_running());
  manager.shutdown();
  child.line.say('e');
  EXPECT_EQ(child.wait(), 0);
  EXPECT_THROW((void)ShareableList::open(list), brood::HandleError);
}

TEST_F(ManagerLadder, WhatIsMadeDuringShutdownIsRefusedOrGone) {
  for (int round = 0; round < 30; ++round) {
    auto manager = SharedMemoryManager::started();
    std::vector<Handle> handles(64);
    std::atomic<int> made = 0;
    std::thread maker([&] {
      try {
        auto mine = SharedMemoryManager::open(manager.handle());
        for (auto& handle : handles) {
          handle = mine.shared_memory(10).handle();
          ++made;
        }
      } catch (const brood::UsageError&) {}
    });
    await([&] { return made > 3; });
    manager.shutdown();
    maker.join();
    for (int i = 0; i < made; ++i)
      EXPECT_THROW((void)SharedMemory::open(handles[static_cast<std::size_t>(i)]), brood::HandleError);
  }
}

TEST_F(ManagerCrash, AKilledManagerLeavesNothing) {
  Handle memory;
  Child keeper([](Line& line) {
    auto manager = SharedMemoryManager::started();
    for (int i = 0; i < 5; ++i) line.send_text(manager.shared_memory(10).handle().str());
    (void)line.hear();
  });
  for (int i = 0; i < 5; ++i) memory = keeper.line.hear_text();
  (void)SharedMemory::open(memory);
  keeper.kill();
  const auto report = brood::gc();
  EXPECT_EQ(report.objects, 6U);
  EXPECT_EQ(report.pins, 5U);
  EXPECT_THROW((void)SharedMemory::open(memory), brood::HandleError);
}

TEST_F(ManagerCrash, AManagerLivesOnInThoseWhoHaveItOpen) {
  Child starter([](Line& line) {
    auto manager = SharedMemoryManager::started();
    line.send_text(manager.handle().str());
    (void)line.hear();
  });
  std::optional<SharedMemoryManager> mine(SharedMemoryManager::open(starter.line.hear_text()));
  const Handle memory = mine->shared_memory(10).handle();
  starter.kill();
  (void)brood::gc();
  (void)SharedMemory::open(memory);
  const Handle another = mine->shared_memory(10).handle();
  mine.reset();
  EXPECT_THROW((void)SharedMemory::open(memory), brood::HandleError);
  EXPECT_THROW((void)SharedMemory::open(another), brood::HandleError);
}

TEST_F(ManagerLadder, AGivenLockIsPinnedWithItsArrayInAMessage) {
  brood::Queue<brood::Array<int>> queue;
  Handle lock_handle;
  {
    brood::RLock lock;
    lock_handle = lock.handle();
    brood::Array<int> array(lock, {1, 2, 3});
    queue.put(array);
  }
  EXPECT_EQ(brood::gc().objects, 0U);  // nobody has either open
  {
    auto array = queue.get();
    EXPECT_EQ(array.get(2), 3);
    EXPECT_FALSE(brood::RLock::open(lock_handle).locked());
  }
  EXPECT_THROW((void)brood::RLock::open(lock_handle), brood::HandleError);
}

}  // namespace
}  // namespace ladder
