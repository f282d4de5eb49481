// CPython's _TestProcess and PRC-01 … PRC-17: the life of a Process. (Its ends: ending_conformance_test.cpp.)
#include "brood/process.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "brood/connection.hpp"
#include "brood/custom_process.hpp"
#include "brood/error.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/relatives.hpp"
#include "brood/wait.hpp"
#include "conformance/process_fixture.hpp"

namespace conformance {
namespace {

using Texts = brood::Queue<std::string>;
using Numbers = brood::Queue<std::int64_t>;

class ProcessConformance : public EveryMethod {};
BROOD_METHODS(ProcessConformance);
class ProcessConformanceOnce : public Once {};

void wait_for(brood::Event& event) { event.wait(); }
[[noreturn]] void sleep_for_ever() {
  for (;;) ::pause();
}
void say_and_sleep(brood::Event& said) {
  said.set();
  sleep_for_ever();
}

bool is_active(const brood::Process& p) {
  const auto all = brood::active_children();
  return std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.pid == p.pid(); });
}

// _TestProcess.test_current, CTX-11
TEST_F(ProcessConformanceOnce, TheMainProcessIsAliveWithAKeyAndNoExitCode) {
  const brood::CurrentProcess current = brood::current_process();
  EXPECT_TRUE(current.is_alive());
  EXPECT_FALSE(current.daemon());
  EXPECT_EQ(current.authkey().size(), 32U);
  EXPECT_EQ(current.pid(), ::getpid());
  EXPECT_FALSE(current.exitcode());
  EXPECT_EQ(current.name(), "MainProcess");
}

struct Report {
  int one = 0;
  std::string two;
  std::string name;
  std::string authkey;
  std::int64_t pid = 0;
  bool daemon = false;
};
void report(brood::Queue<Report>& to, int one, const std::string& two) {
  const brood::CurrentProcess current = brood::current_process();
  to.put({one, two, current.name(), current.authkey(), current.pid(), current.daemon()});
}

// _TestProcess.test_process, PRC-01, PRC-03, PRC-05, PRC-06, PRC-07
TEST_P(ProcessConformance, AWholeLife) {
  brood::Queue<Report> reports;
  brood::Process p(with({.name = "SomeProcess", .daemon = true}), report, reports, 1, "two");
  EXPECT_FALSE(p.is_alive());
  EXPECT_TRUE(p.daemon());
  EXPECT_FALSE(p.pid());
  EXPECT_FALSE(p.exitcode());
  EXPECT_FALSE(is_active(p));
  p.start();
  const Report said = reports.get();
  EXPECT_EQ(said.one, 1);
  EXPECT_EQ(said.two, "two");
  EXPECT_EQ(said.name, "SomeProcess");
  EXPECT_TRUE(said.authkey == brood::current_process().authkey());
  EXPECT_EQ(said.pid, p.pid());
  EXPECT_TRUE(said.daemon);
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  EXPECT_FALSE(p.is_alive());
  EXPECT_FALSE(is_active(p));
  p.close();
}

// _TestProcess.test_args_argument
TEST_P(ProcessConformance, ArgumentsOfEveryKindArriveUnchanged) {
  using Table = std::map<std::string, std::vector<int>>;
  Texts out;
  brood::Process p(
      with(),
      [](Texts& to, int number, const std::string& text, const std::vector<double>& list,
         const std::tuple<int, std::string, bool>& tuple, const Table& table, const std::optional<int>& none) {
        support::require(number == -7 && text == std::string("a\0b", 3), "scalars");
        support::require(list == std::vector{0.5, 1e300} && tuple == std::tuple(3, std::string("x"), true), "tuple");
        support::require(table == Table{{"empty", {}}, {"full", {1, 2}}} && !none, "nested");
        to.put("all arrived");
      },
      out, -7, std::string("a\0b", 3), std::vector{0.5, 1e300}, std::tuple(3, std::string("x"), true),
      Table{{"empty", {}}, {"full", {1, 2}}}, std::nullopt);
  p.start();
  p.join();
  ASSERT_EQ(p.exitcode(), 0);
  EXPECT_EQ(out.get(), "all arrived");
}

