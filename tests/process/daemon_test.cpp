// Daemons, and what becomes of children when their parent ends.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "brood/error.hpp"
#include "os/process_identity.hpp"
#include "process/process_support.hpp"

namespace {

using namespace process_test;

class Daemon : public EveryMethod {};
INSTANTIATE_FOR_EVERY_METHOD(Daemon);

void sleep_for_ever() {
  for (;;) ::pause();
}

TEST_P(Daemon, TheFlagIsSettledByTheStart) {
  auto p = make([] {});
  EXPECT_FALSE(p.daemon());
  p.set_daemon(true);
  EXPECT_TRUE(p.daemon());
  p.set_daemon(false);
  p.start();
  EXPECT_THROW(p.set_daemon(true), brood::UsageError);
  EXPECT_FALSE(p.daemon());
  p.join();
  EXPECT_THROW(p.set_daemon(true), brood::UsageError);
}

TEST_P(Daemon, TheDestructorEndsIt) {
  brood::base::UniqueFd pidfd;
  {
    brood::Process p({.daemon = true, .start_method = GetParam()}, sleep_for_ever);
    p.start();
    pidfd.reset(::dup(p.sentinel()));
    EXPECT_FALSE(brood::os::pidfd_ended(pidfd.get()));
  }
  EXPECT_TRUE(brood::os::pidfd_ended(pidfd.get()));
}

TEST_P(Daemon, TheDestructorKillsOneThatIgnoresSigterm) {
  Pipe out;
  brood::base::UniqueFd pidfd;
  {
    brood::Process p(
        {.daemon = true, .start_method = GetParam()},
        [](const std::string& to) {
          ::signal(SIGTERM, SIG_IGN);
          tell(to, "deaf");
          sleep_for_ever();
        },
        out.writer());
    p.start();
    EXPECT_EQ(out.line(), "deaf");
    pidfd.reset(::dup(p.sentinel()));
  }
  EXPECT_TRUE(brood::os::pidfd_ended(pidfd.get()));
}

TEST_P(Daemon, MayNotHaveChildren) {
  Pipe out;
  brood::Process p(
      {.name = "outer", .daemon = true, .start_method = GetParam()},
      [](const std::string& to, StartMethod method) {
        brood::Process inner({.start_method = method}, [] {});
        try {
          inner.start();
          tell(to, "started");
        } catch (const brood::UsageError& error) {
          tell(to, error.what());
        }
      },
      out.writer(), GetParam());
  p.start();
  const std::string said = out.line();
  EXPECT_NE(said.find("'outer') is a daemon, and daemons may not have children"), std::string::npos) << said;
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

TEST_P(Daemon, AtExitDaemonsAreEndedAndOthersJoined) {
  const Ran ran = run_program(test_program("process_cases"), {std::string(to_string(GetParam())), "leave"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  const std::size_t worker = ran.out.find("worker done\n");
  const std::size_t handler = ran.out.find("handler registered before the first start\n");
  ASSERT_NE(worker, std::string::npos) << ran.out;
  ASSERT_NE(handler, std::string::npos) << ran.out;
  EXPECT_LT(worker, handler) << ran.out;
  // The daemon may have been ended before it said its pid, but if it did, it is gone: run_program has also seen the end
  // of its standard output, of which the daemon had a copy.
  if (const std::size_t at = ran.out.find("daemon "); at != std::string::npos) {
    EXPECT_EQ(::kill(std::stoi(ran.out.substr(at + 7)), 0), -1);
    EXPECT_EQ(errno, ESRCH);
  }
}

TEST_P(Daemon, EndsWhenItsParentIsKilled) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  brood::base::UniqueFd reader(ends[0]);
  brood::base::UniqueFd writer(ends[1]);
  const std::string program = test_program("process_cases");
  const std::string method(to_string(GetParam()));
  const pid_t parent = ::fork();
  if (parent == 0) {
    ::dup2(writer.get(), STDOUT_FILENO);
    ::execl(program.c_str(), program.c_str(), method.c_str(), "daemon-of-killed", nullptr);
    ::_exit(127);
  }
  writer.reset();
  std::string said;
  char c = 0;
  while (said.find("daemon ") == std::string::npos || said.back() != '\n') {
    ASSERT_EQ(::read(reader.get(), &c, 1), 1) << said;
    said += c;
  }
  const pid_t daemon = std::stoi(said.substr(said.find("daemon ") + 7));
  const brood::base::UniqueFd pidfd(brood::os::pidfd_open(daemon));
  ASSERT_TRUE(pidfd);
  EXPECT_FALSE(brood::os::pidfd_ended(pidfd.get()));
  ::kill(parent, SIGKILL);
  ASSERT_EQ(::waitpid(parent, nullptr, 0), parent);
  pollfd ended{pidfd.get(), POLLIN, 0};
  EXPECT_EQ(::poll(&ended, 1, -1), 1);
  // Everybody who had its standard output is gone, the forkserver too.
  EXPECT_EQ(::read(reader.get(), &c, 1), 0);
}

}  // namespace
