#include "os/private_pages.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "os/capabilities.hpp"
#include "os/files.hpp"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24  // Linux 5.18
#endif

namespace brood::inline v1::os {
namespace {

// --- the descriptor of /proc/self/pagemap ------------------------------------------------------------------------------

/// Kept open, for opening it costs ten times as much as asking. What a forked child inherits is a view of its parent's
/// memory; so `fresh` lies on a page that fork wipes. The application may close descriptors that are not its own and get
/// the number for something else: the file behind it is compared each time.
struct PagemapFile {
  std::atomic<int> fd{-1};
  std::atomic<dev_t> device{0};
  std::atomic<ino_t> inode{0};
};
constinit PagemapFile g_pagemap;

std::atomic<std::uint32_t>& fresh() noexcept {
  static auto& it = *static_cast<std::atomic<std::uint32_t>*>(page_wiped_by_fork());
  return it;
}
/// At load: a fork by one thread must not meet another that makes it.
[[maybe_unused]] const auto& g_fresh_at_load = fresh();

bool is_ours(int fd) noexcept {
  struct stat st {};
  return fd >= 0 && ::fstat(fd, &st) == 0 && st.st_dev == g_pagemap.device.load() &&
         st.st_ino == g_pagemap.inode.load();
}

/// 0: nobody has it, 1: somebody opens it, 2: open.
constexpr std::uint32_t kOpening = 1;
constexpr std::uint32_t kOpen = 2;

/// -1 if there is none to be had now.
int pagemap() noexcept {
  const int usual = g_pagemap.fd.load(std::memory_order_acquire);
  std::uint32_t state = fresh().load(std::memory_order_acquire);
  if (state == kOpen && is_ours(usual)) return usual;
  if (state == kOpening || !fresh().compare_exchange_strong(state, kOpening)) return -1;  // that once, without
  // Inherited: ours to close, but of no use.
  if (state != kOpen && is_ours(usual)) ::close(usual);
  g_pagemap.fd.store(-1);
  const int fd = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  struct stat st {};
  if (fd < 0 || ::fstat(fd, &st) != 0) {
    if (fd >= 0) ::close(fd);
    fresh().store(0);
    return -1;
  }
  g_pagemap.device.store(st.st_dev);
  g_pagemap.inode.store(st.st_ino);
  g_pagemap.fd.store(fd, std::memory_order_release);
  fresh().store(kOpen, std::memory_order_release);
  return fd;
}

// --- three ways to know ------------------------------------------------------------------------------------------------

/// Collects runs; pages that touch are one.
class Runs {
 public:
  explicit Runs(std::span<PageRun> found) noexcept : found_(found) {}
  /// False if there is no room for it.
  bool add(std::size_t offset, std::size_t size_bytes) noexcept {
    if (count_ != 0 && found_[count_ - 1].offset + found_[count_ - 1].size_bytes == offset) {
      found_[count_ - 1].size_bytes += size_bytes;
      return true;
    }
    if (count_ == found_.size()) return false;
    found_[count_++] = {offset, size_bytes};
    return true;
  }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

