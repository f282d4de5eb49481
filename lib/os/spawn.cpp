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

namespace brood::inline v1::os {
namespace {

constexpr std::size_t kStackBytes = 64UL * 1024;

/// Lies on the caller's stack; the child writes into it, since both share one memory until exec.
struct Lent {
  const SpawnRequest* request;
  int error;
  const char* step;
};

/// Between clone and exec, in the caller's memory while the caller sleeps: system calls only. Code instrumented by a
/// sanitizer would keep its books there as if it were the caller's thread.
#if defined(__clang__)
__attribute__((no_sanitize("address", "thread", "undefined")))
#else
__attribute__((no_sanitize_address, no_sanitize_thread, no_sanitize_undefined))
#endif
int run_in_child(void* argument) noexcept {
  auto& lent = *static_cast<Lent*>(argument);
  const SpawnRequest& request = *lent.request;
  const auto fail = [&lent](const char* step) {
    lent.error = -errno;
    lent.step = step;
    ::_exit(127);
  };

  // A handler of the caller must not run here, on its memory: all signals are blocked until every handler is gone.
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action {};
    if (::sigaction(number, nullptr, &action) != 0) continue;
    if (action.sa_handler == SIG_DFL || (action.sa_handler == SIG_IGN && number != SIGCHLD)) continue;
    action = {};
    action.sa_handler = SIG_DFL;
    ::sigaction(number, &action, nullptr);
  }
  const int null = ::open("/dev/null", O_RDONLY);
  if (null < 0) fail("open /dev/null for standard input");
  if (null != STDIN_FILENO) {
    if (::dup2(null, STDIN_FILENO) < 0) fail("put /dev/null in the place of standard input");
    ::close(null);
  }
  if (::fcntl(request.kept_fd, F_SETFD, 0) != 0) fail("keep the descriptor of the parent's socket");
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(request.program, request.arguments, request.environment);
  fail("execute");
  return 127;
}

}  // namespace

Spawned spawn(const SpawnRequest& request) noexcept {
  Spawned out;
  void* stack = ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) {
    out.error = -errno;
    out.step = "map a stack for";
    return out;
  }
  Lent lent{&request, 0, ""};
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  int pidfd = -1;
  // CLONE_VFORK: we sleep until the child has executed its program or ended, so `lent` is ours alone afterwards.
  const pid_t pid = ::clone(run_in_child, static_cast<char*>(stack) + kStackBytes,
                            CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &lent, &pidfd);
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::munmap(stack, kStackBytes);
  if (pid < 0) {
    out.error = -error;
    out.step = "make a process for";
    return out;
  }
  out.pidfd.reset(pidfd);
  out.pid = pid;
  if (lent.error != 0) {
    out.error = lent.error;
    out.step = lent.step;
    siginfo_t ended{};
    while (::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &ended, WEXITED | __WALL) != 0 &&
           errno == EINTR) {}
    out.pidfd.reset();
    out.pid = 0;
  }
  return out;
}

}  // namespace brood::inline v1::os
