// Descriptors of ours are never standard streams, even in a program that has closed those.          (room: os)
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace brood::inline v1::os {

inline constexpr int kFirstAboveStandard = 3;

/// Exchanges a close-on-exec descriptor that got a standard stream's number for one above those: what the program prints
/// would otherwise go into it, and a child's redirection would overwrite it. -EMFILE, with the descriptor closed, if there is
/// none; a negative errno passes through.
[[nodiscard]] inline int above_standard(int fd) noexcept {
  if (fd < 0 || fd >= kFirstAboveStandard) return fd;
  const int lifted = ::fcntl(fd, F_DUPFD_CLOEXEC, kFirstAboveStandard);
  ::close(fd);
  return lifted < 0 ? -EMFILE : lifted;
}

}  // namespace brood::inline v1::os
