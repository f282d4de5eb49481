#include "brood/detail/container_core.hpp"

#include <algorithm>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "brood/error.hpp"
#include "registry/objects.hpp"
#include "shared/container_heap.hpp"
#include "shared/container_journal.hpp"
#include "shared/container_state.hpp"

namespace brood::inline v1::detail {
namespace {

using shared::View;

constexpr std::size_t kLargestBudget = std::size_t{1} << 40;

shm::Payload payload(const ContainerCore::Type& type) { return {type.payload.fingerprint, type.payload.name()}; }

/// An opened container whose sizes fit its segment.
Object sound(Object object, const ContainerCore::Type& type) {
  const auto& body = *static_cast<const shared::ContainerBody*>(object.body());
  const std::uint64_t page = os::page_size();
  const std::uint64_t budget = body.budget_bytes;
  const std::uint64_t reserved = body.reserved_bytes.load();
  if (body.page_bytes != page || budget % page != 0 || budget > kLargestBudget || reserved % page != 0 ||
      reserved > budget || body.root_bytes != type.size_bytes ||
      reserved < shared::first_reserve(type.size_bytes, page) ||
      shared::Places::of(budget, page).end != shm::header_of(object.body()).size_bytes) {
    throw TypeMismatch(object.handle().str() + ": its segment is damaged (a heap of " + std::to_string(reserved) +
                       " of " + std::to_string(budget) + " bytes does not fit)");
  }
  return object;
}

std::shared_ptr<ContainerState> make(std::string_view name, const ContainerCore::Type& type,
                                     const shared::ContainerOptions& options, bool open_existing) {
  if (options.budget_bytes > kLargestBudget) {
    throw UsageError("a container's budget may be at most 1 TiB, got " + std::to_string(options.budget_bytes));
  }
  const std::size_t page = os::page_size();
  const std::size_t first = shared::first_reserve(type.size_bytes, page);
  const std::size_t budget = os::round_up(std::max(options.budget_bytes, first), page);
  const shared::Places places = shared::Places::of(budget, page);
  const shm::CreateRequest request{.kind = Kind::container,
                                   .name = name,
                                   .body_bytes = places.end - shm::kBodyOffset,
                                   .reserved_bytes = places.index - shm::kBodyOffset,
                                   .payload = payload(type)};
  const auto initialise = [&](void* memory) {
    auto* body = static_cast<shared::ContainerBody*>(memory);
    body->lock.policy.store(static_cast<std::uint32_t>(OwnerDeath::heal));
    body->commits.store(1);  // so that a private view from before is stale
    body->budget_bytes = budget;
    body->root_bytes = type.size_bytes;
    body->page_bytes = page;
    const View view = View::of(memory, memory);
    if (!shared::reserve(view, first)) {
      throw NoSpace(
          "no room for a container of '" + type.payload.name() + "': " + std::to_string(2 * first) +
          " bytes are needed for a start; enlarge the filesystem of the domain, or free objects (brood::gc())");
    }
    const registry::Id me = registry::self();
    shared::Access& access = shared::t_accesses.add(view.id(), me);
    const absl::Cleanup over = [&] { shared::t_accesses.remove(access); };
    access.writing = &view;
    shared::format(view, type);
  };
  return std::make_shared<ContainerState>(open_existing ? sound(registry::open_or_create(request, initialise), type)
                                                        : registry::create(request, initialise));
}

}  // namespace

ContainerCore ContainerCore::create(const Type& type, const shared::ContainerOptions& options) {
  return ContainerCore(make({}, type, options, false));
}
ContainerCore ContainerCore::create_named(std::string_view name, const Type& type,
                                          const shared::ContainerOptions& options) {
  return ContainerCore(make(shm::given_name(name), type, options, false));
}
ContainerCore ContainerCore::open_or_create(std::string_view name, const Type& type,
                                            const shared::ContainerOptions& options) {
  return ContainerCore(make(shm::given_name(name), type, options, true));
}
ContainerCore ContainerCore::open(const Handle& handle, const Type& type) {
  return ContainerCore(
      std::make_shared<ContainerState>(sound(registry::open(handle, Kind::container, payload(type)), type)));
}
ContainerCore ContainerCore::open_named(std::string_view name, const Type& type) {
  return ContainerCore(
      std::make_shared<ContainerState>(sound(registry::open_named(name, Kind::container, payload(type)), type)));
}
bool remove_container(std::string_view name) { return shm::remove_named(name, Kind::container); }

ContainerState& ContainerCore::state() const {
  if (!state_) Object::throw_moved_from();
  return *state_;
}
bool ContainerCore::locked() const {
  (void)registry::self();
  return sync::is_held(state().view.body->lock);
}
Handle ContainerCore::handle() const { return state().object.handle(); }
std::size_t ContainerCore::budget_bytes() const { return state().view.budget_bytes; }
std::size_t ContainerCore::reserved_bytes() const { return state().view.reserved(); }

}  // namespace brood::inline v1::detail
