// What lies in the segment of a container. See README.md, "Container".
#pragma once

#include <array>
#include <atomic>
#include <boost/interprocess/mem_algo/rbtree_best_fit.hpp>
#include <boost/interprocess/offset_ptr.hpp>
#include <boost/interprocess/sync/mutex_family.hpp>
#include <cstddef>
#include <cstdint>

#include "os/files.hpp"
#include "shm/segment.hpp"
#include "sync/lock_body.hpp"

namespace brood::inline v1::shared {

/// What is being done to the heap, in one word: phase (8) at bit 56 | number.
///
///   phase      number             the heap is                             whoever has the lock next
///   idle       0                  whole                                   -
///   applying   pages in journal   somewhere between the old and the new   copies the journal to it (again)
///   in_place   pid                being changed by that process           if that is dead: reports the damage
///
/// Storing `applying` is the commit.
enum class Phase : std::uint8_t { idle = 0, applying = 1, in_place = 2 };

struct Mark {
  Phase phase = Phase::idle;
  std::uint64_t number = 0;

  static Mark unpack(std::uint64_t word) noexcept { return {static_cast<Phase>(word >> 56), word & kNumberMask}; }
  [[nodiscard]] std::uint64_t pack() const noexcept { return static_cast<std::uint64_t>(phase) << 56 | number; }

  static constexpr std::uint64_t kNumberMask = (std::uint64_t{1} << 56) - 1;
};

/// Those who read now: process (30), and how many of its threads at bit 32. 0: free.
struct alignas(64) ReaderSlot {
  std::atomic<std::uint64_t> word;
};
inline constexpr std::size_t kReaderSlots = 64;

struct ContainerBody {
  sync::LockBody lock;  ///< writers, and whoever finishes what a dead one began
  alignas(64) std::atomic<std::uint64_t> mark;
  std::atomic<std::uint64_t>
      reserved_bytes;  ///< heap and journal have memory up to here; only grows; changed with the lock
  /// Commits so far. Read in the private view it says whether that view is one of the present, see is_stale().
  std::atomic<std::uint64_t> commits;
  std::atomic<std::uint32_t> readers_left;  ///< moves on when a reader leaves and somebody waits for it
  std::atomic<std::uint32_t> slots_used;    ///< reader slots behind this one were never used
  std::uint64_t budget_bytes;               ///< most bytes of the heap; whole pages
  std::uint64_t root_bytes;                 ///< the container itself, in front of the memory for what it holds
  std::uint64_t page_bytes;
};
/// From the body: the first page behind the body's own one.
inline constexpr std::size_t kReaderOffset = 4096 - shm::kBodyOffset;
static_assert(sizeof(ContainerBody) <= kReaderOffset);
static_assert(kReaderOffset + kReaderSlots * sizeof(ReaderSlot) == shm::smallest_body(Kind::container));

/// Places in the segment, counted from its beginning, in whole pages.
struct Places {
  std::uint64_t index;    ///< of each page in the journal, its number in the heap: 32 bits
  std::uint64_t journal;  ///< as large as the heap: a transaction may change all of it
  std::uint64_t heap;
  std::uint64_t end;

  static Places of(std::uint64_t budget_bytes, std::uint64_t page_bytes) noexcept {
    Places places{};
    places.index = os::round_up(2 * std::size_t{4096}, page_bytes);
    places.journal = places.index + os::round_up(budget_bytes / page_bytes * sizeof(std::uint32_t), page_bytes);
    places.heap = places.journal + budget_bytes;
    places.end = places.heap + budget_bytes;
    return places;
  }
};

/// Boost.Interprocess's allocator of pieces of one block, without a mutex: ours excludes. Behind the container itself.
using Heap =
    boost::interprocess::rbtree_best_fit<boost::interprocess::null_mutex_family, boost::interprocess::offset_ptr<void>>;
inline std::size_t heap_offset(std::uint64_t root_bytes) noexcept { return os::round_up(root_bytes, 64); }

/// A container as one process sees it: the segment, and the view of it in which somebody works. Both begin with the
/// segment's header. What says where things are is copied from the body once, when it is checked.
struct View {
  ContainerBody* body = nullptr;
  std::byte* shared = nullptr;
  std::byte* working = nullptr;  ///< private, or the shared one itself
  Places places{};
  std::uint64_t budget_bytes = 0;
  std::uint64_t page_bytes = 0;
  std::uint64_t heap_at = 0;

  static View of(void* body_at, void* working_body) noexcept {
    auto* body = static_cast<ContainerBody*>(body_at);
    const Places places = Places::of(body->budget_bytes, body->page_bytes);
    return {body,
            static_cast<std::byte*>(body_at) - shm::kBodyOffset,
            static_cast<std::byte*>(working_body) - shm::kBodyOffset,
            places,
            body->budget_bytes,
            body->page_bytes,
            places.heap + heap_offset(body->root_bytes)};
  }

  [[nodiscard]] std::byte* root() const noexcept { return working + places.heap; }
  [[nodiscard]] std::byte* shared_root() const noexcept { return shared + places.heap; }
  [[nodiscard]] Heap& heap() const noexcept { return *reinterpret_cast<Heap*>(working + heap_at); }
  /// Most bytes that heap() can have.
  [[nodiscard]] std::size_t heap_limit() const noexcept { return budget_bytes - (heap_at - places.heap); }
  [[nodiscard]] std::uint32_t* index() const noexcept {
    return reinterpret_cast<std::uint32_t*>(shared + places.index);
  }
  [[nodiscard]] std::byte* journal() const noexcept { return shared + places.journal; }
  [[nodiscard]] ReaderSlot* readers() const noexcept {
    return reinterpret_cast<ReaderSlot*>(reinterpret_cast<std::byte*>(body) + kReaderOffset);
  }
  [[nodiscard]] std::uint64_t id() const noexcept { return shm::header_of(body).id; }
  [[nodiscard]] Mark mark() const noexcept { return Mark::unpack(body->mark.load()); }
  [[nodiscard]] std::size_t reserved() const noexcept { return body->reserved_bytes.load(std::memory_order_relaxed); }
};

}  // namespace brood::inline v1::shared
