#include "brood/shared_memory.hpp"

#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <random>

#include "brood/domain.hpp"
#include "brood/lock.hpp"
#include "shm/segment.hpp"
#include "support/inspect.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using brood::ReadOnlyMemory;
using brood::SharedMemory;

using MemoryLadder = Ladder;
using MemoryCrash = Ladder;

struct Pixel {
  std::uint16_t red = 0;
  std::uint16_t green = 0;
  std::uint16_t blue = 0;
};

TEST_F(MemoryLadder, BytesAreZeroExactAndShared) {
  for (const std::int64_t size : {1, 63, 64, 4095, 4096, 100'000}) {
    SharedMemory memory(size);
    ASSERT_EQ(memory.size(), static_cast<std::size_t>(size));
    ASSERT_EQ(memory.bytes().size(), static_cast<std::size_t>(size));
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(memory.bytes().data()) % 64, 0U);
    for (const std::byte byte : memory.bytes()) ASSERT_EQ(byte, std::byte{0});
    auto again = SharedMemory::open(memory.handle());
    again.bytes().back() = std::byte{5};
    ASSERT_EQ(memory.bytes().back(), std::byte{5});
    ASSERT_EQ(again.size(), memory.size());
  }
}

TEST_F(MemoryLadder, SizesThatCannotBe) {
  for (const std::int64_t size : {std::int64_t{0}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::min()}) {
    expect_error<brood::UsageError>([&] { SharedMemory memory(size); }, {std::to_string(size), "1 or more"});
    EXPECT_THROW((void)SharedMemory::create("ladder.memory", size), brood::UsageError);
  }
  for (const std::int64_t size :
       {std::int64_t{1} << 45, std::int64_t{1} << 62, std::numeric_limits<std::int64_t>::max() / 2 - 5,
        std::numeric_limits<std::int64_t>::max()}) {
    expect_error<brood::NoSpace>([&] { SharedMemory memory(size); },
                                 {"memory", std::to_string(size).substr(0, 5), "bytes are free", "BROOD_DOMAIN"});
  }
  EXPECT_FALSE(SharedMemory::remove("ladder.memory"));
}

TEST_F(MemoryLadder, NamesAreTakenFoundAndRemoved) {
  auto made = SharedMemory::create("ladder.memory", 100);
  EXPECT_EQ(made.name(), "ladder.memory");
  EXPECT_THROW((void)SharedMemory::create("ladder.memory", 100), brood::AlreadyExists);
  made.bytes()[99] = std::byte{1};
  EXPECT_EQ(SharedMemory::open_named("ladder.memory").bytes()[99], std::byte{1});
  EXPECT_EQ(SharedMemory::open_or_create("ladder.memory", 100).handle(), made.handle());
  expect_error<brood::TypeMismatch>([] { (void)SharedMemory::open_or_create("ladder.memory", 101); },
                                    {"ladder.memory", "100 bytes", "101"});
  expect_error<brood::TypeMismatch>([] { (void)brood::Lock::open_named("ladder.memory"); }, {"memory", "lock"});
  EXPECT_TRUE(SharedMemory::remove("ladder.memory"));
  EXPECT_FALSE(SharedMemory::remove("ladder.memory"));
  EXPECT_EQ(made.bytes()[99], std::byte{1});  // whoever has it keeps it
  expect_error<brood::HandleError>([] { (void)SharedMemory::open_named("ladder.memory"); },
                                   {"ladder.memory", "no such"});
  expect_error<brood::HandleError>([&] { (void)SharedMemory::open(made.handle()); }, {"ladder.memory"});
  for (const std::string& name :
       {std::string("a\0b", 3), std::string("a:b\n"), std::string("a/b"), std::string(), std::string(121, 'n')}) {
    EXPECT_THROW((void)SharedMemory::create(name, 10), brood::UsageError);
    EXPECT_THROW((void)SharedMemory::open_named(name), brood::UsageError);
    EXPECT_THROW((void)SharedMemory::remove(name), brood::UsageError);
  }
}

TEST_F(MemoryLadder, CloseIsAllOrNothing) {
  SharedMemory memory(100);
  const auto other = SharedMemory::open(memory.handle());
  {
    const auto view = memory.view();
    auto second = memory.view();
    expect_error<brood::UsageError>([&] { memory.close(); }, {memory.handle().str(), "2 views", "let them go"});
    EXPECT_FALSE(memory.is_closed());
    memory.bytes()[0] = std::byte{3};  // not half closed
    EXPECT_EQ(view.bytes()[0], std::byte{3});
    auto moved = std::move(second);
    EXPECT_THROW((void)second.bytes(), brood::UsageError);
    EXPECT_EQ(moved.size(), 100U);
    moved = memory.view();
    expect_error<brood::UsageError>([&] { memory.close(); }, {"2 views"});
  }
  memory.close();
  memory.close();
  EXPECT_TRUE(memory.is_closed());
  EXPECT_EQ(memory.size(), 100U);
  EXPECT_EQ(memory.name(), "");
  expect_error<brood::UsageError>([&] { (void)memory.bytes(); }, {memory.handle().str(), "closed", "open it again"});
  EXPECT_THROW((void)memory.view(), brood::UsageError);
  EXPECT_THROW((void)memory.as<int>(), brood::UsageError);
  EXPECT_THROW((void)memory.huge_bytes(), brood::UsageError);
  EXPECT_NE(printed(memory).find(" of 100 bytes closed>"), std::string::npos);
  EXPECT_EQ(SharedMemory::open(memory.handle()).bytes()[0], std::byte{3});
  EXPECT_EQ(other.bytes()[0], std::byte{3});
}

