#include "harness.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <stdexcept>
#include <system_error>

namespace bench {
namespace {

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

/// The state letter of a thread, from /proc; 'X' if it is gone.
char thread_state(pid_t pid, pid_t tid) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 'X';
  char text[256];
  const ssize_t got = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  if (got <= 0) return 'X';
  text[got] = '\0';
  const char* end_of_name = std::strrchr(text, ')');
  return end_of_name != nullptr && end_of_name[1] == ' ' ? end_of_name[2] : 'X';
}

void await_state(pid_t pid, pid_t tid) {
  for (char state; (state = thread_state(pid, tid)) != 'S';) {
    if (state == 'X' || state == 'Z') throw std::runtime_error("a party ended before it was measured");
    ::sched_yield();
  }
}

void settle() {
  const timespec pause{0, 100'000};
  ::nanosleep(&pause, nullptr);
}

/// The calling thread may run on the n-th of the processors that this program could use at first, for any n of these.
void pin_to(std::initializer_list<int> numbers) {
  static const std::vector<int> allowed = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof set, &set) != 0) fail("sched_getaffinity");
    std::vector<int> cpus;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
    return cpus;
  }();
  cpu_set_t chosen;
  CPU_ZERO(&chosen);
  for (const int n : numbers) {
    CPU_SET(static_cast<std::size_t>(allowed[static_cast<std::size_t>(n) % allowed.size()]), &chosen);
  }
  if (::sched_setaffinity(0, sizeof chosen, &chosen) != 0) fail("sched_setaffinity");
}

[[noreturn]] void run_and_exit(const std::function<void()>& body) {
  int code = 0;
  try {
    body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "brood_bench: %s\n", error.what());
    code = 1;
  }
  // Normally, not by _exit: leaving the domain as a killed process would, wakes everybody.
  std::exit(code);
}

/// What a cell sends back.
struct Answer {
  static constexpr std::size_t kMost = 1 << 16;
  std::uint64_t count;
  double samples[kMost];
};

}  // namespace

std::uint64_t now_ns() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(now.tv_nsec);
}

void pin(int n) { pin_to({n}); }
void pin_to_two() { pin_to({0, 1}); }

pid_t this_thread() { return static_cast<pid_t>(::syscall(SYS_gettid)); }

void await_asleep(pid_t pid, pid_t tid) {
  await_state(pid, tid);
  settle();
}

void await_all_asleep(const std::vector<pid_t>& pids) {
  for (const pid_t pid : pids) await_state(pid, pid);
  settle();
}

void Gate::add(std::uint32_t n) {
  count_.fetch_add(n);
  ::syscall(SYS_futex, &count_, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void Gate::await(std::uint32_t at_least) const {
  for (std::uint32_t now; (now = count_.load()) < at_least;) {
    ::syscall(SYS_futex, &count_, FUTEX_WAIT, now, nullptr, nullptr, 0);
  }
}

void* shared_bytes(std::size_t size) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  return memory;
}

pid_t fork_party(const std::function<void()>& body) {
  const pid_t parent = ::getpid();
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    // Set after the fork, so ask whether the parent died in between.
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != parent) ::_exit(1);
    run_and_exit(body);
  }
  return pid;
}

void join_party(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) fail("waitpid");
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::runtime_error("a party ended badly, with status " + std::to_string(status));
  }
}

void join_parties(std::vector<pid_t> pids) {
  while (!pids.empty()) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, 0);
    if (pid < 0) {
      if (errno == EINTR) continue;
      fail("waitpid");
    }
    const bool ours = std::erase(pids, pid) != 0;
    if (ours && WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    for (const pid_t other : pids) kill_party(other);
    throw std::runtime_error(
        (ours ? "a party ended badly, with status " : "a child that the parties need ended, with status ") +
        std::to_string(status));
  }
}

void kill_party(pid_t pid) {
  ::kill(pid, SIGKILL);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {}
}

Samples run_cell(const std::string& what, const Cell& cell) {
  constexpr int kSeconds = 120;
  auto* answer = static_cast<Answer*>(shared_bytes(sizeof(Answer)));
  const pid_t parent = ::getpid();
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != parent) ::_exit(1);
    ::setpgid(0, 0);
    run_and_exit([&] {
      const Samples samples = cell();
      const std::size_t step = samples.size() / Answer::kMost + 1;
      for (std::size_t i = 0; i < samples.size(); i += step) answer->samples[answer->count++] = samples[i];
    });
  }
  ::setpgid(pid, pid);  // here too: whoever is first
  const int end = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (end < 0) fail("pidfd_open");
  pollfd waiting{end, POLLIN, 0};
  int ready = 0;
  while ((ready = ::poll(&waiting, 1, kSeconds * 1000)) < 0 && errno == EINTR) {}
  ::close(end);
  if (ready == 0) ::kill(-pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  if (status != 0) ::kill(-pid, SIGKILL);  // what it left behind
  Samples samples(answer->samples, answer->samples + answer->count);
  ::munmap(answer, sizeof(Answer));
  if (ready == 0) throw std::runtime_error(what + ": took longer than " + std::to_string(kSeconds) + " s");
  if (status != 0 || samples.empty()) throw std::runtime_error(what + ": failed, status " + std::to_string(status));
  return samples;
}

Samples read_samples(const std::string& command) {
  std::FILE* output = ::popen(command.c_str(), "re");
  if (output == nullptr) throw std::runtime_error("cannot run " + command);
  Samples samples;
  for (double sample = 0; std::fscanf(output, "%lf", &sample) == 1;) samples.push_back(sample);
  if (const int status = ::pclose(output); status != 0)
    throw std::runtime_error(command + ": status " + std::to_string(status));
  return samples;
}

double quantile(Samples samples, double q) {
  if (samples.empty()) throw std::logic_error("quantile of nothing");
  std::sort(samples.begin(), samples.end());
  if (q == 0.5 && samples.size() % 2 == 0) {
    return (samples[samples.size() / 2 - 1] + samples[samples.size() / 2]) / 2;
  }
  const auto at = static_cast<std::size_t>(q * static_cast<double>(samples.size()));
  return samples[std::min(at, samples.size() - 1)];
}

std::string digits(double value) {
  if (std::fabs(value) >= 1e5) return digits(value / 1e6) + "M";
  char text[64];
  const double size = std::fabs(value);
  if (size >= 100) {
    std::snprintf(text, sizeof text, "%.0f", value);
  } else {
    const int decimals = size >= 10 ? 1 : size >= 1 ? 2 : size >= 0.1 ? 3 : 4;
    std::snprintf(text, sizeof text, "%.*f", decimals, value);
  }
  return text;
}

}  // namespace bench
