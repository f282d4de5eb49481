// Finalizers and hooks after a fork. What happens at exit is seen in programs of their own.
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "brood/error.hpp"
#include "brood/finalizer.hpp"
#include "process/process_support.hpp"

namespace {

using namespace process_test;
using brood::Finalizer;

class Ends : public EveryMethod {};
INSTANTIATE_FOR_EVERY_METHOD(Ends);

TEST_F(Processes, AFinalizerRunsOnce) {
  int runs = 0;
  {
    Finalizer finalizer([&] { ++runs; });
    EXPECT_TRUE(finalizer.still_active());
    EXPECT_TRUE(finalizer());
    EXPECT_FALSE(finalizer.still_active());
    EXPECT_FALSE(finalizer());
  }
  EXPECT_EQ(runs, 1);
}

TEST_F(Processes, AFinalizerRunsWhenItsObjectGoes) {
  std::vector<int> order;
  {
    const Finalizer first([&] { order.push_back(1); });
    Finalizer second([&] { order.push_back(2); });
    const Finalizer moved = std::move(second);
    EXPECT_TRUE(order.empty());
  }
  EXPECT_EQ(order, (std::vector{2, 1}));
  Finalizer replaced([&] { order.push_back(3); });
  replaced = Finalizer([&] { order.push_back(4); });
  EXPECT_EQ(order, (std::vector{2, 1, 3}));
}

TEST_F(Processes, ACancelledFinalizerDoesNotRun) {
  int runs = 0;
  {
    Finalizer finalizer([&] { ++runs; });
    finalizer.cancel();
    EXPECT_FALSE(finalizer.still_active());
    EXPECT_FALSE(finalizer());
    Finalizer nothing;
    nothing.cancel();
    EXPECT_FALSE(nothing.still_active());
    EXPECT_FALSE(nothing());
  }
  EXPECT_EQ(runs, 0);
  EXPECT_THROW(Finalizer(nullptr), brood::UsageError);
  EXPECT_THROW(brood::register_after_fork(nullptr), brood::UsageError);
}

TEST_F(Processes, ACalledFinalizerThrowsToItsCaller) {
  Finalizer finalizer([] { throw std::runtime_error("cannot"); });
  EXPECT_THROW(finalizer(), std::runtime_error);
  EXPECT_FALSE(finalizer.still_active());
}

TEST_F(Processes, AFinalizerIsNotTheForkedProcesss) {
  Pipe out;
  Finalizer finalizer([] {});
  const pid_t pid = ::fork();
  if (pid == 0) {
    const bool active = finalizer.still_active();
    const bool ran = finalizer();
    tell(out.writer(), std::string(active ? "active" : "not active") + (ran ? " ran" : " did not run"));
    ::_exit(0);
  }
  EXPECT_EQ(out.line(), "not active did not run");
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(finalizer.still_active());
}

TEST_P(Ends, FinalizersRunAroundTheJoiningOfChildren) {
  const Ran ran = run_program(test_program("process_cases"), {std::string(to_string(GetParam())), "finalizers"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  const std::string of_statics = GetParam() == StartMethod::fork ? "" : "static destroyed in child\n";
  EXPECT_EQ(ran.out,
            "main runs\n"
            "child: early\n"
            "priority 5 of MainProcess\n"
            "newest of MainProcess\n"
            "oldest of MainProcess\n"
            "child: joined\n" +
                of_statics +
                "priority -1 of MainProcess\n"
                "static destroyed in MainProcess\n")
      << ran.err;
  EXPECT_NE(ran.err.find(" failed: std::runtime_error: an action that throws\n"), std::string::npos) << ran.err;
}

TEST_P(Ends, AChildRunsItsOwn) {
  const Ran ran =
      run_program(test_program("process_cases"), {std::string(to_string(GetParam())), "finalizer-of-child"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  const std::string of_statics = GetParam() == StartMethod::fork ? "" : "static destroyed in child\n";
  EXPECT_EQ(ran.out, "main runs\nfinalizer of child\n" + of_statics +
                         "exitcode 0\nfinalizer of MainProcess\nstatic destroyed in MainProcess\n")
      << ran.err;
}

TEST_P(Ends, HooksRunInForkedChildrenInTheirOrder) {
  const Ran ran = run_program(test_program("process_cases"), {std::string(to_string(GetParam())), "after-fork"},
                              {.environment = {"BROOD_TEST_HOOK=1"}});
  EXPECT_EQ(ran.code, 0) << ran.err;
  std::string hooks;
  const bool is_forked = GetParam() == StartMethod::fork || GetParam() == StartMethod::forkserver;
  if (is_forked) hooks = "hook of static initialisation\n";
  if (GetParam() == StartMethod::fork) hooks += "second hook in child\n";
  EXPECT_TRUE(ran.out.starts_with("main runs\n" + hooks + "target runs\n")) << ran.out << ran.err;
  EXPECT_EQ(ran.err.find(" failed: int\n") != std::string::npos, GetParam() == StartMethod::fork) << ran.err;
}

// exit() has by then destroyed what belongs to the main thread.
TEST_P(Ends, ProcessesMayBeStartedAtExit) {
  const Ran ran = run_program(test_program("process_cases"), {std::string(to_string(GetParam())), "start-at-exit"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
  std::size_t at = 0;
  for (const std::string where : {"finalizer", "late finalizer", "handler", "static object"}) {
    for (const char* what : {": runs\n", ": exitcode 0\n"}) {
      at = ran.out.find(where + what, at);
      ASSERT_NE(at, std::string::npos) << where << what << ran.out;
    }
  }
}

TEST_P(Ends, AChildMayStartProcessesAtItsExit) {
  const Ran ran =
      run_program(test_program("process_cases"), {std::string(to_string(GetParam())), "start-at-exit-of-child"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  expect_no_error(ran);
  for (const std::string text :
       {"\nfinalizer of child: exitcode 0\n", "\nlate finalizer of child: exitcode 0\n", "\nexitcode 0\n"}) {
    EXPECT_NE(ran.out.find(text), std::string::npos) << text << ran.out;
  }
}

TEST_P(Ends, ChildrenOfALateFinalizerAreJoined) {
  const Ran ran = run_program(test_program("process_cases"), {std::string(to_string(GetParam())), "leave-late"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  const std::size_t done = ran.out.find("worker done\n");
  ASSERT_NE(done, std::string::npos) << ran.out << ran.err;
  EXPECT_LT(done, ran.out.find("static destroyed in MainProcess\n")) << ran.out;
}

}  // namespace
