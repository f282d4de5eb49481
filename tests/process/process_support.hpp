// What the tests of processes share: start methods as parameters, pipes that any child can open, programs run with
// captured output.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/process.hpp"
#include "support/leak_check.hpp"

namespace process_test {

using brood::StartMethod;

/// One behaviour, four bodies: the tests of the first three lie in a program; those of light in a library, of which there
/// is a program with nothing in it (see meson.build).
class EveryMethod : public support::NoLeaks, public ::testing::WithParamInterface<StartMethod> {
 protected:
  /// A process of this test's start method.
  template <class F, class... Args>
  static brood::Process make(F&& f, Args&&... args) {
    return brood::Process({.start_method = GetParam()}, std::forward<F>(f), std::forward<Args>(args)...);
  }
};
/// For behaviour that has nothing to do with the method; or that one test goes through all of.
class Processes : public support::NoLeaks {};

std::string method_name(const ::testing::TestParamInfo<StartMethod>& info);
#ifdef BROOD_TEST_LIGHT
#define INSTANTIATE_FOR_EVERY_METHOD(suite) \
  INSTANTIATE_TEST_SUITE_P(Methods, suite, ::testing::Values(brood::StartMethod::light), process_test::method_name)
#else
#define INSTANTIATE_FOR_EVERY_METHOD(suite)                                                                   \
  INSTANTIATE_TEST_SUITE_P(                                                                                   \
      Methods, suite,                                                                                         \
      ::testing::Values(brood::StartMethod::fork, brood::StartMethod::spawn, brood::StartMethod::forkserver), \
      process_test::method_name)
#endif

/// A pipe whose ends have paths (/proc/PID/fd/N) that can be given to a child, which inherits no descriptors.
class Pipe {
 public:
  Pipe();
  [[nodiscard]] std::string writer() const;
  [[nodiscard]] std::string reader() const;
  /// Everything that the children wrote until now, up to and without the next newline. They keep no end open.
  [[nodiscard]] std::string line();
  void write(const std::string& text);
  /// Opens the gate for so many who await() it. (Not by closing: a forked child has a copy of this end.)
  void let_go(std::size_t count = 1) { write(std::string(count, 'x')); }
  void close_writer() { writer_.reset(); }

 private:
  brood::base::UniqueFd reader_;
  brood::base::UniqueFd writer_;
};
/// In a child: one line to the pipe of that path.
void tell(const std::string& writer, const std::string& line);
/// In a child: sleep until let_go().
void await(const std::string& reader);

/// How a program ended and what it printed.
struct Ran {
  int code = 0;  ///< -N after signal N
  std::string out;
  std::string err;
};
struct RunOptions {
  std::vector<std::string> environment = {};  ///< "NAME=value", added to ours
  int inherited = -1;                         ///< a descriptor that loses close-on-exec
  bool by_a_middleman = false;                ///< its parent is not this process
};
[[nodiscard]] Ran run_program(const std::string& path, const std::vector<std::string>& arguments,
                              const RunOptions& options = {});
/// It has written nothing to standard error. (The thread sanitizer has a thread of its own, of which a fork is warned.)
void expect_no_error(const Ran& ran);
/// Of the programs that meson builds beside the tests.
[[nodiscard]] std::string test_program(const std::string& name);

/// Runs a scenario in a process of its own (started by spawn), where it may ruin signals, limits and the forkserver. It
/// reports with SCENARIO_CHECK and returns.
template <class F>
void expect_scenario(F scenario, const std::string& argument = {}) {
  brood::Process p({.name = "scenario", .start_method = StartMethod::spawn}, scenario, argument);
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 0) << "its standard error says why";
}
#define SCENARIO_CHECK(condition)                                                    \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      std::_Exit(77);                                                                \
    }                                                                                \
  } while (false)

}  // namespace process_test
