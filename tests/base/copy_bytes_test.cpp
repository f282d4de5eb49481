// copy_bytes: every length and alignment around its pieces, and nothing beside them.
#include "brood/detail/copy_bytes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace {

constexpr std::byte kUntouched{0xee};

std::vector<std::byte> numbered(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i * 7 + i / 251) % 229);
  return bytes;
}

TEST(CopyBytes, CopiesEveryLengthAndAlignmentAndNothingBeside) {
  const std::vector<std::byte> source = numbered(3 * 2048 + 128);
  for (const std::size_t base : {0U, 2048U, 4096U, 6144U}) {
    for (int off = -2; off <= 2; ++off) {
      if (base == 0 && off < 0) continue;
      const std::size_t size = base + static_cast<std::size_t>(off);
      for (const std::size_t from : {0U, 1U, 8U, 63U}) {
        for (const std::size_t to : {0U, 1U, 8U, 64U, 100U}) {
          std::vector<std::byte> target(to + size + 64, kUntouched);
          brood::detail::copy_bytes(target.data() + to, source.data() + from, size);
          ASSERT_TRUE(std::equal(source.begin() + static_cast<std::ptrdiff_t>(from),
                                 source.begin() + static_cast<std::ptrdiff_t>(from + size),
                                 target.begin() + static_cast<std::ptrdiff_t>(to)))
              << "size " << size << " from " << from << " to " << to;
          const auto touched = [](std::byte byte) { return byte != kUntouched; };
          ASSERT_TRUE(std::none_of(target.begin(), target.begin() + static_cast<std::ptrdiff_t>(to), touched));
          ASSERT_TRUE(std::none_of(target.begin() + static_cast<std::ptrdiff_t>(to + size), target.end(), touched));
        }
      }
    }
  }
}

TEST(CopyBytes, NothingMayComeFromNowhere) {
  std::byte target = kUntouched;
  brood::detail::copy_bytes(&target, nullptr, 0);
  brood::detail::copy_bytes(nullptr, &target, 0);
  EXPECT_EQ(target, kUntouched);
}

}  // namespace
