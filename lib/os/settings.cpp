#include "os/settings.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "os/not_instrumented.hpp"

namespace brood::inline v1::os {
namespace {

constexpr int kStreams = 3;

/// As the kernel takes it.
struct KernelLimit {
  std::uint64_t soft;
  std::uint64_t hard;
};

BROOD_NOT_INSTRUMENTED SettingsFailure failed(SettingsStep step, std::uint32_t which = 0) noexcept {
  return {step, which, errno};
}

/// 0, or -1 with errno.
BROOD_NOT_INSTRUMENTED long put_null(int number) noexcept {
  const long null = ::syscall(SYS_openat, AT_FDCWD, "/dev/null", number == 0 ? O_RDONLY : O_WRONLY);
  if (null < 0 || null == number) return null < 0 ? -1 : 0;
  if (::syscall(SYS_dup3, null, number, 0) < 0) return -1;
  ::syscall(SYS_close, null);
  return 0;
}

BROOD_NOT_INSTRUMENTED SettingsFailure place_streams(const int* wanted) noexcept {
  int from[kStreams];
  // A source that is itself one of the three could be overwritten before its turn.
  for (int i = 0; i < kStreams; ++i) {
    from[i] = wanted[i];
    if (from[i] < 0 || from[i] >= kStreams || from[i] == i) continue;
    from[i] = static_cast<int>(::syscall(SYS_fcntl, wanted[i], F_DUPFD_CLOEXEC, kStreams));
    if (from[i] < 0) return failed(SettingsStep::stream, static_cast<std::uint32_t>(i));
  }
  for (int i = 0; i < kStreams; ++i) {
    long result = 0;
    if (from[i] == kStreamNull) result = put_null(i);
    else if (from[i] == kStreamLikeOutput) result = ::syscall(SYS_dup3, 1, i, 0);
    else if (from[i] == i) result = ::syscall(SYS_fcntl, i, F_SETFD, 0);
    else if (from[i] >= 0) result = ::syscall(SYS_dup3, from[i], i, 0);
    if (result < 0) return failed(SettingsStep::stream, static_cast<std::uint32_t>(i));
    if (from[i] != wanted[i]) ::syscall(SYS_close, from[i]);
  }
  return {};
}

}  // namespace

BROOD_NOT_INSTRUMENTED SettingsFailure apply_settings(const Settings& settings) noexcept {
  if (settings.new_session && ::syscall(SYS_setsid) < 0) return failed(SettingsStep::session);
  if (settings.process_group != nullptr && ::syscall(SYS_setpgid, 0, *settings.process_group) != 0)
    return failed(SettingsStep::process_group);
  if (settings.nice != nullptr && ::syscall(SYS_setpriority, PRIO_PROCESS, 0, *settings.nice) != 0)
    return failed(SettingsStep::nice);
  if (settings.cpus != nullptr && ::syscall(SYS_sched_setaffinity, 0, settings.cpu_bytes, settings.cpus) < 0)
    return failed(SettingsStep::cpus);
  for (std::size_t i = 0; i < settings.limit_count; ++i) {
    const Limit* const limit = settings.limits + i;
    const KernelLimit wanted{limit->soft, limit->hard};
    if (::syscall(SYS_prlimit64, 0, limit->resource, &wanted, nullptr) != 0)
      return failed(SettingsStep::limit, static_cast<std::uint32_t>(i));
  }
  const SettingsFailure streams = place_streams(settings.streams);
  if (streams.step != SettingsStep::none) return streams;
  if (settings.directory != nullptr && ::syscall(SYS_chdir, settings.directory) != 0)
    return failed(SettingsStep::directory);
  if (settings.replace_groups && ::syscall(SYS_setgroups, settings.group_count, settings.groups) != 0)
    return failed(SettingsStep::groups);
  if (settings.group != nullptr) {
    const std::uint32_t id = *settings.group;
    if (::syscall(SYS_setresgid, id, id, id) != 0) return failed(SettingsStep::group);
  }
  if (settings.user != nullptr) {
    const std::uint32_t id = *settings.user;
    if (::syscall(SYS_setresuid, id, id, id) != 0) return failed(SettingsStep::user);
  }
  return {};
}

}  // namespace brood::inline v1::os
