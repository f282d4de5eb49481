// LockBody: the lock inside every shared object — Lock and RLock are one each, queues and conditions hold some.
#pragma once

#include <atomic>
#include <cstdint>

#include "brood/deadline.hpp"
#include "brood/handle.hpp"
#include "brood/lock.hpp"
#include "registry/registry.hpp"

namespace brood::inline v1::sync {

using registry::Id;

/// The lock word: who holds it, in one 64-bit word, so that process and thread change together.
///
///   63 ......... 32   31   30   29 ......... 0
///   tid of the owner   W    D    Id of the owner
///
///   W D owner   state                        lock()                         unlock()
///   0 0 0       free                         CAS to (tid, me)               ReleasedTooOften
///   0 0 p       held, nobody sleeps          set W, sleep                   CAS to free
///   1 0 p       held, somebody may sleep     sleep                          CAS to free, wake one
///   - 0 dead    owner died                   heal: CAS to (tid, W, me)      ReleasedTooOften
///                                            report: CAS to (D, dead), wake all, OwnerDied
///   - 1 dead    reported, not recovered      OwnerDied                      ReleasedTooOften
///
/// With D, the high half is the pid of the dead owner: its slot may be another's by the time somebody asks.
///
/// The kernel's futex is the low half.
struct alignas(64) LockBody {
  std::atomic<std::uint64_t> word;
  std::atomic<std::uint32_t> policy;     ///< OwnerDeath
  std::atomic<std::uint32_t> depth;      ///< RLock: how often its owner holds it; written by the owner only
  std::atomic<std::uint64_t> recovered;  ///< owner deaths healed or repaired so far
};
static_assert(sizeof(LockBody) == 64);

inline constexpr std::uint32_t kWaiters = 1U << 31;
inline constexpr std::uint32_t kDamaged = 1U << 30;

constexpr Id owner_of(std::uint64_t word) noexcept { return static_cast<Id>(word) & registry::kIdMask; }
constexpr std::uint32_t tid_of(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word >> 32); }
constexpr std::uint64_t held_by(Id me, std::uint32_t tid) noexcept {
  return static_cast<std::uint64_t>(tid) << 32 | me;
}

/// The half of a 64-bit word that the kernel compares and sleeps on.
inline os::Word& low_half(std::atomic<std::uint64_t>& word) noexcept {
  static_assert(sizeof(word) == 8, "the futex is the first half of a little-endian word");
  return *reinterpret_cast<os::Word*>(&word);
}

enum class Acquired : std::uint8_t { yes, healed, damaged, timed_out };

/// For whom the sleeper's record says that we wait.
struct LockContext {
  Kind kind = Kind::lock;
  std::uint64_t object = 0;
};

/// The word of a lock whose owner died.
std::uint64_t damaged_by(Id dead) noexcept;
/// pid of the owner, alive or dead; 0 if it is not known any more.
std::int64_t owner_pid(std::uint64_t word) noexcept;

/// `to_repair`: if not null, the caller repairs. A damaged lock is then taken (Acquired::healed) instead of reported,
/// and this becomes the word that marks it as damaged.
Acquired acquire_slow(LockBody& lock, const LockContext& context, Deadline deadline, std::uint64_t* to_repair);

inline bool acquire_fast(LockBody& lock, Id me, std::uint32_t tid) noexcept {
  std::uint64_t free = 0;
  // SYNC lock: acquire pairs with the release in release_fast and release_slow.
  return lock.word.compare_exchange_strong(free, held_by(me, tid), std::memory_order_acquire,
                                           std::memory_order_relaxed);
}

/// The whole of the uncontended case.
inline bool acquire_at_once(LockBody& lock) {
  const Id me = registry::self();
  return acquire_fast(lock, me, registry::self_tid(me));
}

inline Acquired acquire(LockBody& lock, const LockContext& context, Deadline deadline) {
  if (acquire_at_once(lock)) [[likely]]
    return Acquired::yes;
  return acquire_slow(lock, context, deadline, nullptr);
}

/// We were woken, or might have been, and go without the lock: the wake-up belongs to somebody else.
void pass_wake_on(LockBody& lock) noexcept;

/// False if the lock was not held by anybody (or is damaged): misuse.
bool release_slow(LockBody& lock) noexcept;

inline bool release(LockBody& lock) noexcept {
  const Id me = registry::self_if_joined();
  std::uint64_t mine = held_by(me, registry::self_tid(me));
  if (me != registry::kNobody &&
      lock.word.compare_exchange_strong(mine, 0, std::memory_order_release, std::memory_order_relaxed)) [[likely]] {
    return true;
  }
  return release_slow(lock);
}

/// Held by the calling thread of this process.
inline bool held_by_caller(const LockBody& lock) noexcept {
  const Id me = registry::self_if_joined();
  const std::uint64_t word = lock.word.load(std::memory_order_relaxed);
  return me != registry::kNobody && owner_of(word) == me && (word & kDamaged) == 0 &&
         tid_of(word) == registry::self_tid(me);
}

/// Held by some thread of this process: what a guard's end has to ask, of which a forked child may have a copy.
inline bool held_by_process(const LockBody& lock) noexcept {
  const Id me = registry::self_if_joined();
  const std::uint64_t word = lock.word.load(std::memory_order_relaxed);
  return me != registry::kNobody && owner_of(word) == me && (word & kDamaged) == 0;
}

/// Held by somebody alive.
inline bool is_held(const LockBody& lock) noexcept {
  const std::uint64_t word = lock.word.load(std::memory_order_acquire);
  const Id owner = owner_of(word);
  return owner != registry::kNobody && (word & kDamaged) == 0 && registry::is_there(owner);
}

/// A lock that brood itself holds for an instant. Its owner's death is healed; `healed()` says whether to repair.
class InternalGuard {
 public:
  InternalGuard(LockBody& lock, const LockContext& context)
      : lock_(lock), healed_(acquire(lock, context, Deadline::never()) == Acquired::healed) {}
  ~InternalGuard() { release(lock_); }
  InternalGuard(const InternalGuard&) = delete;
  InternalGuard& operator=(const InternalGuard&) = delete;
  [[nodiscard]] bool healed() const noexcept { return healed_; }

 private:
  LockBody& lock_;
  bool healed_;
};

}  // namespace brood::inline v1::sync
