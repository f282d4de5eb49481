#include "brood/detail/atomic_core.hpp"

#include <cstring>

#include "os/futex.hpp"
#include "registry/objects.hpp"
#include "registry/sleeper.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::detail {
namespace {

/// The value may be of a size that no futex has, and its every bit is the user's: so there is a bell beside it,
/// notifications (31) | somebody may sleep (1).
struct alignas(64) AtomicBody {
  alignas(8) std::byte value[AtomicCore::kMostBytes];
  os::Word bell;
};
static_assert(sizeof(AtomicBody) == shm::smallest_body(Kind::atomic));
constexpr std::uint32_t kSleepers = 1;
constexpr std::uint32_t kNotification = 2;

AtomicBody& body_of(const Object& object) { return *static_cast<AtomicBody*>(object.body()); }
shm::Payload payload(const PayloadType& type) { return {type.fingerprint, type.name()}; }

Object make(std::string_view name, const PayloadType& type, const void* initial, std::size_t size_bytes,
            bool open_existing) {
  const shm::CreateRequest request{
      .kind = Kind::atomic, .name = name, .body_bytes = sizeof(AtomicBody), .payload = payload(type)};
  const auto initialise = [&](void* body) { std::memcpy(static_cast<AtomicBody*>(body)->value, initial, size_bytes); };
  return open_existing ? registry::open_or_create(request, initialise) : registry::create(request, initialise);
}

}  // namespace

AtomicCore AtomicCore::create(const PayloadType& type, const void* initial, std::size_t size_bytes) {
  return AtomicCore(make({}, type, initial, size_bytes, false));
}
AtomicCore AtomicCore::create_named(std::string_view name, const PayloadType& type, const void* initial,
                                    std::size_t size_bytes) {
  return AtomicCore(make(shm::given_name(name), type, initial, size_bytes, false));
}
AtomicCore AtomicCore::open_or_create(std::string_view name, const PayloadType& type, const void* initial,
                                      std::size_t size_bytes) {
  return AtomicCore(make(shm::given_name(name), type, initial, size_bytes, true));
}
AtomicCore AtomicCore::open(const Handle& handle, const PayloadType& type) {
  return AtomicCore(registry::open(handle, Kind::atomic, payload(type)));
}
AtomicCore AtomicCore::open_named(std::string_view name, const PayloadType& type) {
  return AtomicCore(registry::open_named(name, Kind::atomic, payload(type)));
}
bool remove_atomic(std::string_view name) { return shm::remove_named(name, Kind::atomic); }

void* AtomicCore::to_write() {
  AtomicBody& body = body_of(object_);
  (void)registry::self();
  return body.value;
}

bool AtomicCore::wait_before(const std::function<bool()>& has_changed, Deadline deadline) const {
  os::Word& bell = body_of(object_).bell;
  if (has_changed()) return true;
  if (deadline.is_poll()) return false;
  registry::Sleeper sleeper(registry::Operation::wait, Kind::atomic, object_.id(), deadline);
  for (;;) {
    const std::uint32_t deaths = registry::Sleeper::deaths();
    // SYNC atomic-bell: acquire and release, as in notify_…(). Either that finds our mark, and wakes us; or it came
    // before our mark, which read its count, and then we see the change that came before it.
    const std::uint32_t seen = bell.fetch_or(kSleepers, std::memory_order_acq_rel) | kSleepers;
    if (has_changed()) return true;
    if (sleeper.sleep(bell, seen, deaths) == registry::Sleeper::Woken::timed_out) return has_changed();
  }
}

void AtomicCore::notify_one() {
  (void)registry::self();
  os::Word& bell = body_of(object_).bell;
  // SYNC atomic-bell. The mark stays for those who sleep on.
  if ((bell.fetch_add(kNotification, std::memory_order_acq_rel) & kSleepers) != 0) os::futex_wake(bell, 1);
}

void AtomicCore::notify_all() {
  (void)registry::self();
  os::Word& bell = body_of(object_).bell;
  std::uint32_t before = bell.load(std::memory_order_relaxed);
  // SYNC atomic-bell. The mark goes: who comes now marks it again.
  while (!bell.compare_exchange_weak(before, (before & ~kSleepers) + kNotification, std::memory_order_acq_rel,
                                     std::memory_order_relaxed)) {}
  if ((before & kSleepers) != 0) os::futex_wake_all(bell);
}

}  // namespace brood::inline v1::detail
