#include "os/process_identity.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "os/above_standard.hpp"

namespace brood::inline v1::os {
namespace {

constexpr long kPidfsMagic = 0x50494446;  // "PIDF", linux/magic.h of 6.9

struct StatFields {
  std::uint64_t start_time = 0;
  std::uint64_t image = 0;
};

/// Fields 22 (start time), 28 (start of stack) and 48 (start of argv) of a stat file; zeros if it cannot be read.
StatFields read_stat(int dir_fd, const char* path) noexcept {
  StatFields out;
  const base::UniqueFd fd(::openat(dir_fd, path, O_RDONLY | O_CLOEXEC));
  if (!fd) return out;
  std::array<char, 1536> text{};
  const ssize_t got = ::read(fd.get(), text.data(), text.size() - 1);
  if (got <= 0) return out;
  // The second field is the name in parentheses and may hold anything: count from the last parenthesis.
  const char* at = std::strrchr(text.data(), ')');
  for (int field = 2; at != nullptr && *at != '\0'; ++field) {
    if (field == 22) out.start_time = std::strtoull(at, nullptr, 10);
    if (field == 28 || field == 48) out.image = out.image * 31 + std::strtoull(at, nullptr, 10);
    at = std::strchr(at, ' ');
    if (at != nullptr) ++at;
  }
  return out;
}

bool proc_is_mounted() noexcept { return ::access("/proc/self/task", F_OK) == 0; }

}  // namespace

int pidfd_open(pid_t pid) noexcept {
  const long fd = ::syscall(SYS_pidfd_open, pid, 0);
  return fd < 0 ? -errno : above_standard(static_cast<int>(fd));
}

bool pidfd_ended(int pidfd) noexcept {
  pollfd entry{pidfd, POLLIN, 0};
  return ::poll(&entry, 1, 0) > 0 && (entry.revents & POLLIN) != 0;
}

namespace {

/// The pid behind a pidfd, from /proc; 0 if it has ended and was reaped.
pid_t pid_behind(int pidfd) noexcept {
  std::array<char, 64> path;
  std::array<char, 512> text;
  std::snprintf(path.data(), path.size(), "/proc/self/fdinfo/%d", pidfd);
  const base::UniqueFd info(::open(path.data(), O_RDONLY | O_CLOEXEC));
  const ssize_t got = info ? ::read(info.get(), text.data(), text.size() - 1) : -1;
  if (got <= 0) return 0;
  text[static_cast<std::size_t>(got)] = '\0';
  const char* const line = std::strstr(text.data(), "Pid:");
  const long pid = line == nullptr ? 0 : std::strtol(line + 4, nullptr, 10);
  return pid > 0 ? static_cast<pid_t>(pid) : 0;
}

}  // namespace

int pidfd_send_signal(int pidfd, int signal) noexcept {
  if (::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0) return 0;
  if (errno != ENOSYS) return -errno;
  // Hidden by an old valgrind. Between the question and the signal the pid could be reused, if somebody else reaps.
  const pid_t pid = pid_behind(pidfd);
  if (pid == 0) return -ESRCH;
  return ::kill(pid, signal) == 0 ? 0 : -errno;
}

std::uint64_t pidfd_inode(int pidfd) noexcept {
  struct statfs fs {};
  struct stat st {};
  if (::fstatfs(pidfd, &fs) != 0 || fs.f_type != kPidfsMagic || ::fstat(pidfd, &st) != 0) return 0;
  return st.st_ino;
}

ProcessIdentity identify_self() noexcept {
  ProcessIdentity self;
  self.pid = ::getpid();
  const base::UniqueFd fd(os::pidfd_open(self.pid));
  if (fd) self.pidfd_inode = pidfd_inode(fd.get());
  const StatFields fields = read_stat(AT_FDCWD, "/proc/self/stat");
  self.start_time = fields.start_time;
  self.image = fields.image;
  return self;
}

std::uint64_t pid_namespace() noexcept {
  struct stat st {};
  return ::stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

Watch watch(const ProcessIdentity& who) noexcept {
  Watch out;
  const int fd = os::pidfd_open(who.pid);
  if (fd < 0) {
    out.state = fd == -ESRCH ? Watch::State::gone : Watch::State::unknown;
    return out;
  }
  out.pidfd.reset(fd);
  out.state = Watch::State::watching;
  if (who.pidfd_inode != 0) {
    const std::uint64_t inode = pidfd_inode(fd);
    if (inode != 0 && inode != who.pidfd_inode) out.state = Watch::State::gone;
  } else if (who.start_time != 0) {
    std::array<char, 32> path{};
    std::snprintf(path.data(), path.size(), "/proc/%d/stat", who.pid);
    const StatFields now = read_stat(AT_FDCWD, path.data());
    if (now.start_time != 0 && now.start_time != who.start_time) out.state = Watch::State::gone;
  }
  return out;
}

bool can_not_write(const ProcessIdentity& who, int pidfd) noexcept {
  if (pidfd >= 0 && pidfd_ended(pidfd)) return true;
  std::array<char, 32> path{};
  std::snprintf(path.data(), path.size(), "/proc/%d/task", who.pid);
  struct stat before {};
  if (::stat(path.data(), &before) != 0) return errno == ENOENT && proc_is_mounted();
  DIR* dir = ::opendir(path.data());
  if (dir == nullptr) return false;
  unsigned seen = 0;
  bool same_image_alive = false;
  bool other_image = false;
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    ++seen;
    std::array<char, 48> file{};
    std::array<char, 8> link{};
    std::snprintf(file.data(), file.size(), "%.20s/exe", entry->d_name);
    // No exe link: this thread's address space is gone, it can write nothing any more, nor can the kernel on its
    // behalf.
    if (::readlinkat(::dirfd(dir), file.data(), link.data(), link.size()) < 0 && errno == ENOENT) continue;
    std::snprintf(file.data(), file.size(), "%.20s/stat", entry->d_name);
    const std::uint64_t image = read_stat(::dirfd(dir), file.data()).image;
    if (image != 0 && who.image != 0 && image != who.image) {
      other_image = true;
    } else {
      same_image_alive = true;
      break;
    }
  }
  ::closedir(dir);
  if (same_image_alive) return false;
  if (other_image) return true;
  // A listing can end early when the entry it stands on vanishes, so it counts only if it has as many entries as the
  // directory had threads before (a dying group makes no new ones).
  return seen + 2 == before.st_nlink;
}

unsigned thread_count() noexcept {
  struct stat st {};
  if (::stat("/proc/self/task", &st) != 0 || st.st_nlink < 2) return 0;
  return static_cast<unsigned>(st.st_nlink - 2);
}

}  // namespace brood::inline v1::os
