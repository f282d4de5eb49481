#include "brood/detail/array_core.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <ostream>
#include <string>

#include "brood/detail/copy_bytes.hpp"
#include "brood/error.hpp"
#include "registry/objects.hpp"
#include "shm/segment.hpp"
#include "sync/lock_body.hpp"
#include "sync/lock_print.hpp"
#include "sync/recover.hpp"
#include "sync/recursive.hpp"

namespace brood::inline v1::detail {
namespace {

constexpr std::size_t kMostName = 120;

/// The lock, then what the elements are, then which lock was given; the elements begin on the next line.
struct ArrayBody {
  sync::LockBody lock;
  std::uint64_t count;
  std::uint64_t element_bytes;
  std::uint32_t lock_use;         ///< LockUse
  std::uint32_t given_name_size;  ///< LockUse::given: its handle
  std::uint64_t given_id;
  alignas(64) std::array<char, 2 * ArrayCore::kAlignment> given_name;
};
static_assert(sizeof(ArrayBody) == ArrayCore::kElementsOffset && sizeof(ArrayBody) == shm::smallest_body(Kind::array));
static_assert(kMostName <= sizeof(ArrayBody::given_name));

ArrayBody& body_of(const Object& object) { return *static_cast<ArrayBody*>(object.body()); }

shm::Payload payload(const ArrayCore::Type& type) { return {type.payload.fingerprint, type.payload.name()}; }

/// Of an array that nobody can have room for: the most there is, so that making it says NoSpace.
std::size_t bytes_of(std::size_t count, std::size_t element_bytes) {
  constexpr std::size_t kMost = std::numeric_limits<std::int64_t>::max();
  return count > kMost / element_bytes ? kMost : count * element_bytes;
}

void check_given(const RLock& lock, bool named) {
  if (named && lock.handle().name().empty()) {
    throw UsageError("an array with a name lives until remove(), so the lock given to it must have a name too: make " +
                     lock.handle().str() + " with RLock::create()");
  }
}

[[noreturn]] void throw_damaged(const Object& object, const std::string& how) {
  throw TypeMismatch(object.handle().str() + ": its segment is damaged (" + how + "); remove it");
}

/// The handle of the lock that this array was made with.
Handle given_lock_of(const Object& object, const ArrayBody& body) {
  const std::size_t size = body.given_name_size;
  const std::string name(body.given_name.data(), std::min(size, kMostName));
  if (size > kMostName || (size != 0 && !is_valid_name(name))) throw_damaged(object, "its lock has no valid name");
  return {Kind::rlock, body.given_id, name};
}

}  // namespace

// --- making and opening ----------------------------------------------------------------------------------------------

ArrayCore ArrayCore::make(const Type& type, const Plan& plan) {
  if (plan.count < 0) {
    throw UsageError("an array cannot have " + std::to_string(plan.count) + " elements; its size must be 0 or more");
  }
  const auto count = static_cast<std::size_t>(plan.count);
  if (plan.given != nullptr) check_given(*plan.given, plan.named);
  const std::size_t bytes = bytes_of(count, type.element_bytes);
  const shm::CreateRequest request{.kind = Kind::array,
                                   .name = plan.named ? shm::given_name(plan.name) : std::string_view(),
                                   .body_bytes = sizeof(ArrayBody) + bytes,
                                   .payload = payload(type)};
  const LockUse use = plan.raw ? LockUse::none : plan.given != nullptr ? LockUse::given : LockUse::own;
  const auto initialise = [&](void* memory) {
    auto& body = *static_cast<ArrayBody*>(memory);
    body.lock.policy.store(static_cast<std::uint32_t>(plan.on_owner_death));
    body.count = count;
    body.element_bytes = type.element_bytes;
    body.lock_use = static_cast<std::uint32_t>(use);
    if (use == LockUse::given) {
      const Handle lock = plan.given->handle();
      body.given_id = lock.id();
      body.given_name_size = static_cast<std::uint32_t>(lock.name().copy(body.given_name.data(), kMostName));
      if (lock.name().empty()) shm::header_of(memory).may_have_pins.store(1, std::memory_order_relaxed);
    }
    if (plan.initial != nullptr) copy_bytes(&body + 1, plan.initial, bytes);
  };
  ArrayCore made(
      plan.open_existing ? registry::open_or_create(request, initialise) : registry::create(request, initialise), type,
      plan.raw ? As::raw : As::locked);
  if (made.size() != count) {
    throw TypeMismatch(made.handle().str() + " has " + std::to_string(made.size()) + " elements, " +
                       std::to_string(count) + " were expected; open it with open_named(), or remove() it first");
  }
  // As long as the array exists, so does its lock: also while nobody has either open and a message has the array's
  // handle.
  if (use == LockUse::given) shm::pin(made.object_.id(), 0, plan.given->handle());
  return made;
}

ArrayCore ArrayCore::open(const Handle& handle, const Type& type, As as) {
  const auto access = as == As::read_only ? shm::Access::read_only : shm::Access::read_write;
  return {registry::open(handle, Kind::array, payload(type), access), type, as};
}
ArrayCore ArrayCore::open_named(std::string_view name, const Type& type, As as) {
  const auto access = as == As::read_only ? shm::Access::read_only : shm::Access::read_write;
  return {registry::open_named(name, Kind::array, payload(type), access), type, as};
}
bool remove_array(std::string_view name) { return shm::remove_named(name, Kind::array); }

/// Reads what lies in the segment once and believes it no further than the mapping goes.
ArrayCore::ArrayCore(Object object, const Type& type, As as) : object_(std::move(object)) {
  const ArrayBody& body = body_of(object_);
  const std::uint64_t count = body.count;
  if (body.element_bytes != type.element_bytes) {
    throw_damaged(object_, "it says that an element has " + std::to_string(body.element_bytes) + " bytes, not " +
                               std::to_string(type.element_bytes));
  }
  const std::size_t room = shm::header_of(object_.body()).size_bytes - shm::kBodyOffset - sizeof(ArrayBody);
  if (count > room / type.element_bytes) {
    throw_damaged(object_, "it says that it has " + std::to_string(count) + " elements, and there is room for " +
                               std::to_string(room / type.element_bytes));
  }
  size_ = count;
  const auto use = static_cast<LockUse>(body.lock_use);
  if (use > LockUse::given) throw_damaged(object_, "it does not say where its lock is");
  if (as == As::read_only) return;
  if ((use == LockUse::none) != (as == As::raw)) {
    throw TypeMismatch(object_.handle().str() + (use == LockUse::none
                                                     ? " was made without a lock; open it as a RawArray or RawValue"
                                                     : " has a lock; open it as an Array, whose span() is raw"));
  }
  has_lock_ = use != LockUse::none;
  if (use != LockUse::given) return;
  const Handle lock = given_lock_of(object_, body);
  try {
    given_lock_ = registry::open(lock, Kind::rlock);
  } catch (const HandleError& error) {
    throw HandleError(object_.handle().str() + ": the lock given to it cannot be opened: " + error.what());
  }
}

// --- the lock --------------------------------------------------------------------------------------------------------

namespace {

struct LockPlace {
  sync::LockBody& lock;
  sync::LockContext context;
  const Object& object;
};
LockPlace lock_of(const Object& array, const Object& given) {
  if (given) return {*static_cast<sync::LockBody*>(given.body()), {Kind::rlock, given.id()}, given};
  return {body_of(array).lock, {Kind::array, array.id()}, array};
}

}  // namespace

bool ArrayCore::lock_before(Deadline deadline, ArrayHold& hold) const {
  const LockPlace place = lock_of(object_, given_lock_);
  if (!sync::lock_recursive(place.lock, place.context, deadline, place.object)) return false;
  hold = ArrayHold(&place.lock);
  return true;
}

void ArrayHold::release() noexcept {
  auto* const lock = static_cast<sync::LockBody*>(std::exchange(lock_, nullptr));
  // In a forked child this is a copy; what it stands for is the parent's.
  if (lock != nullptr && sync::held_by_process(*lock)) sync::unlock_recursive(*lock);
}

bool ArrayCore::locked() const {
  (void)registry::self();
  return sync::is_held(lock_of(object_, given_lock_).lock);
}

bool ArrayCore::recover(const std::function<void()>& repair) const {
  const LockPlace place = lock_of(object_, given_lock_);
  return sync::recover(place.lock, place.context, repair);
}

void ArrayCore::print(std::ostream& out, std::string_view word, const PayloadType& payload) const {
  out << '<' << word << ' ' << handle() << " of " << size() << ' ' << payload.name();
  if (has_lock_) out << " owner=" << sync::owner_text(lock_of(object_, given_lock_).lock);
  out << '>';
}

// --- places ----------------------------------------------------------------------------------------------------------

namespace {

std::string elements(std::size_t count) { return std::to_string(count) + (count == 1 ? " element" : " elements"); }

}  // namespace

void ArrayCore::throw_index(std::int64_t given) const {
  throw UsageError(handle().str() + " has " + elements(size()) + ", there is none at index " + std::to_string(given) +
                   "; valid are 0 to size()-1, and -1 to -size() from the end");
}

ArrayCore::Slice ArrayCore::slice(std::int64_t from, std::int64_t to) const {
  const auto count = static_cast<std::int64_t>(size());
  const auto inside = [&](std::int64_t at) { return std::clamp<std::int64_t>(at < 0 ? at + count : at, 0, count); };
  const std::int64_t first = inside(from);
  return {static_cast<std::size_t>(first), static_cast<std::size_t>(std::max<std::int64_t>(inside(to) - first, 0))};
}

std::size_t ArrayCore::index_for(std::int64_t from, std::size_t count) const {
  const auto all = static_cast<std::int64_t>(size());
  const std::int64_t first = from < 0 ? from + all : from;
  if (first < 0 || first > all || count > static_cast<std::size_t>(all - first)) {
    throw UsageError(handle().str() + " has " + elements(size()) + ": " + std::to_string(count) +
                     " do not fit in at index " + std::to_string(from) + "; nothing was changed");
  }
  return static_cast<std::size_t>(first);
}

void ArrayCore::throw_slice_length(std::int64_t from, std::int64_t to, std::size_t wanted, std::size_t given) const {
  throw UsageError(handle().str() + ": the slice from " + std::to_string(from) + " to " + std::to_string(to) + " has " +
                   elements(wanted) + ", it cannot be assigned " + std::to_string(given) +
                   "; the size of an array does not change");
}
void ArrayCore::throw_text_length(std::size_t given) const {
  throw UsageError(handle().str() + " has room for " + std::to_string(size()) + " characters, the text has " +
                   std::to_string(given) + "; nothing was changed");
}
void ArrayCore::throw_damaged_element() const { throw_damaged(object_, "a bool in it is neither true nor false"); }

}  // namespace brood::inline v1::detail
