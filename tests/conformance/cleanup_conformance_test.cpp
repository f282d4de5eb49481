// CPython's TestResourceTracker and the forkserver's part of _TestProcess. There is no helper process here that could be
// signalled, lost or left over: what is tested is the promise behind each of CPython's tests.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "brood/event.hpp"
#include "brood/forkserver.hpp"
#include "brood/handle.hpp"
#include "brood/lock.hpp"
#include "brood/relatives.hpp"
#include "brood/wait.hpp"
#include "conformance/process_fixture.hpp"
#include "os/process_identity.hpp"
#include "os/socket.hpp"
#include "process/launcher.hpp"
#include "support/inspect.hpp"

namespace conformance {
namespace {

namespace fs = std::filesystem;
using brood::base::UniqueFd;
using Texts = brood::Queue<std::string>;

class CleanupConformance : public EveryMethod {};
BROOD_METHODS(CleanupConformance);
class CleanupConformanceOnce : public Once {};

bool has_ended(const UniqueFd& pidfd) { return brood::os::pidfd_ended(pidfd.get()); }
void await_end(const UniqueFd& pidfd) { (void)brood::wait_any(brood::readable(pidfd.get())); }

int forkserver_code(int code) {
  brood::Process p(
      {.start_method = StartMethod::forkserver}, [](int n) { std::exit(n); }, int{code});
  p.start();
  p.join();
  return p.exitcode().value_or(-999);
}

void wait_and_exit(brood::Event& until, int code) {
  until.wait();
  std::exit(code);
}

/// A child of the forkserver lives while the server gets this signal; then another is started.
void signal_the_forkserver(int number, bool survives) {
  brood::Event over;
  brood::Process p({.start_method = StartMethod::forkserver}, wait_and_exit, over, 7);
  p.start();
  const pid_t server = brood::process::forkserver_pid();
  const UniqueFd pidfd(brood::os::pidfd_open(server));
  SCENARIO_CHECK(server > 0 && pidfd);
  // A spare in the making holds the server's end of the control socket for an instant, and could so be had even after its end.
  support::await([server] {
    const auto all = support::children_of(server);
    return all.size() == 2 && support::is_asleep(server) &&
           std::all_of(all.begin(), all.end(), [](const auto& one) { return support::is_asleep(one.pid); });
  });
  SCENARIO_CHECK(::kill(server, number) == 0);
  if (!survives) await_end(pidfd);
  SCENARIO_CHECK(forkserver_code(3) == 3);
  SCENARIO_CHECK((brood::process::forkserver_pid() == server) == survives);
  SCENARIO_CHECK(has_ended(pidfd) != survives);
  SCENARIO_CHECK(p.is_alive());
  over.set();
  p.join();
  SCENARIO_CHECK(p.exitcode() == 7);  // there: 0 or 255
}

// _TestProcess.test_forkserver_sigint, CTX-07
TEST_F(CleanupConformanceOnce, TheForkserverIgnoresSigint) {
  expect_scenario(+[](const std::string&) { signal_the_forkserver(SIGINT, true); });
}
// _TestProcess.test_forkserver_sigkill, CTX-07, PRC-06
TEST_F(CleanupConformanceOnce, AKilledForkserverIsReplacedAndItsChildrenKeepTheirCodes) {
  expect_scenario(+[](const std::string&) { signal_the_forkserver(SIGKILL, false); });
}

/// _TestProcess.test_forkserver_auth_is_enabled: there, the server listens in the file system and asks for a key. Here it
/// listens nowhere: all that it has are unnamed ends of pairs.
TEST_F(CleanupConformanceOnce, NobodyCanConnectToTheForkserver) {
  brood::ensure_forkserver();
  const pid_t server = brood::process::forkserver_pid();
  std::vector<std::string> inodes;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(server) + "/fd")) {
    const std::string what = fs::read_symlink(entry.path()).string();
    if (what.starts_with("socket:[")) inodes.push_back(what.substr(8, what.size() - 9));
  }
  ASSERT_FALSE(inodes.empty()) << "it has its control socket";
  std::size_t seen = 0;
  std::ifstream all("/proc/net/unix");
  std::string line;
  std::getline(all, line);  // the heading
  while (std::getline(all, line)) {
    // Num RefCount Protocol Flags Type St Inode [Path]
    std::istringstream words(line);
    std::string number, references, protocol, flags, type, state, inode, path;
    words >> number >> references >> protocol >> flags >> type >> state >> inode >> path;
    if (std::find(inodes.begin(), inodes.end(), inode) == inodes.end()) continue;
    ++seen;
    EXPECT_EQ(path, "") << line;
    EXPECT_EQ(flags, "00000000") << "listens: " << line;
    EXPECT_EQ(state, "03") << "not connected: " << line;
  }
  EXPECT_EQ(seen, inodes.size()) << "not all are Unix sockets";
}

