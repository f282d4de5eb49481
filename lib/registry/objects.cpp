#include "registry/objects.hpp"

#include "brood/detail/shared_object.hpp"
#include "brood/detail/wait_source.hpp"

namespace brood::inline v1::detail {

Object open_object(const Handle& handle, Kind kind) { return registry::open(handle, kind); }
Object open_object_named(std::string_view name, Kind kind) { return registry::open_named(name, kind); }
WaitSource::~WaitSource() = default;
bool remove_object(std::string_view name, Kind kind) { return shm::remove_named(name, kind); }

}  // namespace brood::inline v1::detail