TEST_F(MemoryLadder, AViewOutlivesTheObject) {
  std::optional<SharedMemory> memory(std::in_place, 100);
  const auto handle = memory->handle();
  auto view = std::make_unique<SharedMemory::View>(memory->view());
  memory.reset();
  view->bytes()[5] = std::byte{1};
  EXPECT_EQ(SharedMemory::open(handle).bytes()[5], std::byte{1});
  view.reset();
  EXPECT_THROW((void)SharedMemory::open(handle), brood::HandleError);
}

TEST_F(MemoryLadder, ClosingAndViewingThreadsAreNeverBothRight) {
  for (int round = 0; round < 200; ++round) {
    SharedMemory memory(64);
    std::atomic<int> closed = 0;
    in_threads(3, [&](std::size_t i) {
      for (int turn = 0; turn < 20; ++turn) {
        try {
          if (i == 0) {
            memory.close();
            closed = 1;
          } else {
            const auto view = memory.view();
            std::atomic_ref(view.as<std::uint64_t>()[0]).fetch_add(1);
          }
        } catch (const brood::UsageError&) {}
      }
    });
    ASSERT_EQ(memory.is_closed(), closed == 1);
  }
}

TEST_F(MemoryLadder, TypedLooksAreCheckedForBoundsAndAlignment) {
  SharedMemory memory(100);
  EXPECT_EQ(memory.as<double>().size(), 12U);
  EXPECT_EQ(memory.as<Pixel>(4).size(), 16U);
  memory.as<std::uint32_t>(8, 2)[1] = 7;
  EXPECT_EQ(memory.as<std::uint32_t>()[3], 7U);
  EXPECT_TRUE(memory.as<double>(96).empty());
  EXPECT_EQ(memory.as<char>(100).size(), 0U);
  expect_error<brood::UsageError>([&] { (void)memory.as<double>(4); }, {"8 bytes", "offset 4"});
  expect_error<brood::UsageError>([&] { (void)memory.as<double>(104); }, {"offset 104", "100 bytes"});
  expect_error<brood::UsageError>([&] { (void)memory.as<double>(8, 12); }, {"12 elements", "only for 11"});
  expect_error<brood::UsageError>([&] { (void)memory.as<char>(0, 101); }, {"101 elements"});
}

TEST_F(MemoryLadder, ReadOnlyIsRefusedByCompilerAndKernel) {
  SharedMemory memory(10);
  static_assert(std::same_as<decltype(std::declval<ReadOnlyMemory&>().bytes()), std::span<const std::byte>>);
  static_assert(std::same_as<decltype(std::declval<ReadOnlyMemory&>().as<int>()), std::span<const int>>);
  auto reader = SharedMemory::open_read_only(memory.handle());
  memory.bytes()[9] = std::byte{4};
  EXPECT_EQ(reader.bytes()[9], std::byte{4});
  EXPECT_EQ(reader.view().as<unsigned char>()[9], 4);
  EXPECT_EQ(reader.size(), 10U);
  EXPECT_NE(printed(reader).find("<ReadOnlyMemory brood:memory:"), std::string::npos);
  Child writer(
      [&](Line&) {
        ::signal(SIGSEGV, SIG_DFL);
        *const_cast<volatile std::byte*>(reader.bytes().data()) = std::byte{5};
      },
      Ending::quick);
  EXPECT_NE(writer.wait(), 0);
  EXPECT_EQ(memory.bytes()[0], std::byte{0});
  memory.close();
  EXPECT_EQ(ReadOnlyMemory::open(reader.handle()).bytes()[9], std::byte{4});  // a reader keeps it as anybody does
  reader.close();
  EXPECT_THROW((void)ReadOnlyMemory::open(reader.handle()), brood::HandleError);
  (void)SharedMemory::create("ladder.memory", 10);
  EXPECT_EQ(SharedMemory::open_read_only_named("ladder.memory").name(), "ladder.memory");
  EXPECT_TRUE(SharedMemory::remove("ladder.memory"));
}

