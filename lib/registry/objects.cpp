#include "registry/objects.hpp"

#include "brood/detail/shared_object.hpp"

namespace brood::inline v1::detail {

Object open_object(const Handle& handle, Kind kind) { return registry::open(handle, kind); }
Object open_object_named(std::string_view name, Kind kind) { return registry::open_named(name, kind); }
bool remove_object(std::string_view name, Kind kind) { return shm::remove_named(name, kind); }

}  // namespace brood::inline v1::detail
