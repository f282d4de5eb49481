// CPython's TestStartMethod and CTX-01 … CTX-21: start methods, contexts, and what they hand over.
#include "brood/context.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <concepts>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/error.hpp"
#include "brood/finalizer.hpp"
#include "brood/forkserver.hpp"
#include "brood/serialize.hpp"
#include "brood/wait.hpp"
#include "conformance/process_fixture.hpp"
#include "os/process_identity.hpp"
#include "os/socket.hpp"
#include "process/launcher.hpp"

namespace conformance {
namespace {

namespace fs = std::filesystem;
using brood::Context;

constexpr StartMethod kMethods[] = {StartMethod::fork, StartMethod::spawn, StartMethod::forkserver};

class ContextConformance : public EveryMethod {};
BROOD_METHODS(ContextConformance);
class ContextConformanceOnce : public Once {};

/// Whoever starts children notes itself here: only a clone of it has that note.
pid_t g_noted = 0;

/// How this child came to be, by what it sees of itself.
StartMethod observed_method() {
  const auto parent = static_cast<pid_t>(brood::parent_process()->pid());
  if (g_noted == parent) return StartMethod::fork;
  return ::getppid() == parent ? StartMethod::spawn : StartMethod::forkserver;
}

void exit_if(StartMethod expected) { std::exit(observed_method() == expected ? 0 : 1); }

template <class MakeProcess>
bool really_starts_by(StartMethod expected, MakeProcess make) {
  g_noted = ::getpid();
  brood::Process p = make(exit_if, expected);
  p.start();
  p.join();
  return p.exitcode() == 0;
}

template <class T>
concept MethodCanBeSet = requires(T context) {
  context.set_start_method(StartMethod::fork);
};

// TestStartMethod.test_context, CTX-01, CTX-03
TEST_P(ContextConformance, ANamedContextKeepsItsMethod) {
  const Context context = brood::get_context(method());
  EXPECT_EQ(context.get_start_method(), method());
  static_assert(!MethodCanBeSet<Context>, "there: ValueError");
  const StartMethod other = method() == StartMethod::fork ? StartMethod::spawn : StartMethod::fork;
  EXPECT_THROW((void)context.options({.start_method = other}), brood::UsageError);
  EXPECT_EQ(context.options().start_method, method());
  EXPECT_EQ(context, Context(method()));
  EXPECT_TRUE(really_starts_by(method(), [&](auto f, StartMethod argument) { return context.process(f, argument); }));
}

// CTX-01
TEST_F(ContextConformanceOnce, AnUnknownMethodHasNoContextAndNoNameMeansTheDefault) {
  EXPECT_THROW((void)brood::get_context(static_cast<StartMethod>(99)), brood::UsageError);
  EXPECT_THROW(brood::set_start_method(static_cast<StartMethod>(99), true), brood::UsageError);
  expect_scenario(+[](const std::string&) {
    brood::reset_start_method();
    SCENARIO_CHECK(brood::get_context().get_start_method() == StartMethod::forkserver);
    SCENARIO_CHECK(brood::get_start_method_if_set() == StartMethod::forkserver);
  });
}

// CTX-02, CTX-03
TEST_F(ContextConformanceOnce, TheMethodIsSettledOnceByWhoeverAsksOrChooses) {
  expect_scenario(+[](const std::string&) {
    const auto refused = [](StartMethod method) {
      try {
        brood::set_start_method(method);
        return false;
      } catch (const brood::UsageError&) {
        return true;
      }
    };
    brood::reset_start_method();
    SCENARIO_CHECK(!brood::get_start_method_if_set());
    SCENARIO_CHECK(!brood::get_start_method_if_set());  // to look is not to ask
    brood::set_start_method(StartMethod::spawn);
    SCENARIO_CHECK(refused(StartMethod::fork));
    SCENARIO_CHECK(refused(StartMethod::spawn));
    SCENARIO_CHECK(brood::get_start_method() == StartMethod::spawn);
    brood::set_start_method(StartMethod::fork, true);
    SCENARIO_CHECK(brood::get_start_method() == StartMethod::fork);
    brood::reset_start_method();
    SCENARIO_CHECK(brood::get_start_method() == StartMethod::forkserver);  // asking settles
    SCENARIO_CHECK(refused(StartMethod::fork));
  });
}

// TestStartMethod.test_get_all, CTX-04
TEST_F(ContextConformanceOnce, AllMethodsAreListed) {
  auto all = brood::get_all_start_methods();
  std::sort(all.begin(), all.end());
  EXPECT_EQ(all, (std::vector{StartMethod::fork, StartMethod::spawn, StartMethod::forkserver, StartMethod::light}));
}

// TestStartMethod.test_get_all_start_methods, CTX-04
TEST_F(ContextConformanceOnce, TheDefaultIsListedFirstAndIsNotFork) {
  expect_scenario(+[](const std::string&) {
    brood::reset_start_method();
    SCENARIO_CHECK(brood::get_all_start_methods().front() == brood::get_start_method());
    SCENARIO_CHECK(brood::get_start_method() != StartMethod::fork);
  });
}

/// What a child says its default is, and how it came to be.
bool children_follow(StartMethod method) {
  g_noted = ::getpid();
  brood::Process p(
      [](StartMethod expected) {
        std::exit(brood::get_start_method() == expected && observed_method() == expected ? 0 : 1);
      },
      method);
  p.start();
  p.join();
  return p.exitcode() == 0;
}

// TestStartMethod.test_set_get, CTX-03
TEST_F(ContextConformanceOnce, TheMethodCanBeForcedAndIsSeenByChildren) {
  expect_scenario(+[](const std::string&) {
    for (const StartMethod method : kMethods) {
      brood::set_start_method(method, true);
      SCENARIO_CHECK(brood::get_start_method() == method);
      SCENARIO_CHECK(brood::get_context().get_start_method() == method);
      SCENARIO_CHECK(children_follow(method));
    }
  });
}

// TestStartMethod.test_spawn_dont_set_context
TEST_P(ContextConformance, UsingAContextLeavesTheDefaultUnsettled) {
  expect_scenario(
      +[](const std::string& name) {
        const auto how = *std::find_if(std::begin(kMethods), std::end(kMethods),
                                       [&](StartMethod one) { return to_string(one) == name; });
        brood::reset_start_method();
        brood::Process p = brood::get_context(how).process([] {
          // Nor does the child take it for its own default.
          std::exit(brood::get_start_method_if_set() ? 1 : 0);
        });
        p.start();
        p.join();
        SCENARIO_CHECK(p.exitcode() == 0);
        SCENARIO_CHECK(!brood::get_start_method_if_set());
        brood::set_start_method(StartMethod::spawn);  // can still be chosen
      },
      std::string(to_string(method())));
}

// TestStartMethod.test_freeze_support_dont_set_context, CTX-10
TEST_P(ContextConformance, InitMakesAWorkerOfAChildAndSettlesNothing) {
  const Ran ran = run_program(test_program("conformance_cases"), {std::string(to_string(method())), "init"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "main runs\nunsettled\nunsettled\nworker runs\nexitcode 0\n");
}

// TestStartMethod.test_context_check_module_types, CTX-08
TEST_F(ContextConformanceOnce, ModulesToPreloadHaveNames) {
  EXPECT_THROW(brood::set_forkserver_preload({"a_module.so", ""}), brood::UsageError);
  EXPECT_THROW(brood::set_forkserver_preload({}, static_cast<brood::PreloadError>(3)), brood::UsageError);
}

// CTX-08
TEST_F(ContextConformanceOnce, WhatCannotBePreloadedIsIgnoredOrFatal) {
  expect_scenario(+[](const std::string&) {
    const auto starts = [] {
      brood::Process p({.start_method = StartMethod::forkserver}, [] {});
      try {
        p.start();
      } catch (const brood::StartError&) {
        return false;
      }
      p.join();
      return p.exitcode() == 0;
    };
    brood::set_forkserver_preload({"/nonexistent/module.so"});
    SCENARIO_CHECK(starts());
    brood::set_forkserver_preload({"/nonexistent/module.so"}, brood::PreloadError::fail);
    SCENARIO_CHECK(!starts());
    brood::set_forkserver_preload({});
    SCENARIO_CHECK(starts());
  });
}

// TestStartMethod.test_preload_resources
TEST_F(ContextConformanceOnce, PreloadingWhatMakesALockIsSilent) {
  const Ran ran =
      run_program(test_program("conformance_cases"), {"forkserver", "preload", test_program("conformance_preload.so")});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "main runs\nthe preloaded lock works\nexitcode 0\n");
  EXPECT_EQ(ran.err, "");
}

void hold_and_put(brood::Lock& lock, brood::RLock& rlock, brood::Event& event, brood::Queue<int>& queue, int number) {
  const std::scoped_lock both(lock, rlock);
  event.wait();
  queue.put(number);
}

/// TestStartMethod.test_mixed_startmethod, CTX-20: there, objects of a fork context are refused by spawn. Here every
/// object can be given to every process.
TEST_P(ContextConformance, ObjectsOfEveryContextWorkInProcessesOfEveryOther) {
  const Context maker(method());
  for (const StartMethod other : all_methods()) {
    brood::Lock lock = maker.lock();
    brood::RLock rlock = maker.rlock();
    brood::Event event = maker.event();
    brood::Queue<int> queue = maker.queue<int>();
    brood::Process p = Context(other).process(hold_and_put, lock, rlock, event, queue, 37);
    p.start();
    event.set();
    EXPECT_EQ(queue.get(), 37);
    p.join();
    EXPECT_EQ(p.exitcode(), 0) << other;
  }
}

// TestStartMethod.test_nested_startmethod
TEST_P(ContextConformance, AChildPassesItsQueueOnToItsOwnChild) {
  for (const StartMethod inner : all_methods()) {
    brood::Queue<int> queue;
    brood::Process p(
        with(),
        [](brood::Queue<int>& mine, StartMethod how) {
          brood::Process child(
              {.start_method = how}, [](brood::Queue<int>& passed_on) { passed_on.put(2); }, mine);
          child.start();
          child.join();
          mine.put(1);
        },
        queue, inner);
    p.start();
    EXPECT_EQ(queue.get(), 2);
    EXPECT_EQ(queue.get(), 1);
    p.join();
  }
}

std::string socket_behind(int fd) {
  struct stat what {};
  if (::fstat(fd, &what) != 0 || !S_ISSOCK(what.st_mode)) return "none";
  return std::to_string(what.st_ino);
}

// TestCloseFds.test_closefd, CTX-05, CTX-06
TEST_P(ContextConformance, OnlyAClonedChildHasTheParentsOtherDescriptors) {
  const brood::os::SocketPair pair = brood::os::packet_socket_pair();
  ASSERT_EQ(pair.error, 0);
  brood::Queue<std::string> out;
  brood::Process p(
      with(), [](brood::Queue<std::string>& to, int fd) { to.put(socket_behind(fd)); }, out, int{pair.ours.get()});
  p.start();
  const std::string ours = socket_behind(pair.ours.get());
  EXPECT_NE(ours, "none");
  EXPECT_EQ(out.get() == ours, method() == StartMethod::fork);
  p.join();
}

/// CTX-05: what a clone has of its parent, and what it has not.
TEST_F(ContextConformanceOnce, AForkedChildIsACloneWithChildrenAndEndsOfItsOwn) {
  Pipe out;
  brood::Event over;
  brood::RLock lock;
  const std::scoped_lock guard(lock);
  brood::Process sibling(
      {.start_method = StartMethod::fork}, [](brood::Event& until) { until.wait(); }, over);
  sibling.start();
  const brood::Finalizer ours([] {});
  g_noted = ::getpid();
  brood::Process p(
      {.start_method = StartMethod::fork},
      [](const std::string& to, brood::RLock& its) {
        bool owns = true;
        try {
          its.unlock();
        } catch (const brood::NotOwner&) {
          owns = its.try_lock();
        }
        tell(to, std::string(observed_method() == StartMethod::fork ? "clone " : "new ") +
                     (owns ? "owner " : "stranger ") + std::to_string(brood::active_children().size()));
      },
      out.writer(), lock);
  p.start();
  EXPECT_EQ(out.line(), "clone stranger 0");
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  over.set();
  EXPECT_TRUE(ours.still_active());
}

// CTX-05
TEST_F(ContextConformanceOnce, AForkedChildRunsNoExitHandlerOrFinalizerOfItsParent) {
  for (const StartMethod method : kMethods) {
    const Ran ran = run_program(test_program("conformance_cases"), {std::string(to_string(method)), "handlers"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(ran.out, "main runs\nhandler of child\nexitcode 0\nfinalizer of MainProcess\nhandler of MainProcess\n")
        << method << ran.err;
  }
}

// ForkInThreads.test_fork, CTX-05
TEST_F(ContextConformanceOnce, ForkingAmongThreadsIsWarnedOf) {
  expect_scenario(+[](const std::string&) {
    static std::string warning;
    brood::set_fork_warning([](const std::string& text) { warning = text; });
    Pipe gate;
    std::thread other([reader = gate.reader()] { await(reader); });
    for (const StartMethod method : {StartMethod::spawn, StartMethod::forkserver, StartMethod::fork}) {
      SCENARIO_CHECK(warning.empty());
      brood::Process p({.start_method = method}, [] {});
      p.start();
      p.join();
      SCENARIO_CHECK(p.exitcode() == 0);
    }
    SCENARIO_CHECK(contains(warning, "other thread"));
    gate.let_go();
    other.join();
  });
}

int g_static = 1;

// CTX-06, CTX-07: statics as they were made; main() does not run
TEST_P(ContextConformance, OnlyAClonedChildHasTheParentsMemory) {
  g_static = 2;
  EXPECT_EQ(code_of([] { std::exit(g_static); }), method() == StartMethod::fork ? 2 : 1);
  g_static = 1;
}

/// _TestProcess.test_set_executable, CTX-09: any form of a path. The other program must be the same build, so it is a link.
TEST_F(ContextConformanceOnce, AnotherExecutableIsGivenAsTextOrPath) {
  expect_scenario(+[](const std::string&) {
    std::string directory = (fs::temp_directory_path() / "brood-conformance-XXXXXX").string();
    SCENARIO_CHECK(::mkdtemp(directory.data()) != nullptr);
    const fs::path own = fs::read_symlink("/proc/self/exe");
    const fs::path copy = fs::path(directory) / "copy";
    fs::copy_file(own, copy);
    const auto runs = [](const fs::path& program) {
      brood::Process p(
          {.start_method = StartMethod::spawn},
          [](const std::string& expected) {
            std::exit(fs::read_symlink("/proc/self/exe").string() == expected ? 0 : 1);
          },
          program.string());
      p.start();
      p.join();
      return p.exitcode() == 0;
    };
    brood::set_executable(copy);
    SCENARIO_CHECK(runs(copy));
    brood::set_executable(own.string());
    SCENARIO_CHECK(runs(own));
    brood::set_executable(std::string_view(copy.native()));
    SCENARIO_CHECK(runs(copy));
    brood::set_executable(own.c_str());
    SCENARIO_CHECK(runs(own));
    brood::set_executable("");
    SCENARIO_CHECK(runs(own));
    fs::remove_all(directory);
  });
}

/// CTX-15, CTX-17: one base for everything that is thrown; a timeout is no error of the system.
TEST_F(ContextConformanceOnce, EveryErrorIsAnErrorOfBrood) {
  static_assert(std::derived_from<brood::UsageError, brood::Error>);
  static_assert(std::derived_from<brood::OsError, brood::Error>);
  static_assert(std::derived_from<brood::RuntimeError, brood::Error>);
  static_assert(std::derived_from<brood::TimeoutError, brood::Error>);
  static_assert(std::derived_from<brood::AuthenticationError, brood::Error>);
  static_assert(!std::derived_from<brood::TimeoutError, std::system_error>);
  brood::Process p([] {});
  EXPECT_THROW(p.join(), brood::Error);
  EXPECT_THROW(p.join(), std::exception);
  brood::Queue<int> queue;
  EXPECT_THROW((void)queue.get_nowait(), brood::Error);
  EXPECT_THROW((void)brood::Lock::open("nonsense"), brood::Error);
}

/// CTX-19: whoever wants other bytes for a type writes them.
class Celsius {
 public:
  Celsius() = default;
  explicit Celsius(double degrees) : degrees_(degrees) {}
  [[nodiscard]] double degrees() const { return degrees_; }

 private:
  double degrees_ = 0;
};

}  // namespace
}  // namespace conformance

template <>
struct brood::Codec<conformance::Celsius> {
  static void encode(brood::Encoder& out, const conformance::Celsius& it) {
    out.str(std::to_string(static_cast<int>(it.degrees() * 10)) + " tenths");
  }
  static conformance::Celsius decode(brood::Decoder& in) {
    return conformance::Celsius(std::stoi(std::string(in.str())) / 10.0);
  }
};

namespace conformance {
namespace {

TEST_P(ContextConformance, ATypeTravelsInTheBytesThatItsCodecChooses) {
  brood::Queue<Celsius> queue;
  brood::Process p(
      with(), [](brood::Queue<Celsius>& to, const Celsius& it) { to.put(Celsius(it.degrees() * 2)); }, queue,
      Celsius(10.55));
  p.start();
  EXPECT_EQ(queue.get().degrees(), 21.0) << "tenths were sent";
  p.join();
}

/// CTX-20: there, shared objects may be sent only while a child starts. Here they travel at any time.
TEST_P(ContextConformance, SharedObjectsTravelToAChildThatRuns) {
  brood::Queue<brood::Lock> locks;
  brood::Event held;
  brood::Event over;
  brood::Process p(
      with(),
      [](brood::Queue<brood::Lock>& from, brood::Event& says, brood::Event& until) {
        brood::Lock lock = from.get();
        const std::scoped_lock guard(lock);
        says.set();
        until.wait();
      },
      locks, held, over);
  p.start();
  brood::Lock lock;
  locks.put(lock);
  held.wait();
  EXPECT_FALSE(lock.try_lock());
  over.set();
  p.join();
  EXPECT_TRUE(lock.try_lock());
  lock.unlock();
}

/// CTX-21: there, the key refuses to be sent. Here it is bytes, and no text of the library's has it.
TEST_P(ContextConformance, TheKeyIsRandomAndHandedDownUnprinted) {
  const std::string key = brood::current_process().authkey();
  EXPECT_EQ(key.size(), 32U);
  EXPECT_TRUE(key == brood::current_process().authkey()) << "it was made twice";
  EXPECT_TRUE(std::any_of(key.begin(), key.end(), [](char c) { return c != 0; }));
  auto options = with({.name = "child", .standard_error = brood::Stdio::pipe()});
  options.standard_output = brood::Stdio::pipe();
  brood::Process p(
      options,
      [](const std::string& expected) {
        if (brood::current_process().authkey() == expected) throw std::runtime_error("same key");
        std::exit(3);
      },
      key);
  p.start();
  const auto text_of = [](brood::Descriptor stream) {
    std::string text(4096, '\0');
    const ssize_t size = ::read(stream.get(), text.data(), text.size());
    return text.substr(0, size < 0 ? 0 : static_cast<std::size_t>(size));
  };
  p.join();
  EXPECT_EQ(p.exitcode(), 1);
  const std::string said = text_of(p.take_stdout()) + text_of(p.take_stderr());
  EXPECT_TRUE(contains(said, "same key")) << said;
  EXPECT_FALSE(contains(said, key));
}

// TestNoForkBomb.test_noforkbomb, CTX-06
TEST_P(ContextConformance, AProgramWithoutInitFailsInsteadOfBreeding) {
  const Ran ran = run_program(test_program("conformance_unguarded"), {std::string(to_string(method()))});
  EXPECT_EQ(count(ran.out, "main runs\n"), 1U) << ran.out;
  if (method() == StartMethod::fork) {
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(ran.out, "main runs\n123\n");
    EXPECT_EQ(ran.err, "");
  } else {
    EXPECT_EQ(ran.code, 1);
    EXPECT_EQ(ran.out, "main runs\n");
    EXPECT_TRUE(contains(ran.err, "UsageError: ")) << ran.err;
    EXPECT_TRUE(contains(ran.err, "brood::init(argc, argv) first in main()")) << ran.err;
  }
}

// CTX-07: one server for all, which is alone in its process and ends with its parent
TEST_F(ContextConformanceOnce, TheForkserverIsOneThreadThatGoesWithItsParent) {
  Pipe out;
  brood::Process p(
      {.start_method = StartMethod::spawn},
      [](const std::string& to) {
        brood::ensure_forkserver();
        const pid_t server = brood::process::forkserver_pid();
        for (int i = 0; i < 3; ++i) {
          brood::Process child(
              {.start_method = StartMethod::forkserver},
              [](pid_t expected) { std::exit(::getppid() == expected ? 0 : 1); }, pid_t{server});
          child.start();
          child.join();
          support::require(child.exitcode() == 0, "made by the server");
        }
        support::require(brood::process::forkserver_pid() == server, "one server");
        const fs::directory_iterator threads("/proc/" + std::to_string(server) + "/task");
        const auto number = std::distance(begin(threads), end(threads));
        tell(to, std::to_string(server) + " " + std::to_string(number));
        for (;;) ::pause();
      },
      out.writer());
  p.start();
  const std::string line = out.line();
  const brood::base::UniqueFd server(brood::os::pidfd_open(std::stoi(line)));
  ASSERT_TRUE(server) << line;
  EXPECT_TRUE(line.ends_with(" 1")) << line;
  p.kill();
  p.join();
  EXPECT_EQ(brood::wait_any(brood::readable(server.get())), brood::Ready{0});
}

}  // namespace
}  // namespace conformance
