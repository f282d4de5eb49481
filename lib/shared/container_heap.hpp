// The memory that a container's contents come from.
#pragma once

#include "brood/detail/container_core.hpp"
#include "shared/container_accesses.hpp"
#include "shared/container_body.hpp"

namespace brood::inline v1::shared {

/// Memory that a new container has: the container, and a little for its contents.
[[nodiscard]] std::size_t first_reserve(std::size_t root_bytes, std::size_t page_bytes) noexcept;

/// Makes the working view that of a new container, in the memory that is reserved.
/// Errors: NoSpace, and whatever the type's constructor throws.
void format(const View& view, const detail::ContainerCore::Type& type);

/// False if what the heap says of itself cannot be true.
[[nodiscard]] bool is_sound(const View& view) noexcept;

}  // namespace brood::inline v1::shared
