#include "sync/recursive.hpp"

#include <limits>

#include "brood/error.hpp"
#include "sync/lock_print.hpp"

namespace brood::inline v1::sync {

bool lock_recursive(LockBody& lock, const LockContext& context, Deadline deadline, const detail::Object& object) {
  if (held_by_caller(lock)) {
    // Only the owner thread writes the depth, so plain loads and stores of its own do.
    const std::uint32_t depth = lock.depth.load(std::memory_order_relaxed);
    if (depth == std::numeric_limits<std::uint32_t>::max())
      throw UsageError(object.handle().str() + ": locked too many times by one thread");
    lock.depth.store(depth + 1, std::memory_order_relaxed);
    return true;
  }
  switch (acquire(lock, context, deadline)) {
    case Acquired::yes:
    case Acquired::healed: lock.depth.store(1, std::memory_order_relaxed); return true;
    case Acquired::timed_out: return false;
    case Acquired::damaged: break;
  }
  throw_owner_died(lock, object.handle());
}

}  // namespace brood::inline v1::sync
