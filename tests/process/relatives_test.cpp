// Who is who: this process, its parent, its context, and the defaults of the program.
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>

#include "brood/context.hpp"
#include "brood/error.hpp"
#include "brood/relatives.hpp"
#include "process/process_support.hpp"

namespace {

using namespace std::chrono_literals;
using namespace process_test;

class Relatives : public EveryMethod {};
INSTANTIATE_FOR_EVERY_METHOD(Relatives);

template <class T>
std::string printed(const T& what) {
  return (std::ostringstream() << what).str();
}

TEST_F(Processes, TheMainProcessKnowsItself) {
  auto self = brood::current_process();
  EXPECT_EQ(self.name(), "MainProcess");
  EXPECT_EQ(self.pid(), ::getpid());
  EXPECT_FALSE(self.daemon());
  EXPECT_TRUE(self.is_alive());
  EXPECT_FALSE(self.exitcode());
  EXPECT_EQ(printed(self), "<Process name='MainProcess' pid=" + std::to_string(::getpid()) + " started>");
  EXPECT_FALSE(brood::parent_process());
  self.set_name("renamed");
  EXPECT_EQ(brood::current_process_name(), "renamed");
  self.set_name("MainProcess");
}

TEST_P(Relatives, AChildKnowsItselfAndItsParent) {
  Pipe out;
  brood::Process p(
      {.name = "child", .daemon = true, .start_method = GetParam()},
      [](const std::string& to) {
        const auto parent = brood::parent_process();
        tell(to, printed(brood::current_process()) + printed(*parent) + (parent->is_alive() ? "alive" : "gone") +
                     (parent->join_for(1ms) ? " ended" : " stays") + " " + parent->name());
      },
      out.writer());
  p.start();
  const std::string us = std::to_string(::getpid());
  EXPECT_EQ(out.line(), "<Process name='child' pid=" + std::to_string(*p.pid()) + " parent=" + us +
                            " started daemon><ParentProcess name='MainProcess' pid=" + us +
                            " started>alive stays MainProcess");
  p.join();
}

TEST_P(Relatives, AChildMayBeRenamedFromWithin) {
  Pipe out;
  auto p = make(
      [](const std::string& to) {
        brood::current_process().set_name("other");
        tell(to, brood::current_process_name());
      },
      out.writer());
  p.start();
  EXPECT_EQ(out.line(), "other");
  p.join();
}

/// Tells of the death of its parent, which is killed.
void outlive(const std::string& to, const std::string& ready) {
  const auto parent = brood::parent_process();
  tell(ready, std::to_string(::getpid()));
  pollfd entry{parent->sentinel(), POLLIN, 0};
  ::poll(&entry, 1, -1);
  parent->join();
  tell(to, std::string(parent->is_alive() ? "alive" : "gone") + " " + printed(*parent));
}

TEST_P(Relatives, TheParentsDeathIsSeen) {
  Pipe out;
  Pipe ready;
  brood::Process parent(
      {.name = "doomed", .start_method = StartMethod::spawn},
      [](const std::string& to, const std::string& when, StartMethod method) {
        brood::Process grandchild({.start_method = method}, outlive, to, when);
        grandchild.start();
        for (;;) ::pause();
      },
      out.writer(), ready.writer(), GetParam());
  parent.start();
  (void)ready.line();
  parent.kill();
  parent.join();
  EXPECT_EQ(out.line(), "gone <ParentProcess name='doomed' pid=" + std::to_string(*parent.pid()) + " stopped>");
}

// What the application forks by itself is no Process: it has no parent to be asked for, and a name of its own.
TEST_P(Relatives, AForkOfTheApplicationIsNoRelative) {
  Pipe out;
  auto p = make(
      [](const std::string& to) {
        const pid_t pid = ::fork();
        if (pid == 0) {
          tell(to, brood::current_process_name() + (brood::parent_process() ? " has a parent" : " has none"));
          ::_exit(0);
        }
        int status = 0;
        ::waitpid(pid, &status, 0);
      },
      out.writer());
  p.start();
  EXPECT_EQ(out.line(), "MainProcess has none");
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

TEST_P(Relatives, AClosedSentinelIsTold) {
  auto p = make([] {
    const auto parent = brood::parent_process();
    ::close(parent->sentinel());
    try {
      (void)parent->is_alive();
    } catch (const brood::OsError& error) {
      std::exit(error.code().value() == EBADF ? 0 : 1);
    }
    std::exit(2);
  });
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

TEST_P(Relatives, AContextCarriesItsMethod) {
  const brood::Context context(GetParam());
  EXPECT_EQ(context.get_start_method(), GetParam());
  EXPECT_EQ(context, brood::get_context(GetParam()));
  auto queue = context.queue<int>(4);
  auto lock = context.lock();
  Pipe out;
  auto p = context.process(
      {.name = "of the context"},
      [](brood::Queue<int>& q, brood::Lock& l, const std::string& to) {
        const std::scoped_lock guard(l);
        q.put(7);
        tell(to, brood::current_process_name());
      },
      queue, lock, out.writer());
  p.start();
  EXPECT_EQ(queue.get(), 7);
  EXPECT_EQ(out.line(), "of the context");
  p.join();
  const auto other = GetParam() == StartMethod::fork ? StartMethod::spawn : StartMethod::fork;
  EXPECT_THROW((void)context.process({.start_method = other}, [] {}), brood::UsageError);
}

TEST_F(Processes, AContextMakesEverything) {
  const brood::Context context(StartMethod::spawn);
  auto [left, right] = context.pipe<std::string>();
  left.send("through the pipe");
  EXPECT_EQ(right.recv(), "through the pipe");
  auto value = context.value<int>(5);
  EXPECT_EQ(value.get(), 5);
  auto event = context.event();
  event.set();
  EXPECT_TRUE(event.is_set());
  auto semaphore = context.semaphore(2);
  EXPECT_TRUE(semaphore.try_acquire());
  auto bounded = context.bounded_semaphore(1);
  EXPECT_THROW(bounded.release(), brood::ReleasedTooOften);
  auto rlock = context.rlock();
  rlock.lock();
  rlock.unlock();
  EXPECT_EQ(context.barrier(3).parties(), 3);
  auto simple = context.simple_queue<int>();
  simple.put(1);
  EXPECT_EQ(simple.get(), 1);
  auto joinable = context.joinable_queue<int>();
  joinable.put(2);
  EXPECT_EQ(joinable.get(), 2);
  joinable.task_done();
  joinable.join();
  auto work = context.work_queue<int>();
  work.put(3);
  work.get().done();
  auto priorities = context.priority_queue<int>();
  priorities.put(4, 1);
  EXPECT_EQ(priorities.get(), 4);
  auto broadcast = context.broadcast<int>();
  auto subscription = broadcast.subscribe();
  broadcast.publish(9);
  EXPECT_EQ(subscription.get(), 9);
  auto condition = context.condition();
  condition.notify_all();
  EXPECT_EQ(context.current_process().name(), "MainProcess");
  EXPECT_FALSE(context.parent_process());
  EXPECT_TRUE(context.active_children().empty());
  EXPECT_EQ(context.cpu_count(), brood::cpu_count());
  EXPECT_THROW(brood::Context(static_cast<StartMethod>(9)), brood::UsageError);
}

TEST_F(Processes, TheStartMethodMayBeAskedForWithoutSettlingIt) {
  expect_scenario(+[](const std::string&) {
    brood::reset_start_method();
    SCENARIO_CHECK(!brood::get_start_method_if_set());
    brood::set_start_method(StartMethod::spawn);
    SCENARIO_CHECK(brood::get_start_method_if_set() == StartMethod::spawn);
    SCENARIO_CHECK(brood::get_context().get_start_method() == StartMethod::spawn);
    brood::reset_start_method();
    SCENARIO_CHECK(brood::get_context().get_start_method() == StartMethod::forkserver);
    SCENARIO_CHECK(brood::get_start_method_if_set() == StartMethod::forkserver);
    SCENARIO_CHECK(brood::get_all_start_methods().front() == StartMethod::forkserver);
  });
}

TEST_F(Processes, CpusAreCounted) {
  EXPECT_GE(brood::cpu_count(), 1U);
  cpu_set_t ours;
  ASSERT_EQ(::sched_getaffinity(0, sizeof ours, &ours), 0);
  EXPECT_EQ(brood::usable_cpu_count(), static_cast<unsigned>(CPU_COUNT(&ours)));
}

#ifndef BROOD_TEST_LIGHT  // there the program needs the library beside it, and a copy elsewhere finds none
TEST_F(Processes, AnotherFileOfTheSameBuildMayBeExecuted) {
  namespace fs = std::filesystem;
  expect_scenario(+[](const std::string&) {
    std::string directory = (fs::temp_directory_path() / "brood-executable-XXXXXX").string();
    SCENARIO_CHECK(::mkdtemp(directory.data()) != nullptr);
    const fs::path copy = fs::path(directory) / "copy";
    fs::copy_file("/proc/self/exe", copy);
    brood::set_executable(copy.string());
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
    SCENARIO_CHECK(runs(copy));
    // Another program is refused with both build ids, before the target runs.
    brood::set_executable("/bin/true");
    brood::Process stranger({.start_method = StartMethod::spawn}, [] {});
    bool refused = false;
    try {
      stranger.start();
    } catch (const brood::StartError&) {
      refused = true;
    }
    SCENARIO_CHECK(refused);
    bool relative = false;
    try {
      brood::set_executable("bin/true");
    } catch (const brood::UsageError&) {
      relative = true;
    }
    SCENARIO_CHECK(relative);
    const fs::path own = fs::read_symlink("/proc/self/exe");
    brood::set_executable("");
    SCENARIO_CHECK(runs(own));
    fs::remove_all(directory);
  });
}
#endif

}  // namespace
