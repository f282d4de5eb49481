// What lies in the domain's registry segment. One page of heads, then one page for each process.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "os/futex.hpp"
#include "os/process_identity.hpp"
#include "os/robust_list.hpp"

namespace brood::inline v1::registry {

/// Identity of a process in lock words and tallies: generation << 12 | slot. Slot 0 is nobody.
///
///   bit  31 30 29 ............ 12 11 ......... 0
///         -  -  generation (18)    slot (12)
///
/// Bits 30 and 31 are free for the flags of the words that hold an id.
using Id = std::uint32_t;
inline constexpr Id kNobody = 0;
inline constexpr unsigned kSlotBits = 12;
inline constexpr unsigned kGenerationBits = 18;
inline constexpr std::uint32_t kSlots = 1U << kSlotBits;
inline constexpr std::uint32_t kGenerationMask = (1U << kGenerationBits) - 1;
inline constexpr Id kIdMask = (1U << (kSlotBits + kGenerationBits)) - 1;

constexpr std::uint32_t slot_of(Id id) noexcept { return id & (kSlots - 1); }
constexpr std::uint32_t generation_of(Id id) noexcept { return (id >> kSlotBits) & kGenerationMask; }
constexpr Id make_id(std::uint32_t generation, std::uint32_t slot) noexcept {
  return (generation & kGenerationMask) << kSlotBits | slot;
}

/// State of a slot in one 64-bit word, so that claiming it and saying who claims it is one step:
///   pid (32) | generation (30, low 18 used in ids) | state (2)
///
///   state    means                                          next
///   free     nobody; generation is that of the next user     joining (CAS by the joiner, with its pid)
///   joining  a process fills the slot in                     alive (by its helper), or free when its pid is gone
///   alive    the process may hold locks and permits          leaving, by the process itself; free with generation + 1 by
///                                                            whoever has proved its death
///   leaving  it holds nothing any more; others are being     free with generation + 1: by itself, or by whoever has proved
///            told                                            its death and tells them instead
enum class SlotState : std::uint32_t { free = 0, joining = 1, alive = 2, leaving = 3 };
struct StateWord {
  std::uint32_t pid = 0;
  std::uint32_t generation = 0;
  SlotState state = SlotState::free;

  static StateWord unpack(std::uint64_t word) noexcept {
    return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint32_t>(word) >> 2,
            static_cast<SlotState>(word & 3)};
  }
  [[nodiscard]] std::uint64_t pack() const noexcept {
    return static_cast<std::uint64_t>(pid) << 32 |
           static_cast<std::uint64_t>(generation << 2 | static_cast<std::uint32_t>(state));
  }
  /// The same slot for its next user.
  [[nodiscard]] StateWord freed() const noexcept { return {0, (generation + 1) & kGenerationMask, SlotState::free}; }
};

/// What a sleeping thread waits for.
enum class Operation : std::uint32_t {
  none = 0,
  lock = 1,
  acquire = 2,
  wait = 3,
  put = 4,
  get = 5,
  other = 6,
};

/// One sleeping thread. Written by that thread before it sleeps; read by anybody at any time.
struct alignas(64) ThreadRecord {
  std::atomic<std::uint32_t> tid;        ///< 0 = unused
  std::atomic<std::uint32_t> operation;  ///< 0 = awake
  std::atomic<std::uint64_t> object;     ///< identity of the object waited for
  std::atomic<std::uint32_t> kind;       ///< of that object
  std::atomic<std::uint32_t>
      blocked_on;                      ///< the Id whose release is awaited; nobody if it is not one process's to give
  std::atomic<std::int64_t> since_ns;  ///< CLOCK_MONOTONIC
  char thread_name[16];
  std::uint64_t spare[2];
};
static_assert(sizeof(ThreadRecord) == 64);

inline constexpr std::size_t kPage = 4096;
inline constexpr std::size_t kThreadRecords = 56;

/// One process.
struct alignas(64) Slot {
  os::RobustList robust;  ///< the helper's
  os::Word kick;          ///< wakes the helper to look at its neighbours again
  alignas(64) std::atomic<std::uint64_t> state;
  std::atomic<std::uint32_t> claims;               ///< entries in semaphores and barriers that a death must give back
  std::atomic<std::uint32_t> unrecorded_sleepers;  ///< threads asleep for which no record was free
  os::ProcessIdentity identity;
  std::atomic<std::uint32_t> dead_pid;  ///< pid of the previous generation if it died, for messages
  std::uint32_t uid;
  std::int64_t joined_unix_ns;
  char process_name[64];
  char command[16];
  unsigned char spare[304];
  std::array<ThreadRecord, kThreadRecords> threads;
};
static_assert(sizeof(Slot) == kPage, "one page a process, so that each is reserved when it is claimed");

/// Every process is watched by two others, each of which sleeps on a word of its own: the kernel wakes one waiter of a
/// word, and a wake-up given to a watcher that dies in the same moment would be lost for the other.
inline constexpr unsigned kWatchers = 2;
/// Liveness: the helper's tid | kWakeWhenDied; the kernel adds kThreadDied. `watcher` 0 is the nearest living slot
/// before this one on the ring, 1 the next.
inline os::Word& live_word(Slot& slot, unsigned watcher) noexcept { return slot.robust.marked[watcher].word; }
inline bool marked_by_kernel(Slot& slot) noexcept {
  return ((live_word(slot, 0).load() | live_word(slot, 1).load()) & os::kThreadDied) != 0;
}

/// The first page.
struct Heads {
  alignas(64) os::Word death;                         ///< bumped after each burial; every sleeper sleeps on it too
  alignas(64) std::atomic<std::uint32_t> slots_used;  ///< slots above this index were never claimed
  std::atomic<std::uint32_t> needs_gc;                ///< somebody died: the next process that joins frees what it left
  std::atomic<std::uint64_t> deaths;
  std::atomic<std::uint64_t> deaths_by_tick;  ///< found by the fallback timer only; 0 is what tests want to see
  std::atomic<std::uint64_t> clean_leaves;
  std::atomic<std::uint64_t> quiet_leaves;  ///< clean leaves that had nobody to wake
  std::uint64_t pid_namespace;
  unsigned char spare[kPage - 192 - 112];  // with the segment header of 192 bytes: exactly one page
};

struct Registry {
  Heads heads;
  std::array<Slot, kSlots> slots;
};

}  // namespace brood::inline v1::registry
