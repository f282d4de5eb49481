// A lock that its owner thread may take again: RLock, and the locks inside of arrays.
#pragma once

#include "brood/deadline.hpp"
#include "brood/detail/object.hpp"
#include "sync/lock_body.hpp"

namespace brood::inline v1::sync {

/// Takes the lock, or takes it once more. False after the deadline.
/// `object`: the one whose lock it is, for messages. Errors: OwnerDied, UsageError (2³²−1 times).
bool lock_recursive(LockBody& lock, const LockContext& context, Deadline deadline, const detail::Object& object);

/// One level less; free at zero. The caller is the owner, or stands for it: a guard may be moved to another thread.
inline void unlock_recursive(LockBody& lock) noexcept {
  const std::uint32_t depth = lock.depth.load(std::memory_order_relaxed);
  if (depth > 1) {
    lock.depth.store(depth - 1, std::memory_order_relaxed);
    return;
  }
  lock.depth.store(0, std::memory_order_relaxed);
  release(lock);
}

}  // namespace brood::inline v1::sync
