// The end of a program that has Remotes.
#include <algorithm>
#include <cstddef>

#include "remote/remote_support.hpp"
#include "support/tsan.hpp"

namespace {

using namespace remote_test;
using process_test::run_program;
using process_test::test_program;

class RemoteExit : public EveryHost {
 protected:
  static process_test::Ran run(const std::string& what) {
    return run_program(test_program("remote_cases"), {std::string(to_string(GetParam())), what});
  }
};
INSTANTIATE_FOR_EVERY_METHOD(RemoteExit);

/// The thread sanitizer has a thread of its own, of which a fork is warned.
void expect_no_error(const process_test::Ran& ran, StartMethod method) {
  const std::ptrdiff_t warnings = SUPPORT_TSAN && method == StartMethod::fork ? 1 : 0;
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), warnings) << ran.err;
}

TEST_P(RemoteExit, StaticObjectsAreStopped) {
  const auto ran = run("static");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out.find("static made\nlocal static made\n14\n"), 0U) << ran.out;
  EXPECT_NE(ran.out.find("local static destroyed\n"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("\nstatic destroyed\n"), std::string::npos) << ran.out;
  expect_no_error(ran, GetParam());
}

TEST_P(RemoteExit, WhatIsNeverDestroyedIsStoppedAtExit) {
  const auto ran = run("leaked");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "leaked made\n7\nleaked destroyed\n");
}

TEST_P(RemoteExit, ExitStops) {
  const auto ran = run("exit");
  EXPECT_EQ(ran.code, 3) << ran.err;
  EXPECT_EQ(ran.out, "exit made\nexit destroyed\n");
}

TEST_P(RemoteExit, AForkedChildHasNoPartInIt) {
  const auto ran = run("fork");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out,
            "parent's made\nUsageError\nUsageError\n<Remote Speaks 'host' of another process>\nchild 0\n7\n7\nparent's "
            "destroyed\n")
      << ran.err;
  expect_no_error(ran, GetParam());
}

}  // namespace
