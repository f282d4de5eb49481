// How a process ended, asked through its pidfd: never SIGCHLD, never waitpid(-1), so the application's own children
// stay its own.
#pragma once

#include <sys/types.h>

#include "brood/deadline.hpp"

namespace brood::inline v1::os {

/// Sleeps until the process has ended (a zombie has ended). False at the deadline. Signals do not end the wait.
[[nodiscard]] bool wait_ended(int pidfd, Deadline deadline) noexcept;
/// The same for a child that may also have something to say: sleeps until `fd` is ready for `events` or its peer has
/// gone, or the process has ended. -1 as a descriptor is left out.
struct Ready {
  bool fd = false;
  bool ended = false;
};
[[nodiscard]] Ready wait_ready(int fd, short events, int pidfd, Deadline deadline) noexcept;

enum class Fate : unsigned char {
  known,    ///< exit_code says it
  running,  ///< has not ended
  unknown,  ///< has ended, but its status went to somebody else
};
struct Ending {
  Fate fate = Fate::unknown;
  int exit_code = 0;  ///< 0..255, or -N after signal N
  bool core_dumped = false;
};

/// Reaps a child of ours if it has ended. Fate::unknown: it is not our child, or the application reaped it or ignores
/// SIGCHLD.
[[nodiscard]] Ending reap(int pidfd) noexcept;
/// Sleeps until it has ended, then reaps it.
Ending reap_blocking(int pidfd) noexcept;
/// Reaps a child that has no pidfd.
void reap_pid(pid_t pid) noexcept;
/// What the kernel still knows of a process that somebody else has reaped (Linux 6.15). Fate::running also for one that
/// has ended and is not reaped yet.
[[nodiscard]] Ending ask_ending(int pidfd) noexcept;

}  // namespace brood::inline v1::os
