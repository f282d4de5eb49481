#include "brood/rlock.hpp"

#include <limits>
#include <ostream>

#include "brood/error.hpp"
#include "shm/segment.hpp"
#include "sync/create_lock.hpp"
#include "sync/lock_body.hpp"
#include "sync/lock_print.hpp"
#include "sync/recover.hpp"

namespace brood::inline v1 {
namespace {

sync::LockBody& body_of(const detail::Object& object) { return *static_cast<sync::LockBody*>(object.body()); }
sync::LockContext context_of(const detail::Object& object) { return {Kind::rlock, object.id()}; }

}  // namespace

RLock::RLock(LockOptions options) : SharedObject(sync::create_lock(Kind::rlock, {}, options)) {}
RLock RLock::create(std::string_view name, LockOptions options) {
  return RLock(sync::create_lock(Kind::rlock, shm::given_name(name), options));
}
RLock RLock::open_or_create(std::string_view name, LockOptions options) {
  return RLock(sync::open_or_create_lock(Kind::rlock, name, options));
}

void RLock::throw_owner_died() const { sync::throw_owner_died(body_of(object_), handle()); }

void RLock::lock() { (void)try_lock_before(Deadline::never()); }

bool RLock::try_lock_before(Deadline deadline) {
  sync::LockBody& body = body_of(object_);
  if (sync::held_by_caller(body)) {
    // Only the owner thread writes the depth, so plain loads and stores of its own do.
    const std::uint32_t depth = body.depth.load(std::memory_order_relaxed);
    if (depth == std::numeric_limits<std::uint32_t>::max())
      throw UsageError(handle().str() + ": locked too many times by one thread");
    body.depth.store(depth + 1, std::memory_order_relaxed);
    return true;
  }
  switch (sync::acquire(body, context_of(object_), deadline)) {
    case sync::Acquired::yes:
    case sync::Acquired::healed: body.depth.store(1, std::memory_order_relaxed); return true;
    case sync::Acquired::timed_out: return false;
    case sync::Acquired::damaged: break;
  }
  throw_owner_died();
}

void RLock::throw_not_held() const {
  throw NotOwner(handle().str() +
                 ": unlock() by a thread that does not hold it (owner: " + sync::owner_text(body_of(object_)) + ")");
}

void RLock::unlock() {
  sync::LockBody& body = body_of(object_);
  if (!sync::held_by_caller(body)) [[unlikely]]
    throw_not_held();
  const std::uint32_t depth = body.depth.load(std::memory_order_relaxed);
  if (depth > 1) {
    body.depth.store(depth - 1, std::memory_order_relaxed);
    return;
  }
  body.depth.store(0, std::memory_order_relaxed);
  sync::release(body);
}

bool RLock::locked() const {
  (void)registry::self();
  return sync::is_held(body_of(object_));
}

std::uint32_t RLock::depth() const {
  const sync::LockBody& body = body_of(object_);
  return sync::held_by_caller(body) ? body.depth.load(std::memory_order_relaxed) : 0;
}

bool RLock::recover(const std::function<void()>& repair) {
  return sync::recover(body_of(object_), context_of(object_), repair);
}

std::ostream& operator<<(std::ostream& out, const RLock& lock) {
  (void)registry::self();
  return out << "<RLock " << lock.handle() << " owner=" << sync::owner_text(body_of(lock.object_))
             << " depth=" << body_of(lock.object_).depth.load() << '>';
}

}  // namespace brood::inline v1
