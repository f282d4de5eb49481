// SemaphoreBody: a counter whose every change is one compare-and-swap that carries its own journal.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "brood/deadline.hpp"
#include "brood/detail/wait_source.hpp"
#include "brood/handle.hpp"
#include "registry/registry.hpp"
#include "sync/lock_body.hpp"

namespace brood::inline v1::sync {

/// How many permits one process holds, for those that return when it dies: held by a bounded semaphore's acquirer, or
/// by a Permit. `value` is version (32) | held (32); each change adds one to the version.
struct Tally {
  std::atomic<Id> owner;
  std::uint32_t reserved;
  std::atomic<std::uint64_t> value;
};

inline constexpr std::uint32_t kTallies = 1024;
inline constexpr std::uint32_t kMaxCount = (1U << 31) - 1;

/// The control word:
///
///   63 ....... 44   43 ..... 34   33 32   31   30 ........ 0
///   tally version    tally          op     W    count
///
/// A change of count that belongs to a tally cannot be one step, for the tally lies elsewhere. So the step on the
/// control word says which tally is to change and how ("op"), and to which version; whoever comes next finishes it
/// before it does anything of its own. Finishing is one compare-and-swap on the tally, from the version before to the
/// version in the journal: many may try, one succeeds, none does it twice. A killing between the two steps therefore
/// loses nothing.
///
///   op       on the tally
///   none     nothing: a change without a tally
///   take     held + 1
///   give     held − 1
///   restore  held := 0, all of a dead process's permits went back to the count
///
/// A word could recur unnoticed only while somebody is stopped between two instructions during exactly 2^20 changes of
/// one tally that also end at the same count.
struct SemaphoreBody {
  alignas(64) std::atomic<std::uint64_t> word;
  std::uint32_t bound;  ///< of a bounded semaphore; kMaxCount otherwise
  std::atomic<std::uint32_t> tallies_used;
  alignas(64) std::array<Tally, kTallies> tallies;
};
/// Enough for the first page; further tallies are reserved when they are first used.
inline constexpr std::size_t kSemaphoreReserved = 64;

/// For whom permits are taken and given.
enum class Account : std::uint8_t {
  none,   ///< anybody may give them back, nothing returns by itself (Semaphore)
  owned,  ///< they belong to this process and return when it dies (BoundedSemaphore, Permit)
};

class SemaphoreCore {
 public:
  SemaphoreCore(SemaphoreBody& body, Kind kind, std::uint64_t object) noexcept
      : body_(body), object_(object), kind_(kind) {}

  /// False if the deadline passed first. Errors: OsError if more than kTallies living processes hold permits.
  bool acquire(Account account, Deadline deadline);
  enum class Released : std::uint8_t { yes, at_ceiling, not_held };
  /// `not_held`: the permits outstanding on a bounded semaphore are all in, or this process holds no Permit.
  Released release(Account account, bool any_owner);
  /// For a wait for many: false if there is none, with the word to sleep on.
  bool watch(detail::WaitSource::Bell& bell);
  /// Somebody was woken, or might have been, and takes nothing.
  void pass_wake_on() noexcept;
  void look_round() noexcept;
  /// Permits free now, counting those of processes known to be dead.
  std::uint32_t value();

 private:
  std::uint32_t claim_tally();
  bool restore_dead();
  void finish(std::uint64_t word) noexcept;
  std::uint64_t settled() noexcept;
  bool find_giver(Id me, bool any_owner, std::uint32_t& index) noexcept;

  SemaphoreBody& body_;
  std::uint64_t object_;
  Kind kind_;
};

}  // namespace brood::inline v1::sync
