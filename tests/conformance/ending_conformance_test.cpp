// How processes end, as CPython's _TestFinalize, _TestAtExit, TestStdinBadfiledescriptor, the rest of _TestProcess and of
// _TestSubclassingProcess have it; CTX-22, PRC-16, LOG-05, LOG-06.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "brood/connection.hpp"
#include "brood/custom_process.hpp"
#include "brood/error.hpp"
#include "brood/event.hpp"
#include "brood/finalizer.hpp"
#include "brood/relatives.hpp"
#include "brood/wait.hpp"
#include "conformance/process_fixture.hpp"

namespace conformance {
namespace {

using brood::Finalizer;
using Texts = brood::Queue<std::string>;

class EndingConformance : public EveryMethod {
 protected:
  static Ran run_case(std::vector<std::string> arguments, const process_test::RunOptions& options = {}) {
    arguments.insert(arguments.begin(), std::string(to_string(method())));
    return run_program(test_program("conformance_cases"), arguments, options);
  }
};
BROOD_METHODS(EndingConformance);
class EndingConformanceOnce : public Once {};

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> part;
  for (;;) {
    const ssize_t got = ::read(fd, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(got));
  }
}

/// Exit code and standard error of a process.
template <class F, class... Args>
std::pair<int, std::string> ended(brood::ProcessOptions options, F target, Args&&... args) {
  options.standard_error = brood::Stdio::pipe();
  brood::Process p(std::move(options), target, std::forward<Args>(args)...);
  p.start();
  const brood::Descriptor errors = p.take_stderr();
  std::string text = read_all(errors.get());
  p.join();
  return {p.exitcode().value_or(-999), std::move(text)};
}

class Failing : public brood::CustomProcess<Failing> {
 public:
  using CustomProcess::CustomProcess;
  void run() { throw std::domain_error(std::string(10'000, 'x') + " MARKER"); }
};

// _TestSubclassingProcess.test_stderr_flush, PRC-16
TEST_P(EndingConformance, TheReportOfAnExceptionIsWholeOnStandardError) {
  Failing p(with({.name = "failing", .standard_error = brood::Stdio::pipe()}));
  p.start();
  const brood::Descriptor errors = p.take_stderr();
  const std::string text = read_all(errors.get());
  p.join();
  EXPECT_EQ(p.exitcode(), 1);
  EXPECT_TRUE(text.starts_with("Process failing (pid " + std::to_string(*p.pid()) + "): uncaught exception: ")) << text;
  EXPECT_TRUE(contains(text, "std::domain_error: xxx")) << text;
  EXPECT_TRUE(contains(text, "x MARKER\n  thrown in:\n    #0 ")) << text;
  EXPECT_TRUE(text.ends_with(")\n")) << text;
}

/// _TestSubclassingProcess.test_sys_exit, PRC-06: exit(n), return, and, in the place of an exit with an object, throw.
TEST_P(EndingConformance, ExitValuesBecomeCodesAndAMessageIsPrinted) {
  const auto [code, text] = ended(with(), [] { throw std::string("ignore this"); });
  EXPECT_EQ(code, 1);
  EXPECT_TRUE(contains(text, "ignore this\n")) << text;
  EXPECT_EQ(ended(with(), [] { return; }), std::pair(0, std::string()));
  for (const int n : {0, 1, 8, 42}) {
    EXPECT_EQ(ended(
                  with(), [](int given) { std::exit(given); }, int{n}),
              std::pair(n, std::string()));
  }
}

// PRC-16
TEST_P(EndingConformance, StandardInputOfAChildIsEmpty) {
  EXPECT_EQ(code_of([] { std::exit(std::getchar() == EOF && std::cin.get() == EOF ? 0 : 1); }), 0);
}

/// PRC-16: children that the target has not joined are joined before the end.
TEST_P(EndingConformance, AChildOutlivesItsOwnChildren) {
  Texts out;
  brood::Event go;
  brood::Process p(
      with(),
      [](Texts& to, brood::Event& until, StartMethod how) {
        // Never destroyed: nobody but exit() joins it.
        auto* const child = new brood::Process(
            {.start_method = how},
            [](Texts& there, brood::Event& when) {
              when.wait();
              there.put("the grandchild has ended");
            },
            to, until);
        child->start();
        to.put("the target has returned");
      },
      out, go, method());
  p.start();
  EXPECT_EQ(out.get(), "the target has returned");
  EXPECT_FALSE(p.join_for(20ms));
  go.set();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  EXPECT_EQ(out.try_get(), "the grandchild has ended");
}

// CTX-22
TEST_P(EndingConformance, ExitRunsFinalizersEndsDaemonsJoinsOthersRunsTheRest) {
  const Ran ran = run_case({"exit-order"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  std::string out = ran.out;
  // What the worker does is its own affair once it may; the daemon is told before the worker is joined.
  const std::string worker = "worker ends\n";
  const std::size_t at = out.find(worker);
  ASSERT_NE(at, std::string::npos) << out;
  EXPECT_LT(at, out.find("finalizer -1, newer\n")) << out;
  EXPECT_GT(at, out.find("finalizer 10\n")) << out;
  out.erase(at, worker.size());
  EXPECT_EQ(out,
            "main runs\n"
            "finalizer 10\n"
            "finalizer 0, newer\n"
            "finalizer 0, older\n"
            "daemon is told to end\n"
            "finalizer -1, newer\n"
            "finalizer -1, older\n"
            "finalizer -5\n");
  EXPECT_EQ(ran.err, "");
}

/// CTX-22: whoever leaves by _exit does none of it, and its children become orphans.
TEST_P(EndingConformance, AHardExitSkipsEverythingAndOrphansItsChildren) {
  Texts out;
  brood::Process p(
      with(),
      [](Texts& to, StartMethod how) {
        new brood::Finalizer([] { std::_Exit(98); });
        std::atexit([] { std::_Exit(97); });
        brood::Process orphan(
            {.start_method = how},
            [](Texts& there) {
              brood::parent_process()->join();
              there.put("orphan");
            },
            to);
        orphan.start();
        ::_exit(3);
      },
      out, method());
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 3);
  EXPECT_EQ(out.get(), "orphan");
}

// _TestAtExit.test_atexit, PRC-16
TEST_P(EndingConformance, ExitHandlersOfAChildRunAtItsExit) {
  static std::string to;
  Pipe out;
  brood::Process p(
      with(),
      [](const std::string& writer) {
        to = writer;
        std::atexit([] { tell(to, "handler of " + brood::current_process_name()); });
        tell(to, "target");
      },
      out.writer());
  p.set_name("leaving");
  p.start();
  EXPECT_EQ(out.line(), "target");
  EXPECT_EQ(out.line(), "handler of leaving");
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

// TestStdinBadfiledescriptor.test_queue_in_process
TEST_P(EndingConformance, AChildMakesAQueueAndADaemonOfItsOwn) {
  EXPECT_EQ(code_of(
                [](StartMethod how) {
                  brood::Queue<int> queue;
                  brood::Process child(
                      {.daemon = true, .start_method = how}, [](brood::Queue<int>& to) { to.put(6); }, queue);
                  child.start();
                  support::require(queue.get() == 6, "what the daemon put");
                  child.join();
                },
                method()),
            0);
}

// TestStdinBadfiledescriptor.test_flushing
TEST_P(EndingConformance, TextWrittenBeforeTheStartAppearsOnce) {
  const Ran ran = run_case({"flushing"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.err, "cerr before;");
  for (const char* text : {"printf before;", "cout before;", "printf after;"})
    EXPECT_EQ(count(ran.out, text), 1U) << ran.out;
  EXPECT_EQ(ran.out.size(), std::string("main runs\nprintf before;cout before;printf after;").size()) << ran.out;
}

void talk() {
  std::printf("to standard output");
  std::cout << "the same";
  std::fprintf(stderr, "%s", "");
}

/// _TestProcess.test_error_on_stdio_flush_1: the parent has closed its streams, or what they write to takes nothing.
TEST_P(EndingConformance, AChildEndsWellThoughItsParentHasLostItsStreams) {
  for (const char* lost : {"closed 1", "closed 2", "full 1", "full 2"}) {
    brood::Process scenario(
        {.name = "scenario", .start_method = StartMethod::spawn, .standard_output = brood::Stdio::null()},
        [](const std::string& what, StartMethod how) {
          const int number = what.back() - '0';
          // Before the forkserver is made, which has them from us.
          if (what.starts_with("closed")) {
            ::close(number);
          } else {
            const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
            if (full < 0 || ::dup2(full, number) != number) std::_Exit(70);
          }
          std::printf("still in the buffer");
          brood::Process p({.start_method = how}, talk);
          p.start();
          p.join();
          std::_Exit(p.exitcode() == 0 ? 0 : 71);
        },
        std::string(lost), method());
    scenario.start();
    scenario.join();
    EXPECT_EQ(scenario.exitcode(), 0) << lost;
  }
}

// _TestProcess.test_error_on_stdio_flush_2
TEST_P(EndingConformance, AChildEndsWellThoughItHasLostItsStreams) {
  for (const int number : {STDOUT_FILENO, STDERR_FILENO}) {
    for (const bool closes : {true, false}) {
      brood::Process p(
          with({.standard_output = brood::Stdio::null()}),
          [](int which, bool by_closing) {
            talk();
            if (by_closing) {
              ::close(which);
            } else {
              const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
              support::require(::dup2(full, which) == which, "dup2");
            }
          },
          int{number}, bool{closes});
      p.start();
      p.join();
      EXPECT_EQ(p.exitcode(), 0) << number << (closes ? " closed" : " full");
    }
  }
}

// _TestSpawnedSysPath.test_std_streams_flushed_after_preload
TEST_F(EndingConformanceOnce, TheForkserverFlushesBeforeItForks) {
  const Ran ran = run_program(test_program("conformance_cases"),
                              {"forkserver", "talkative-preload", test_program("conformance_preload.so")},
                              {.environment = {"BROOD_TEST_PRELOAD_TALKS=1"}});
  EXPECT_EQ(ran.code, 0) << ran.err;
  for (const char* text : {"printf of the module;", "cout of the module;"})
    EXPECT_EQ(count(ran.out, text), 1U) << ran.out;
  for (const char* text : {"printf of a child;", "cout of a child;"}) EXPECT_EQ(count(ran.out, text), 3U) << ran.out;
  EXPECT_LT(ran.out.find("of the module;"), ran.out.find("of a child;")) << ran.out;
}

// TestNamedResource.test_global_named_resource_spawn
TEST_P(EndingConformance, AGlobalLockIsMadeAnewWhereTheProgramRunsAnewAndNoneIsLeft) {
  const auto before = support::Possessions::now().files;
  const Ran ran = run_case({"global-lock"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.err, "");
  const std::string which = method() == StartMethod::fork ? "the same lock" : "another lock";
  EXPECT_EQ(ran.out, "main runs\n" + which + "\nexitcode 0\n");
  EXPECT_EQ(support::Possessions::now().files, before);
}

// MiscTestCase.test_preload_main_sys_argv
TEST_P(EndingConformance, ArgumentsAreSeenAtLoadAndInChildren) {
  const Ran ran = run_case({"arguments", "first", "second argument"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "main runs\nseen at load\nseen in the child\nexitcode 0\n") << ran.err;
}

// MiscTestCase.test_preload_main_large_sys_argv
TEST_P(EndingConformance, VeryManyAndVeryLongArgumentsAreSeenToo) {
  std::vector<std::string> arguments = {"arguments", std::string(100'000, 'x')};
  for (int i = 0; i < 10'000; ++i) arguments.push_back("argument " + std::to_string(i));
  const Ran ran = run_case(std::move(arguments));
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "main runs\nseen at load\nseen in the child\nexitcode 0\n") << ran.err;
}

/// CPython's order: what has gone, or was called, before the end; then by priority; among equals the newest first.
void finalize_in_many_ways(const std::string& to) {
  const auto says = [to](const char* text) { return [to, text] { tell(to, text); }; };
  std::optional<Finalizer> a(std::in_place, says("a"));
  a.reset();
  const auto at_exit = [](std::function<void()> action, int priority = 0) {
    new Finalizer(std::move(action), priority);  // never destroyed
  };
  Finalizer b(says("b"));
  b();
  b();
  Finalizer never(says("cancelled"));
  never.cancel();
  at_exit(says("c"));
  at_exit(says("d10"), 10);
  at_exit(says("d01"), 1);
  at_exit(says("d02"), 1);
  at_exit(says("d03"), 1);
  at_exit(says("late"), -100);
  at_exit([] { throw std::runtime_error("told, and the next one follows"); }, 5);
  // An action may add one.
  at_exit([to, says, at_exit] { at_exit(says("added"), 0); }, 2);
}

// _TestFinalize.test_finalize, LOG-05
TEST_P(EndingConformance, FinalizersRunOnceByPriorityThenNewestFirst) {
  Pipe out;
  const auto [code, errors] = ended(with(), finalize_in_many_ways, out.writer());
  EXPECT_EQ(code, 0);
  EXPECT_TRUE(contains(errors, "told, and the next one follows")) << errors;
  out.close_writer();
  for (const char* expected : {"a", "b", "d10", "d03", "d02", "d01", "added", "c", "late", ""})
    EXPECT_EQ(out.line(), expected);
}

// LOG-05
TEST_P(EndingConformance, AFinalizerBelongsToTheProcessThatMadeIt) {
  static std::optional<Finalizer> finalizer;
  finalizer.emplace([] { std::_Exit(96); });
  EXPECT_EQ(code_of([] {
              support::require(!finalizer || !finalizer->still_active(), "not mine");
              support::require(!finalizer || !(*finalizer)(), "does not run");
            }),
            0);
  EXPECT_TRUE(finalizer->still_active());
  finalizer->cancel();
  EXPECT_FALSE(finalizer->still_active());
  finalizer.reset();
  EXPECT_THROW(Finalizer(nullptr), brood::UsageError);
}

// _TestFinalize.test_thread_safety, LOG-05
TEST_F(EndingConformanceOnce, FinalizersAreMadeRunAndCancelledByThreadsAtOnce) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 2000;
  std::atomic<int> made = 0;
  std::atomic<int> cancelled = 0;
  std::atomic<int> ran = 0;
  std::array<std::optional<Finalizer>, 8> shared;
  for (auto& one : shared) one.emplace([&ran] { ++ran; });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        ++made;
        Finalizer mine([&ran] { ++ran; }, i % 3 - 1);
        if ((i + t) % 4 == 0) {
          mine.cancel();
          ++cancelled;
        } else if ((i + t) % 4 == 1) {
          (void)mine();
        }
        // All threads call the same ones: each runs once.
        (void)(*shared[static_cast<std::size_t>(i) % shared.size()])();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(made, kThreads * kRounds);
  EXPECT_EQ(ran, made - cancelled + static_cast<int>(shared.size()));
}

/// How often a hook ran in this process and in those that it was cloned from.
int g_hook_runs = 0;
std::string g_hook_order;
[[maybe_unused]] const bool g_hooked = [] {
  brood::register_after_fork([] {
    ++g_hook_runs;
    g_hook_order += "1";
  });
  brood::register_after_fork([] { g_hook_order += "2"; });
  return true;
}();

void count_hooks_of_generations(Texts& out, StartMethod how, int more) {
  out.put(std::to_string(g_hook_runs) + " " + g_hook_order);
  if (more == 0) return;
  brood::Process p({.start_method = how}, count_hooks_of_generations, out, how, more - 1);
  p.start();
  p.join();
  support::require(p.exitcode() == 0, "the next generation");
}

/// TestForkAwareThreadLock.test_lock, LOG-06: a clone keeps the hooks of its parent and none comes twice, so that each
/// generation runs them once more. A child of the forkserver is the first clone of a new process; one of spawn is none.
TEST_P(EndingConformance, HooksAfterForkDoNotMultiplyWithTheGenerations) {
  Texts out;
  brood::Process p(with(), count_hooks_of_generations, out, method(), 5);
  p.start();
  for (int generation = 1; generation <= 6; ++generation) {
    const int runs = method() == StartMethod::fork ? generation : method() == StartMethod::forkserver ? 1 : 0;
    std::string order;
    for (int i = 0; i < runs; ++i) order += "12";
    EXPECT_EQ(out.get(), std::to_string(runs) + " " + order);
  }
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

/// LOG-06: a hook that throws is told of, and the next one runs.
TEST_F(EndingConformanceOnce, AHookThatThrowsDoesNotStopTheNext) {
  expect_scenario(+[](const std::string&) {
    brood::register_after_fork([] { throw std::runtime_error("a hook that throws"); });
    brood::register_after_fork([] { g_hook_order += "3"; });
    g_hook_order.clear();
    const auto [code, errors] =
        ended({.start_method = StartMethod::fork}, [] { std::exit(g_hook_order == "123" ? 0 : 1); });
    SCENARIO_CHECK(code == 0);
    SCENARIO_CHECK(contains(errors, "a hook that throws"));
  });
}

// TestInvalidHandle.test_invalid_handles
TEST_F(EndingConformanceOnce, BogusHandlesAndDescriptorsAreErrors) {
  constexpr int kBogus = 44'977'608;
  EXPECT_THROW((void)brood::Connection<int>::open("-32768"), brood::HandleError);
  EXPECT_THROW((void)brood::Connection<int>::open(brood::Handle(brood::Kind::connection, kBogus)), brood::HandleError);
  EXPECT_THROW((void)brood::Descriptor::copy_of(kBogus), brood::OsError);
  EXPECT_THROW((void)brood::Descriptor::copy_of(-32768), brood::Error);
  EXPECT_THROW(brood::Process({.standard_input = brood::Stdio::descriptor(-32768)}, [] {}), brood::UsageError);
  brood::Process p({.start_method = StartMethod::spawn, .standard_input = brood::Stdio::descriptor(kBogus)}, [] {});
  EXPECT_THROW(p.start(), brood::StartError);
  EXPECT_FALSE(p.pid());
}

}  // namespace
}  // namespace conformance
