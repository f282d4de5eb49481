#include "brood/shared_memory_manager.hpp"

#include <unistd.h>

#include <atomic>
#include <ostream>
#include <string>

#include "brood/error.hpp"
#include "registry/objects.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1 {
namespace {

/// A segment of kind memory that holds no bytes of anybody: its payload says so.
struct alignas(64) ManagerBody {
  std::atomic<std::uint32_t> is_shut_down;
  std::atomic<std::uint64_t> made;  ///< number of the next link
};
static_assert(sizeof(ManagerBody) == shm::smallest_body(Kind::memory));

shm::Payload payload() { return {0x6d6d73'646f6f72'62ULL, "SharedMemoryManager"}; }
ManagerBody& body_of(const detail::Object& object) { return *static_cast<ManagerBody*>(object.body()); }

}  // namespace

SharedMemoryManager SharedMemoryManager::started() {
  SharedMemoryManager manager;
  manager.start();
  return manager;
}

SharedMemoryManager SharedMemoryManager::open(const Handle& handle) {
  return SharedMemoryManager(registry::open(handle, Kind::memory, payload()));
}

SharedMemoryManager& SharedMemoryManager::operator=(SharedMemoryManager&& other) noexcept {
  if (this == &other) return *this;
  end();
  object_ = std::move(other.object_);
  starter_ = std::exchange(other.starter_, 0);
  return *this;
}
SharedMemoryManager::~SharedMemoryManager() { end(); }

void SharedMemoryManager::start() {
  if (object_) throw UsageError("the shared memory manager " + handle().str() + " was started already; make another");
  object_ = registry::create({.kind = Kind::memory, .body_bytes = sizeof(ManagerBody), .payload = payload()},
                             [](void* body) { shm::header_of(body).may_have_pins.store(1); });
  starter_ = ::getpid();
}

void SharedMemoryManager::shutdown() {
  if (!object_) return;
  if (starter_ != ::getpid()) {
    throw UsageError("the shared memory manager " + handle().str() +
                     " can be shut down by the process that started it only");
  }
  end();
}

/// The objects' files go, then their links. Killed in between, the rest goes with our segment.
void SharedMemoryManager::end() noexcept {
  if (!object_ || starter_ != ::getpid()) return;
  ManagerBody& body = body_of(object_);
  // SYNC manager-end: before the links are listed; whoever makes one looks here after it has linked it.
  if (body.is_shut_down.exchange(1) == 0) shm::retire_pinned(object_.id());
}

bool SharedMemoryManager::is_running() const { return object_ && body_of(object_).is_shut_down.load() == 0; }

void SharedMemoryManager::check_running() const {
  if (!object_) {
    throw NotStarted(
        "this shared memory manager has not been started (or was moved from): call start(), or make it by started()");
  }
  if (!is_running()) throw UsageError("the shared memory manager " + handle().str() + " was shut down; start another");
}

void SharedMemoryManager::keep(const Handle& made) {
  const std::uint64_t number = body_of(object_).made.fetch_add(1);
  shm::pin(object_.id(), number, made);
  // SYNC manager-end: shut down meanwhile, and perhaps our link came too late to be seen.
  if (is_running()) return;
  shm::unpin(object_.id(), number, made);
  check_running();
}

SharedMemory SharedMemoryManager::shared_memory(std::int64_t size_bytes, MemoryOptions options) {
  check_running();
  SharedMemory made(size_bytes, options);
  keep(made.handle());
  return made;
}

ShareableList SharedMemoryManager::shareable_list(std::span<const ShareableList::Item> items,
                                                  ShareableListOptions options) {
  check_running();
  ShareableList made(items, options);
  keep(made.handle());
  return made;
}

Handle SharedMemoryManager::handle() const {
  if (!object_) check_running();
  return object_.handle();
}

std::ostream& operator<<(std::ostream& out, const SharedMemoryManager& manager) {
  out << "<SharedMemoryManager ";
  if (!manager.object_) return out << "not started>";
  return out << manager.handle() << (manager.is_running() ? " running>" : " shut down>");
}

}  // namespace brood::inline v1
