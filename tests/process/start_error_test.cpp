// When start() cannot: what it says, and that nothing is left.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "brood/error.hpp"
#include "process/process_support.hpp"

namespace {

using namespace process_test;

class StartFailure : public EveryMethod {};
INSTANTIATE_FOR_EVERY_METHOD(StartFailure);

/// The errno that start() reports, 0 if it starts, -1 for another error.
int error_of_start(StartMethod method) {
  brood::Process p({.start_method = method}, [] {});
  int found = 0;
  try {
    p.start();
  } catch (const brood::OsError& error) {
    found = error.code().value();
  } catch (const brood::StartError&) {
    found = -1;
  }
  if (found != 0 && (p.pid() || p.is_alive())) std::_Exit(78);
  return found;
}

std::vector<int> take_all_descriptors() {
  std::vector<int> taken;
  for (int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC); fd >= 0; fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC))
    taken.push_back(fd);
  return taken;
}

TEST_P(StartFailure, RunningOutOfDescriptorsIsTold) {
  expect_scenario(
      +[](const std::string& name) {
        StartMethod method = StartMethod::fork;
        for (const auto it : brood::get_all_start_methods()) method = to_string(it) == name ? it : method;
        SCENARIO_CHECK(error_of_start(method) == 0);
        rlimit limit{};
        ::getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = 64;
        SCENARIO_CHECK(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
        auto taken = take_all_descriptors();
        // From none free to as many as are needed: each number of free descriptors fails cleanly or works.
        for (int free = 0; free < 12; ++free) {
          const int error = error_of_start(method);
          SCENARIO_CHECK(error == 0 || error == EMFILE);
          SCENARIO_CHECK(free > 0 || error == EMFILE);
          SCENARIO_CHECK(brood::active_children().empty());
          const auto left = take_all_descriptors();
          SCENARIO_CHECK(left.size() == static_cast<std::size_t>(free));
          for (const int fd : left) ::close(fd);
          ::close(taken.back());
          taken.pop_back();
        }
        SCENARIO_CHECK(error_of_start(method) == 0);
        for (const int fd : taken) ::close(fd);
      },
      std::string(to_string(GetParam())));
}

TEST_F(Processes, ACommandLineThatIsTooLongIsTold) {
  expect_scenario(+[](const std::string&) {
    const std::string large(8 << 20, 'x');  // above any limit of a single string
    ::setenv("BROOD_TEST_LARGE", large.c_str(), 1);
    SCENARIO_CHECK(error_of_start(StartMethod::spawn) == E2BIG);
    brood::Process p({.name = "child", .start_method = StartMethod::spawn}, [] {});
    try {
      p.start();
    } catch (const brood::OsError& error) {
      SCENARIO_CHECK(
          std::string_view(error.what()) ==
          "cannot start process 'child': cannot execute /proc/self/exe for a child process (command line and "
          "environment are too long): Argument list too long");
    }
    SCENARIO_CHECK(error_of_start(StartMethod::forkserver) == E2BIG);
    SCENARIO_CHECK(error_of_start(StartMethod::fork) == 0);
    ::unsetenv("BROOD_TEST_LARGE");
    SCENARIO_CHECK(error_of_start(StartMethod::spawn) == 0);
  });
}

TEST_P(StartFailure, TheLimitOfProcessesIsTold) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs to become a user without processes";
  expect_scenario(
      +[](const std::string& name) {
        StartMethod method = StartMethod::fork;
        for (const auto it : brood::get_all_start_methods()) method = to_string(it) == name ? it : method;
        rlimit before{};
        SCENARIO_CHECK(::getrlimit(RLIMIT_NPROC, &before) == 0);
        const rlimit none{0, before.rlim_max};
        SCENARIO_CHECK(::setrlimit(RLIMIT_NPROC, &none) == 0);
        SCENARIO_CHECK(::setresuid(54321, 54321, 54321) == 0);
        SCENARIO_CHECK(error_of_start(method) == EAGAIN);
        SCENARIO_CHECK(brood::active_children().empty());
        SCENARIO_CHECK(::setrlimit(RLIMIT_NPROC, &before) == 0);  // leak checkers start a process at the end
      },
      std::string(to_string(GetParam())));
}

/// Where static objects are made in the child.
class EarlyEnd : public EveryMethod {};
#ifdef BROOD_TEST_LIGHT
INSTANTIATE_FOR_EVERY_METHOD(EarlyEnd);
#else
INSTANTIATE_TEST_SUITE_P(Methods, EarlyEnd, ::testing::Values(StartMethod::spawn, StartMethod::forkserver),
                         method_name);
#endif

TEST_P(EarlyEnd, HowAChildEndedBeforeItWasReadyIsAlwaysTold) {
  const Ran ran = run_program(test_program("process_cases"), {std::string(to_string(GetParam())), "early-end"},
                              {.environment = {"BROOD_TEST_EARLY_END=1"}});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("told 50\n"), std::string::npos) << ran.out << ran.err;
}

}  // namespace
