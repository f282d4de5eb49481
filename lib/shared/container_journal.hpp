// The journal of a container: how the pages that a transaction changed become those of all, at once. Lock held.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "shared/container_body.hpp"

namespace brood::inline v1::shared {

/// Memory for the first so many bytes of the heap, and for as much of the journal, so that a commit needs none.
/// False: the filesystem is full, nothing has changed.
[[nodiscard]] bool reserve(const View& view, std::size_t size_bytes) noexcept;

struct Saved {
  std::uint64_t pages = 0;                        ///< in the journal
  std::uint64_t own_pages = 0;                    ///< that the private view has now
  std::chrono::steady_clock::duration looking{};  ///< for those
};
/// Copies the pages that were changed in the private view into the journal. A page that this process has kept from its
/// last commit, and not changed since, is none of them.
[[nodiscard]] Saved save_changes(const View& view) noexcept;

/// False if the journal cannot be one of so many pages.
[[nodiscard]] bool is_sound(const View& view, std::uint64_t pages) noexcept;

/// Copies the journal to the shared heap. Nobody reads. Doing it once more changes nothing.
void apply(const View& view, std::uint64_t pages) noexcept;

/// The private view shows the shared heap again.
void drop_changes(const View& view) noexcept;

/// The same, and what was not changed stays mapped.
void drop_own_pages(const View& view) noexcept;

/// The private view shows pages of an earlier time: since somebody locked all memory (mlockall), which copies them. The
/// page with the count of commits is never written to privately, and such a copy has an old count.
[[nodiscard]] bool is_stale(const View& view) noexcept;

/// Something was written to the private view although no transaction was open. Looks at small heaps only.
[[nodiscard]] bool has_stray_changes(const View& view) noexcept;

}  // namespace brood::inline v1::shared
