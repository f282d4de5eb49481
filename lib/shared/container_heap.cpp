#include "shared/container_heap.hpp"

#include <algorithm>
#include <new>
#include <string>

#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "shared/container_journal.hpp"

namespace brood::inline v1::shared {
namespace {

constexpr std::size_t kSmallestStep = std::size_t{64} << 10;
constexpr std::size_t kLargestStep = std::size_t{16} << 20;
/// What the heap adds to a piece, and loses at its ends.
constexpr std::size_t kOverhead = 256;

std::string name_of(const View& view) { return Handle(Kind::container, view.id()).str(); }

[[noreturn]] void throw_over_budget(const View& view, std::size_t size_bytes) {
  const Heap& heap = view.heap();
  throw NoSpace(name_of(view) + ": no room for " + std::to_string(size_bytes) + " bytes more in its budget of " +
                std::to_string(view.budget_bytes) +
                " bytes: " + std::to_string(heap.get_free_memory() + view.heap_limit() - heap.get_size()) +
                " are free, perhaps in smaller pieces; erase something, or make it with larger budget_bytes");
}

[[noreturn]] void throw_full(const View& view, std::size_t size_bytes) {
  const std::string& where = domain_directory();
  throw NoSpace(name_of(view) + ": no memory for " + std::to_string(size_bytes) +
                " bytes more, and as much for its journal: " + std::to_string(os::free_bytes(where.c_str())) +
                " bytes are free in " + where +
                "; enlarge it (`mount -o remount,size=…`, docker --shm-size), free objects (brood::gc()), or set "
                "BROOD_DOMAIN to a larger tmpfs");
}

/// Gives the heap memory for `size_bytes` more in one piece, and some for later.
void grow(const View& view, std::size_t size_bytes) {
  Heap& heap = view.heap();
  const std::size_t has = heap.get_size();
  const std::size_t limit = view.heap_limit();
  // The last free piece may reach to the end: what is free counts.
  if (size_bytes > limit || has + size_bytes > limit + heap.get_free_memory()) throw_over_budget(view, size_bytes);
  const std::size_t in_front = view.heap_at - view.places.heap;
  const auto pages_for = [&](std::size_t heap_bytes) {
    return std::min(os::round_up(in_front + heap_bytes, view.page_bytes), view.budget_bytes);
  };
  const std::size_t least = pages_for(has + size_bytes + kOverhead);
  const std::size_t more = pages_for(has + std::clamp(has / 2, kSmallestStep, kLargestStep));
  std::size_t reserved = std::max(least, more);
  if (!reserve(view, reserved)) {
    reserved = least;
    if (!reserve(view, reserved)) throw_full(view, size_bytes);
  }
  if (reserved - in_front > has) heap.grow(reserved - in_front - has);
}

}  // namespace

std::size_t first_reserve(std::size_t root_bytes, std::size_t page_bytes) noexcept {
  return os::round_up(heap_offset(root_bytes) + kSmallestStep, page_bytes);
}

void format(const View& view, const detail::ContainerCore::Type& type) {
  new (&view.heap()) Heap(view.reserved() - (view.heap_at - view.places.heap), 0);
  type.make(view.root());
}

bool is_sound(const View& view) noexcept {
  const std::size_t size = view.heap().get_size();
  const std::size_t in_front = view.heap_at - view.places.heap;
  return size >= Heap::get_min_size(0) && size <= view.reserved() - in_front && view.heap().get_free_memory() <= size;
}

}  // namespace brood::inline v1::shared

namespace brood::inline v1::detail {

void* current_heap() { return &shared::t_accesses.only_writer(registry::self_if_joined()).writing->heap(); }

void* allocate_in(void* heap_at, std::size_t size_bytes) {
  const registry::Id me = registry::self_if_joined();
  const shared::Access* access = shared::t_accesses.writer_of(heap_at, me);
  if (access == nullptr) {
    throw UsageError(
        "memory of a shared container is asked for outside of its transaction: a reference into it has outlived its "
        "guard, or is used by another thread");
  }
  const shared::View& view = *access->writing;
  shared::Heap& heap = view.heap();
  if (void* piece = heap.allocate(size_bytes)) return piece;
  shared::grow(view, size_bytes);
  if (void* piece = heap.allocate(size_bytes)) return piece;
  shared::throw_over_budget(view, size_bytes);
}

void free_in(void* heap, void* piece) noexcept {
  if (shared::t_accesses.writer_of(heap, registry::self_if_joined()) == nullptr) return;
  static_cast<shared::Heap*>(heap)->deallocate(piece);
}

}  // namespace brood::inline v1::detail
