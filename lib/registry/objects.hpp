// Making and opening shared objects, for the rooms above: as room shm does it, once this process keeps the registry.
#pragma once

#include <functional>
#include <string_view>

#include "registry/registry.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::registry {

/// Maps the registry, without a slot and without a helper. Whoever has any object attached keeps the registry in being,
/// because the object's words may hold identities that only this registry can tell to be dead: a registry made anew
/// would give them out a second time.
void keep();

[[nodiscard]] inline detail::Object create(const shm::CreateRequest& request,
                                           const std::function<void(void* body)>& init) {
  keep();
  return shm::create(request, init);
}
[[nodiscard]] inline detail::Object open_or_create(const shm::CreateRequest& request,
                                                   const std::function<void(void* body)>& init) {
  keep();
  return shm::open_or_create(request, init);
}
[[nodiscard]] inline detail::Object open(const Handle& handle, Kind kind, const shm::Payload& payload = {},
                                         shm::Access access = shm::Access::read_write) {
  keep();
  return shm::open(handle, kind, payload, access);
}
[[nodiscard]] inline detail::Object open_named(std::string_view name, Kind kind, const shm::Payload& payload = {},
                                               shm::Access access = shm::Access::read_write) {
  keep();
  return shm::open_named(name, kind, payload, access);
}

}  // namespace brood::inline v1::registry
