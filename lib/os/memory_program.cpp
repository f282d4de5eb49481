#include "os/memory_program.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

namespace brood::inline v1::os {
namespace {

#ifndef MFD_EXEC
constexpr unsigned kExecutable = 0x10U;  // Linux 6.3
#else
constexpr unsigned kExecutable = MFD_EXEC;
#endif
constexpr int kAllSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
constexpr int kFirstAfterStreams = 3;

int make_file(const char* name) noexcept {
  const int fd = ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | kExecutable);
  // Older kernels know nothing else than executable ones.
  return fd < 0 && errno == EINVAL ? ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING) : fd;
}

bool write_whole(int fd, std::string_view image) noexcept {
  while (!image.empty()) {
    const ssize_t done = ::write(fd, image.data(), image.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    image.remove_prefix(static_cast<std::size_t>(done));
  }
  return true;
}

MemoryProgram failed(const char* step) noexcept {
  MemoryProgram out;
  out.error = -errno;
  out.step = step;
  return out;
}

}  // namespace

MemoryProgram make_memory_program(const char* name, std::string_view image) noexcept {
  MemoryProgram out;
  out.fd.reset(make_file(name));
  if (out.fd && out.fd.get() < kFirstAfterStreams) {
    // The child's streams are put over these numbers before it is executed.
    out.fd.reset(::fcntl(out.fd.get(), F_DUPFD_CLOEXEC, kFirstAfterStreams));
  }
  if (!out.fd) return failed("make a file in memory for the launcher of");
  if (!write_whole(out.fd.get(), image)) return failed("write the launcher of");
  if (::fcntl(out.fd.get(), F_ADD_SEALS, kAllSeals) != 0) return failed("seal the launcher of");
  struct stat info {};
  if (::fstat(out.fd.get(), &info) != 0) return failed("look at the launcher of");
  out.inode = info.st_ino;
  return out;
}

bool is_memory_program(int fd, std::uint64_t inode) noexcept {
  struct stat info {};
  // Only a file in memory can have these seals.
  return ::fstat(fd, &info) == 0 && info.st_ino == inode && ::fcntl(fd, F_GET_SEALS) == kAllSeals;
}

}  // namespace brood::inline v1::os
