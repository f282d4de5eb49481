#include "shared/container_readers.hpp"

#include <algorithm>

#include "registry/sleeper.hpp"

namespace brood::inline v1::shared {
namespace {

constexpr std::uint64_t kOne = std::uint64_t{1} << 32;

registry::Id reader_of(std::uint64_t word) noexcept { return static_cast<registry::Id>(word) & registry::kIdMask; }

/// The first living process that reads; forgets the dead ones. kNobody if there is none.
registry::Id some_reader(const View& view) noexcept {
  const std::uint32_t used = std::min<std::uint32_t>(view.body->slots_used.load(), kReaderSlots);
  for (std::uint32_t i = 0; i < used; ++i) {
    std::atomic<std::uint64_t>& slot = view.readers()[i].word;
    // SYNC reader: sequentially consistent, after the mark was stored; see enter().
    std::uint64_t word = slot.load();
    if (word == 0) continue;
    if (registry::is_alive(reader_of(word))) return reader_of(word);
    slot.compare_exchange_strong(word, 0);
  }
  return registry::kNobody;
}

/// False if the slot is another process's.
bool try_enter(std::atomic<std::uint64_t>& slot, registry::Id me) noexcept {
  std::uint64_t word = slot.load(std::memory_order_relaxed);
  for (;;) {
    if (word != 0 && reader_of(word) != me && registry::is_alive(reader_of(word))) return false;
    const std::uint64_t next = reader_of(word) == me ? word + kOne : kOne | me;
    // SYNC reader: sequentially consistent, and the mark is read after it. Either the writer, who stores the mark and
    // then reads the slots, sees us, or we see the mark.
    if (slot.compare_exchange_weak(word, next)) return true;
  }
}

}  // namespace

std::uint32_t enter(const View& view, registry::Id me) noexcept {
  for (std::uint32_t i = 0; i < kReaderSlots; ++i) {
    // Before the slot is taken: who looks for readers looks at least this far.
    std::uint32_t used = view.body->slots_used.load();
    while (used <= i && !view.body->slots_used.compare_exchange_weak(used, i + 1)) {}
    if (try_enter(view.readers()[i].word, me)) return i;
  }
  return kNoSlot;
}

void leave(const View& view, std::uint32_t slot_index) noexcept {
  std::atomic<std::uint64_t>& slot = view.readers()[slot_index].word;
  std::uint64_t word = slot.load(std::memory_order_relaxed);
  // SYNC reader: release, what we read was read; and the mark is read after it, as in enter().
  while (!slot.compare_exchange_weak(word, word < 2 * kOne ? 0 : word - kOne)) {}
  if (word >= 2 * kOne || view.body->mark.load() == 0) return;
  view.body->readers_left.fetch_add(1);
  // Killed before this: a death, which wakes everybody.
  os::futex_wake_all(view.body->readers_left);
}

bool await_no_readers(const View& view, Deadline deadline) {
  if (some_reader(view) == registry::kNobody) return true;
  registry::Sleeper sleeper(registry::Operation::other, Kind::container, view.id(), deadline);
  for (;;) {
    const std::uint32_t deaths = registry::Sleeper::deaths();
    const std::uint32_t left = view.body->readers_left.load();
    const registry::Id reader = some_reader(view);
    if (reader == registry::kNobody) return true;
    if (deadline.is_poll()) return false;
    switch (sleeper.sleep(view.body->readers_left, left, deaths, reader)) {
      case registry::Sleeper::Woken::timed_out: return some_reader(view) == registry::kNobody;
      case registry::Sleeper::Woken::tick:
        if (registry::bury_if_gone(reader, 0)) registry::registry().heads.deaths_by_tick.fetch_add(1);
        break;
      case registry::Sleeper::Woken::look_again: break;
    }
  }
}

}  // namespace brood::inline v1::shared