// _TestProcess.test_daemon_argument, PRC-01, PRC-09
TEST_P(ProcessConformance, TheDaemonFlagIsTheCreatorsUnlessSaid) {
  EXPECT_FALSE(brood::Process([] {}).daemon());
  EXPECT_TRUE(brood::Process({.daemon = true}, [] {}).daemon());
  Texts out;
  brood::Process p(
      with({.daemon = true}),
      [](Texts& to) {
        const bool inherited = brood::Process([] {}).daemon();
        const bool overridden = brood::Process({.daemon = false}, [] {}).daemon();
        to.put(std::string(inherited ? "daemon" : "none") + (overridden ? " daemon" : " none"));
      },
      out);
  p.start();
  EXPECT_EQ(out.get(), "daemon none");
  p.join();
}

// PRC-09
TEST_P(ProcessConformance, TheDaemonFlagIsSettledByTheStartAndDaemonsHaveNoChildren) {
  Texts out;
  brood::Process p(
      with(),
      [](Texts& to, StartMethod method) {
        brood::Process child({.start_method = method}, [] {});
        try {
          child.start();
          to.put("started");
        } catch (const brood::UsageError& error) {
          to.put(error.what());
        }
      },
      out, method());
  p.set_daemon(true);
  p.start();
  EXPECT_THROW(p.set_daemon(false), brood::UsageError);
  EXPECT_TRUE(contains(out.get(), "daemons may not have children"));
  p.join();
  EXPECT_TRUE(p.daemon());
  EXPECT_EQ(p.exitcode(), 0);
}

// _TestProcess.test_parent_process_attributes, CTX-12
TEST_P(ProcessConformance, MainHasNoParentAndTheChildKnowsItsOwn) {
  EXPECT_FALSE(brood::parent_process());
  brood::Queue<std::pair<std::int64_t, std::string>> out;
  brood::Process p(
      with(),
      [](brood::Queue<std::pair<std::int64_t, std::string>>& to) {
        const auto parent = brood::parent_process();
        to.put({parent->pid(), parent->name()});
      },
      out);
  p.start();
  EXPECT_EQ(out.get(), std::pair(static_cast<std::int64_t>(::getpid()), std::string("MainProcess")));
  p.join();
}

void outlive_the_parent(Texts& out) {
  const auto parent = brood::parent_process();
  out.put(parent->join_for(0s) || !parent->is_alive() ? "not alive" : "alive");
  parent->join();
  out.put(parent->is_alive() ? "alive" : "not alive");
}

// _TestProcess.test_parent_process, CTX-12
TEST_P(ProcessConformance, AGrandchildSeesTheDeathOfItsParent) {
  Texts out;
  brood::Process parent(
      with(),
      [](Texts& to, StartMethod how) {
        brood::Process grandchild({.start_method = how}, outlive_the_parent, to);
        grandchild.start();
        sleep_for_ever();
      },
      out, method());
  parent.start();
  EXPECT_EQ(out.get(), "alive");
  parent.terminate();
  parent.join();
  EXPECT_EQ(out.get(), "not alive");
}

// _TestProcess.test_process_mainthread_native_id
TEST_P(ProcessConformance, TheChildsFirstThreadIsAnotherKernelThread) {
  Numbers out;
  brood::Process p(
      with(),
      [](Numbers& to) {
        to.put_many(std::vector<std::int64_t>{::gettid(), ::getpid()});
      },
      out);
  p.start();
  const std::int64_t thread = out.get();
  EXPECT_NE(thread, ::gettid());
  EXPECT_EQ(thread, p.pid());
  EXPECT_EQ(out.get(), thread);
  p.join();
}

