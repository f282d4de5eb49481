#include "brood/descriptor.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "brood/error.hpp"

namespace brood::inline v1 {

Descriptor Descriptor::copy_of(int fd) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) throw OsError(errno, "cannot copy descriptor " + std::to_string(fd));
  return Descriptor(copy);
}

void Descriptor::close() noexcept {
  if (const int old = std::exchange(fd_, -1); old >= 0) ::close(old);
}

}  // namespace brood::inline v1
