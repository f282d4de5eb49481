#include "os/rights.hpp"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace brood::inline v1::os {
namespace {

std::vector<gid_t> supplementary_groups() {
  for (;;) {
    const int count = ::getgroups(0, nullptr);
    std::vector<gid_t> groups(count > 0 ? static_cast<std::size_t>(count) : 0);
    if (groups.empty()) return groups;
    const int got = ::getgroups(count, groups.data());
    if (got < 0) continue;  // another thread has added some
    groups.resize(static_cast<std::size_t>(got));
    return groups;
  }
}

}  // namespace

Rights own_rights() {
  Rights out;
  // These two cannot fail.
  (void)::getresuid(&out.users[0], &out.users[1], &out.users[2]);
  (void)::getresgid(&out.groups[0], &out.groups[1], &out.groups[2]);
  out.supplementary = supplementary_groups();
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  static_assert(sizeof(__user_cap_data_struct[_LINUX_CAPABILITY_U32S_3]) == sizeof out.capabilities);
  if (::syscall(SYS_capget, &head, out.capabilities.data()) != 0) out.capabilities = {};
  for (int resource = 0; resource < RLIM_NLIMITS; ++resource) {
    rlimit limit{};
    if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) continue;
    out.limits[static_cast<std::size_t>(resource)] = {limit.rlim_cur, limit.rlim_max};
  }
  return out;
}

}  // namespace brood::inline v1::os
