// How children end, and what exit codes, streams, handlers and static objects then do. Each case is a program of its
// own.
#include <signal.h>

#include <string>

#include "process/process_support.hpp"

namespace {

using namespace process_test;

class ProcessEnd : public EveryMethod {
 protected:
  static Ran run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), std::string(to_string(GetParam())));
    Ran ran = run_program(test_program("process_cases"), arguments);
    EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
    EXPECT_TRUE(ran.out.starts_with("main runs\n")) << ran.out;
    EXPECT_EQ(ran.out.find("main runs", 1), std::string::npos) << "main ran in the child:\n" << ran.out;
    return ran;
  }
  static bool is_fork() { return GetParam() == StartMethod::fork; }
};
INSTANTIATE_FOR_EVERY_METHOD(ProcessEnd);

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST_P(ProcessEnd, ExitCodesAreThoseOfTheKernel) {
  const struct {
    std::vector<std::string> arguments;
    int code;
  } cases[] = {
      {{"return"}, 0},
      {{"exit", "0"}, 0},
      {{"exit", "1"}, 1},
      {{"exit", "7"}, 7},
      {{"exit", "255"}, 255},
      {{"exit", "256"}, 0},
      {{"exit", "-1"}, 255},
      {{"_exit", "9"}, 9},
      {{"quick_exit", "5"}, 5},
      {{"abort"}, -SIGABRT},
      {{"raise", "9"}, -SIGKILL},
      {{"raise", "15"}, -SIGTERM},
      {{"raise", "10"}, -SIGUSR1},
      {{"throw"}, 1},
      {{"throw-int"}, 1},
  };
  for (const auto& it : cases) {
    const Ran ran = run(it.arguments);
    EXPECT_TRUE(contains(ran.out, "exitcode " + std::to_string(it.code) + "\n"))
        << it.arguments[0] << ": " << ran.out << ran.err;
  }
}

TEST_P(ProcessEnd, AnUncaughtExceptionIsTold) {
  const Ran plain = run({"throw"});
  EXPECT_TRUE(contains(plain.err, "Process child (pid ")) << plain.err;
  EXPECT_TRUE(contains(plain.err, "): uncaught exception: std::runtime_error: it went wrong\n")) << plain.err;
  // Innermost first, without the runtime's own functions above, and without ours below the target.
  const std::size_t at = plain.err.find("  thrown in:\n    #0 ");
  ASSERT_NE(at, std::string::npos) << plain.err;
  const std::string stack = plain.err.substr(at);
  EXPECT_TRUE(contains(stack, "#0 (anonymous namespace)::go_wrong(int volatile&)")) << stack;
  EXPECT_TRUE(contains(stack, "#1 (anonymous namespace)::lead_there()")) << stack;
  EXPECT_TRUE(contains(stack, " in /")) << stack;
  EXPECT_FALSE(contains(stack, "__cxa_throw")) << stack;
  EXPECT_FALSE(contains(stack, "run_child")) << stack;
  const Ran nested = run({"throw-nested"});
  EXPECT_TRUE(contains(nested.err, "outermost\n  nested: ")) << nested.err;
  EXPECT_TRUE(contains(nested.err, "middle\n  nested: std::out_of_range: innermost\n")) << nested.err;
  const Ran number = run({"throw-int"});
  EXPECT_TRUE(contains(number.err, "uncaught exception: int\n")) << number.err;
  // As after a crash nothing is tidied up in the child.
  EXPECT_EQ(count(plain.out, "static destroyed in child"), 0U) << plain.out;
}

TEST_P(ProcessEnd, StaticObjectsAreDestroyedWhereTheyWereMade) {
  for (const auto& arguments : {std::vector<std::string>{"return"}, {"exit", "3"}}) {
    const Ran ran = run(arguments);
    EXPECT_EQ(count(ran.out, "static destroyed in child"), is_fork() ? 0U : 1U) << ran.out;
    EXPECT_EQ(count(ran.out, "static destroyed in MainProcess"), 1U) << ran.out;
  }
}

