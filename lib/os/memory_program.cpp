#include "os/memory_program.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

#include "os/above_standard.hpp"

namespace brood::inline v1::os {
namespace {

#ifndef MFD_EXEC
constexpr unsigned kExecutable = 0x10U;  // Linux 6.3
#else
constexpr unsigned kExecutable = MFD_EXEC;
#endif
constexpr int kAllSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

int make_file(const char* name) noexcept {
  int fd = ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | kExecutable);
  // Older kernels know nothing else than executable ones.
  if (fd < 0 && errno == EINVAL) fd = ::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  return above_standard(fd < 0 ? -errno : fd);
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

MemoryProgram failed(const char* step, int error = -errno) noexcept {
  MemoryProgram out;
  out.error = error;
  out.step = step;
  return out;
}

}  // namespace

MemoryProgram make_memory_program(const char* name, std::string_view image) noexcept {
  MemoryProgram out;
  const int fd = make_file(name);
  if (fd < 0) return failed("make a file in memory for the launcher of", fd);
  out.fd.reset(fd);
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
