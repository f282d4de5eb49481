// Surroundings that a process does not choose: it is PID 1, runs under a debugger or valgrind, its file is replaced, it has few
// descriptors or many threads.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "brood/error.hpp"
#include "os/process_identity.hpp"
#include "os/reap.hpp"
#include "process/process_support.hpp"
#include "support/sanitizers.hpp"

namespace {

using namespace process_test;
namespace fs = std::filesystem;

class Company : public EveryMethod {
 protected:
  static std::string method() { return std::string(to_string(GetParam())); }
};
#if !SUPPORT_TSAN
INSTANTIATE_FOR_EVERY_METHOD(Company);
#else
// The thread sanitizer takes threads of the parent for threads of a forked child, and ends that when one of their ids comes again.
INSTANTIATE_TEST_SUITE_P(Methods, Company, ::testing::Values(StartMethod::spawn, StartMethod::forkserver),
                         process_test::method_name);
#endif

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

StartMethod method_called(const std::string& name) {
  for (const auto method : {StartMethod::fork, StartMethod::spawn}) {
    if (to_string(method) == name) return method;
  }
  return StartMethod::forkserver;
}

/// A copy of a test program in a directory of its own, which goes with this object.
class Copy {
 public:
  explicit Copy(const std::string& program) {
    std::string name = (fs::temp_directory_path() / "brood-company-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    directory_ = name;
    fs::copy_file(test_program(program), path());
  }
  ~Copy() { fs::remove_all(directory_); }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;
  [[nodiscard]] std::string path() const { return (directory_ / "program").string(); }

 private:
  fs::path directory_;
};

TEST_P(Company, PidOneOfItsOwnNamespace) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs to make a pid namespace";
  // Objects are not shared between pid namespaces.
  const std::string domain = "BROOD_DOMAIN=/dev/shm/brood-pid-one-" + std::to_string(::getpid());
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"--pid", "--fork", "--mount-proc", "--kill-child", test_program("process_cases"), method()});
    return run_program("/usr/bin/unshare", arguments, {.environment = {domain}});
  };
  Ran ran = run({"exit", "7"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(contains(ran.out, "exitcode 7\n")) << ran.out << ran.err;
  ran = run({"raise", std::to_string(SIGKILL)});
  EXPECT_TRUE(contains(ran.out, "exitcode -9\n")) << ran.out << ran.err;
  // A daemon that is deaf to SIGTERM and a worker are left to the exit of PID 1.
  ran = run({"leave"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(contains(ran.out, "worker done\n")) << ran.out << ran.err;
}

#if !SUPPORT_SANITIZED  // valgrind and the sanitizers exclude each other
TEST_F(Processes, UnderValgrindSpawnAndForkserverWorkAndForkWorksOrSaysWhy) {
  for (const std::string method : {"spawn", "forkserver"}) {
    const Ran ran = run_program("/usr/bin/valgrind", {"-q", test_program("process_cases"), method, "exit", "6"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_TRUE(contains(ran.out, "exitcode 6\n")) << ran.out << ran.err;
  }
  const Ran ran = run_program("/usr/bin/valgrind", {"-q", test_program("process_cases"), "fork", "exit", "6"});
  EXPECT_TRUE(contains(ran.out, "exitcode 6\n") ||
              contains(ran.err,
                       "cannot open the pidfd of a child process (brood needs Linux 5.4; valgrind before 3.22 hides "
                       "the system call pidfd_open from programs: use StartMethod::spawn there)"))
      << ran.out << ran.err;
}

TEST_F(Processes, UnderValgrindADaemonEndsWithItsParent) {
  const Ran ran = run_program("/usr/bin/valgrind", {"-q", test_program("process_cases"), "spawn", "leave"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_TRUE(contains(ran.out, "worker done\n")) << ran.out << ran.err;
}
#endif

TEST_P(Company, UnderGdb) {
  // A leak checker cannot work where somebody else traces.
  const Ran ran = run_program("/usr/bin/gdb", {"-q", "-batch", "-ex", "set debuginfod enabled off", "-ex",
                                               "set environment LSAN_OPTIONS detect_leaks=0", "-ex", "run", "--args",
                                               test_program("process_cases"), method(), "exit", "6"});
  EXPECT_TRUE(contains(ran.out, "exitcode 6\n")) << ran.out << ran.err;
  EXPECT_TRUE(contains(ran.out, "exited normally]")) << ran.out << ran.err;
}

TEST_P(Company, ItsFileIsReplacedWhileItRuns) {
  const Copy copy("process_cases");
  const Ran ran = run_program(copy.path(), {method(), "replaced-file"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  // The old file is executed, whatever has its name now.
  EXPECT_TRUE(contains(ran.out, "replaced\nexitcode 6\n") ||
              contains(ran.out, "static destroyed in child\nexitcode 6\n"))
      << ran.out << ran.err;
}

TEST_F(Processes, ReplacedUnderTheLoaderItIsRefusedOrOld) {
  const fs::path loader = "/lib64/ld-linux-x86-64.so.2";
  if (!fs::exists(loader)) GTEST_SKIP() << "another loader than " << loader;
  const Copy copy("process_cases");
  const Ran ran = run_program(loader, {copy.path(), "spawn", "replaced-file"});
  // There is no /proc/self/exe of the old file: what has its name is another build, or nothing that can be found.
  EXPECT_FALSE(contains(ran.out, "exitcode 6\n")) << ran.out;
  EXPECT_TRUE(contains(ran.err, "cannot find this program's file to execute it again")) << ran.err;
}

TEST_P(Company, SixtyFourDescriptorsAreEnoughForTwentyChildren) {
  expect_scenario(
      +[](const std::string& name) {
        const rlimit limit{64, 64};
        SCENARIO_CHECK(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
        std::vector<brood::Process> children;
        for (int i = 0; i < 20; ++i) {
          children.emplace_back(
              brood::ProcessOptions{.start_method = method_called(name)}, [](int code) { std::exit(code); }, i);
          children.back().start();
        }
        for (int i = 0; i < 20; ++i) {
          children[static_cast<std::size_t>(i)].join();
          SCENARIO_CHECK(children[static_cast<std::size_t>(i)].exitcode() == i);
        }
      },
      method());
}

// Threads that allocate, print and lock all the time: the child must be able to do the same.
TEST_P(Company, FiftyThreadsAreAtWork) {
  if (SUPPORT_SANITIZED && GetParam() == StartMethod::fork) return;  // their allocators are no part of the promise
  expect_scenario(
      +[](const std::string& name) {
        brood::set_fork_warning(nullptr);
        std::atomic<bool> stop = false;
        std::atomic<int> started = 0;
        std::vector<std::thread> threads;
        for (int i = 0; i < 50; ++i) {
          threads.emplace_back([&] {
            ++started;
            while (!stop) {
              const auto memory = std::make_unique<std::vector<std::string>>(10, std::string(100, 'x'));
              std::cerr << "" << memory->front().substr(0, 0);
              std::this_thread::yield();
            }
          });
        }
        while (started < 50) std::this_thread::yield();
        for (int i = 0; i < 10; ++i) {
          brood::Process p(
              {.start_method = method_called(name)},
              [](int code) {
                const auto memory = std::make_unique<std::vector<std::string>>(1000, std::string(100, 'y'));
                std::cout << "" << std::flush;
                std::exit(memory->size() == 1000 ? code : 1);
              },
              i);
          p.start();
          p.join();
          SCENARIO_CHECK(p.exitcode() == i);
        }
        stop = true;
        for (auto& thread : threads) thread.join();
      },
      method());
}

// PDEATHSIG would fire here: the parent's thread ends, the parent does not.
TEST_P(Company, AChildsChildHasCopiesOfEverythingAndKeepsNobodyWaiting) {
  Pipe gate;
  for (int round = 0; round < 20; ++round) {
    brood::Process child(
        {.start_method = GetParam()},
        [](const std::string& reader) {
          if (::fork() == 0) {
            await(reader);
            std::_Exit(0);
          }
          ::raise(SIGKILL);
        },
        gate.reader());
    child.start();
    child.join();
    EXPECT_EQ(child.exitcode(), -SIGKILL);
  }
  gate.let_go(20);
}

TEST_P(Company, ADaemonOutlivesTheThreadThatStartedIt) {
  Pipe gate;
  Pipe out;
  std::unique_ptr<brood::Process> daemon;
  std::thread([&] {
    daemon = std::make_unique<brood::Process>(
        brood::ProcessOptions{.daemon = true, .start_method = GetParam()},
        [](const std::string& until, const std::string& to) {
          await(until);
          tell(to, "still here");
        },
        gate.reader(), out.writer());
    daemon->start();
  }).join();
  gate.let_go();
  EXPECT_EQ(out.line(), "still here");
  daemon->join();
  EXPECT_EQ(daemon->exitcode(), 0);
}

TEST_P(Company, AllStandardStreamsAreClosed) {
  expect_scenario(
      +[](const std::string& name) {
        for (const int stream : {0, 1, 2}) ::close(stream);
        for (int i = 0; i < 3; ++i) {
          brood::Process p({.start_method = method_called(name)}, [] { std::exit(::fcntl(0, F_GETFD) >= 0 ? 8 : 9); });
          p.start();
          p.join();
          if (p.exitcode() != 8) std::_Exit(76);
        }
      },
      method());
}

/// A tree of daemons' parents: each starts one more, the last is a daemon.
void be_killed(const std::string& to, StartMethod method) {
  static auto* const daemon = new brood::Process(
      {.daemon = true, .start_method = method},
      [](const std::string& tells) {
        tell(tells, std::to_string(::getpid()));
        for (;;) ::pause();
      },
      to);
  daemon->start();
  for (;;) ::pause();
}

TEST_P(Company, DaemonsOfAKilledProcessEnd) {
  Pipe out;
  std::vector<std::unique_ptr<brood::Process>> parents;
  std::vector<brood::base::UniqueFd> daemons;
  for (int i = 0; i < 5; ++i) {
    parents.push_back(std::make_unique<brood::Process>(brood::ProcessOptions{.start_method = GetParam()}, be_killed,
                                                       out.writer(), GetParam()));
    parents.back()->start();
    daemons.emplace_back(brood::os::pidfd_open(std::stoi(out.line())));
    ASSERT_TRUE(daemons.back());
  }
  for (auto& parent : parents) parent->kill();
  for (const auto& daemon : daemons) EXPECT_TRUE(brood::os::wait_ended(daemon.get(), brood::Deadline::never()));
}

}  // namespace
