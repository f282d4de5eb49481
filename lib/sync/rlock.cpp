#include "brood/rlock.hpp"

#include <ostream>

#include "brood/error.hpp"
#include "shm/segment.hpp"
#include "sync/create_lock.hpp"
#include "sync/lock_body.hpp"
#include "sync/lock_print.hpp"
#include "sync/recover.hpp"
#include "sync/recursive.hpp"

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

void RLock::lock() { (void)try_lock_before(Deadline::never()); }

bool RLock::try_lock_before(Deadline deadline) {
  return sync::lock_recursive(body_of(object_), context_of(object_), deadline, object_);
}

void RLock::throw_not_held() const {
  throw NotOwner(handle().str() +
                 ": unlock() by a thread that does not hold it (owner: " + sync::owner_text(body_of(object_)) + ")");
}

void RLock::unlock() {
  sync::LockBody& body = body_of(object_);
  if (!sync::held_by_caller(body)) [[unlikely]]
    throw_not_held();
  sync::unlock_recursive(body);
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