/// _TestProcess.test_forkserver_without_auth_fails: whoever is not its parent's is no child, and the next start works.
TEST_P(CleanupConformance, AForgedChildIsRefusedAndTheNextStartWorks) {
  const auto enter = [](int fd, bool by_a_stranger) {
    return run_program(
        test_program("conformance_cases"), {"spawn", "init"},
        {.environment = {"BROOD_ENTER=" + std::to_string(fd)}, .inherited = fd, .by_a_middleman = by_a_stranger});
  };
  const brood::os::SocketPair pair = brood::os::packet_socket_pair();
  ASSERT_EQ(pair.error, 0);
  int plain[2];
  ASSERT_EQ(::pipe2(plain, O_CLOEXEC), 0);
  const UniqueFd reader(plain[0]);
  const UniqueFd writer(plain[1]);
  for (const Ran& ran : {enter(pair.theirs.get(), true), enter(reader.get(), false)}) {
    EXPECT_EQ(ran.code, 255);
    EXPECT_EQ(ran.out, "") << "main ran";
    EXPECT_TRUE(contains(ran.err, "main() was not run")) << ran.err;
  }
  EXPECT_EQ(code_of([] { std::exit(4); }), 4);
}

/// Makes objects, tells their handles, and is killed.
void make_and_sleep(Texts& out) {
  const brood::Lock lock;
  const brood::Event event;
  const brood::Lock named = brood::Lock::create("conformance.left");
  out.put(lock.handle().str());
  out.put(event.handle().str());
  out.put(brood::domain_directory());
  for (;;) ::pause();
}

// TestResourceTracker.test_resource_tracker, test_resource_tracker_exit_code, test_resource_tracker_reused
TEST_P(CleanupConformance, WhatAKilledProgramLeavesIsCountedAndFreedButWhatHasAName) {
  Texts out;
  EXPECT_EQ(brood::gc().objects, 0U) << "clean at first";
  brood::Process p(with(), make_and_sleep, out);
  p.start();
  const std::string lock = out.get();
  const std::string event = out.get();
  EXPECT_EQ(out.get(), brood::domain_directory()) << "the child has its parent's domain";
  EXPECT_EQ(brood::gc().objects, 0U) << "in use";
  EXPECT_TRUE(brood::Lock::open(lock).try_lock()) << "as any of ours";
  p.kill();
  p.join();
  const brood::GcReport report = brood::gc();
  EXPECT_EQ(report.objects, 2U);
  EXPECT_GT(report.bytes, 0U);
  EXPECT_THROW((void)brood::Lock::open(lock), brood::HandleError);
  EXPECT_THROW((void)brood::Event::open(event), brood::HandleError);
  EXPECT_EQ(brood::gc().objects, 0U);
  // A name is kept until it is removed.
  EXPECT_EQ(brood::Lock::open_named("conformance.left").handle().name(), "conformance.left");
  EXPECT_TRUE(brood::Lock::remove("conformance.left"));
  EXPECT_FALSE(brood::Lock::remove("conformance.left"));
  EXPECT_THROW((void)brood::Lock::open_named("conformance.left"), brood::HandleError);
}

std::atomic<int> g_handled = 0;
std::atomic<pid_t> g_handled_by = 0;

/// To the whole process group, as a terminal sends it: the child that holds the lock dies of it, we handle it. What cleans
/// up must have survived, and have left the signal to the application's threads.
void outlive_a_signal_of_the_group(int number) {
  struct sigaction action {};
  action.sa_handler = [](int) {
    g_handled_by = ::gettid();
    ++g_handled;
  };
  SCENARIO_CHECK(::sigaction(number, &action, nullptr) == 0);
  brood::Lock lock;
  brood::Event held;
  brood::Process owner(
      {.start_method = StartMethod::forkserver},
      [](brood::Lock& taken, brood::Event& said) {
        taken.lock();
        said.set();
        for (;;) ::pause();
      },
      lock, held);
  owner.start();
  held.wait();
  const pid_t server = brood::process::forkserver_pid();
  std::atomic<pid_t> sleeper_id = 0;
  std::atomic<bool> told = false;
  std::thread sleeper([&] {
    sleeper_id = ::gettid();
    try {
      lock.lock();
    } catch (const brood::OwnerDied&) {
      told = true;
    }
  });
  support::await_sleepers(lock.handle(), 1);
  SCENARIO_CHECK(::kill(0, number) == 0);
  sleeper.join();
  SCENARIO_CHECK(told);
  support::await([] { return g_handled > 0; });
  SCENARIO_CHECK(g_handled_by == ::getpid() || g_handled_by == sleeper_id);
  owner.join();
  SCENARIO_CHECK(owner.exitcode() == -number);
  lock.recover([] {});
  SCENARIO_CHECK(lock.try_lock());
  lock.unlock();
  SCENARIO_CHECK(forkserver_code(5) == 5);
  SCENARIO_CHECK(brood::process::forkserver_pid() == server);
}

