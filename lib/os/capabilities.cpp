#include "os/capabilities.hpp"

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>

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

Capabilities detect() noexcept {
  const char* text = ::secure_getenv("BROOD_WITHOUT");
  const std::string_view without = text ? text : "";
  Capabilities found;
  // An empty vector is refused with EINVAL where the call exists, with ENOSYS where it does not.
  found.futex_waitv = !listed(without, "futex_waitv") &&
                      !(::syscall(SYS_futex_waitv, nullptr, 0, 0, nullptr, 0) < 0 && errno == ENOSYS);
  found.pidfd_info = !listed(without, "pidfd_info");
  found.membarrier = !listed(without, "membarrier");
  if (found.membarrier) {
    const long supported = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    found.membarrier = supported > 0 && (supported & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0;
  }
  found.tick = !listed(without, "tick");
  return found;
}

}  // namespace

const Capabilities& capabilities() noexcept {
  static const Capabilities found = detect();
  return found;
}

}  // namespace brood::inline v1::os
