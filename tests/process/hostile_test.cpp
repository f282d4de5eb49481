// Applications that take our children's statuses, kill the forkserver, or fork among threads.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "brood/error.hpp"
#include "brood/lock.hpp"
#include "os/capabilities.hpp"
#include "os/process_identity.hpp"
#include "os/reap.hpp"
#include "process/launcher.hpp"
#include "process/process_support.hpp"
#include "support/sanitizers.hpp"
#include "support/tsan.hpp"

namespace {

using namespace process_test;

constexpr StartMethod kMethods[] = {StartMethod::fork, StartMethod::spawn, StartMethod::forkserver};
constexpr int kUnknown = 255;

int code_after(StartMethod method, void (*target)(int), int argument) {
  brood::Process p({.start_method = method}, target, argument);
  p.start();
  p.join();
  return p.exitcode().value_or(-999);
}
void exit_with(int code) { std::exit(code); }
void raise_signal(int number) { ::raise(number); }

/// What can still be known of a killed process whose status somebody else took.
int killed_code(StartMethod method) {
  if (method == StartMethod::forkserver) return -SIGKILL;  // the forkserver is the parent, and no application is in it
  return brood::os::capabilities().pidfd_info ? -SIGKILL : kUnknown;
}

TEST_F(Processes, TheApplicationIgnoresSigchld) {
  expect_scenario(+[](const std::string&) {
    ::signal(SIGCHLD, SIG_IGN);
    for (const auto method : kMethods) {
      SCENARIO_CHECK(code_after(method, exit_with, 0) == 0);
      SCENARIO_CHECK(code_after(method, exit_with, 7) == 7);
      SCENARIO_CHECK(code_after(method, raise_signal, SIGKILL) == killed_code(method));
    }
  });
}

TEST_F(Processes, TheApplicationReapsEverybody) {
  brood::set_fork_warning(nullptr);
  expect_scenario(+[](const std::string&) {
    brood::set_fork_warning(nullptr);
    std::atomic<bool> stop = false;
    std::thread reaper([&stop] {
      while (!stop) {
        if (::waitpid(-1, nullptr, 0) < 0) std::this_thread::yield();
      }
    });
    for (int round = 0; round < 20; ++round) {
      for (const auto method : kMethods) {
        SCENARIO_CHECK(code_after(method, exit_with, 7) == 7);
        const int killed = code_after(method, raise_signal, SIGKILL);
        SCENARIO_CHECK(killed == -SIGKILL || killed == killed_code(method));
      }
    }
    stop = true;
    // Wakes the reaper if it sleeps for a child that is still there (the forkserver).
    (void)code_after(StartMethod::spawn, exit_with, 0);
    ::kill(brood::process::forkserver_pid(), SIGKILL);
    reaper.join();
  });
}

TEST_F(Processes, TheApplicationsOwnChildrenStayItsOwn) {
  std::vector<pid_t> own;
  for (int i = 0; i < 5; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(20 + i);
    own.push_back(pid);
  }
  for (const auto method : kMethods) EXPECT_EQ(code_after(method, exit_with, 3), 3);
  for (int i = 0; i < 5; ++i) {
    int status = 0;
    EXPECT_EQ(::waitpid(own[static_cast<std::size_t>(i)], &status, 0), own[static_cast<std::size_t>(i)]);
    EXPECT_EQ(WEXITSTATUS(status), 20 + i);
  }
}

TEST_F(Processes, AKilledForkserverIsReplaced) {
  expect_scenario(+[](const std::string&) {
    SCENARIO_CHECK(code_after(StartMethod::forkserver, exit_with, 1) == 1);
    for (int round = 0; round < 5; ++round) {
      const pid_t server = brood::process::forkserver_pid();
      SCENARIO_CHECK(server > 0);
      const brood::base::UniqueFd pidfd(brood::os::pidfd_open(server));
      ::kill(server, SIGKILL);
      // A start while it dies may get the child that it had made ahead, and it may even make one more; after its end there is
      // at most that one.
      SCENARIO_CHECK(code_after(StartMethod::forkserver, exit_with, 2) == 2);
      SCENARIO_CHECK(brood::os::wait_ended(pidfd.get(), brood::Deadline::never()));
      SCENARIO_CHECK(code_after(StartMethod::forkserver, exit_with, 3) == 3);
      SCENARIO_CHECK(code_after(StartMethod::forkserver, exit_with, 4) == 4);
      SCENARIO_CHECK(brood::process::forkserver_pid() != server);
    }
  });
}

/// pids of a process's children.
std::vector<pid_t> children_of(pid_t parent) {
  const std::string task = std::to_string(parent);
  std::ifstream in("/proc/" + task + "/task/" + task + "/children");
  return {std::istream_iterator<pid_t>(in), {}};
}

TEST_F(Processes, AKilledSpareOfTheForkserverIsReplaced) {
  expect_scenario(+[](const std::string&) {
    SCENARIO_CHECK(code_after(StartMethod::forkserver, exit_with, 1) == 1);
    const pid_t server = brood::process::forkserver_pid();
    for (int round = 0; round < 5; ++round) {
      // The one that is ready for the next start; it may just be in the making.
      std::vector<pid_t> spare;
      while ((spare = children_of(server)).empty()) std::this_thread::yield();
      SCENARIO_CHECK(spare.size() == 1);
      const brood::base::UniqueFd pidfd(brood::os::pidfd_open(spare.front()));
      ::kill(spare.front(), SIGKILL);
      SCENARIO_CHECK(brood::os::wait_ended(pidfd.get(), brood::Deadline::never()));
      SCENARIO_CHECK(code_after(StartMethod::forkserver, exit_with, 2) == 2);
    }
    SCENARIO_CHECK(brood::process::forkserver_pid() == server);
  });
}

TEST_F(Processes, AForkedApplicationHasAForkserverOfItsOwn) {
  expect_scenario(+[](const std::string&) {
    SCENARIO_CHECK(code_after(StartMethod::forkserver, exit_with, 1) == 1);
    const pid_t server = brood::process::forkserver_pid();
    const pid_t pid = ::fork();
    if (pid == 0) {
      const bool works = code_after(StartMethod::forkserver, exit_with, 2) == 2;
      std::exit(works && brood::process::forkserver_pid() != server ? 0 : 1);
    }
    int status = 0;
    SCENARIO_CHECK(::waitpid(pid, &status, 0) == pid);
    SCENARIO_CHECK(status == 0);
    SCENARIO_CHECK(code_after(StartMethod::forkserver, exit_with, 3) == 3);
    SCENARIO_CHECK(brood::process::forkserver_pid() == server);
  });
}

TEST_F(Processes, ManyThreadsStartThroughOneForkserver) {
  expect_scenario(+[](const std::string&) {
    std::atomic<int> good = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 32; ++i) {
      threads.emplace_back([&good, i] {
        for (int round = 0; round < 4; ++round) {
          if (code_after(StartMethod::forkserver, exit_with, i) == i) ++good;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    SCENARIO_CHECK(good == 128);
  });
}

TEST_F(Processes, TheForkserverSleepsWhileEndedChildrenAreStillHeld) {
  // The pidfd of an ended child stays readable, and we hold one that the server opened: it must not keep the server
  // awake.
  brood::Process p({.start_method = StartMethod::forkserver}, exit_with, 3);
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 3);
  const auto server = brood::process::forkserver_pid();
  clockid_t clock{};
  ASSERT_EQ(::clock_getcpuclockid(server, &clock), 0);
  const auto used = [clock] {
    timespec now{};
    EXPECT_EQ(::clock_gettime(clock, &now), 0);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
  };
  const auto before = used();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // not to wait for anything: to give it the time to burn
  EXPECT_LT(used() - before, 25'000'000);
}

TEST_F(Processes, ExitCodesOutliveTheForkserver) {
  expect_scenario(+[](const std::string&) {
    Pipe gate;
    brood::Process p(
        {.start_method = StartMethod::forkserver},
        [](const std::string& when) {
          await(when);
          std::exit(9);
        },
        gate.reader());
    p.start();
    const brood::base::UniqueFd server(brood::os::pidfd_open(brood::process::forkserver_pid()));
    ::kill(brood::process::forkserver_pid(), SIGKILL);
    SCENARIO_CHECK(p.is_alive());
    gate.let_go();
    p.join();
    SCENARIO_CHECK(p.exitcode() == 9);
  });
}

TEST_F(Processes, ExitCodesDoNotWaitForTheForkserver) {
  expect_scenario(+[](const std::string&) {
    Pipe gate;
    brood::Process p(
        {.start_method = StartMethod::forkserver}, [](const std::string& when) { await(when); }, gate.reader());
    p.start();
    const pid_t server = brood::process::forkserver_pid();
    ::kill(server, SIGSTOP);
    p.kill();
    // On an older kernel nobody but the server knows.
    if (!brood::os::capabilities().pidfd_info) ::kill(server, SIGCONT);
    p.join();
    SCENARIO_CHECK(p.exitcode() == -SIGKILL);
    ::kill(server, SIGCONT);
  });
}

TEST_F(Processes, AForkserverKilledAtAnyMomentLosesNoStart) {
  brood::set_fork_warning(nullptr);
  expect_scenario(+[](const std::string&) {
    std::atomic<bool> stop = false;
    std::thread killer([&stop] {
      while (!stop) {
        if (const pid_t server = brood::process::forkserver_pid(); server > 0) ::kill(server, SIGKILL);
        for (int i = 0; i < 2000; ++i) std::this_thread::yield();
      }
    });
    int good = 0;
    int refused = 0;
    Pipe ran;
    for (int i = 0; i < 60; ++i) {
      brood::Process p(
          {.start_method = StartMethod::forkserver},
          [](const std::string& to) {
            tell(to, "x");
            std::exit(4);
          },
          ran.writer());
      try {
        p.start();
        p.join();
        const int code = p.exitcode().value_or(-1);
        // 4 from the kernel or from its own last word.
        SCENARIO_CHECK(code == 4);
        ++good;
      } catch (const brood::StartError&) {
        ++refused;  // killed three times in a row: said so, and the target did not run
      }
    }
    stop = true;
    killer.join();
    SCENARIO_CHECK(good > 0 && good + refused == 60);
    for (int i = 0; i < good; ++i) SCENARIO_CHECK(ran.line() == "x");
    ran.close_writer();
    SCENARIO_CHECK(ran.line().empty());  // nothing ran twice, nothing ran that was refused
  });
}

TEST_F(Processes, TheApplicationForksWhileOthersStartByFork) {
  expect_scenario(+[](const std::string&) {
    brood::set_fork_warning(nullptr);
    std::atomic<bool> stop = false;
    std::atomic<int> forks = 0;
    std::thread forker([&stop, &forks] {
      while (!stop) {
        const pid_t child = ::fork();
        if (child == 0) ::_exit(0);
        if (child > 0 && ::waitpid(child, nullptr, 0) == child) ++forks;
      }
    });
    for (int round = 0; round < 100; ++round) SCENARIO_CHECK(code_after(StartMethod::fork, exit_with, 6) == 6);
    stop = true;
    forker.join();
    SCENARIO_CHECK(forks > 0);
  });
}

TEST_F(Processes, ForkAmongThreadsIsToldOnce) {
  expect_scenario(+[](const std::string&) {
    static std::atomic<int> told = 0;
    static std::string text;
    brood::set_fork_warning([](const std::string& said) {
      ++told;
      text = said;
    });
    SCENARIO_CHECK(code_after(StartMethod::fork, exit_with, 0) == 0);
    SCENARIO_CHECK(told == 0);
    Pipe gate;
    std::thread other([path = gate.reader()] { await(path); });
    SCENARIO_CHECK(code_after(StartMethod::spawn, exit_with, 0) == 0);
    SCENARIO_CHECK(told == 0);
    for (int i = 0; i < 3; ++i) SCENARIO_CHECK(code_after(StartMethod::fork, exit_with, 0) == 0);
    SCENARIO_CHECK(told == 1);
    // With a program's first thread the thread sanitizer starts one of its own.
    SCENARIO_CHECK(text.find(SUPPORT_TSAN ? "2 other threads " : "1 other thread ") != std::string::npos);
    gate.let_go();
    other.join();
  });
}

TEST_F(Processes, TheApplicationClosesEveryDescriptor) {
  expect_scenario(+[](const std::string&) {
    SCENARIO_CHECK(code_after(StartMethod::forkserver, exit_with, 8) == 8);
    const pid_t first_server = brood::process::forkserver_pid();
    SCENARIO_CHECK(first_server > 0);
    constexpr unsigned kFirst = 3;
    ::close_range(kFirst, ~0U, 0);
    // The application's own files get the numbers that were ours.
    std::vector<int> files;
    for (int i = 0; i < 40; ++i) files.push_back(::open("/dev/null", O_RDONLY));
    for (const auto method : kMethods) SCENARIO_CHECK(code_after(method, exit_with, 8) == 8);
    SCENARIO_CHECK(brood::process::forkserver_pid() != first_server);
    SCENARIO_CHECK(::kill(first_server, 0) != 0 && errno == ESRCH);  // ended and reaped
    for (const int file : files) SCENARIO_CHECK(::fcntl(file, F_GETFD) >= 0);
  });
}

#if SUPPORT_TSAN || !SUPPORT_SANITIZED  // the address sanitizer's allocator may be locked for ever in the forked child
TEST_F(Processes, TheApplicationForksWhileOthersMakeProcesses) {
  expect_scenario(+[](const std::string&) {
    std::atomic<bool> stop = false;
    std::thread maker([&stop] {
      while (!stop) const brood::Process p(exit_with, 1);
    });
    // A thread that has made no process itself: its child makes its first one.
    std::thread([] {
      for (int round = 0; round < 1000; ++round) {
        const pid_t child = ::fork();
        if (child == 0) {
          const brood::Process p(exit_with, 1);
          ::_exit(0);
        }
        int status = -1;
        SCENARIO_CHECK(child > 0 && ::waitpid(child, &status, 0) == child && status == 0);
      }
    }).join();
    stop = true;
    maker.join();
  });
}
#endif

int open_standard_streams() {
  int count = 0;
  for (int fd = 0; fd < 3; ++fd) count += ::fcntl(fd, F_GETFD) >= 0;
  return count;
}

TEST_F(Processes, ClosedStandardStreamsDoNotConfuseTheChild) {
  expect_scenario(+[](const std::string&) {
    ::close(0);
    ::close(1);
    for (const auto method : kMethods) SCENARIO_CHECK(code_after(method, exit_with, 8) == 8);
  });
}

// What such a program prints goes nowhere, and not into a conversation with a child.
TEST_F(Processes, ClosedStandardStreamsStayClosed) {
  expect_scenario(+[](const std::string&) {
    Pipe gate;
    for (int fd = 0; fd < 3; ++fd) ::close(fd);
    for (const auto method : kMethods) {
      brood::Process p(
          {.start_method = method, .standard_input = brood::Stdio::inherit()},
          [](const std::string& when, int least) {
            const int open = open_standard_streams();
            await(when);
            std::exit(open == least ? 0 : 1);
          },
          // The server's standard input is /dev/null.
          gate.reader(), method == StartMethod::forkserver ? 1 : 0);
      p.start();
      SCENARIO_CHECK(open_standard_streams() == 0);
      brood::Process piped(
          {.start_method = method, .standard_input = brood::Stdio::pipe(), .standard_output = brood::Stdio::pipe()},
          [] {});
      piped.start();
      SCENARIO_CHECK(open_standard_streams() == 0);
      const brood::Lock lock;
      SCENARIO_CHECK(open_standard_streams() == 0);
      gate.let_go();
      p.join();
      SCENARIO_CHECK(p.exitcode() == 0);
      piped.join();
    }
  });
}

}  // namespace
