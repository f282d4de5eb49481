// Readers of a container: several at once, and beside a writer, who waits for them only while he copies his pages in.
#pragma once

#include <cstdint>

#include "brood/deadline.hpp"
#include "shared/container_body.hpp"

namespace brood::inline v1::shared {

inline constexpr std::uint32_t kNoSlot = ~std::uint32_t{0};

/// Counts the calling thread among the readers. kNoSlot: as many other processes read as there are slots.
[[nodiscard]] std::uint32_t enter(const View& view, registry::Id me) noexcept;
void leave(const View& view, std::uint32_t slot) noexcept;

/// Lock held, and the mark says already that nobody may begin to read: waits until nobody reads any more. Readers who
/// died do not count. False if the deadline has passed.
[[nodiscard]] bool await_no_readers(const View& view, Deadline deadline);

}  // namespace brood::inline v1::shared
