#include "brood/lock.hpp"

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
sync::LockContext context_of(const detail::Object& object) { return {Kind::lock, object.id()}; }

}  // namespace

Lock::Lock(LockOptions options) : SharedObject(sync::create_lock(Kind::lock, {}, options)) {}
Lock Lock::create(std::string_view name, LockOptions options) {
  return Lock(sync::create_lock(Kind::lock, shm::given_name(name), options));
}
Lock Lock::open_or_create(std::string_view name, LockOptions options) {
  return Lock(sync::open_or_create_lock(Kind::lock, name, options));
}

void Lock::throw_owner_died() const { sync::throw_owner_died(body_of(object_), handle()); }

void Lock::lock() {
  if (!sync::acquire_at_once(body_of(object_))) [[unlikely]]
    (void)try_lock_before(Deadline::never());
}

bool Lock::try_lock_before(Deadline deadline) {
  switch (sync::acquire(body_of(object_), context_of(object_), deadline)) {
    case sync::Acquired::yes:
    case sync::Acquired::healed: return true;
    case sync::Acquired::timed_out: return false;
    case sync::Acquired::damaged: break;
  }
  throw_owner_died();
}

void Lock::unlock() {
  // Joined before the lock changes, although anybody may release: killed between that and the wake, it is our death
  // that wakes the sleepers, and only the death of one who has joined is noticed.
  (void)registry::self();
  if (!sync::release(body_of(object_))) [[unlikely]]
    throw_not_held();
}

void Lock::throw_not_held() const { throw ReleasedTooOften(handle().str() + ": unlock() of a lock that nobody holds"); }

bool Lock::locked() const {
  (void)registry::self();
  return sync::is_held(body_of(object_));
}

bool Lock::recover(const std::function<void()>& repair) {
  return sync::recover(body_of(object_), context_of(object_), repair);
}

std::ostream& operator<<(std::ostream& out, const Lock& lock) {
  (void)registry::self();
  return out << "<Lock " << lock.handle() << " owner=" << sync::owner_text(body_of(lock.object_)) << '>';
}

}  // namespace brood::inline v1
