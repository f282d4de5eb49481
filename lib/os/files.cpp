#include "os/files.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "os/above_standard.hpp"
#include "os/not_instrumented.hpp"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23  // Linux 5.14; glibc 2.36 has it, older headers do not
#endif

namespace brood::inline v1::os {
namespace {

int result(long value) noexcept { return value < 0 ? -errno : static_cast<int>(value); }
int descriptor(int fd) noexcept { return above_standard(result(fd)); }

constexpr mode_t kOwnerOnly = 0600;
constexpr int kCollapse = 25;  // MADV_COLLAPSE: Linux 6.1; glibc has it from 2.37 on

}  // namespace

int check_private_directory(const char* path) noexcept {
  struct stat st {};
  if (::lstat(path, &st) != 0) return -errno;  // does not follow links
  if (!S_ISDIR(st.st_mode)) return -ENOTDIR;
  return st.st_uid == ::geteuid() && (st.st_mode & 077) == 0 ? 0 : -EPERM;
}

int ensure_private_directory(const char* path) noexcept {
  const int usual = check_private_directory(path);
  if (usual != -ENOENT) return usual;
  if (::mkdir(path, 0700) != 0 && errno != EEXIST)
    return errno == EPERM ? -EACCES : -errno;  // -EPERM says: not private
  return check_private_directory(path);
}

int duplicate(int fd) noexcept { return result(::fcntl(fd, F_DUPFD_CLOEXEC, kFirstAboveStandard)); }

int open_unnamed(const char* directory) noexcept {
  const int fd = descriptor(::open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, kOwnerOnly));
  if (fd < 0) return fd;
  if (::fchmod(fd, kOwnerOnly) == 0) return fd;
  const int error = -errno;
  ::close(fd);
  return error;
}

int publish(int fd, const char* path) noexcept {
  // By descriptor where the kernel lets us (root, or Linux 6.10 for our own files), else through /proc.
  if (::linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH) == 0) return 0;
  if (errno == EEXIST) return -EEXIST;
  std::array<char, 32> self{};
  std::snprintf(self.data(), self.size(), "/proc/self/fd/%d", fd);
  return result(::linkat(AT_FDCWD, self.data(), AT_FDCWD, path, AT_SYMLINK_FOLLOW));
}

int open_file(const char* path, bool writable) noexcept {
  return descriptor(::open(path, (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_CLOEXEC));
}

int reserve(int fd, std::size_t size_bytes, std::size_t reserved) noexcept {
  if (::ftruncate(fd, static_cast<off_t>(size_bytes)) != 0) return -errno;
  for (;;) {
    const int error = ::fallocate(fd, 0, 0, static_cast<off_t>(reserved)) == 0 ? 0 : -errno;
    if (error != -EINTR) return error;
  }
}

int populate(void* at, std::size_t size_bytes) noexcept {
  for (;;) {
    if (::madvise(at, size_bytes, MADV_POPULATE_WRITE) == 0) return 0;
    if (errno == EINTR || errno == EAGAIN) continue;
    // EFAULT: touching the page would have raised SIGBUS, that is, the filesystem is full.
    return errno == EFAULT || errno == ENOMEM ? -ENOSPC : -errno;
  }
}

void give_back_memory(void* at, std::size_t size_bytes) noexcept { (void)::madvise(at, size_bytes, MADV_REMOVE); }

int lock_shared(int fd) noexcept { return result(::flock(fd, LOCK_SH | LOCK_NB)); }
int lock_exclusive(int fd) noexcept { return result(::flock(fd, LOCK_EX | LOCK_NB)); }

namespace {
struct flock whole_file(short type) noexcept {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}
}  // namespace

int mark_kept(int fd) noexcept {
  struct flock lock = whole_file(F_RDLCK);
  return result(::fcntl(fd, F_OFD_SETLK, &lock));
}

int is_kept_elsewhere(int fd) noexcept {
  struct flock lock = whole_file(F_WRLCK);
  if (::fcntl(fd, F_OFD_GETLK, &lock) != 0) return -errno;
  return lock.l_type == F_UNLCK ? 0 : 1;
}

void replace_by_zeros(void* at, std::size_t size_bytes) noexcept {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
#ifdef BROOD_TSAN
  // Other threads may be at work in it, which is why it is replaced and not taken away; the sanitizer takes mmap() for a write.
  (void)::syscall(SYS_mmap, at, size_bytes, PROT_READ | PROT_WRITE, kFlags, -1, 0);
#else
  (void)::mmap(at, size_bytes, PROT_READ | PROT_WRITE, kFlags, -1, 0);
#endif
}

const int kNoReserve = MAP_NORESERVE;

void* page_wiped_by_fork() noexcept {
  void* page = ::mmap(nullptr, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED || ::madvise(page, page_size(), MADV_WIPEONFORK) != 0) std::abort();
  return page;
}

const int kMapOver = MAP_FIXED;

void* reserve_addresses(std::size_t size_bytes, std::size_t alignment) noexcept {
  const std::size_t whole = round_up(size_bytes, page_size());
  void* const found = ::mmap(nullptr, whole + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (found == MAP_FAILED) return nullptr;
  char* const first = static_cast<char*>(found);
  const std::size_t before = (alignment - reinterpret_cast<std::uintptr_t>(found) % alignment) % alignment;
  if (before != 0) ::munmap(first, before);
  if (before != alignment) ::munmap(first + before + whole, alignment - before);
  return first + before;
}

void release_addresses(void* at, std::size_t size_bytes) noexcept { ::munmap(at, round_up(size_bytes, page_size())); }

void use_huge_pages(void* at, std::size_t size_bytes) noexcept {
  if (::madvise(at, size_bytes, MADV_HUGEPAGE) != 0) return;  // a kernel without them
  // tmpfs hands them out by itself only if it was mounted with huge=; but it lets memory be put together to some.
  (void)::madvise(at, size_bytes, kCollapse);
}

std::size_t huge_bytes(const void* at) {
  // A mapping is a line "from-to flags …" and then a line for each figure.
  std::array<char, 24> begin{};
  std::snprintf(begin.data(), begin.size(), "%lx-", reinterpret_cast<unsigned long>(at));
  constexpr std::size_t kKilo = 1024;
  std::size_t bytes = 0;
  bool inside = false;
  std::ifstream maps("/proc/self/smaps");
  for (std::string line; std::getline(maps, line);) {
    if (line.rfind(begin.data(), 0) == 0) inside = true;
    if (!inside) continue;
    for (const char* const figure : {"AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:"}) {
      if (line.rfind(figure, 0) == 0) bytes += std::strtoull(line.c_str() + std::string(figure).size(), nullptr, 10);
    }
    if (line.rfind("VmFlags:", 0) == 0) break;  // the last one
  }
  return bytes * kKilo;
}

std::uint64_t random_u64() noexcept {
  std::uint64_t value = 0;
  while (::getrandom(&value, sizeof value, 0) != static_cast<ssize_t>(sizeof value)) {
    // Only a signal before the first byte of entropy can end up here: ask again.
  }
  return value;
}

std::size_t page_size() noexcept { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

std::uint64_t free_bytes(const char* path) noexcept {
  struct statvfs fs {};
  return ::statvfs(path, &fs) == 0 ? static_cast<std::uint64_t>(fs.f_bavail) * fs.f_frsize : 0;
}

}  // namespace brood::inline v1::os
