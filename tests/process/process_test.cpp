// The life of a Process: start, join, states, what may be asked when.
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "brood/error.hpp"
#include "process/process_support.hpp"

namespace {

using namespace std::chrono_literals;
using namespace process_test;

class ProcessLife : public EveryMethod {};
INSTANTIATE_FOR_EVERY_METHOD(ProcessLife);

std::string printed(const brood::Process& p) { return (std::ostringstream() << p).str(); }
bool readable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}
void tell_pid(const std::string& to) { tell(to, std::to_string(::getpid()) + " " + brood::current_process_name()); }
void stay_until(const std::string& gate) { await(gate); }

TEST_P(ProcessLife, RunsTheTargetInAProcessOfItsOwn) {
  Pipe out;
  auto p = make(tell_pid, out.writer());
  p.start();
  ASSERT_TRUE(p.pid().has_value());
  EXPECT_NE(*p.pid(), ::getpid());
  EXPECT_EQ(out.line(), std::to_string(*p.pid()) + " " + p.name());
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

TEST_P(ProcessLife, StateIsToldBeforeWhileAndAfter) {
  Pipe gate;
  brood::Process p({.name = "worker", .start_method = GetParam()}, stay_until, gate.reader());
  EXPECT_FALSE(p.is_alive());
  EXPECT_FALSE(p.pid());
  EXPECT_FALSE(p.exitcode());
  const std::string parent = " parent=" + std::to_string(::getpid());
  EXPECT_EQ(printed(p), "<Process name='worker'" + parent + " initial>");
  p.start();
  const std::string head = "<Process name='worker' pid=" + std::to_string(*p.pid()) + parent;
  EXPECT_TRUE(p.is_alive());
  EXPECT_FALSE(p.exitcode());
  EXPECT_EQ(printed(p), head + " started>");
  EXPECT_FALSE(p.join_for(0s));
  EXPECT_FALSE(p.join_for(-1h));
  EXPECT_FALSE(p.join_for(5ms));
  EXPECT_FALSE(p.join_until(std::chrono::system_clock::now() + 5ms));
  gate.let_go();
  EXPECT_TRUE(p.join_for(std::chrono::hours::max()));
  EXPECT_FALSE(p.is_alive());
  EXPECT_EQ(p.exitcode(), 0);
  EXPECT_EQ(printed(p), head + " stopped exitcode=0>");
  p.join();
  EXPECT_TRUE(p.join_for(-1s));
  EXPECT_TRUE(p.join_until(std::chrono::steady_clock::time_point::min()));
  p.close();
  EXPECT_EQ(printed(p), "<Process name='worker'" + parent + " closed>");
}

TEST_P(ProcessLife, JoinForSleepsAtLeastTheTimeout) {
  Pipe gate;
  auto p = make(stay_until, gate.reader());
  p.start();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(p.join_for(30ms));
  EXPECT_GE(std::chrono::steady_clock::now() - start, 30ms);
  gate.let_go();
}

TEST_P(ProcessLife, SignalsDoNotEndAWait) {
  struct sigaction action {};
  struct sigaction before {};
  static std::atomic<int> handled = 0;
  handled = 0;
  action.sa_handler = [](int) { ++handled; };
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  Pipe gate;
  auto p = make(stay_until, gate.reader());
  p.start();
  const pthread_t waiting = ::pthread_self();
  std::thread disturber([&] {
    while (handled < 50) {
      ::pthread_kill(waiting, SIGUSR1);
      std::this_thread::yield();
    }
    gate.let_go();
  });
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
  disturber.join();
  EXPECT_GE(handled, 50);
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_P(ProcessLife, StartsOnce) {
  Pipe gate;
  auto p = make(stay_until, gate.reader());
  p.start();
  EXPECT_THROW(p.start(), brood::UsageError);
  gate.let_go();
  p.join();
  EXPECT_THROW(p.start(), brood::UsageError);
}

TEST_P(ProcessLife, BeforeTheStartThereIsNothingToActOn) {
  auto p = make([] {});
  EXPECT_THROW(p.join(), brood::NotStarted);
  EXPECT_THROW((void)p.join_for(1s), brood::NotStarted);
  EXPECT_THROW((void)p.sentinel(), brood::NotStarted);
  EXPECT_THROW(p.terminate(), brood::NotStarted);
  EXPECT_THROW(p.kill(), brood::NotStarted);
  EXPECT_THROW(p.interrupt(), brood::NotStarted);
}

TEST_P(ProcessLife, SignalsEndIt) {
  struct {
    void (brood::Process::*act)();
    int code;
    const char* text;
  } const cases[] = {{&brood::Process::terminate, -SIGTERM, "-SIGTERM"},
                     {&brood::Process::kill, -SIGKILL, "-SIGKILL"},
                     {&brood::Process::interrupt, -SIGINT, "-SIGINT"}};
  for (const auto& it : cases) {
    Pipe gate;
    auto p = make(stay_until, gate.reader());
    p.start();
    (p.*it.act)();
    p.join();
    EXPECT_EQ(p.exitcode(), it.code);
    EXPECT_NE(printed(p).find(std::string(" stopped exitcode=") + it.text), std::string::npos) << printed(p);
    // On one that has ended: no effect, whoever has its pid now.
    p.terminate();
    p.kill();
    p.interrupt();
    EXPECT_EQ(p.exitcode(), it.code);
  }
}

TEST_P(ProcessLife, SentinelBecomesReadableAtTheEndAndStaysSo) {
  Pipe gate;
  auto p = make(stay_until, gate.reader());
  p.start();
  const int sentinel = p.sentinel();
  EXPECT_FALSE(readable(sentinel));
  EXPECT_EQ(p.sentinel(), sentinel);
  gate.let_go();
  pollfd entry{sentinel, POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, -1), 1);
  p.join();
  EXPECT_TRUE(readable(sentinel));
  EXPECT_EQ(p.exitcode(), 0);
  EXPECT_TRUE(readable(sentinel));
}

TEST_P(ProcessLife, CloseGivesEverythingBack) {
  Pipe gate;
  brood::Process p({.name = "shut", .daemon = true, .start_method = GetParam()}, stay_until, gate.reader());
  p.start();
  EXPECT_THROW(p.close(), brood::UsageError);
  EXPECT_TRUE(p.is_alive());
  gate.let_go();
  p.join();
  p.close();
  p.close();
  EXPECT_THROW(p.join(), brood::UsageError);
  EXPECT_THROW(p.start(), brood::UsageError);
  EXPECT_THROW(p.terminate(), brood::UsageError);
  EXPECT_THROW(p.kill(), brood::UsageError);
  EXPECT_THROW((void)p.is_alive(), brood::UsageError);
  EXPECT_THROW((void)p.exitcode(), brood::UsageError);
  EXPECT_THROW((void)p.pid(), brood::UsageError);
  EXPECT_THROW((void)p.sentinel(), brood::UsageError);
  EXPECT_EQ(p.name(), "shut");
  EXPECT_TRUE(p.daemon());
  EXPECT_NE(printed(p).find("closed daemon>"), std::string::npos);
}

TEST_P(ProcessLife, CloseOfAnUnstartedOneIsFine) {
  auto p = make([] {});
  p.close();
  EXPECT_THROW(p.start(), brood::UsageError);
}

TEST_P(ProcessLife, OnlyTheCreatorMayUseIt) {
  Pipe gate;
  auto p = make(stay_until, gate.reader());
  p.start();
  const pid_t copy = ::fork();
  if (copy == 0) {
    const auto refused = [](auto&& act) {
      try {
        act();
        return false;
      } catch (const brood::UsageError&) {
        return true;
      }
    };
    const bool all = refused([&] { p.join(); }) && refused([&] { (void)p.is_alive(); }) &&
                     refused([&] { p.terminate(); }) && refused([&] { (void)p.exitcode(); }) &&
                     refused([&] { p.close(); }) && refused([&] { p.start(); }) &&
                     refused([&] { (void)p.sentinel(); }) && p.name().starts_with("Process-") &&
                     printed(p).find(" unknown>") != std::string::npos;
    { const brood::Process dropped = std::move(p); }  // does not wait for a process that is not its own
    ::_exit(all ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(copy, &status, 0), copy);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(p.is_alive());
  gate.let_go();
}

TEST_P(ProcessLife, TheDestructorJoins) {
  Pipe gate;
  Pipe out;
  std::thread opener;
  {
    auto p = make(
        [](const std::string& when, const std::string& to) {
          await(when);
          tell(to, "done");
        },
        gate.reader(), out.writer());
    p.start();
    opener = std::thread([&gate] { gate.let_go(); });
  }
  opener.join();
  EXPECT_EQ(out.line(), "done");
}

TEST_P(ProcessLife, MovesAndLeavesNothingBehind) {
  Pipe gate;
  auto p = make(stay_until, gate.reader());
  p.start();
  const auto pid = p.pid();
  brood::Process q = std::move(p);
  EXPECT_EQ(q.pid(), pid);
  EXPECT_THROW((void)p.is_alive(), brood::UsageError);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(printed(p), "<Process moved-from>");        // NOLINT(bugprone-use-after-move)
  gate.let_go();
  q = make([] {});  // joins what it stood for
  EXPECT_FALSE(q.pid());
}

TEST_P(ProcessLife, WithoutATargetItEndsAtOnce) {
  brood::Process p({.name = "idle", .start_method = GetParam()});
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

TEST_P(ProcessLife, ActiveChildrenAreThoseThatRun) {
  Pipe gate;
  brood::Process a({.name = "first", .start_method = GetParam()}, stay_until, gate.reader());
  brood::Process b({.name = "second", .daemon = true, .start_method = GetParam()}, stay_until, gate.reader());
  EXPECT_TRUE(brood::active_children().empty());
  a.start();
  b.start();
  auto now = brood::active_children();
  ASSERT_EQ(now.size(), 2U);
  if (now[0].name != "first") std::swap(now[0], now[1]);
  EXPECT_EQ(now[0].name, "first");
  EXPECT_EQ(now[0].pid, a.pid());
  EXPECT_FALSE(now[0].daemon);
  EXPECT_EQ(now[1].name, "second");
  EXPECT_TRUE(now[1].daemon);
  b.kill();
  b.join();
  EXPECT_EQ(brood::active_children().size(), 1U);
  gate.let_go();
  a.join();
  EXPECT_TRUE(brood::active_children().empty());
}

void start_one_more(const std::string& out, StartMethod method, int levels) {
  tell(out, brood::current_process_name());
  if (levels == 0) return;
  brood::Process named({.name = "named"}, [] {});
  brood::Process p({.start_method = method}, start_one_more, out, method, levels - 1);
  p.start();
  p.join();
  if (p.exitcode() != 0) std::exit(1);
}

TEST_P(ProcessLife, ChildrenOfChildrenCarryTheNamesOfTheirAncestors) {
  Pipe out;
  auto p = make(start_one_more, out.writer(), GetParam(), 2);
  p.start();
  EXPECT_EQ(out.line(), p.name());
  EXPECT_EQ(out.line(), p.name() + ":2");  // the named one counts
  EXPECT_EQ(out.line(), p.name() + ":2:2");
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

TEST_P(ProcessLife, AHundredAtOnce) {
  Pipe gate;
  std::vector<brood::Process> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(make(
        [](const std::string& when, int code) {
          await(when);
          std::exit(code);
        },
        gate.reader(), i));
    all.back().start();
  }
  EXPECT_EQ(brood::active_children().size(), 100U);
  gate.let_go(100);
  for (int i = 0; i < 100; ++i) {
    auto& p = all[static_cast<std::size_t>(i)];
    p.join();
    EXPECT_EQ(p.exitcode(), i);
  }
}

TEST_P(ProcessLife, ManyThreadsStartAtOnce) {
  brood::set_fork_warning(nullptr);
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  const StartMethod method = GetParam();
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&good, method, t] {
      for (int i = 0; i < 5; ++i) {
        brood::Process p(
            {.start_method = method}, [](int code) { std::exit(code); }, t * 5 + i);
        p.start();
        p.join();
        if (p.exitcode() == t * 5 + i) ++good;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 40);
}

TEST_P(ProcessLife, TheStartingThreadMayEndFirst) {
  brood::set_fork_warning(nullptr);
  Pipe gate;
  auto p = make(stay_until, gate.reader());
  std::thread([&p] { p.start(); }).join();
  EXPECT_FALSE(p.join_for(5ms));
  gate.let_go();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

TEST_F(Processes, NamesCountByConstruction) {
  brood::Process a([] {});
  brood::Process b({.name = "named"}, [] {});
  brood::Process c([] {});
  const int first = std::stoi(a.name().substr(a.name().find('-') + 1));
  EXPECT_EQ(c.name(), "Process-" + std::to_string(first + 2));
  EXPECT_EQ(b.name(), "named");
  b.set_name("renamed");
  EXPECT_EQ(b.name(), "renamed");
  EXPECT_EQ(brood::current_process_name(), "MainProcess");
}

TEST_F(Processes, ANumberThatIsNoStartMethodIsRefused) {
  try {
    brood::set_start_method(static_cast<StartMethod>(7));
    FAIL() << "it was taken";
  } catch (const brood::UsageError& error) {
    EXPECT_STREQ(error.what(), "set_start_method(): 7 is no start method");
  }
}

TEST_F(Processes, TheStartMethodIsSettledOnce) {
  expect_scenario(+[](const std::string&) {
    // A child has the choice of its parent.
    SCENARIO_CHECK(brood::get_start_method() == StartMethod::forkserver);
    bool refused = false;
    try {
      brood::set_start_method(StartMethod::spawn);
    } catch (const brood::UsageError&) {
      refused = true;
    }
    SCENARIO_CHECK(refused);
    brood::set_start_method(StartMethod::fork, true);
    SCENARIO_CHECK(brood::get_start_method() == StartMethod::fork);
    brood::Process p([](StartMethod expected) { std::exit(brood::get_start_method() == expected ? 0 : 1); },
                     StartMethod::fork);
    p.start();
    p.join();
    SCENARIO_CHECK(p.exitcode() == 0);
  });
}

}  // namespace
