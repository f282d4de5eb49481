// What a process may do, as its children inherit it.                                                  (room: os)
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <vector>

namespace brood::inline v1::os {

/// Users, groups, capabilities and resource limits of the calling thread's process.
struct Rights {
  struct Limit {
    rlim_t soft = 0;
    rlim_t hard = 0;
    bool operator==(const Limit&) const = default;
  };

  std::array<uid_t, 3> users{};   ///< real, effective, saved
  std::array<gid_t, 3> groups{};  ///< the same
  std::vector<gid_t> supplementary;
  std::array<std::uint32_t, 6> capabilities{};  ///< as capget tells them
  std::array<Limit, RLIM_NLIMITS> limits{};
  bool operator==(const Rights&) const = default;
};

/// Errors: bad_alloc. What the kernel does not tell stays zero.
[[nodiscard]] Rights own_rights();

}  // namespace brood::inline v1::os
