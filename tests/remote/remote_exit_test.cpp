// The end of a program that has Remotes.
#include "remote/remote_support.hpp"

namespace {

using namespace remote_test;
using process_test::expect_no_error;
using process_test::run_program;
using process_test::test_program;

class RemoteExit : public EveryHost {
 protected:
  static process_test::Ran run(const std::string& what) {
    return run_program(test_program("remote_cases"), {std::string(to_string(GetParam())), what});
  }
};
INSTANTIATE_FOR_EVERY_METHOD(RemoteExit);

TEST_P(RemoteExit, StaticObjectsAreStopped) {
  const auto ran = run("static");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out.find("static made\nlocal static made\n14\n"), 0U) << ran.out;
  EXPECT_NE(ran.out.find("local static destroyed\n"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("\nstatic destroyed\n"), std::string::npos) << ran.out;
  expect_no_error(ran);
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
  expect_no_error(ran);
}

}  // namespace
