#include "os/reap.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>

#include "os/capabilities.hpp"
#include "os/pidfd_info.hpp"

namespace brood::inline v1::os {
namespace {

Ending from_wait_status(int status) noexcept {
  if (WIFSIGNALED(status)) return {Fate::known, -WTERMSIG(status), WCOREDUMP(status) != 0};
  return {Fate::known, WEXITSTATUS(status), false};
}

Ending reap_with(int pidfd, int options) noexcept {
  siginfo_t info{};
  for (;;) {
    if (::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info, WEXITED | __WALL | options) == 0)
      break;
    if (errno == EINTR) continue;
    return {Fate::unknown, 0, false};
  }
  if (info.si_pid == 0) return {Fate::running, 0, false};
  if (info.si_code == CLD_EXITED) return {Fate::known, info.si_status, false};
  return {Fate::known, -info.si_status, info.si_code == CLD_DUMPED};
}

}  // namespace

Ready wait_ready(int fd, short events, int pidfd, Deadline deadline) noexcept {
  for (;;) {
    pollfd entries[] = {{fd, events, 0}, {pidfd, POLLIN, 0}};
    timespec left{};
    if (!deadline.is_never() && !deadline.is_poll()) {
      const std::int64_t ns = std::max<std::int64_t>(deadline.at_ns() - Deadline::clock_ns(), 0);
      left = {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
    }
    const int ready = ::ppoll(entries, 2, deadline.is_never() ? nullptr : &left, nullptr);
    // Out of kernel memory is as transient as a signal: look again.
    if (ready < 0 && (errno == EINTR || errno == ENOMEM || errno == EAGAIN)) {
      if (!deadline.passed()) continue;
      return {};
    }
    return {entries[0].revents != 0, entries[1].revents != 0};
  }
}

bool wait_ended(int pidfd, Deadline deadline) noexcept { return wait_ready(-1, 0, pidfd, deadline).ended; }

Ending reap(int pidfd) noexcept { return reap_with(pidfd, WNOHANG); }

Ending reap_blocking(int pidfd) noexcept { return reap_with(pidfd, 0); }

void reap_pid(pid_t pid) noexcept {
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | __WALL) != 0 && errno == EINTR) {}
}

Ending ask_ending(int pidfd) noexcept {
  if (!capabilities().pidfd_info) return {Fate::unknown, 0, false};
  PidfdInfo info{};
  info.mask = kPidfdInfoExit;
  int failed = ::ioctl(pidfd, kPidfdGetInfo, &info);
  // The kernel looks for the status first and for the task then: of one that was reaped in between it finds neither, and
  // says ESRCH. By now the status is there.
  if (failed != 0 && errno == ESRCH) {
    info = {};
    info.mask = kPidfdInfoExit;
    failed = ::ioctl(pidfd, kPidfdGetInfo, &info);
  }
  if (failed != 0) return {Fate::unknown, 0, false};
  if ((info.mask & kPidfdInfoExit) == 0) return {Fate::running, 0, false};
  return from_wait_status(info.exit_code);
}

}  // namespace brood::inline v1::os
