// Tests that misbehave. support_test runs them one at a time and expects each to be noticed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "support/inspect.hpp"
#include "support/leak_check.hpp"

namespace {

void leave_a_file() {
  std::filesystem::create_directories(support::test_domain());
  std::filesystem::permissions(support::test_domain(), std::filesystem::perms::owner_all);
  std::ofstream(support::test_domain() / "left-behind") << "x";
}

/// A child that sleeps until it is killed.
pid_t start_sleeper() {
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  return child;
}

using Fixture = support::NoLeaks;

}  // namespace

TEST_F(Fixture, Good) {
  const int fd = ::open("/dev/null", O_RDONLY);
  ASSERT_GE(fd, 0);
  ::close(fd);
  const pid_t child = start_sleeper();
  ::kill(child, SIGKILL);
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
}
TEST_F(Fixture, LeavesAFile) { leave_a_file(); }
TEST_F(Fixture, LeavesADescriptor) { EXPECT_GE(::open("/dev/null", O_RDONLY), 0); }
TEST_F(Fixture, ClosesADescriptor) { EXPECT_EQ(::close(STDIN_FILENO), 0); }
TEST_F(Fixture, LeavesAChild) { EXPECT_GT(start_sleeper(), 0); }
TEST_F(Fixture, LeavesAZombie) { ::kill(start_sleeper(), SIGKILL); }

TEST(Plain, LeavesAFile) { leave_a_file(); }
TEST(Plain, LeavesAProcess) { EXPECT_GT(start_sleeper(), 0); }
TEST(Plain, LeavesAnOrphan) {
  const pid_t child = ::fork();
  if (child == 0) {
    start_sleeper();
    ::_exit(0);
  }
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
}
TEST(Plain, Hangs) {
  for (;;) ::pause();
}
TEST(Plain, Crashes) { std::abort(); }
TEST(Plain, Fails) { ADD_FAILURE() << "on purpose"; }