/// What is the same for every way to end a child by a signal.
void expect_ended_by(const brood::ProcessOptions& options, void (brood::Process::*act)(), int code) {
  brood::Event runs;
  brood::Process p(options, say_and_sleep, runs);
  EXPECT_FALSE(p.is_alive());
  EXPECT_THROW((p.*act)(), brood::NotStarted);
  p.start();
  EXPECT_TRUE(p.is_alive());
  EXPECT_TRUE(is_active(p));
  EXPECT_FALSE(p.exitcode());
  EXPECT_FALSE(p.join_for(0s));
  EXPECT_TRUE(p.is_alive());
  EXPECT_FALSE(p.join_for(-1s));
  EXPECT_TRUE(p.is_alive());
  runs.wait();
  (p.*act)();
  p.join();
  EXPECT_FALSE(p.is_alive());
  EXPECT_FALSE(is_active(p));
  EXPECT_EQ(p.exitcode(), code);
  (p.*act)();  // no effect on one that has ended
  EXPECT_EQ(p.exitcode(), code);
}

// _TestProcess.test_terminate, PRC-13, PRC-04
TEST_P(ProcessConformance, TerminateEndsWithMinusSigterm) {
  expect_ended_by(with({.daemon = true}), &brood::Process::terminate, -SIGTERM);
}
// _TestProcess.test_kill, PRC-14
TEST_P(ProcessConformance, KillEndsWithMinusSigkill) {
  expect_ended_by(with({.daemon = true}), &brood::Process::kill, -SIGKILL);
}
// _TestProcess.test_interrupt_no_handler, PRC-12
TEST_P(ProcessConformance, InterruptEndsWithMinusSigint) {
  expect_ended_by(with({.daemon = true}), &brood::Process::interrupt, -SIGINT);
}

/// _TestProcess.test_interrupt: there, the interpreter's handler makes an exception of SIGINT, and so code 1. Here no
/// handler is there unless the child sets one, and a handler of the parent's is not its child's.
TEST_P(ProcessConformance, InterruptIsWhatTheChildMakesOfIt) {
  struct sigaction ours {};
  struct sigaction before {};
  ours.sa_handler = [](int) { std::_Exit(99); };
  ASSERT_EQ(::sigaction(SIGINT, &ours, &before), 0);
  expect_ended_by(with({.daemon = true}), &brood::Process::interrupt, -SIGINT);
  brood::Event runs;
  brood::Process p(
      with(),
      [](brood::Event& said) {
        ::signal(SIGINT, [](int) { std::_Exit(1); });
        say_and_sleep(said);
      },
      runs);
  p.start();
  runs.wait();
  p.interrupt();
  p.join();
  EXPECT_EQ(p.exitcode(), 1);
  ASSERT_EQ(::sigaction(SIGINT, &before, nullptr), 0);
}

// _TestProcess.test_cpu_count, CTX-14
TEST_F(ProcessConformanceOnce, CpusAreCountedFromOne) {
  EXPECT_GE(brood::cpu_count(), 1U);
  EXPECT_GE(brood::usable_cpu_count(), 1U);
  EXPECT_LE(brood::usable_cpu_count(), brood::cpu_count());
}

// _TestProcess.test_active_children, CTX-13
TEST_P(ProcessConformance, AChildIsActiveFromItsStartToItsEnd) {
  brood::Event over;
  brood::Process p(with(), wait_for, over);
  EXPECT_TRUE(brood::active_children().empty());
  p.start();
  ASSERT_EQ(brood::active_children().size(), 1U);
  EXPECT_EQ(brood::active_children()[0].pid, p.pid());
  EXPECT_EQ(brood::active_children()[0].name, p.name());
  over.set();
  p.join();
  EXPECT_TRUE(brood::active_children().empty());
}

