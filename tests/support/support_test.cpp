// What every other test relies on: leaks, survivors, hangs and crashes are noticed.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "support/inspect.hpp"
#include "support/leak_check.hpp"

namespace {

struct Outcome {
  int code = 0;
  std::string said;
};

/// Runs one test of the program `unruly` under a supervisor of its own.
Outcome run_unruly(const std::string& test, const std::string& environment = "") {
  const char* programs = std::getenv("BROOD_TEST_PROGRAMS");
  if (programs == nullptr) throw std::runtime_error("BROOD_TEST_PROGRAMS is not set");
  const std::string command = "env -u BROOD_TEST_SUPERVISED -u BROOD_DOMAIN -u GTEST_OUTPUT BROOD_TEST_GRACE=1 " +
                              environment + " '" + programs + "/unruly' --gtest_filter=" + test + " 2>&1 </dev/null";
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("popen: " + command);
  Outcome outcome;
  char buffer[4096];
  while (const std::size_t size = std::fread(buffer, 1, sizeof buffer, pipe)) outcome.said.append(buffer, size);
  const int status = ::pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

/// It failed, and said why.
void expect_noticed(const Outcome& outcome, const std::string& why) {
  EXPECT_NE(outcome.code, 0) << outcome.said;
  EXPECT_NE(outcome.said.find(why), std::string::npos) << outcome.said;
}

}  // namespace

TEST(NoLeaks, PassesATestThatCleansUp) {
  const auto outcome = run_unruly("Fixture.Good");
  EXPECT_EQ(outcome.code, 0) << outcome.said;
}
TEST(NoLeaks, NoticesAFile) {
  expect_noticed(run_unruly("Fixture.LeavesAFile"), "file left in the domain directory: left-behind");
}
TEST(NoLeaks, NoticesADescriptor) { expect_noticed(run_unruly("Fixture.LeavesADescriptor"), "descriptor left open: "); }
TEST(NoLeaks, NoticesADescriptorClosed) {
  expect_noticed(run_unruly("Fixture.ClosesADescriptor"), "descriptor closed that was open before: 0");
}
TEST(NoLeaks, NoticesAChild) { expect_noticed(run_unruly("Fixture.LeavesAChild"), "child process left: pid "); }
TEST(NoLeaks, NoticesAZombie) { expect_noticed(run_unruly("Fixture.LeavesAZombie"), "child process left: pid "); }

TEST(Supervisor, NoticesAFileAfterTheLastTest) {
  expect_noticed(run_unruly("Plain.LeavesAFile"),
                 "left in the domain directory after the last test: /dev/shm/brood-test-");
}
TEST(Supervisor, NoticesAProcessThatLivesOn) {
  expect_noticed(run_unruly("Plain.LeavesAProcess"), "left running after the last test: pid ");
}
TEST(Supervisor, NoticesAnOrphan) {
  expect_noticed(run_unruly("Plain.LeavesAnOrphan"), "left running after the last test: pid ");
}
TEST(Supervisor, EndsATestThatHangsAndNamesIt) {
  const auto outcome = run_unruly("Plain.Hangs", "BROOD_TEST_TIMEOUT=1");
  expect_noticed(outcome, "watchdog: Plain.Hangs lasts longer than 1 s");
  EXPECT_NE(outcome.said.find("pause"), std::string::npos) << "no stack shown: " << outcome.said;
}
TEST(Supervisor, ReportsACrashAndNamesTheTest) {
  expect_noticed(run_unruly("Plain.Crashes"), "killed by signal 6");
  expect_noticed(run_unruly("Plain.Crashes"), "in Plain.Crashes");
}
TEST(Supervisor, PassesTheVerdictThrough) {
  EXPECT_EQ(run_unruly("Plain.Fails").code, 1);
  EXPECT_NE(run_unruly("Fixture.Good", "BROOD_TEST_TIMEOUT=soon").code, 0);
}
TEST(Supervisor, LeavesNothingItself) {
  EXPECT_TRUE(support::children_of(::getpid()).empty());
  EXPECT_FALSE(support::test_domain().empty());
}
