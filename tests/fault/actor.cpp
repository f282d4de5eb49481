#include "fault/actor.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <stdexcept>
#include <utility>

#include "registry/registry.hpp"

namespace fault {
namespace {

constexpr int kSeats = 64;

Seat* seats() {
  static auto* const all = static_cast<Seat*>(share(kSeats * sizeof(Seat)));
  return all;
}

Seat& take_seat() {
  for (int i = 0; i < kSeats; ++i) {
    std::uint32_t free = 0;
    Seat& seat = seats()[i];
    if (!seat.used.compare_exchange_strong(free, 1)) continue;
    seat.mark = 0;
    seat.go = 0;
    for (auto& value : seat.value) value = 0;
    seat.error[0] = '\0';
    return seat;
  }
  throw std::runtime_error("the harness has no seat left for another actor");
}

/// The contents of a small file of /proc.
std::string read_proc(pid_t pid, const char* file) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
  char text[512];
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t size = ::read(fd, text, sizeof text);
  ::close(fd);
  return {text, size < 0 ? 0U : static_cast<std::size_t>(size)};
}

}  // namespace

void* share(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no shared memory for the harness");
  return memory;
}

void nap() noexcept {
  const timespec moment{0, 20'000};
  ::nanosleep(&moment, nullptr);
}

double now_ms() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

void use_processor(int which) noexcept {
  static const cpu_set_t allowed = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    ::sched_getaffinity(0, sizeof set, &set);
    return set;
  }();
  int left = which;
  int chosen = -1;
  for (int i = 0; i < CPU_SETSIZE && left >= 0; ++i) {
    if (!CPU_ISSET(i, &allowed)) continue;
    chosen = i;
    --left;
  }
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(chosen, &one);
  ::sched_setaffinity(0, sizeof one, &one);
}

void Self::await_go(int stage) const noexcept {
  while (seat_.go.load() < stage) nap();
}

Actor::Actor(std::function<void(Self&)> body) : seat_(&take_seat()) {
  std::fflush(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("the harness cannot fork");
  if (pid_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::prctl(PR_SET_TIMERSLACK, 1000);
    use_processor(1);
    Self self(*seat_);
    try {
      (void)brood::registry::self();
      body(self);
      self.mark(kDone);
    } catch (const std::exception& error) {
      std::snprintf(seat_->error, sizeof seat_->error, "%s", error.what());
      self.mark(kThrew);
    }
    for (;;) ::pause();
  }
}

Actor::Actor(Actor&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), seat_(std::exchange(other.seat_, nullptr)) {}

Actor& Actor::operator=(Actor&& other) noexcept {
  if (this != &other) {
    kill();
    pid_ = std::exchange(other.pid_, -1);
    seat_ = std::exchange(other.seat_, nullptr);
  }
  return *this;
}

bool Actor::await(int mark_wanted, Milliseconds patience) const noexcept {
  const double until = now_ms() + static_cast<double>(patience.count());
  while (!has_reached(mark_wanted)) {
    if (now_ms() > until) return false;
    nap();
  }
  return true;
}

void Actor::await_blocked(int mark_wanted) const {
  if (!await(mark_wanted)) throw std::runtime_error("an actor did not get ready: " + error());
  const double until = now_ms() + static_cast<double>(kPatience.count());
  while (!sleeps_on_futex(pid_)) {
    if (now_ms() > until || is_done()) throw std::runtime_error("an actor did not fall asleep: " + error());
    nap();
  }
}

void Actor::kill() noexcept {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_ = -1;
  if (seat_ != nullptr) seat_->used.store(0);
  seat_ = nullptr;
}

bool sleeps_in_kernel(pid_t pid) {
  const std::string stat = read_proc(pid, "stat");
  const auto name_end = stat.rfind(") ");
  return name_end != std::string::npos && (stat[name_end + 2] == 'S' || stat[name_end + 2] == 'D');
}

bool sleeps_on_futex(pid_t pid) {
  const std::string call = read_proc(pid, "syscall");  // "running", or the number and its arguments
  const int number = std::atoi(call.c_str());
  if (call.empty() || call[0] < '0' || call[0] > '9') return false;
  return (number == SYS_futex || number == SYS_futex_waitv) && sleeps_in_kernel(pid);
}

bool run_fresh(const std::function<void(Self&)>& body, std::string& why) {
  const Actor actor(body);
  if (!actor.await_done()) {
    why = "hangs";
    return false;
  }
  why = actor.error();
  return !actor.threw();
}

}  // namespace fault
