#include "os/capabilities.hpp"

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/unique_fd.hpp"
#include "os/pidfd_info.hpp"
#include "os/process_identity.hpp"

namespace brood::inline v1::os {
namespace {

bool listed(std::string_view list, std::string_view name) noexcept {
  while (!list.empty()) {
    const auto comma = list.find(',');
    if (list.substr(0, comma) == name) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

/// PIDFD_GET_INFO came with Linux 6.13, exit codes with 6.15. That a kernel leaves them out cannot be seen on a process
/// that runs, so its version says it; the call itself may be forbidden or not emulated.
bool tells_exit_codes() noexcept {
  utsname system{};
  int major = 0;
  int minor = 0;
  if (::uname(&system) != 0 || std::sscanf(system.release, "%d.%d", &major, &minor) != 2) return false;
  if (major < 6 || (major == 6 && minor < 15)) return false;
  const base::UniqueFd self(pidfd_open(::getpid()));
  PidfdInfo info{};
  info.mask = kPidfdInfoExit;
  return self && ::ioctl(self.get(), kPidfdGetInfo, &info) == 0;
}

Capabilities detect() noexcept {
  const char* text = ::secure_getenv("BROOD_WITHOUT");
  const std::string_view without = text ? text : "";
  Capabilities found;
  // An empty vector is refused with EINVAL where the call exists, with ENOSYS where it does not.
  found.futex_waitv = !listed(without, "futex_waitv") &&
                      !(::syscall(SYS_futex_waitv, nullptr, 0, 0, nullptr, 0) < 0 && errno == ENOSYS);
  found.pidfd_info = !listed(without, "pidfd_info") && tells_exit_codes();
  found.membarrier = !listed(without, "membarrier");
  if (found.membarrier) {
    const long supported = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    found.membarrier = supported > 0 && (supported & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0;
  }
  found.pagemap = !listed(without, "pagemap");
  found.pagemap_scan = !listed(without, "pagemap_scan");
  found.tick = !listed(without, "tick");
  return found;
}

}  // namespace

const Capabilities& capabilities() noexcept {
  static const Capabilities found = detect();
  return found;
}

namespace {
/// At load: a fork by one thread must not meet another that detects; the child would wait for it for ever.
[[maybe_unused]] const Capabilities& g_found_at_load = capabilities();
}  // namespace

}  // namespace brood::inline v1::os