TEST_P(ProcessEnd, ExitHandlersRunWhereTheyWereRegistered) {
  const Ran ran = run({"exit-handlers"});
  EXPECT_EQ(count(ran.out, "target sees a static made before main"), 1U) << ran.out;
  EXPECT_EQ(count(ran.out, "child's handler in child"), 1U) << ran.out;
  EXPECT_EQ(count(ran.out, "child's handler in MainProcess"), 0U) << ran.out;
  EXPECT_EQ(count(ran.out, "parent's handler in MainProcess"), 1U) << ran.out;
  EXPECT_EQ(count(ran.out, "parent's handler in child"), 0U) << ran.out;
}

TEST_P(ProcessEnd, StreamsAreFlushedOnceAndInOrder) {
  const Ran ran = run({"stdio"});
  for (const char* text :
       {"parent's unflushed text;", "and on cout;", "child's text;", "and cout of the child;", "stdin empty\n"}) {
    EXPECT_EQ(count(ran.out, text), 1U) << text << "\n" << ran.out;
  }
  EXPECT_LT(ran.out.find("parent's unflushed"), ran.out.find("child's text")) << ran.out;
  EXPECT_LT(ran.out.find("stdin empty"), ran.out.find("exitcode 0")) << ran.out;
}

TEST_P(ProcessEnd, TheChildHasDefaultSignalsAndKeepsIgnoredOnes) {
  const Ran ran = run({"signals"});
  EXPECT_TRUE(contains(ran.out, "blocked 0 usr1 default hup ignored chld default\n")) << ran.out;
  EXPECT_TRUE(contains(ran.out, "exitcode 0\n")) << ran.out;
}

TEST_P(ProcessEnd, TheChildHasNoDescriptorOfItsSiblings) {
  const Ran ran = run({"siblings"});
  const std::size_t at = ran.out.find("inherited ");
  ASSERT_NE(at, std::string::npos) << ran.out;
  // Its socket, and the pidfd of its parent.
  const std::string line = "descriptors " + std::to_string(std::stoi(ran.out.substr(at + 10)) + 2) + "\n";
  EXPECT_EQ(count(ran.out, line), 5U) << ran.out;
}

TEST_P(ProcessEnd, TheCommandLineStaysReadable) {
  const Ran ran = run({"cmdline"});
  // A light process has a command line of its own: "brood-light /…/libprocess_cases.so".
  const std::string expected = GetParam() == StartMethod::light
                                   ? "libprocess_cases.so"
                                   : "process_cases " + std::string(to_string(GetParam())) + " cmdline";
  EXPECT_TRUE(contains(ran.out, "cmdline " + expected + "\n")) << ran.out;
  EXPECT_TRUE(contains(ran.out, "variable gone\n")) << ran.out;
}

TEST_P(ProcessEnd, WhatIsThrownMayBeAnything) {
  const Ran nothing = run({"throw-nothing"});
  EXPECT_TRUE(contains(nothing.out, "exitcode 1\n")) << nothing.out << nothing.err;
  EXPECT_TRUE(contains(nothing.err, "::SaysNothing: (null)\n")) << nothing.err;
  const Ran foreign = run({"throw-foreign"});
  EXPECT_TRUE(contains(foreign.out, "exitcode 1\n")) << foreign.out << foreign.err;
  EXPECT_TRUE(contains(foreign.err, "uncaught exception: an exception that is not of C++\n")) << foreign.err;
}

TEST_P(ProcessEnd, ATargetThatEndsItsThreadIsTold) {
  const Ran ran = run({"pthread_exit"});
  EXPECT_TRUE(contains(ran.out, "exitcode 1\n")) << ran.out << ran.err;
  EXPECT_TRUE(contains(ran.err, "Process child (pid ")) << ran.err;
  EXPECT_TRUE(contains(ran.err, "): the target has ended its thread (pthread_exit, ")) << ran.err;
}

TEST_P(ProcessEnd, TheNameInPsIsTheProgramsOwn) {
  const Ran ran = run({"name-in-ps"});
  // That of a light process is its library's; the kernel keeps 15 letters.
  const std::string name = GetParam() == StartMethod::light ? "libprocess_case" : "process_cases";
  EXPECT_TRUE(contains(ran.out, "name " + name + "\n")) << ran.out;
}

}  // namespace
