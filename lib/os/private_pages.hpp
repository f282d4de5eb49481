// Which pages of a private mapping of a file this process has changed, so that they are its own and no longer the file's.
#pragma once

#include <cstddef>
#include <span>

namespace brood::inline v1::os {

/// Bytes of a mapping, whole pages.
struct PageRun {
  std::size_t offset = 0;
  std::size_t size_bytes = 0;
};

/// A private (copy-on-write) mapping and a shared one of the same part of a file. Whole pages.
struct PrivateView {
  const std::byte* at = nullptr;
  const std::byte* original = nullptr;
  std::size_t size_bytes = 0;
};

struct Found {
  std::size_t runs = 0;  ///< so many were filled in
  bool all = true;       ///< false: only those that differ
};

/// Finds runs of pages that are the process's own, from `cursor` on, in ascending order; moves the cursor behind what was
/// looked at. Pages that were swapped out are found too. Call until cursor == view.size_bytes. `found` must not be empty.
///
/// Never fails: asks the kernel (PAGEMAP_SCAN, else /proc/self/pagemap), and compares the contents where it does not
/// answer. Then pages of its own that are equal to the file's are not found.
[[nodiscard]] Found find_private(const PrivateView& view, std::size_t& cursor, std::span<PageRun> found) noexcept;

/// The pages show the file again.
void drop_private(std::byte* at, std::size_t size_bytes) noexcept;

}  // namespace brood::inline v1::os