// CTX-13: reaps what has ended; children of children are not among them.
TEST_P(ProcessConformance, ActiveChildrenReapsAndLeavesGrandchildrenOut) {
  brood::Event over;
  brood::Event deep;
  brood::Process parent(
      with(),
      [](brood::Event& until, brood::Event& said, StartMethod how) {
        brood::Process child({.start_method = how}, wait_for, until);
        child.start();
        support::require(brood::active_children().size() == 1, "its own");
        said.set();
        child.join();
      },
      over, deep, method());
  brood::Process ended(with(), [] {});
  parent.start();
  ended.start();
  deep.wait();
  EXPECT_EQ(brood::wait_any(ended), brood::Ready{0});
  const auto now = brood::active_children();
  ASSERT_EQ(now.size(), 1U);
  EXPECT_EQ(now[0].pid, parent.pid());
  // Reaped: nothing of it is left for the kernel to keep.
  EXPECT_EQ(::kill(static_cast<pid_t>(*ended.pid()), 0), -1);
  EXPECT_EQ(ended.exitcode(), 0);
  over.set();
  parent.join();
  EXPECT_EQ(parent.exitcode(), 0);
}

using Path = std::vector<int>;

void recurse(brood::Connection<Path>& out, const Path& id, StartMethod how) {
  out.send(id);
  if (id.size() == 2) return;
  for (const int i : {0, 1}) {
    Path next = id;
    next.push_back(i);
    brood::Process p({.start_method = how}, recurse, out, next, how);
    p.start();
    p.join();
    support::require(p.exitcode() == 0, "a child of mine");
  }
}

// _TestProcess.test_recursion
TEST_P(ProcessConformance, ChildrenHaveChildrenDepthFirst) {
  auto [reader, writer] = brood::pipe<Path>(false);
  brood::Process p(with(), recurse, writer, Path{}, method());
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  writer.close();
  std::vector<Path> got;
  for (auto& from = reader; from.poll();) {
    try {
      got.push_back(from.recv());
    } catch (const brood::EndOfFile&) {
      break;
    }
  }
  EXPECT_EQ(got, (std::vector<Path>{{}, {0}, {0, 0}, {0, 1}, {1}, {1, 0}, {1, 1}}));
}

// _TestProcess.test_sentinel, PRC-11
TEST_P(ProcessConformance, TheSentinelIsReadyFromTheEndOn) {
  brood::Event over;
  brood::Process p(with(), wait_for, over);
  EXPECT_THROW((void)p.sentinel(), brood::NotStarted);
  p.start();
  const int sentinel = p.sentinel();
  EXPECT_EQ(brood::wait_any_for(0s, brood::readable(sentinel)), brood::Ready{});
  over.set();
  EXPECT_EQ(brood::wait_any(brood::readable(sentinel)), brood::Ready{0});
  p.join();
  EXPECT_EQ(brood::wait_any_for(0s, brood::readable(sentinel)), brood::Ready{0});
}

// _TestProcess.test_close, PRC-15, PRC-07, PRC-08, PRC-17
TEST_P(ProcessConformance, ALiveOneIsNotClosedAndAClosedOneRefusesAlmostAll) {
  brood::Event over;
  brood::Process p(with({.name = "shut"}), wait_for, over);
  p.start();
  EXPECT_THROW(p.close(), brood::UsageError);
  over.set();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  p.close();
  p.close();
  EXPECT_THROW((void)p.is_alive(), brood::UsageError);
  EXPECT_THROW((void)p.exitcode(), brood::UsageError);
  EXPECT_THROW((void)p.pid(), brood::UsageError);
  EXPECT_THROW((void)p.sentinel(), brood::UsageError);
  EXPECT_THROW(p.start(), brood::UsageError);
  EXPECT_THROW(p.join(), brood::UsageError);
  EXPECT_THROW(p.terminate(), brood::UsageError);
  EXPECT_THROW(p.kill(), brood::UsageError);
  EXPECT_THROW(p.interrupt(), brood::UsageError);
  EXPECT_EQ(p.name(), "shut");
  EXPECT_FALSE(p.daemon());
  EXPECT_TRUE(contains(printed(p), " closed>"));
  brood::Process unstarted(with(), [] {});
  unstarted.close();
  unstarted.close();
}

