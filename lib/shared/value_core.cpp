#include "brood/detail/value_core.hpp"

#include <cstring>

#include "brood/detail/copy_bytes.hpp"
#include "brood/error.hpp"
#include "os/files.hpp"
#include "registry/objects.hpp"
#include "shm/segment.hpp"
#include "sync/lock_body.hpp"

namespace brood::inline v1::detail {
namespace {

/// The lock, then the two copies, each on lines of its own.
struct ValueBody {
  sync::LockBody lock;
  alignas(64) std::atomic<std::uint32_t> current;  ///< which copy is the value; storing it is the commit
};
constexpr std::size_t kLine = 64;
static_assert(sizeof(ValueBody) == shm::smallest_body(Kind::value));

ValueBody& body_of(const Object& object) { return *static_cast<ValueBody*>(object.body()); }
sync::LockContext context_of(const Object& object) { return {Kind::value, object.id()}; }

std::size_t copy_bytes(const Object& object) {
  const auto& header = shm::header_of(object.body());
  return (header.size_bytes - shm::kBodyOffset - sizeof(ValueBody)) / 2 / kLine * kLine;
}
std::byte* copy_at(const Object& object, std::uint32_t index) {
  return reinterpret_cast<std::byte*>(&body_of(object) + 1) + index * copy_bytes(object);
}

shm::Payload payload(const ValueCore::Type& type) { return {type.payload.fingerprint, type.payload.name()}; }

Object make(std::string_view name, const ValueCore::Type& type, const void* initial, bool open_existing) {
  const shm::CreateRequest request{.kind = Kind::value,
                                   .name = name,
                                   .body_bytes = sizeof(ValueBody) + 2 * os::round_up(type.size_bytes, kLine),
                                   .payload = payload(type)};
  const auto initialise = [&](void* memory) {
    auto* body = static_cast<ValueBody*>(memory);
    body->lock.policy.store(static_cast<std::uint32_t>(OwnerDeath::heal));
    detail::copy_bytes(reinterpret_cast<std::byte*>(body + 1), initial, type.size_bytes);
  };
  return open_existing ? registry::open_or_create(request, initialise) : registry::create(request, initialise);
}

}  // namespace

ValueCore ValueCore::create(const Type& type, const void* initial) { return ValueCore(make({}, type, initial, false)); }
ValueCore ValueCore::create_named(std::string_view name, const Type& type, const void* initial) {
  return ValueCore(make(shm::given_name(name), type, initial, false));
}
ValueCore ValueCore::open_or_create(std::string_view name, const Type& type, const void* initial) {
  return ValueCore(make(shm::given_name(name), type, initial, true));
}
ValueCore ValueCore::open(const Handle& handle, const Type& type) {
  return ValueCore(registry::open(handle, Kind::value, payload(type)));
}
ValueCore ValueCore::open_named(std::string_view name, const Type& type) {
  return ValueCore(registry::open_named(name, Kind::value, payload(type)));
}
bool remove_value(std::string_view name) { return shm::remove_named(name, Kind::value); }

void* ValueCore::begin(Deadline deadline) {
  ValueBody& body = body_of(object_);
  const std::uint32_t current = body.current.load(std::memory_order_relaxed);
  if (sync::held_by_caller(body.lock)) {
    // Only the owner thread touches the depth and, while it holds the lock, `current`.
    body.lock.depth.store(body.lock.depth.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return copy_at(object_, 1 - current);
  }
  if (sync::acquire(body.lock, context_of(object_), deadline) == sync::Acquired::timed_out) return nullptr;
  body.lock.depth.store(1, std::memory_order_relaxed);
  const std::uint32_t now = body.current.load(std::memory_order_relaxed);
  detail::copy_bytes(copy_at(object_, 1 - now), copy_at(object_, now), copy_bytes(object_));
  return copy_at(object_, 1 - now);
}

void ValueCore::commit() noexcept {
  ValueBody& body = body_of(object_);
  if (!sync::held_by_process(body.lock)) return;  // a forked child's copy of a guard: the change is the parent's
  const std::uint32_t depth = body.lock.depth.load(std::memory_order_relaxed);
  if (depth > 1) {
    body.lock.depth.store(depth - 1, std::memory_order_relaxed);
    return;
  }
  // SYNC value: release publishes the working copy together with its number; whoever takes over our lock after our
  // death reads either the old value or the whole new one.
  body.current.store(1 - body.current.load(std::memory_order_relaxed), std::memory_order_release);
  body.lock.depth.store(0, std::memory_order_relaxed);
  sync::release(body.lock);
}

void ValueCore::abandon() noexcept {
  ValueBody& body = body_of(object_);
  if (!sync::held_by_process(body.lock)) return;
  const std::uint32_t depth = body.lock.depth.load(std::memory_order_relaxed);
  body.lock.depth.store(depth - 1, std::memory_order_relaxed);
  if (depth == 1) sync::release(body.lock);
}

void ValueCore::read(void* into, std::size_t size_bytes) const {
  ValueBody& body = body_of(object_);
  if (sync::held_by_caller(body.lock)) {
    detail::copy_bytes(into, copy_at(object_, 1 - body.current.load(std::memory_order_relaxed)), size_bytes);
    return;
  }
  const sync::InternalGuard guard(body.lock, context_of(object_));
  detail::copy_bytes(into, copy_at(object_, body.current.load(std::memory_order_relaxed)), size_bytes);
}

bool ValueCore::locked() const {
  (void)registry::self();
  return sync::is_held(body_of(object_).lock);
}

}  // namespace brood::inline v1::detail
