#include "brood/detail/memory_core.hpp"

#include <ostream>
#include <string>

#include "brood/error.hpp"
#include "brood/shared_memory.hpp"
#include "os/files.hpp"
#include "registry/objects.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::detail {
namespace {

/// A line in front of the bytes.
struct alignas(64) MemoryBody {
  std::uint64_t size_bytes;  ///< as asked for
  std::uint32_t huge_pages;  ///< whoever opens it asks for them as well
};
static_assert(sizeof(MemoryBody) == shm::smallest_body(Kind::memory));

MemoryBody& body_of(const Object& object) { return *static_cast<MemoryBody*>(object.body()); }

std::size_t mapped_bytes(const Object& object) { return shm::header_of(object.body()).size_bytes; }
void use_huge_pages(const Object& object) { os::use_huge_pages(&shm::header_of(object.body()), mapped_bytes(object)); }

}  // namespace

std::shared_ptr<MemoryCore> MemoryCore::make(const Plan& plan) {
  if (plan.size_bytes <= 0) {
    throw UsageError("shared memory cannot have " + std::to_string(plan.size_bytes) +
                     " bytes; its size must be 1 or more");
  }
  const auto size = static_cast<std::size_t>(plan.size_bytes);
  const shm::CreateRequest request{.kind = Kind::memory,
                                   .name = plan.named ? shm::given_name(plan.name) : std::string_view(),
                                   .body_bytes = sizeof(MemoryBody) + size};
  const auto initialise = [&](void* memory) {
    *static_cast<MemoryBody*>(memory) = {.size_bytes = size, .huge_pages = plan.huge_pages ? 1U : 0U};
  };
  auto made = std::make_shared<MemoryCore>(
      plan.open_existing ? registry::open_or_create(request, initialise) : registry::create(request, initialise),
      false);
  if (made->size() != size) {
    throw TypeMismatch(made->handle().str() + " has " + std::to_string(made->size()) + " bytes, " +
                       std::to_string(size) + " were expected; open it with open_named(), or remove() it first");
  }
  return made;
}

std::shared_ptr<MemoryCore> MemoryCore::open(const Handle& handle, bool read_only) {
  const auto access = read_only ? shm::Access::read_only : shm::Access::read_write;
  return std::make_shared<MemoryCore>(registry::open(handle, Kind::memory, {}, access), read_only);
}
std::shared_ptr<MemoryCore> MemoryCore::open_named(std::string_view name, bool read_only) {
  const auto access = read_only ? shm::Access::read_only : shm::Access::read_write;
  return std::make_shared<MemoryCore>(registry::open_named(name, Kind::memory, {}, access), read_only);
}
bool remove_memory(std::string_view name) { return shm::remove_named(name, Kind::memory); }

MemoryCore::MemoryCore(Object object, bool read_only)
    : object_(std::move(object)),
      data_(reinterpret_cast<std::byte*>(&body_of(object_) + 1)),
      size_(body_of(object_).size_bytes),
      handle_(object_.handle()) {
  const std::size_t room = mapped_bytes(object_) - shm::kBodyOffset - sizeof(MemoryBody);
  if (size_ == 0 || size_ > room) {
    throw TypeMismatch(handle_.str() + ": its segment is damaged (it says that it has " + std::to_string(size_) +
                       " bytes, and there is room for " + std::to_string(room) + "); remove it");
  }
  if (!read_only && body_of(object_).huge_pages != 0) use_huge_pages(object_);
}

void MemoryCore::begin_view() {
  std::int64_t users = users_.load(std::memory_order_relaxed);
  do {
    if (users == kClosed) throw_closed();
  } while (!users_.compare_exchange_weak(users, users + 1, std::memory_order_acquire));
}

void MemoryCore::close() {
  std::int64_t none = 0;
  // SYNC memory-view: acquire pairs with the release in end_view(): what was done through a view is over.
  if (!users_.compare_exchange_strong(none, kClosed, std::memory_order_acq_rel)) {
    if (none == kClosed) return;
    throw UsageError(handle_.str() + " cannot be closed: " + std::to_string(none) +
                     (none == 1 ? " view of it is" : " views of it are") + " still there; let them go first");
  }
  object_ = Object();
}

std::size_t MemoryCore::huge_bytes() const {
  (void)bytes();  // not closed
  return os::huge_bytes(&shm::header_of(object_.body()));
}

std::size_t MemoryCore::elements_in(std::size_t size_bytes, std::size_t offset, std::size_t element_bytes,
                                    std::size_t alignment, std::size_t count) {
  if (offset > size_bytes || offset % alignment != 0) {
    throw UsageError("elements aligned to " + std::to_string(alignment) + " bytes cannot begin at offset " +
                     std::to_string(offset) + " of " + std::to_string(size_bytes) + " bytes");
  }
  const std::size_t most = (size_bytes - offset) / element_bytes;
  if (count == kAllThatFit) return most;
  if (count > most) {
    throw UsageError("there is no room for " + std::to_string(count) + " elements of " + std::to_string(element_bytes) +
                     " bytes at offset " + std::to_string(offset) + " of " + std::to_string(size_bytes) +
                     " bytes, only for " + std::to_string(most));
  }
  return count;
}

void MemoryCore::print(std::ostream& out, std::string_view word) const {
  out << '<' << word << ' ' << handle_ << " of " << size_ << (size_ == 1 ? " byte" : " bytes")
      << (is_closed() ? " closed>" : ">");
}

void MemoryCore::throw_closed() const {
  throw UsageError(handle_.str() + " was closed in this process; open it again by its handle or name");
}

void throw_memory_moved_from() { Object::throw_moved_from(); }

}  // namespace brood::inline v1::detail

namespace brood::inline v1 {

SharedMemory::SharedMemory(std::int64_t size_bytes, MemoryOptions options)
    : MemoryFace(detail::MemoryCore::make({.size_bytes = size_bytes, .huge_pages = options.huge_pages})) {}
SharedMemory SharedMemory::create(std::string_view name, std::int64_t size_bytes, MemoryOptions options) {
  return SharedMemory(detail::MemoryCore::make(
      {.named = true, .name = name, .size_bytes = size_bytes, .huge_pages = options.huge_pages}));
}
SharedMemory SharedMemory::open_or_create(std::string_view name, std::int64_t size_bytes, MemoryOptions options) {
  return SharedMemory(detail::MemoryCore::make({.named = true,
                                                .name = name,
                                                .open_existing = true,
                                                .size_bytes = size_bytes,
                                                .huge_pages = options.huge_pages}));
}
SharedMemory SharedMemory::open(const Handle& handle) { return SharedMemory(detail::MemoryCore::open(handle, false)); }
SharedMemory SharedMemory::open_named(std::string_view name) {
  return SharedMemory(detail::MemoryCore::open_named(name, false));
}
bool SharedMemory::remove(std::string_view name) { return detail::remove_memory(name); }

ReadOnlyMemory ReadOnlyMemory::open(const Handle& handle) {
  return ReadOnlyMemory(detail::MemoryCore::open(handle, true));
}
ReadOnlyMemory ReadOnlyMemory::open_named(std::string_view name) {
  return ReadOnlyMemory(detail::MemoryCore::open_named(name, true));
}

std::ostream& operator<<(std::ostream& out, const SharedMemory& memory) {
  memory.core().print(out, "SharedMemory");
  return out;
}
std::ostream& operator<<(std::ostream& out, const ReadOnlyMemory& memory) {
  memory.core().print(out, "ReadOnlyMemory");
  return out;
}

}  // namespace brood::inline v1
