// PIDFD_GET_INFO as in linux/pidfd.h of Linux 6.15, which older headers lack.
#pragma once

#include <sys/ioctl.h>

#include <cstdint>

namespace brood::inline v1::os {

/// The kernel fills in as much as it knows, up to the size in the request.
struct PidfdInfo {
  std::uint64_t mask;
  std::uint64_t cgroup_id;
  std::uint32_t pid, tgid, ppid;
  std::uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
  std::int32_t exit_code;
};
inline constexpr std::uint64_t kPidfdInfoExit = 1U << 3;
inline constexpr unsigned long kPidfdGetInfo = _IOWR(0xFF, 11, PidfdInfo);

}  // namespace brood::inline v1::os