// _TestProcess.test_many_processes
TEST_P(ProcessConformance, AHundredEndWellAndAHundredByASignal) {
  constexpr std::size_t kMany = 100;
  std::vector<brood::Process> all;
  for (std::size_t i = 0; i < kMany; ++i) all.emplace_back(with(), [] {});
  for (auto& p : all) p.start();
  for (auto& p : all) p.join();
  for (auto& p : all) EXPECT_EQ(p.exitcode(), 0);
  all.clear();
  for (std::size_t i = 0; i < kMany; ++i) all.emplace_back(with(), sleep_for_ever);
  for (auto& p : all) p.start();
  for (auto& p : all) p.terminate();
  for (auto& p : all) p.join();
  for (auto& p : all) EXPECT_EQ(p.exitcode(), -SIGTERM);
}

/// Counts its living objects.
struct Counted {
  Counted() { ++living; }
  Counted(const Counted& other) : text(other.text) { ++living; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --living; }
  template <class Archive>
  void serialize(Archive& ar) {
    ar(text);
  }
  std::string text;
  inline static int living = 0;
};

/// _TestProcess.test_lose_target_ref, PRC-03: a Process keeps no object of its caller's; those that are shared may go once
/// it has started.
TEST_P(ProcessConformance, NothingOfTheCallersIsKept) {
  Texts out;
  brood::Event go;
  std::optional<brood::Lock> lock(std::in_place);
  const brood::Handle handle = lock->handle();
  auto argument = std::make_unique<Counted>();
  argument->text = "its value travels";
  brood::Process p(
      with(),
      [](Texts& to, brood::Lock& held, const Counted& it, brood::Event& until) {
        until.wait();
        const std::scoped_lock guard(held);
        to.put(it.text);
      },
      out, *lock, *argument, go);
  EXPECT_EQ(Counted::living, 1);
  argument.reset();
  EXPECT_EQ(Counted::living, 0);
  p.start();
  lock.reset();
  go.set();
  EXPECT_EQ(out.get(), "its value travels");
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  EXPECT_THROW((void)brood::Lock::open(handle), brood::HandleError) << "something still has it open";
}

std::int64_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

/// A clone has whatever its parent has open at that moment.
class NewProcessConformance : public EveryMethod {};
INSTANTIATE_TEST_SUITE_P(NewMethods, NewProcessConformance,
                         ::testing::Values(StartMethod::spawn, StartMethod::forkserver), process_test::method_name);

// _TestProcess.test_child_fd_inflation
TEST_P(NewProcessConformance, AChildsDescriptorsDoNotGrowWithItsSiblings) {
  constexpr std::size_t kSiblings = 20;
  Numbers counts;
  brood::Event over;
  std::vector<brood::Process> all;
  std::vector<std::int64_t> got;
  for (std::size_t i = 0; i < kSiblings; ++i) {
    all.emplace_back(
        with(),
        [](Numbers& to, brood::Event& until) {
          to.put(open_descriptors());
          until.wait();
        },
        counts, over);
    all.back().start();
    got.push_back(counts.get());
  }
  over.set();
  EXPECT_EQ(got, std::vector<std::int64_t>(kSiblings, got.front()));
}

/// _TestProcess.test_wait_for_threads, PRC-16: C++ has two kinds of threads, too: those that somebody joins, and detached
/// ones, for which nobody waits.
TEST_P(ProcessConformance, JoinedThreadsAreWaitedForAndDetachedOnesAreNot) {
  Texts out;
  brood::Process p(
      with(),
      [](Texts& to) {
        std::thread(sleep_for_ever).detach();
        const std::jthread joined([&to] { to.put("the thread has run"); });
      },
      out);
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  EXPECT_EQ(out.try_get(), "the thread has run");
}

// PRC-01: default names
TEST_P(ProcessConformance, DefaultNamesCountByDescent) {
  Texts out;
  brood::Process p(
      with(),
      [](Texts& to, StartMethod how) {
        const brood::Process first([] {});
        brood::Process second(
            {.start_method = how}, [](Texts& there) { there.put(brood::current_process_name()); }, to);
        second.start();
        second.join();
      },
      out, method());
  EXPECT_TRUE(p.name().starts_with("Process-")) << p.name();
  p.start();
  EXPECT_EQ(out.get(), p.name() + ":2");
  p.join();
}

