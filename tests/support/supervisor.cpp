#include "support/supervisor.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <system_error>

#include "base/unique_fd.hpp"
#include "brood/domain.hpp"
#include "support/inspect.hpp"

namespace support {
namespace {

namespace fs = std::filesystem;
using brood::base::UniqueFd;
using Clock = std::chrono::steady_clock;

constexpr const char* kSupervised = "BROOD_TEST_SUPERVISED";
constexpr const char* kProgress = "BROOD_TEST_PROGRESS";
constexpr const char* kDomain = "BROOD_DOMAIN";
constexpr const char* kPrograms = "BROOD_TEST_PROGRAMS";
constexpr const char* kTimeout = "BROOD_TEST_TIMEOUT";
constexpr const char* kGrace = "BROOD_TEST_GRACE";

[[noreturn]] void fail(const char* operation) {
  throw std::system_error(errno, std::generic_category(), std::string("supervisor: ") + operation);
}

std::chrono::seconds seconds_from(const char* variable, long otherwise) {
  const char* text = std::getenv(variable);
  const long seconds = text != nullptr ? std::strtol(text, nullptr, 10) : otherwise;
  if (seconds > 0) return std::chrono::seconds(seconds);
  std::cerr << variable << " must be a positive number of seconds, not '" << text << "'\n";
  std::exit(2);
}

/// The test process and what we know of it.
class Supervisor {
 public:
  explicit Supervisor(char** argv) : limit_(seconds_from(kTimeout, 300)), grace_(seconds_from(kGrace, 5)) {
    prepare_domain();
    start(argv);
  }

  int run() {
    watch();
    const bool survivors = end_survivors();
    const bool litter = clean_domain();
    if (timed_out_ || survivors || litter) return 1;
    if (WIFSIGNALED(status_)) {
      std::cerr << "supervisor: the test process was killed by signal " << WTERMSIG(status_) << " ("
                << strsignal(WTERMSIG(status_)) << ") in " << (test_.empty() ? "no test" : test_) << '\n';
      return 128 + WTERMSIG(status_);
    }
    return WEXITSTATUS(status_);
  }

 private:
  void prepare_domain() {
    own_domain_ = std::getenv(kDomain) == nullptr;
    if (own_domain_) ::setenv(kDomain, ("/dev/shm/brood-test-" + std::to_string(::getpid())).c_str(), 1);
    domain_ = test_domain();
    before_ = files_below(domain_);
    program_ = fs::read_symlink("/proc/self/exe");
    ::setenv(kPrograms, program_.parent_path().c_str(), 1);
    ::setenv(kSupervised, std::to_string(::getpid()).c_str(), 1);
  }

  void start(char** argv) {
    // Orphans come to us instead of to init, so that none can hide.
    if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) fail("prctl(PR_SET_CHILD_SUBREAPER)");
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) fail("pipe2");
    progress_ = UniqueFd(ends[0]);
    const UniqueFd theirs(ends[1]);

    sigset_t stop;
    sigset_t old;
    sigemptyset(&stop);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&stop, signal);
    ::pthread_sigmask(SIG_BLOCK, &stop, &old);
    signals_ = UniqueFd(::signalfd(-1, &stop, SFD_CLOEXEC));
    if (!signals_) fail("signalfd");

