// Which process is meant, and is it still there? pids are reused, so a process is a pid plus marks that are not.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "base/unique_fd.hpp"

namespace brood::inline v1::os {

/// What tells a process from a later one with the same pid.
struct ProcessIdentity {
  std::int32_t pid = 0;
  std::uint32_t reserved = 0;
  std::uint64_t pidfd_inode = 0;  ///< unique for this boot where pidfs exists (Linux 6.9), else 0
  std::uint64_t start_time = 0;   ///< clock ticks since boot, from /proc/PID/stat; 0 = unknown
  std::uint64_t image = 0;        ///< changes at exec (start of stack and argv, with ASLR); 0 = unknown
};

/// The calling process. Unknown marks are 0.
[[nodiscard]] ProcessIdentity identify_self() noexcept;
/// Inode of the pid namespace of the calling process; 0 = unknown.
[[nodiscard]] std::uint64_t pid_namespace() noexcept;

/// pidfd_open; negative errno on failure.
[[nodiscard]] int pidfd_open(pid_t pid) noexcept;
/// True once the process behind the pidfd has ended (a zombie has ended).
[[nodiscard]] bool pidfd_ended(int pidfd) noexcept;
[[nodiscard]] int pidfd_send_signal(int pidfd, int signal) noexcept;
/// Inode of the pidfd if it is one of pidfs, where inodes tell processes apart; else 0.
[[nodiscard]] std::uint64_t pidfd_inode(int pidfd) noexcept;

/// A pidfd of that very process.
struct Watch {
  enum class State : std::uint8_t { watching, gone, unknown };
  State state = State::unknown;  ///< unknown: cannot tell (no descriptors, no permission): never a proof of death
  base::UniqueFd pidfd;
};
[[nodiscard]] Watch watch(const ProcessIdentity& who) noexcept;

/// Can nobody of that program image write to shared memory any more? True if the process is gone, if it has run another
/// program since, or if none of its threads has an address space any more — which comes long before a pidfd becomes
/// readable when the dead process was big. Reads /proc; false when in doubt.
[[nodiscard]] bool can_not_write(const ProcessIdentity& who, int pidfd) noexcept;

/// How many threads this process has; 0 = unknown.
[[nodiscard]] unsigned thread_count() noexcept;

}  // namespace brood::inline v1::os
