#include "shared/container_journal.hpp"

#include <array>
#include <chrono>
#include <cstring>

#include "brood/detail/copy_bytes.hpp"
#include "os/private_pages.hpp"

namespace brood::inline v1::shared {
namespace {

os::PrivateView private_heap(const View& view) noexcept { return {view.root(), view.shared_root(), view.reserved()}; }

}  // namespace

bool reserve(const View& view, std::size_t size_bytes) noexcept {
  const std::size_t has = view.reserved();
  if (size_bytes <= has) return true;
  const auto index_bytes = [&](std::size_t bytes) { return bytes / view.page_bytes * sizeof(std::uint32_t); };
  // Whole pages; the first of them may be there already, which is no harm.
  const std::size_t index_from = index_bytes(has) / view.page_bytes * view.page_bytes;
  const std::size_t index_to = os::round_up(index_bytes(size_bytes), view.page_bytes);
  if (os::populate(view.shared + view.places.index + index_from, index_to - index_from) != 0) return false;
  if (os::populate(view.journal() + has, size_bytes - has) != 0 ||
      os::populate(view.shared_root() + has, size_bytes - has) != 0) {
    os::give_back_memory(view.journal() + has, size_bytes - has);
    os::give_back_memory(view.shared_root() + has, size_bytes - has);
    return false;
  }
  view.body->reserved_bytes.store(size_bytes);
  return true;
}

Saved save_changes(const View& view) noexcept {
  using Clock = std::chrono::steady_clock;
  const os::PrivateView heap = private_heap(view);
  std::array<os::PageRun, 64> runs;
  Saved saved;
  for (std::size_t cursor = 0; cursor < heap.size_bytes;) {
    const auto begin = Clock::now();
    const std::size_t count = os::find_private(heap, cursor, runs).runs;
    saved.looking += Clock::now() - begin;
    for (std::size_t i = 0; i < count; ++i) {
      saved.own_pages += runs[i].size_bytes / view.page_bytes;
      for (std::size_t at = runs[i].offset; at < runs[i].offset + runs[i].size_bytes; at += view.page_bytes) {
        if (std::memcmp(heap.at + at, heap.original + at, view.page_bytes) == 0) continue;
        view.index()[saved.pages] = static_cast<std::uint32_t>(at / view.page_bytes);
        detail::copy_bytes(view.journal() + saved.pages * view.page_bytes, heap.at + at, view.page_bytes);
        ++saved.pages;
      }
    }
  }
  return saved;
}

bool is_sound(const View& view, std::uint64_t pages) noexcept {
  const std::uint64_t most = view.reserved() / view.page_bytes;
  if (pages > most) return false;
  for (std::uint64_t i = 0; i < pages; ++i) {
    if (view.index()[i] >= most) return false;
  }
  return true;
}

void apply(const View& view, std::uint64_t pages) noexcept {
  for (std::uint64_t i = 0; i < pages; ++i) {
    detail::copy_bytes(view.shared_root() + view.index()[i] * view.page_bytes, view.journal() + i * view.page_bytes,
                       view.page_bytes);
  }
}

void drop_changes(const View& view) noexcept { os::drop_private(view.working, view.places.end); }

void drop_own_pages(const View& view) noexcept {
  const os::PrivateView heap = private_heap(view);
  std::array<os::PageRun, 64> runs;
  for (std::size_t cursor = 0; cursor < heap.size_bytes;) {
    const auto [count, all] = os::find_private(heap, cursor, runs);
    if (!all) {
      drop_changes(view);
      return;
    }
    for (std::size_t i = 0; i < count;) {
      // One call for runs that are near each other: it costs as much as mapping the pages between them again.
      const std::size_t from = runs[i].offset;
      std::size_t to = from;
      for (; i < count && runs[i].offset <= to + 8 * view.page_bytes; ++i) to = runs[i].offset + runs[i].size_bytes;
      os::drop_private(view.root() + from, to - from);
    }
  }
}

bool is_stale(const View& view) noexcept {
  const auto* seen = reinterpret_cast<const ContainerBody*>(view.working + shm::kBodyOffset);
  return seen->commits.load(std::memory_order_relaxed) != view.body->commits.load(std::memory_order_relaxed);
}

bool has_stray_changes(const View& view) noexcept {
  constexpr std::size_t kSmall = std::size_t{1} << 20;
  const os::PrivateView heap = private_heap(view);
  if (heap.size_bytes > kSmall) return false;
  std::array<os::PageRun, 16> runs;
  for (std::size_t cursor = 0; cursor < heap.size_bytes;) {
    const std::size_t count = os::find_private(heap, cursor, runs).runs;
    for (std::size_t i = 0; i < count; ++i) {
      // mlockall copies pages too, as they are.
      if (std::memcmp(heap.at + runs[i].offset, heap.original + runs[i].offset, runs[i].size_bytes) != 0) return true;
    }
  }
  return false;
}

}  // namespace brood::inline v1::shared
