#include "os/program.hpp"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdio_ext.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/unique_fd.hpp"
#include "os/not_instrumented.hpp"
#include "os/process_identity.hpp"

namespace brood::inline v1::os {
namespace {

constexpr const char* kSelf = "/proc/self/exe";
constexpr std::string_view kDeleted = " (deleted)";

std::string read_whole(const char* path) {
  std::string text;
  const base::UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return text;
  std::array<char, 16384> part;
  for (;;) {
    const ssize_t got = ::read(fd.get(), part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(got));
  }
}

/// One line of /proc/self/maps.
struct Line {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  std::uint64_t inode = 0;
  std::string_view path;
};

template <class Visit>
void for_each_mapping(const std::string& maps, Visit visit) {
  for (std::size_t at = 0; at < maps.size();) {
    const std::size_t stop = std::min(maps.find('\n', at), maps.size());
    const std::string text(maps, at, stop - at);
    at = stop + 1;
    unsigned long begin = 0, end = 0, inode = 0;
    int path_at = 0;
    if (std::sscanf(text.c_str(), "%lx-%lx %*s %*s %*s %lu %n", &begin, &end, &inode, &path_at) < 3) continue;
    visit(Line{begin, end, inode, std::string_view(text).substr(static_cast<std::size_t>(path_at))});
  }
}

/// An address inside the main program (not inside a shared library, where this code may be).
std::uintptr_t address_in_main_program() noexcept {
  std::uintptr_t found = 0;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* out) {
        for (unsigned i = 0; i < info->dlpi_phnum; ++i) {
          const auto& header = info->dlpi_phdr[i];
          if (header.p_type != PT_LOAD) continue;
          *static_cast<std::uintptr_t*>(out) = info->dlpi_addr + header.p_vaddr;
          return 1;
        }
        return 1;  // the first entry is the main program
      },
      &found);
  return found;
}

bool is_crash_signal(int number) noexcept {
  return number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL || number == SIGTRAP ||
         number == SIGABRT || number == SIGSYS;
}

}  // namespace

bool runs_with_raised_rights() noexcept { return ::getauxval(AT_SECURE) != 0; }

std::string own_executable() {
  struct stat self {};
  std::array<char, PATH_MAX> link{};
  const ssize_t length = ::readlink(kSelf, link.data(), link.size() - 1);
  if (length < 0 || ::stat(kSelf, &self) != 0) return {};
  const std::string_view target(link.data(), static_cast<std::size_t>(length));
  const std::uintptr_t ours = address_in_main_program();
  std::string program = kSelf;
  for_each_mapping(read_whole("/proc/self/maps"), [&](const Line& line) {
    if (ours < line.begin || ours >= line.end) return;
    if (line.inode == self.st_ino) return;
    // Inode numbers of stacked filesystems differ between the two views; files that are looked at by stat agree. (Under
    // valgrind the link's text is ours, the file behind it is valgrind's.)
    struct stat mapped {};
    if (line.path == target && line.path.ends_with(kDeleted)) return;
    if (line.path == target && ::stat(std::string(line.path).c_str(), &mapped) == 0 && mapped.st_ino == self.st_ino &&
        mapped.st_dev == self.st_dev) {
      return;
    }
    program = line.path.ends_with(kDeleted) ? std::string() : std::string(line.path);
  });
  return program;
}

std::vector<std::string> own_arguments() {
  std::vector<std::string> out;
  const std::string text = read_whole("/proc/self/cmdline");
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t stop = std::min(text.find('\0', at), text.size());
    out.emplace_back(text, at, stop - at);
    at = stop + 1;
  }
  return out;
}

unsigned foreign_threads() {
  if (thread_count() == 1) return 0;
  DIR* dir = ::opendir("/proc/self/task");
  if (dir == nullptr) return 0;
  const long self = ::syscall(SYS_gettid);
  unsigned count = 0;
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] == '.' || std::strtol(entry->d_name, nullptr, 10) == self) continue;
    const std::string name = read_whole((std::string("/proc/self/task/") + entry->d_name + "/comm").c_str());
    if (!name.empty() && !name.starts_with("brood-")) ++count;  // empty: ended meanwhile
  }
  ::closedir(dir);
  return count;
}

AllSignalsBlocked::AllSignalsBlocked() noexcept {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before_);
}

AllSignalsBlocked::~AllSignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

GroupSignalsIgnored::GroupSignalsIgnored() noexcept {
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGINT, &ignore, &interrupt_before_);
  ::sigaction(SIGTERM, &ignore, &terminate_before_);
}

GroupSignalsIgnored::~GroupSignalsIgnored() {
  ::sigaction(SIGINT, &interrupt_before_, nullptr);
  ::sigaction(SIGTERM, &terminate_before_, nullptr);
}

void reset_signals_after_fork() noexcept {
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action {};
    if (is_crash_signal(number) || ::sigaction(number, nullptr, &action) != 0) continue;
    if (action.sa_handler == SIG_DFL || (action.sa_handler == SIG_IGN && number != SIGCHLD)) continue;
    action = {};
    action.sa_handler = SIG_DFL;
    ::sigaction(number, &action, nullptr);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

void forget_read_ahead() noexcept { ::__fpurge(stdin); }

int at_exit_with_status(void (*handler)(int status)) noexcept {
  return ::on_exit([](int status, void* argument) { reinterpret_cast<void (*)(int)>(argument)(status); },
                   reinterpret_cast<void*>(handler)) == 0
             ? 0
             : ENOMEM;
}

unsigned long raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  const auto before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);  // if refused, the old limit holds
  return before;
}

void restore_descriptor_limit(unsigned long soft) noexcept {
  rlimit limit{};
  if (soft == 0 || ::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = soft;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

namespace {
using MinStack = std::size_t (*)(const pthread_attr_t*);
/// glibc's own answer, which only dlsym gives: PTHREAD_STACK_MIN plus the program's static thread-local storage.
MinStack min_stack_function() noexcept {
  static const auto found = reinterpret_cast<MinStack>(::dlsym(RTLD_DEFAULT, "__pthread_get_minstack"));
  return found;
}
/// At load: a fork by one thread must not meet another that looks it up.
[[maybe_unused]] const MinStack g_found_at_load = min_stack_function();

/// The thread sanitizer (of gcc 12) takes a thread of a forked child for the thread of its parent whose stack it was given, and ends
/// the process. So there each process asks for more than what its parent can have left it.
std::size_t more_than_the_parents() noexcept {
#ifdef BROOD_TSAN
  constexpr std::size_t kStep = 0x100000;
  static constinit std::atomic<pid_t> process = 0;
  static constinit std::atomic<std::size_t> more = 0;
  const pid_t me = ::getpid();
  if (process.exchange(me) != me) more += kStep;
  return more;
#else
  return 0;
#endif
}
}  // namespace

std::size_t thread_stack_bytes(std::size_t bytes) noexcept {
  const MinStack min_stack = min_stack_function();
  bytes += more_than_the_parents();
  if (min_stack == nullptr) return bytes;
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  const std::size_t least = min_stack(&attributes);
  ::pthread_attr_destroy(&attributes);
  return bytes + least;
}

}  // namespace brood::inline v1::os