TEST_F(MemoryLadder, HugePagesAreAskedForAndWhatTheKernelMakesOfItIsSaid) {
  constexpr std::int64_t kSize = 9'000'000;
  SharedMemory plain(kSize);
  EXPECT_EQ(plain.huge_bytes() % (2U << 20), 0U);
  SharedMemory huge(kSize, {.huge_pages = true});
  std::fill(huge.bytes().begin(), huge.bytes().end(), std::byte{7});
  const std::size_t granted = huge.huge_bytes();
  std::cout << "granted " << granted << " of " << kSize << " bytes\n";
  EXPECT_EQ(granted % (2U << 20), 0U);
  EXPECT_LE(granted, static_cast<std::size_t>(kSize));
  const auto again = SharedMemory::open(huge.handle());
  EXPECT_EQ(again.bytes()[kSize - 1], std::byte{7});
  EXPECT_EQ(again.bytes()[0], std::byte{7});
  SharedMemory small(10, {.huge_pages = true});
  EXPECT_EQ(small.huge_bytes(), 0U);
}

TEST_F(MemoryLadder, AnIdentityThatIsTakenIsDrawnAnew) {
  static std::vector<std::uint64_t> draws;
  draws = {7, 7, 7, 9};
  static std::size_t next = 0;
  next = 0;
  brood::shm::set_draw_identity([] { return draws.at(next++); });
  SharedMemory first(10);
  SharedMemory second(20);
  brood::shm::set_draw_identity(nullptr);
  EXPECT_EQ(first.handle().id(), 7U);
  EXPECT_EQ(second.handle().id(), 9U);
  EXPECT_EQ(next, 4U);
  EXPECT_EQ(SharedMemory::open(first.handle()).size(), 10U);
  EXPECT_EQ(SharedMemory::open(second.handle()).size(), 20U);
}

TEST_F(MemoryLadder, MovedFromAndSwapped) {
  SharedMemory first(10);
  SharedMemory second(20);
  std::swap(first, second);
  EXPECT_EQ(first.size(), 20U);
  auto view = first.view();
  SharedMemory third(std::move(first));
  view.bytes()[0] = std::byte{1};
  EXPECT_EQ(third.bytes()[0], std::byte{1});
  EXPECT_THROW(third.close(), brood::UsageError);
  const std::vector<std::function<void()>> uses{
      [&] { (void)first.bytes(); },  [&] { (void)first.size(); }, [&] { (void)first.name(); },  [&] { first.close(); },
      [&] { (void)first.handle(); }, [&] { (void)first.view(); }, [&] { (void)printed(first); }};
  for (const auto& use : uses) EXPECT_THROW(use(), brood::UsageError);
  static_assert(!std::copy_constructible<SharedMemory> && !std::copy_constructible<SharedMemory::View>);
}

TEST_F(MemoryLadder, ManyOfRandomSizesKeepApart) {
  std::mt19937 random(std::random_device{}());
  std::vector<SharedMemory> all;
  for (unsigned i = 0; i < 300; ++i) {
    all.emplace_back(static_cast<std::int64_t>(1 + random() % 20'000));
    std::memset(all.back().bytes().data(), static_cast<int>(i % 256), all.back().size());
  }
  std::shuffle(all.begin(), all.end(), random);
  all.erase(all.begin(), all.begin() + 150);
  for (const auto& memory : all) {
    for (const std::byte byte : memory.bytes()) ASSERT_EQ(byte, memory.bytes()[0]);
  }
}

TEST_F(MemoryLadder, AcrossProcesses) {
  SharedMemory memory(4096);
  std::vector<Child> children;
  for (std::size_t i = 0; i < 4; ++i) {
    children.emplace_back([&, i](Line&) {
      auto mine = SharedMemory::open(memory.handle());
      std::memset(mine.bytes().subspan(i * 1024, 1024).data(), static_cast<int>('a' + i), 1024);
      memory.close();  // the inherited mapping
      require(mine.bytes()[i * 1024] == static_cast<std::byte>('a' + i), "the other mapping is there");
    });
  }
  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
  for (std::size_t i = 0; i < 4096; ++i) ASSERT_EQ(memory.bytes()[i], static_cast<std::byte>('a' + i / 1024));
}

TEST_F(MemoryCrash, MakerIsKilledUsersKeepItAndTheLastOnesDeathFreesIt) {
  brood::Handle handle;
  Child maker([](Line& line) {
    const SharedMemory memory(1 << 20);
    memory.bytes()[0] = std::byte{9};
    line.send_text(memory.handle().str());
    (void)line.hear();
  });
  handle = maker.line.hear_text();
  Child user([&](Line& line) {
    const auto memory = SharedMemory::open(handle);
    line.say('o');
    line.expect('?');
    require(memory.bytes()[0] == std::byte{9}, "the bytes are there");
    line.say('y');
    (void)line.hear();
  });
  user.line.expect('o');
  maker.kill();
  EXPECT_EQ(brood::gc().objects, 0U);
  user.line.say('?');
  user.line.expect('y');
  EXPECT_EQ(SharedMemory::open(handle).bytes()[0], std::byte{9});
  user.kill();
  const auto report = brood::gc();
  EXPECT_EQ(report.objects, 1U);
  EXPECT_GE(report.bytes, std::size_t{1} << 20);
  EXPECT_THROW((void)SharedMemory::open(handle), brood::HandleError);
}

}  // namespace
}  // namespace ladder
