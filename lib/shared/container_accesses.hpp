// Which containers the calling thread reads or writes right now.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "registry/registry.hpp"
#include "shared/container_body.hpp"

namespace brood::inline v1::detail {
struct ContainerState;
}

namespace brood::inline v1::shared {

struct Access {
  std::uint64_t id = 0;  ///< of the segment; 0: this entry is free
  registry::Id of = registry::kNobody;
  const View* writing = nullptr;
  detail::ContainerState* state = nullptr;  ///< where the transaction began; null while a container is made
  std::uint32_t reads = 0;
  std::uint32_t slot = 0;  ///< of the reads
};

/// Fixed, so that nothing of it can fail at the end of an access.
class Accesses {
 public:
  /// Null if this thread has none. What a forked child finds of its parent's is gone.
  [[nodiscard]] Access* find(std::uint64_t id, registry::Id me) noexcept;
  /// Errors: UsageError if there are too many.
  [[nodiscard]] Access& add(std::uint64_t id, registry::Id me);
  void remove(Access& access) noexcept { access = {}; }

  /// The transaction whose memory this is; null if it is none of this thread's.
  [[nodiscard]] const Access* writer_of(const void* heap, registry::Id me) const noexcept;
  /// The only transaction. Errors: UsageError if there is none, or several.
  [[nodiscard]] const Access& only_writer(registry::Id me) const;

 private:
  std::array<Access, 32> all_{};
};
extern thread_local constinit Accesses t_accesses;

}  // namespace brood::inline v1::shared