void expect_outlives_in_a_group_of_its_own(void (*scenario)()) {
  brood::Process p({.name = "scenario", .start_method = StartMethod::spawn, .new_session = true}, scenario);
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

// TestResourceTracker.test_resource_tracker_sigint
TEST_F(CleanupConformanceOnce, CleaningUpOutlivesSigintToTheGroup) {
  expect_outlives_in_a_group_of_its_own(+[] { outlive_a_signal_of_the_group(SIGINT); });
}
// TestResourceTracker.test_resource_tracker_sigterm
TEST_F(CleanupConformanceOnce, CleaningUpOutlivesSigtermToTheGroup) {
  expect_outlives_in_a_group_of_its_own(+[] { outlive_a_signal_of_the_group(SIGTERM); });
}

// TestResourceTracker.test_resource_tracker_sigkill
TEST_P(CleanupConformance, WhoeverIsKilledWhileCleaningUpIsReplacedByTheNext) {
  Texts out;
  brood::Event cleaning;
  brood::Process owner(with(), make_and_sleep, out);
  owner.start();
  const std::string lock = out.get();
  (void)out.get();
  (void)out.get();
  brood::Process cleaner(
      with(),
      [](brood::Event& said) {
        for (;;) {
          (void)brood::gc();
          said.set();
        }
      },
      cleaning);
  cleaner.start();
  cleaning.wait();
  owner.kill();
  cleaner.kill();
  owner.join();
  cleaner.join();
  EXPECT_EQ(cleaner.exitcode(), -SIGKILL);
  (void)brood::gc();
  EXPECT_THROW((void)brood::Lock::open(lock), brood::HandleError);
  EXPECT_EQ(brood::gc().objects, 0U);
  EXPECT_TRUE(brood::Lock::remove("conformance.left"));
}

// TestResourceTracker.test_too_long_name_resource
TEST_F(CleanupConformanceOnce, ANameThatIsTooLongIsRefused) {
  const std::string longest(120, 'n');
  {
    const brood::Lock fits = brood::Lock::create(longest);
    EXPECT_EQ(fits.handle().name(), longest);
  }
  EXPECT_TRUE(brood::Lock::remove(longest));
  EXPECT_THROW((void)brood::Lock::create(longest + "n"), brood::UsageError);
  EXPECT_FALSE(brood::is_valid_name(std::string(256, 'n')));
}

// TestResourceTracker.test_resource_tracker_blocked_signals
TEST_F(CleanupConformanceOnce, TheHelpersLeaveTheSignalMaskAlone) {
  expect_scenario(+[](const std::string&) {
    for (const bool blocks : {true, false}) {
      sigset_t wanted;
      sigemptyset(&wanted);
      if (blocks) {
        for (const int number : {SIGINT, SIGTERM, SIGUSR1, SIGRTMIN + 3}) sigaddset(&wanted, number);
      }
      SCENARIO_CHECK(::pthread_sigmask(SIG_SETMASK, &wanted, nullptr) == 0);
      const brood::Lock lock;                        // the first shared object, and what comes with it
      brood::set_forkserver_spares(blocks ? 1 : 2);  // another server each time
      SCENARIO_CHECK(forkserver_code(2) == 2);
      sigset_t now;
      SCENARIO_CHECK(::pthread_sigmask(SIG_SETMASK, nullptr, &now) == 0);
      for (int number = 1; number <= SIGRTMAX; ++number)
        SCENARIO_CHECK(sigismember(&now, number) == sigismember(&wanted, number));
    }
  });
}

/// Starts by the forkserver, forks by itself a process that stays until `gate`, tells the pids of both, and ends once it may.
void leave_a_raw_fork(const std::string& out, const std::string& gate, const std::string& may_end, bool stops_server) {
  support::require(forkserver_code(2) == 2, "a start");
  const pid_t server = brood::process::forkserver_pid();
  const pid_t raw = ::fork();
  if (raw == 0) {
    await(gate);
    ::_exit(0);
  }
  tell(out, std::to_string(server));
  tell(out, std::to_string(raw));
  await(may_end);
  if (stops_server) support::require(::kill(server, SIGSTOP) == 0, "SIGSTOP");
}

void expect_ends_before_its_raw_fork(bool stops_server) {
  Pipe out;
  Pipe gate;
  Pipe may_end;
  brood::Process p({.start_method = StartMethod::spawn}, leave_a_raw_fork, out.writer(), gate.reader(),
                   may_end.reader(), bool{stops_server});
  p.start();
  const UniqueFd server(brood::os::pidfd_open(std::stoi(out.line())));
  const UniqueFd raw(brood::os::pidfd_open(std::stoi(out.line())));
  ASSERT_TRUE(server && raw);
  may_end.let_go();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  EXPECT_TRUE(has_ended(server)) << "its parent has not waited for it";
  EXPECT_FALSE(has_ended(raw));
  gate.let_go();
  await_end(raw);
}

// TestResourceTracker.test_resource_tracker_fork_deadlock, test_resource_tracker_raw_fork_prompt_reap
TEST_F(CleanupConformanceOnce, ARawForkHoldsUpNeitherTheExitNorTheForkserver) {
  expect_ends_before_its_raw_fork(false);
}

// TestResourceTracker.test_resource_tracker_safety_net_timeout
TEST_F(CleanupConformanceOnce, AForkserverThatDoesNotEndIsKilledAtExit) { expect_ends_before_its_raw_fork(true); }

/// TestResourceTracker.test_resource_tracker_mp_fork_reuse_and_prompt_reap: a forked child works with a server of its own,
/// and its copies keep no server of its parent's alive.
TEST_F(CleanupConformanceOnce, AForkedChildDoesNotKeepItsParentsForkserver) {
  expect_scenario(+[](const std::string&) {
    SCENARIO_CHECK(forkserver_code(1) == 1);
    const pid_t server = brood::process::forkserver_pid();
    const UniqueFd pidfd(brood::os::pidfd_open(server));
    brood::Event ready;
    brood::Event over;
    brood::Process child(
        {.start_method = StartMethod::fork},
        [](brood::Event& said, brood::Event& until, pid_t parents) {
          support::require(brood::process::forkserver_pid() == 0, "none yet");
          support::require(forkserver_code(6) == 6, "a start of its own");
          support::require(brood::process::forkserver_pid() != parents, "another server");
          said.set();
          until.wait();
        },
        ready, over, pid_t{server});
    child.start();
    ready.wait();
    brood::set_forkserver_spares(2);
    SCENARIO_CHECK(forkserver_code(2) == 2);  // by a new server
    await_end(pidfd);
    SCENARIO_CHECK(::waitpid(server, nullptr, WNOHANG) == -1 && errno == ECHILD);  // reaped
    SCENARIO_CHECK(child.is_alive());
    over.set();
    child.join();
    SCENARIO_CHECK(child.exitcode() == 0);
  });
}

// TestResourceTracker.test_resource_tracker_lock_reinit_after_fork
TEST_F(CleanupConformanceOnce, ForksAmongThreadsInsideTheLibraryFindItUsable) {
  expect_scenario(+[](const std::string&) {
    brood::set_fork_warning(nullptr);
    std::atomic<bool> stop = false;
    std::atomic<int> made = 0;
    std::vector<std::thread> busy;
    busy.emplace_back([&] {
      for (; !stop; ++made) {
        brood::Lock lock;
        const std::scoped_lock guard(lock);
      }
    });
    busy.emplace_back([&] {
      for (; !stop; ++made) (void)brood::gc();
    });
    busy.emplace_back([&] {
      for (; !stop; ++made) support::require(forkserver_code(1) == 1, "a start");
    });
    for (int round = 0; round < 30; ++round) {
      const int before = made;
      support::await([&] { return made != before; });
      const pid_t child = ::fork();
      if (child == 0) {
        brood::Lock lock;
        lock.lock();
        brood::Process p(
            {.start_method = StartMethod::fork}, [](brood::Lock& held) { std::exit(held.try_lock() ? 1 : 9); }, lock);
        p.start();
        p.join();
        lock.unlock();
        ::_exit(p.exitcode() == 9 ? 0 : 1);
      }
      int status = -1;
      SCENARIO_CHECK(::waitpid(child, &status, 0) == child);
      SCENARIO_CHECK(status == 0);
    }
    stop = true;
    for (auto& thread : busy) thread.join();
  });
}

}  // namespace
}  // namespace conformance
