// What the domain's records say about sleeping threads, so that a test can act exactly when somebody sleeps.
#pragma once

#include <cstddef>

#include "brood/handle.hpp"
#include "support/child.hpp"

namespace support {

/// Threads of the domain whose record says that they wait for this object.
[[nodiscard]] std::size_t sleepers_on(const brood::Handle& object);
/// Returns once `count` threads of the domain sleep on the object, and the kernel says so too.
void await_sleepers(const brood::Handle& object, std::size_t count);

}  // namespace support
