#include "sync/recover.hpp"

#include "absl/cleanup/cleanup.h"

namespace brood::inline v1::sync {
namespace {

/// Whether the lock needs a repairer: damaged, or held by somebody who is gone.
bool is_orphaned(const LockBody& lock) noexcept {
  const std::uint64_t word = lock.word.load(std::memory_order_acquire);
  return owner_of(word) != registry::kNobody && ((word & kDamaged) != 0 || !registry::is_alive(owner_of(word)));
}

/// Puts the mark of the dead owner back: the repair did not happen.
void mark_again(LockBody& lock, std::uint64_t mark) noexcept {
  lock.word.store(mark);
  os::futex_wake_all(low_half(lock.word));
}

}  // namespace

bool recover(LockBody& lock, const LockContext& context, const std::function<void()>& repair) {
  const Id me = registry::self();
  const std::uint64_t before = lock.word.load();
  // A holder that lives may be the one who repairs: wait for it, then see.
  if (!is_orphaned(lock) && (owner_of(before) == registry::kNobody || owner_of(before) == me)) return false;
  std::uint64_t mark = 0;
  if (acquire_slow(lock, context, Deadline::never(), &mark) != Acquired::healed) {
    release(lock);
    return false;
  }
  lock.depth.store(1, std::memory_order_relaxed);
  // If we die in here, the lock is owned by a dead process, which is the same mark.
  absl::Cleanup not_repaired = [&] { mark_again(lock, mark); };
  repair();
  std::move(not_repaired).Cancel();
  lock.depth.store(0, std::memory_order_relaxed);
  lock.recovered.fetch_add(1, std::memory_order_relaxed);
  release_slow(lock);
  return true;
}

}  // namespace brood::inline v1::sync
