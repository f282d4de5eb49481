// Segments that somebody of this user has damaged: refused, or read as typed errors; never a crash, never a wrong place.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <limits>
#include <random>

#include "brood/array.hpp"
#include "brood/atomic.hpp"
#include "brood/shareable_list.hpp"
#include "brood/shared_memory.hpp"
#include "shm/segment.hpp"
#include "support/inspect.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using brood::Array;
using brood::Atomic;
using brood::RawArray;
using brood::ReadOnlyArray;
using brood::ShareableList;
using brood::SharedMemory;
using brood::shm::kBodyOffset;
using brood::shm::SegmentHeader;
using Item = ShareableList::Item;

constexpr const char* kCrafted = "crafted";

class HostileShared : public support::NoLeaks {
 protected:
  static std::string path() { return (support::test_domain() / "=crafted").string(); }
  /// The file's bytes, taken away with its name.
  template <class O>
  static std::string taken(const O&) {
    std::ifstream file(path(), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    EXPECT_TRUE(O::remove(kCrafted));
    return bytes;
  }
  static void write(const std::string& bytes) {
    ::unlink(path().c_str());
    std::ofstream(path(), std::ios::binary) << bytes;
    ::chmod(path().c_str(), 0600);
  }
  static void put(std::string& bytes, std::size_t body_offset, std::uint64_t value, std::size_t size = 8) {
    std::memcpy(bytes.data() + kBodyOffset + body_offset, &value, size);
  }
  template <class E, class Open>
  static void expect_refused(std::string bytes, std::size_t body_offset, std::uint64_t value, Open open,
                             std::vector<std::string> words, std::size_t size = 8) {
    put(bytes, body_offset, value, size);
    write(bytes);
    words.emplace_back(kCrafted);
    expect_error<E>(open, words);
    EXPECT_EQ(::unlink(path().c_str()), 0);
  }
};

constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();

TEST_F(HostileShared, MemoryOfAnImpossibleSize) {
  const std::string sound = taken(SharedMemory::create(kCrafted, 100));
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{4096 - 192 - 64 + 1}, kHuge}) {
    expect_refused<brood::TypeMismatch>(sound, 0, size, [] { (void)SharedMemory::open_named(kCrafted); },
                                        {"damaged", std::to_string(size)});
    expect_refused<brood::TypeMismatch>(sound, 0, size, [] { (void)SharedMemory::open_read_only_named(kCrafted); },
                                        {"damaged"});
  }
  for (const std::size_t cut : {std::size_t{0}, std::size_t{191}, std::size_t{255}, std::size_t{4095}}) {
    write(sound.substr(0, cut));
    EXPECT_THROW((void)SharedMemory::open_named(kCrafted), brood::TypeMismatch);
  }
  EXPECT_EQ(::unlink(path().c_str()), 0);
}

TEST_F(HostileShared, ArrayOfImpossibleElementsOrLock) {
  constexpr std::size_t kCount = 64;
  constexpr std::size_t kElementBytes = 72;
  constexpr std::size_t kLockUse = 80;
  const auto open = [] { (void)Array<int>::open_named(kCrafted); };
  const std::string sound = taken(Array<int>::create(kCrafted, 10));
  for (const std::uint64_t count : {std::uint64_t{913}, kHuge, kHuge / 4, std::uint64_t{1} << 62}) {
    expect_refused<brood::TypeMismatch>(sound, kCount, count, open, {"damaged", std::to_string(count), "912"});
    expect_refused<brood::TypeMismatch>(sound, kCount, count, [] { (void)ReadOnlyArray<int>::open_named(kCrafted); },
                                        {"damaged"});
  }
  for (const std::uint64_t bytes : {std::uint64_t{0}, std::uint64_t{8}, kHuge})
    expect_refused<brood::TypeMismatch>(sound, kElementBytes, bytes, open, {"damaged", std::to_string(bytes)});
  expect_refused<brood::TypeMismatch>(sound, kLockUse, 3, open, {"damaged", "lock"}, 4);
  expect_refused<brood::TypeMismatch>(sound, kLockUse, 0, open, {"without a lock"}, 4);
  // A lock that was never given: none of that identity.
  expect_refused<brood::HandleError>(sound, kLockUse, 2, open, {"the lock given to it"}, 4);
  // A name for it that no object can have: too long, or leading elsewhere.
  std::string crafted = sound;
  put(crafted, kLockUse, 2, 4);
  expect_refused<brood::TypeMismatch>(crafted, 84, 121, open, {"no valid name"}, 4);
  expect_refused<brood::TypeMismatch>(crafted, 84, kHuge, open, {"no valid name"}, 4);
  std::memcpy(crafted.data() + kBodyOffset + 128, "../x", 4);
  expect_refused<brood::TypeMismatch>(crafted, 84, 4, open, {"no valid name"}, 4);
}

TEST_F(HostileShared, BoolsThatAreNoBools) {
  const std::string sound = taken(RawArray<bool>::create(kCrafted, 10));
  std::string crafted = sound;
  put(crafted, 256 + 3, 2, 1);
  write(crafted);
  auto array = RawArray<bool>::open_named(kCrafted);
  EXPECT_FALSE(array.get(2));
  expect_error<brood::TypeMismatch>([&] { (void)array.get(3); }, {kCrafted, "damaged", "bool"});
  EXPECT_THROW((void)array.to_vector(), brood::TypeMismatch);
  array.set(3, true);
  EXPECT_TRUE(array.get(3));
  EXPECT_TRUE(RawArray<bool>::remove(kCrafted));
}

