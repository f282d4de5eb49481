#include "fault/stepper.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

#include "fault/actor.hpp"

#if !defined(__x86_64__)
#error "the kill sweeps read the instruction pointer of x86-64"
#endif

namespace fault {
namespace {

/// A step that has not come back after two looks sleeps in the kernel.
constexpr int kLookEveryMs = 3;
/// A sleep that nothing ends is a kill point, and the last one.
constexpr double kForEverMs = 100;
constexpr double kOwnTimeoutMs = 5000;

/// While it lives, waitpid() is interrupted now and then, so that a victim asleep is noticed without slowing the steps.
class LookUpNowAndThen {
 public:
  LookUpNowAndThen() {
    struct sigaction action {};
    action.sa_handler = [](int) {};  // no SA_RESTART
    ::sigaction(SIGALRM, &action, nullptr);
    set_timer(kLookEveryMs * 1000);
  }
  ~LookUpNowAndThen() { set_timer(0); }
  LookUpNowAndThen(const LookUpNowAndThen&) = delete;
  LookUpNowAndThen& operator=(const LookUpNowAndThen&) = delete;

 private:
  static void set_timer(int us) {
    const itimerval every{{0, us}, {0, us}};
    ::setitimer(ITIMER_REAL, &every, nullptr);
  }
};

/// The last thing of every operation: a signal that says so, in as few instructions as can be.
[[gnu::always_inline]] inline void say_it_is_over(long pid, long tid) { ::syscall(SYS_tgkill, pid, tid, SIGUSR2); }

}  // namespace

Victim::Victim(const std::function<void()>& ready, const std::function<void()>& operate) {
  std::fflush(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("the harness cannot fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_TIMERSLACK, 1000);
    try {
      ready();
      const long pid = ::getpid();
      const long tid = ::syscall(SYS_gettid);
      ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
      ::raise(SIGSTOP);
      operate();
      say_it_is_over(pid, tid);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "victim: unexpected exception: %s\n", error.what());
    }
    ::_exit(70);
  }
  int status = 0;
  while (::waitpid(pid_, &status, __WALL) < 0 && errno == EINTR) {}
  if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGSTOP) {
    if (!WIFSTOPPED(status)) pid_ = -1;
    kill();
    throw std::runtime_error("the victim's set-up failed");
  }
  ::ptrace(PTRACE_SETOPTIONS, pid_, nullptr, PTRACE_O_TRACESYSGOOD);
}

void Victim::kill() noexcept {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, __WALL) < 0 && errno == EINTR) {}
  pid_ = -1;
}

std::uintptr_t Victim::instruction_pointer() const {
  return static_cast<std::uintptr_t>(::ptrace(PTRACE_PEEKUSER, pid_, offsetof(user_regs_struct, rip), nullptr));
}

bool Victim::at_system_call() const {
  errno = 0;
  const long code = ::ptrace(PTRACE_PEEKTEXT, pid_, instruction_pointer(), nullptr);
  return errno == 0 && (code & 0xffff) == 0x050f;
}

Victim::Stop Victim::advance(int request, const OnSleep* on_sleep) {
  slept_ = false;
  ::ptrace(static_cast<__ptrace_request>(request), pid_, nullptr, nullptr);
  int status = 0;
  int looks = 0;
  double asleep_until = 0;
  for (;;) {
    const pid_t got = ::waitpid(pid_, &status, __WALL);
    if (got == pid_) break;
    if (errno != EINTR) throw std::runtime_error("waitpid of the victim failed");
    if (!sleeps_in_kernel(pid_)) {
      looks = 0;
      continue;
    }
    if (++looks < 2) continue;
    slept_ = true;
    if (on_sleep == nullptr) return Stop::asleep;
    if (asleep_until == 0) {
      const Sleep what = (*on_sleep)(sleeps_++);
      asleep_until = now_ms() + (what == Sleep::for_ever ? kForEverMs : kOwnTimeoutMs);
    } else if (now_ms() > asleep_until) {
      return Stop::asleep;
    }
  }
  if (!WIFSTOPPED(status)) {
    pid_ = -1;  // it exited: that is how some operations end
    return Stop::ended;
  }
  const int signal = WSTOPSIG(status);
  if (signal == SIGUSR2) return Stop::ended;
  if (signal == SIGTRAP || signal == (SIGTRAP | 0x80)) return Stop::stepped;
  throw std::runtime_error("the victim got signal " + std::to_string(signal));
}

Arrival Victim::run_to(const Point& point, const OnSleep& on_sleep) {
  const LookUpNowAndThen look_up;
  Arrival arrival;
  for (long i = 0; i < 2 * point.calls; ++i) {  // into the call, out of the call
    const Stop stop = advance(PTRACE_SYSCALL, &on_sleep);
    if (stop != Stop::stepped) {
      arrival.ended = true;
      return arrival;
    }
  }
  for (; arrival.steps < point.steps; ++arrival.steps) {
    const Stop stop = advance(PTRACE_SINGLESTEP, &on_sleep);
    if (stop == Stop::stepped) continue;
    arrival.ended = true;
    arrival.asleep = stop == Stop::asleep;
    return arrival;
  }
  arrival.at = instruction_pointer();
  if (point.inside && advance(PTRACE_SINGLESTEP, nullptr) == Stop::asleep) arrival.asleep = true;
  return arrival;
}

Victim::Trace Victim::trace(long limit, const OnSleep& on_sleep, const std::function<void(long)>& after_step) {
  const LookUpNowAndThen look_up;
  Trace trace;
  while (trace.steps < limit) {
    const bool call = at_system_call();
    const Stop stop = advance(PTRACE_SINGLESTEP, &on_sleep);
    if (slept_) trace.sleeps.push_back(trace.steps);
    if (stop == Stop::ended) {
      trace.ended = true;
      break;
    }
    if (stop == Stop::asleep) break;
    ++trace.steps;
    if (call) trace.calls.push_back(trace.steps);
    after_step(trace.steps);
  }
  return trace;
}

}  // namespace fault