// PRC-08
TEST_P(ProcessConformance, NamesAreFreeTextAndMayChange) {
  Texts out;
  brood::Process p(
      with({.name = "a name with spaces, ünïcode and 'quotes'"}),
      [](Texts& to) { to.put(brood::current_process_name()); }, out);
  p.set_name("another\nname");
  p.start();
  EXPECT_EQ(out.get(), "another\nname");
  p.set_name("later");
  EXPECT_EQ(p.name(), "later");
  p.join();
  p.close();
  EXPECT_EQ(p.name(), "later");
}

/// What a process that is not the creator may do with its copy.
bool refuses_all(brood::Process& p) {
  const auto refused = [](auto&& act) {
    try {
      act();
      return false;
    } catch (const brood::UsageError&) {
      return true;
    }
  };
  return refused([&] { p.start(); }) && refused([&] { p.join(); }) && refused([&] { (void)p.is_alive(); }) &&
         refused([&] { (void)p.exitcode(); }) && refused([&] { p.terminate(); }) && refused([&] { p.close(); });
}

// PRC-03, PRC-04, PRC-05, PRC-17
TEST_P(ProcessConformance, OnlyItsCreatorStartsItAndOnlyOnce) {
  brood::Event over;
  brood::Process p(with({.name = "once"}), wait_for, over);
  EXPECT_THROW(p.join(), brood::NotStarted);
  p.start();
  EXPECT_THROW(p.start(), brood::UsageError);
  const pid_t copy = ::fork();
  if (copy == 0) ::_exit(refuses_all(p) && contains(printed(p), " unknown>") ? 0 : 1);
  int status = -1;
  ASSERT_EQ(::waitpid(copy, &status, 0), copy);
  EXPECT_EQ(status, 0);
  over.set();
  p.join();
  p.join();
  EXPECT_THROW(p.start(), brood::UsageError);
}

std::atomic<int> g_signals = 0;

// _TestPollEintr.test_poll_eintr, PRC-04
TEST_P(ProcessConformance, AHandledSignalDoesNotEndJoin) {
  struct sigaction count_them {};
  struct sigaction before {};
  count_them.sa_handler = [](int) { ++g_signals; };
  ASSERT_EQ(::sigaction(SIGUSR1, &count_them, &before), 0);
  g_signals = 0;
  brood::Event over;
  // The child sends the signals, as CPython's does.
  brood::Process p(
      with(),
      [](brood::Event& until) {
        const auto parent = static_cast<pid_t>(brood::parent_process()->pid());
        while (!until.is_set()) {
          ::kill(parent, SIGUSR1);
          std::this_thread::yield();
        }
      },
      over);
  p.start();
  std::thread ender([&over] {
    support::await([] { return g_signals >= 20; });
    over.set();
  });
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  ender.join();
  EXPECT_GE(g_signals, 20);
  ASSERT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
}

/// PRC-04: a timed join, which here says whether it has ended.
TEST_P(ProcessConformance, ATimedJoinSleepsAtLeastItsTime) {
  brood::Event over;
  brood::Process p(with(), wait_for, over);
  p.start();
  const Stopwatch watch;
  EXPECT_FALSE(p.join_for(30ms));
  EXPECT_GE(watch.elapsed(), 30ms);
  over.set();
  EXPECT_TRUE(p.join_for(24h));
  EXPECT_TRUE(p.join_for(-1s));
}

// PRC-06
TEST_P(ProcessConformance, ExitCodesAreThoseOfTheProcess) {
  for (const auto& [given, code] : {std::pair(0, 0), {1, 1}, {8, 8}, {255, 255}, {256, 0}, {-1, 255}})
    EXPECT_EQ(code_of([](int n) { std::exit(n); }, given), code) << given;
  EXPECT_EQ(code_of([] { std::exit(false); }), 0);
  EXPECT_EQ(code_of([] { std::exit(true); }), 1);
  for (const int number : {SIGKILL, SIGTERM, SIGUSR1, SIGABRT})
    EXPECT_EQ(code_of([](int n) { ::raise(n); }, number), -number);
}

