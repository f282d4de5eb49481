// BarrierBody: the shared state of a Barrier. All changes are made under its lock; see README.md for the crash story.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "sync/lock_body.hpp"

namespace brood::inline v1::sync {

enum class Outcome : std::uint32_t { none = 0, passed = 1, broken = 2 };

/// One thread inside wait(). 16 bytes.
struct Arrival {
  std::atomic<Id> owner;             ///< kNobody = unused
  std::atomic<std::uint32_t> epoch;  ///< the pass it takes part in
  std::atomic<std::uint32_t> index;
  std::atomic<std::uint32_t> outcome;  ///< Outcome; none while it waits
};

/// One process that takes part.
struct Party {
  std::atomic<Id> owner;
  std::atomic<std::uint32_t> objects;  ///< Barrier objects of it that enrolled
};

inline constexpr std::uint32_t kPartyRecords = registry::kSlots;

struct BarrierBody {
  LockBody lock;
  alignas(64) os::Word bell;  ///< changes whenever a pass ends; all waiting threads sleep on it
  std::atomic<std::uint32_t> epoch;
  std::atomic<std::uint32_t> broken;
  std::atomic<std::uint32_t> action_runs;  ///< the last arriver of this epoch is inside the action
  /// epoch << 2 | Outcome: how a pass ended. Storing it is the commit; telling the arrivals comes after and can be
  /// redone.
  std::atomic<std::uint64_t> ended;
  std::atomic<std::uint32_t> arrivals_used;
  std::atomic<std::uint32_t> parties_used;
  std::uint32_t parties;
  std::uint32_t arrivals_capacity;
  std::int64_t timeout_ns;  ///< −1 = none
  char action[320];         ///< place of the action in the program, as text; empty = none
  std::array<Party, kPartyRecords> party;
  // Arrival arrivals[arrivals_capacity] follows.

  [[nodiscard]] Arrival* arrivals() noexcept { return reinterpret_cast<Arrival*>(this + 1); }
};

constexpr std::uint32_t arrivals_for(std::uint32_t parties) noexcept { return 2 * parties + 64; }

}  // namespace brood::inline v1::sync