 private:
  std::span<PageRun> found_;
  std::size_t count_ = 0;
};

// <linux/fs.h> has these from Linux 6.7 on.
struct ScanRegion {
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t categories;
};
struct ScanArguments {
  std::uint64_t size;
  std::uint64_t flags;
  std::uint64_t start;
  std::uint64_t end;
  std::uint64_t walk_end;
  std::uint64_t vec;
  std::uint64_t vec_len;
  std::uint64_t max_pages;
  std::uint64_t category_inverted;
  std::uint64_t category_mask;
  std::uint64_t category_anyof_mask;
  std::uint64_t return_mask;
};
static_assert(sizeof(ScanArguments) == 96);
constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArguments);
constexpr std::uint64_t kIsFile = 1U << 2;
constexpr std::uint64_t kIsPresent = 1U << 3;
constexpr std::uint64_t kIsSwapped = 1U << 4;

/// A page of a file counts as such while it is mapped; a copy of our own does not, in memory or swapped out. (A page of
/// the file that is swapped out has no entry in our page table.)
bool scan(int fd, const PrivateView& view, std::size_t& cursor, Runs& runs) noexcept {
  std::array<ScanRegion, 64> regions;
  const auto base = reinterpret_cast<std::uintptr_t>(view.at);
  ScanArguments arguments{.size = sizeof(ScanArguments),
                          .flags = 0,
                          .start = base + cursor,
                          .end = base + view.size_bytes,
                          .walk_end = 0,
                          .vec = reinterpret_cast<std::uintptr_t>(regions.data()),
                          .vec_len = regions.size(),
                          .max_pages = 0,
                          .category_inverted = kIsFile,
                          .category_mask = kIsFile,
                          .category_anyof_mask = kIsPresent | kIsSwapped,
                          .return_mask = kIsPresent};
  const int count = ::ioctl(fd, kPagemapScan, &arguments);
  if (count < 0 || arguments.walk_end < arguments.start || arguments.walk_end > arguments.end) return false;
  for (int i = 0; i < count; ++i) {
    const auto& region = regions[static_cast<std::size_t>(i)];
    const std::size_t offset = region.start - base;
    if (!runs.add(offset, region.end - region.start)) {
      cursor = offset;
      return true;
    }
  }
  cursor = arguments.walk_end - base;
  return true;
}

constexpr std::uint64_t kEntryPresent = std::uint64_t{1} << 63;
constexpr std::uint64_t kEntrySwapped = std::uint64_t{1} << 62;
constexpr std::uint64_t kEntryFile = std::uint64_t{1} << 61;

bool read_entries(int fd, const PrivateView& view, std::size_t& cursor, Runs& runs) noexcept {
  const std::size_t page = page_size();
  std::array<std::uint64_t, 256> entries;
  const std::size_t wanted = std::min((view.size_bytes - cursor) / page, entries.size());
  const auto first = (reinterpret_cast<std::uintptr_t>(view.at) + cursor) / page;
  const ssize_t got =
      ::pread(fd, entries.data(), wanted * sizeof(std::uint64_t), static_cast<off_t>(first * sizeof(std::uint64_t)));
  if (got <= 0 || got % static_cast<ssize_t>(sizeof(std::uint64_t)) != 0) return false;
  const auto count = static_cast<std::size_t>(got) / sizeof(std::uint64_t);
  for (std::size_t i = 0; i < count; ++i, cursor += page) {
    const bool is_private = (entries[i] & (kEntryPresent | kEntrySwapped)) != 0 && (entries[i] & kEntryFile) == 0;
    if (is_private && !runs.add(cursor, page)) return true;
  }
  return true;
}

void compare(const PrivateView& view, std::size_t& cursor, Runs& runs) noexcept {
  const std::size_t page = page_size();
  for (; cursor < view.size_bytes; cursor += page) {
    if (std::memcmp(view.at + cursor, view.original + cursor, page) != 0 && !runs.add(cursor, page)) return;
  }
}

}  // namespace

Found find_private(const PrivateView& view, std::size_t& cursor, std::span<PageRun> found) noexcept {
  Runs runs(found);
  const int fd = capabilities().pagemap ? pagemap() : -1;
  const bool known = fd >= 0 && ((capabilities().pagemap_scan && scan(fd, view, cursor, runs)) ||
                                 read_entries(fd, view, cursor, runs));
  if (!known) compare(view, cursor, runs);
  return {runs.count(), known};
}

void drop_private(std::byte* at, std::size_t size_bytes) noexcept {
  if (::madvise(at, size_bytes, MADV_DONTNEED) == 0) return;
  // Locked memory (mlockall).
  if (::madvise(at, size_bytes, MADV_DONTNEED_LOCKED) == 0) return;
  (void)::munlock(at, size_bytes);
  (void)::madvise(at, size_bytes, MADV_DONTNEED);
}

}  // namespace brood::inline v1::os