/// PRC-10, CTX-21: each process has one key, for itself and those that it starts.
TEST_P(ProcessConformance, AKeyIsSetForOneselfAndOnesChildren) {
  const std::string before = brood::current_process().authkey();
  const std::string chosen("a key\0with any bytes\xff", 21);
  brood::current_process().set_authkey(chosen);
  Texts out;
  brood::Process p(
      with(),
      [](Texts& to, StartMethod how) {
        const auto put_key = [](Texts& there) { there.put(brood::current_process().authkey()); };
        put_key(to);
        brood::current_process().set_authkey("");
        brood::Process child({.start_method = how}, put_key, to);
        child.start();
        child.join();
      },
      out, method());
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  EXPECT_TRUE(out.get() == chosen);
  EXPECT_TRUE(out.get().empty());
  EXPECT_TRUE(brood::current_process().authkey() == chosen) << "a child's choice reached its parent";
  brood::current_process().set_authkey(before);
}

// PRC-17
TEST_P(ProcessConformance, ThePrintedFormTellsTypeStateAndExitCode) {
  brood::Process p(with({.name = "shown", .daemon = true}), sleep_for_ever);
  const std::string parent = " parent=" + std::to_string(::getpid());
  EXPECT_EQ(printed(p), "<Process name='shown'" + parent + " initial daemon>");
  p.start();
  const std::string head = "<Process name='shown' pid=" + std::to_string(*p.pid()) + parent;
  EXPECT_EQ(printed(p), head + " started daemon>");
  p.kill();
  p.join();
  EXPECT_EQ(printed(p), head + " stopped exitcode=-SIGKILL daemon>");
  EXPECT_FALSE(contains(printed(p) + printed(brood::current_process()), brood::current_process().authkey()));
  p.close();
  EXPECT_EQ(printed(p), "<Process name='shown'" + parent + " closed daemon>");
}

/// Upper-cases what it is sent, until it is told to stop.
class UpperCaser : public brood::CustomProcess<UpperCaser> {
 public:
  UpperCaser() = default;
  UpperCaser(brood::ProcessOptions options, brood::Connection<std::string>& theirs)
      : CustomProcess(std::move(options)), line_(brood::Connection<std::string>::open(theirs.handle())) {}
  void run() {
    for (std::string text = line_->recv(); text != "stop"; text = line_->recv()) {
      for (char& c : text) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
      line_->send(text);
    }
  }
  /// CPython's closes its copy of the child's end.
  void close_line() { line_.reset(); }
  template <class Archive>
  void serialize(Archive& ar) {
    ar(line_);
  }

 private:
  std::optional<brood::Connection<std::string>> line_;
};

// _TestSubclassingProcess.test_subclassing, PRC-02
TEST_P(ProcessConformance, AClassOfOnesOwnServesUntilItIsToldToStop) {
  auto [ours, theirs] = brood::pipe<std::string>();
  UpperCaser caser(with({.daemon = true}), theirs);
  caser.start();
  caser.close_line();
  theirs.close();
  EXPECT_TRUE(caser.name().starts_with("UpperCaser-")) << caser.name();
  ours.send("hello");
  EXPECT_EQ(ours.recv(), "HELLO");
  ours.send("world");
  EXPECT_EQ(ours.recv(), "WORLD");
  ours.send("stop");
  caser.join();
  EXPECT_EQ(caser.exitcode(), 0);
}

/// PRC-02: without a run() of its own a Process calls its target; without a target it does nothing.
TEST_P(ProcessConformance, TheDefaultCallsTheTarget) {
  EXPECT_EQ(code_of([] { std::exit(17); }), 17);
  brood::Process nothing(with());
  nothing.start();
  nothing.join();
  EXPECT_EQ(nothing.exitcode(), 0);
}

}  // namespace
}  // namespace conformance
