#include "os/spawn.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "os/above_standard.hpp"
#include "os/not_instrumented.hpp"

#ifdef BROOD_TSAN
// The thread sanitizer's own clone() takes every child for a fork and would stop to look at this thread.
extern "C" int __clone(int (*body)(void*), void* stack, int flags, void* argument, ...);
#define BROOD_CLONE ::__clone
#else
#define BROOD_CLONE ::clone
#endif

namespace brood::inline v1::os {
namespace {

constexpr std::size_t kStackBytes = 64UL * 1024;

/// Lies on the caller's stack; the child writes into it, since both share one memory until exec.
struct Lent {
  const SpawnRequest* request;
  int error;
  const char* step;
  SettingsFailure setting;
};

BROOD_NOT_INSTRUMENTED void fail(Lent& lent, const char* step) noexcept {
  lent.error = -errno;
  lent.step = step;
  ::syscall(SYS_exit_group, 127);
}

/// What the kernel takes for a signal's action; libc's struct is another.
struct KernelAction {
  std::uintptr_t handler;
  std::uintptr_t others[3];  // flags, restorer, mask: in which order does not matter where all are zero
};
constexpr std::size_t kKernelMaskBytes = 8;

/// Between clone and exec, in the caller's memory while the caller sleeps: naked system calls only.
BROOD_NOT_INSTRUMENTED int run_in_child(void* argument) noexcept {
  auto& lent = *static_cast<Lent*>(argument);
  const SpawnRequest& request = *lent.request;

  // A handler of the caller must not run here, on its memory: all signals are blocked until every handler is gone.
  for (int number = 1; number < NSIG; ++number) {
    KernelAction action{};
    if (::syscall(SYS_rt_sigaction, number, nullptr, &action, kKernelMaskBytes) != 0) continue;
    const bool ignored = action.handler == reinterpret_cast<std::uintptr_t>(SIG_IGN);
    if (action.handler == reinterpret_cast<std::uintptr_t>(SIG_DFL) || (ignored && number != SIGCHLD)) continue;
    action = {};
    ::syscall(SYS_rt_sigaction, number, &action, nullptr, kKernelMaskBytes);
  }
  lent.setting = apply_settings(*request.settings);
  if (lent.setting.step != SettingsStep::none) ::syscall(SYS_exit_group, 127);
  if (::syscall(SYS_fcntl, request.kept_fd, F_SETFD, 0) != 0) fail(lent, "hand on the parent's socket and execute");
  const std::uint64_t none = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, nullptr, kKernelMaskBytes);
  if (request.program_fd >= 0) {
    // By the descriptor, not by its path: /proc may not be mounted.
    ::syscall(SYS_execveat, request.program_fd, "", request.arguments, request.environment, AT_EMPTY_PATH);
  } else {
    ::syscall(SYS_execve, request.program, request.arguments, request.environment);
  }
  fail(lent, "execute");
  return 127;
}

}  // namespace

Spawned spawn(const SpawnRequest& request) noexcept {
  Spawned out;
  void* stack = ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) {
    out.error = -errno;
    out.step = "map a stack to execute";
    return out;
  }
  Lent lent{&request, 0, "", {}};
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  int pidfd = -1;
  // CLONE_VFORK: we sleep until the child has executed its program or ended, so `lent` is ours alone afterwards.
  const pid_t pid = BROOD_CLONE(run_in_child, static_cast<char*>(stack) + kStackBytes,
                                CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &lent, &pidfd);
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::munmap(stack, kStackBytes);
  if (pid < 0) {
    out.error = -error;
    out.step = "make a process to execute";
    return out;
  }
  out.pidfd.reset(pidfd);
  if (pidfd < kFirstAboveStandard) {
    // If no other number is free it keeps the one that it has: the process is there.
    const int lifted = ::fcntl(pidfd, F_DUPFD_CLOEXEC, kFirstAboveStandard);
    if (lifted >= 0) out.pidfd.reset(lifted);
  }
  out.pid = pid;
  if (lent.error != 0 || lent.setting.step != SettingsStep::none) {
    out.error = lent.error;
    out.step = lent.step;
    out.setting = lent.setting;
    siginfo_t ended{};
    while (::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(out.pidfd.get()), &ended, WEXITED | __WALL) !=
               0 &&
           errno == EINTR) {}
    out.pidfd.reset();
    out.pid = 0;
  }
  return out;
}

}  // namespace brood::inline v1::os