TEST_F(HostileShared, ListWithImpossibleSlotsAndItems) {
  const auto open = [] { return ShareableList::open_named(kCrafted); };
  const std::string sound = taken(ShareableList::create(kCrafted, {1, "text", true}));
  constexpr std::size_t kEntries = 128;
  constexpr std::size_t kFirstCopy = kEntries + 3 * 32;
  for (const std::uint64_t count : {std::uint64_t{119}, kHuge})
    expect_refused<brood::TypeMismatch>(sound, 64, count, open, {"damaged", std::to_string(count)});
  // Offsets and capacities: the slot is refused, the others work.
  for (const auto& [at, value] : std::vector<std::pair<std::size_t, std::uint64_t>>{{8, 0},
                                                                                    {8, 1},
                                                                                    {8, kFirstCopy + 1},
                                                                                    {8, 4096},
                                                                                    {8, kHuge - 7},
                                                                                    {16, 0},
                                                                                    {16, 12},
                                                                                    {16, 4096},
                                                                                    {16, kHuge - 7}}) {
    std::string crafted = sound;
    put(crafted, kEntries + at, value);
    write(crafted);
    auto list = open();
    expect_error<brood::TypeMismatch>([&] { (void)list.get(0); }, {kCrafted, "damaged", "slot 0"});
    expect_error<brood::TypeMismatch>([&] { list.set(0, 5); }, {"slot 0"});
    EXPECT_THROW((void)list.items(), brood::TypeMismatch);
    EXPECT_EQ(list.get(1), Item("text"));
  }
  // Types and lengths.
  for (const std::uint64_t head : {std::uint64_t{6} << 56 | 8, std::uint64_t{255} << 56, std::uint64_t{4} << 56 | 9,
                                   std::uint64_t{5} << 56 | 0xffffffffffffff, std::uint64_t{2} << 56 | 7,
                                   std::uint64_t{1} << 56 | 8, std::uint64_t{1}}) {
    std::string crafted = sound;
    put(crafted, kFirstCopy, head);
    put(crafted, kFirstCopy + 8, 2);  // no bool either
    write(crafted);
    auto list = open();
    expect_error<brood::TypeMismatch>([&] { (void)list.get(0); }, {kCrafted, "damaged", "slot 0"});
    EXPECT_THROW((void)printed(list), brood::TypeMismatch);
    list.set(0, 7);  // a sound item heals it
    EXPECT_EQ(list.get(0), Item(7));
  }
  EXPECT_EQ(::unlink(path().c_str()), 0);
}

/// Random damage to every byte of a body but the locks' words (a lock held by nobody who lives is waited for, rightly).
TEST_F(HostileShared, RandomDamageIsATypedErrorOrAValue) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  const std::string list = taken(ShareableList::create(kCrafted, {1, "text", true, std::string(50, 'x'), 2.5}));
  const std::string array = taken(Array<bool>::create(kCrafted, 100));
  const std::string memory = taken(SharedMemory::create(kCrafted, 100));
  const auto use = [](const auto& body) {
    try {
      body();
    } catch (const brood::Error&) {}
  };
  for (int round = 0; round < 3000; ++round) {
    std::string crafted = round % 3 == 0 ? list : round % 3 == 1 ? array : memory;
    const std::size_t from = kBodyOffset + (round % 3 == 2 ? 0 : 64);
    for (auto changes = 1 + random() % 6; changes > 0; --changes)
      crafted[from + random() % 400] = static_cast<char>(random() % 4 == 0 ? 0xff : random());
    write(crafted);
    use([] {
      auto opened = ShareableList::open_named(kCrafted);
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(opened.size()); ++i) {
        try {
          (void)opened.get(i);
          opened.set(i, "new");
        } catch (const brood::Error&) {}
      }
    });
    use([] {
      auto opened = Array<bool>::open_named(kCrafted);
      (void)opened.to_vector();
      opened.fill(true);
    });
    use([] {
      const auto opened = SharedMemory::open_named(kCrafted);
      std::memset(opened.bytes().data(), 1, opened.size());
    });
  }
  EXPECT_EQ(::unlink(path().c_str()), 0);
}

/// The segment changes under an object that is open: what was checked at open is not read again.
TEST_F(HostileShared, DamageUnderAnOpenObject) {
  auto array = Array<int>::create(kCrafted, 10);
  const int fd = ::open(path().c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const auto damage = [&](std::size_t body_offset, std::uint64_t value) {
    ASSERT_EQ(::pwrite(fd, &value, 8, static_cast<off_t>(kBodyOffset + body_offset)), 8);
  };
  damage(64, kHuge);
  EXPECT_EQ(array.size(), 10U);
  EXPECT_THROW((void)array.get(10), brood::UsageError);
  EXPECT_EQ(array.to_vector().size(), 10U);
  ::close(fd);
  EXPECT_TRUE(Array<int>::remove(kCrafted));
}

}  // namespace
}  // namespace ladder