    const pid_t supervisor = ::getpid();
    std::cout.flush();
    child_ = ::fork();
    if (child_ < 0) fail("fork");
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != supervisor) ::_exit(126);
      ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
      const int inherited = ::dup(theirs.get());  // without close-on-exec
      ::setenv(kProgress, std::to_string(inherited).c_str(), 1);
      ::execv(program_.c_str(), argv);
      std::perror(("supervisor: execv " + program_.string()).c_str());
      ::_exit(127);
    }
    pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, child_, 0)));
    if (!pidfd_) fail("pidfd_open");
  }

  /// Until the test process ends by itself, by a test that lasts too long, or because somebody asked us to stop.
  void watch() {
    auto deadline = Clock::now() + limit_;
    for (;;) {
      pollfd fds[] = {{pidfd_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}, {progress_.get(), POLLIN, 0}};
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
      const int ready = ::poll(fds, progress_ ? 3 : 2, static_cast<int>(std::max<std::int64_t>(left, 0)));
      if (ready < 0 && errno != EINTR) fail("poll");
      if (ready == 0) {
        on_timeout();
        return;
      }
      if (fds[2].revents != 0 && read_progress()) deadline = Clock::now() + limit_;
      if (fds[0].revents != 0) break;
      if (fds[1].revents != 0) {
        signalfd_siginfo info{};
        if (::read(signals_.get(), &info, sizeof info) == sizeof info) {
          std::cerr << "supervisor: stopped by signal " << info.ssi_signo << " in " << test_ << '\n';
        }
        ::kill(child_, SIGKILL);
        break;
      }
    }
    reap_child();
  }

  /// The test process sends the name of each test as it starts, one a line. Says whether there was news.
  bool read_progress() {
    char text[4096];
    const ssize_t size = ::read(progress_.get(), text, sizeof text);
    if (size <= 0) {
      progress_.reset();
      return false;
    }
    for (const char c : std::string_view(text, static_cast<std::size_t>(size))) {
      if (c == '\n') {
        test_ = std::exchange(line_, {});
      } else {
        line_ += c;
      }
    }
    return true;
  }

  void on_timeout() {
    timed_out_ = true;
    std::cerr << "\nwatchdog: " << (test_.empty() ? "the test process" : test_) << " lasts longer than "
              << limit_.count() << " s (BROOD_TEST_TIMEOUT). Stacks of all its threads and processes:\n";
    for (const auto& process : descendants_of(::getpid())) print_stacks(process);
    ::kill(child_, SIGABRT);
    pollfd ended{pidfd_.get(), POLLIN, 0};
    if (::poll(&ended, 1, static_cast<int>(std::chrono::milliseconds(grace_).count())) == 0) ::kill(child_, SIGKILL);
    reap_child();
  }

  static void print_stacks(const ProcessInfo& process) {
    const std::string pid = std::to_string(process.pid);
    std::cerr << "--- " << describe(process) << std::endl;
    // Where there is no gdb, at least what each thread sleeps in.
    const std::string command = "if command -v gdb >/dev/null; then timeout 60 gdb -nx -batch -p " + pid +
                                " -ex 'thread apply all backtrace' 2>/dev/null; else for t in /proc/" + pid +
                                "/task/*; do echo \"thread ${t##*/} $(cat $t/comm) waits in $(cat $t/wchan)," +
                                " system call $(cat $t/syscall)\"; done; fi >&2";
    if (std::system(command.c_str()) != 0) std::cerr << "(no stacks)\n";
  }

  void reap_child() {
    while (::waitpid(child_, &status_, 0) < 0) {
      if (errno != EINTR) fail("waitpid");
    }
  }

  /// Waits some seconds for what the test process left behind to end; says whether something had to be killed.
  bool end_survivors() const {
    sigset_t child_ended;
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    ::pthread_sigmask(SIG_BLOCK, &child_ended, nullptr);
    const auto give_up = Clock::now() + grace_;
    bool killed = false;
    for (;;) {
      const pid_t reaped = ::waitpid(-1, nullptr, WNOHANG);
      if (reaped > 0) continue;
      if (reaped < 0 && errno == ECHILD) return killed;
      const auto left = give_up - Clock::now();
      if (left <= Clock::duration::zero()) {
        for (const auto& survivor : descendants_of(::getpid())) {
          std::cerr << "supervisor: left running after the last test: " << describe(survivor) << '\n';
          ::kill(survivor.pid, SIGKILL);
          killed = true;
        }
      }
      const auto ns =
          std::chrono::duration_cast<std::chrono::nanoseconds>(std::max(left, Clock::duration(100'000'000)));
      const timespec wait{ns.count() / 1'000'000'000, ns.count() % 1'000'000'000};
      ::sigtimedwait(&child_ended, nullptr, &wait);
    }
  }

  /// Says whether anything was left, and removes it.
  bool clean_domain() {
    bool litter = false;
    for (const auto& file : files_below(domain_)) {
      if (before_.count(file) != 0) continue;
      std::cerr << "supervisor: left in the domain directory after the last test: " << (domain_ / file).string()
                << '\n';
      litter = true;
    }
    std::error_code ignored;  // there may be no directory at all
    if (own_domain_) fs::remove_all(domain_, ignored);
    return litter;
  }

  std::chrono::seconds limit_;
  std::chrono::seconds grace_;
  fs::path program_;
  fs::path domain_;
  bool own_domain_ = false;
  std::set<std::string> before_;
  UniqueFd progress_;
  UniqueFd signals_;
  UniqueFd pidfd_;
  pid_t child_ = 0;
  int status_ = 0;
  bool timed_out_ = false;
  std::string line_;
  std::string test_;
};

class Reporter : public ::testing::EmptyTestEventListener {
 public:
  explicit Reporter(int fd) : fd_(fd) {}

  void OnTestStart(const ::testing::TestInfo& info) override {
    send(std::string(info.test_suite_name()) + "." + info.name());
  }
  // What follows the last test (the suite's and the environment's end) has a limit of its own.
  void OnTestEnd(const ::testing::TestInfo& info) override {
    send(std::string("after ") + info.test_suite_name() + "." + info.name());
  }
  // What killed children left behind belongs to whoever comes next: here nobody does, so it is collected.
  void OnTestProgramEnd(const ::testing::UnitTest&) override { brood::gc(); }

 private:
  void send(const std::string& text) {
    const std::string line = text + '\n';
    // A lost report would blame the wrong test; it cannot fail while the supervisor lives, and we die with it.
    if (::write(fd_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) fail("write");
  }
  UniqueFd fd_;
};

}  // namespace

bool needs_supervisor() { return std::getenv(kSupervised) == nullptr; }

int supervise(char** argv) { return Supervisor(argv).run(); }

void report_progress_to_supervisor() {
  const char* text = std::getenv(kProgress);
  if (text == nullptr) return;
  const int fd = static_cast<int>(std::strtol(text, nullptr, 10));
  ::unsetenv(kProgress);  // programs started by tests have no such descriptor
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) fail("fcntl(FD_CLOEXEC) on the progress pipe");
  ::prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);  // the watchdog's gdb is no ancestor of ours
  ::testing::UnitTest::GetInstance()->listeners().Append(new Reporter(fd));
}

}  // namespace support
