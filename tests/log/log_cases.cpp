// A program that logs, told by its arguments what to do. The log is a process's own for its whole life, so each test runs
// one of these.
//   log_cases METHOD CASE FILE
#include <poll.h>
#include <signal.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "brood/brood.hpp"
#include "brood/finalizer.hpp"
#include "brood/log.hpp"
#include "brood/relatives.hpp"
#include "os/process_identity.hpp"
#include "support/child.hpp"

namespace {

using brood::get_logger;
namespace level = spdlog::level;

constexpr const char* kPlain = "%l|%N|%n|%v";

brood::StartMethod g_method = brood::StartMethod::fork;
std::string g_file;

/// Past all buffers.
void say(const std::string& text) {
  const std::string line = text + "\n";
  if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) std::_Exit(99);
}

void check(bool fine, const char* what, int line) {
  if (fine) return;
  std::fprintf(stderr, "log_cases.cpp:%d: not true: %s\n", line, what);
  std::_Exit(77);
}
#define CHECK(condition) check(condition, #condition, __LINE__)

template <class F, class... Args>
brood::Process start(const std::string& name, F f, Args&&... args) {
  brood::Process p({.name = name, .start_method = g_method}, f, std::forward<Args>(args)...);
  p.start();
  return p;
}
template <class F, class... Args>
int run(const std::string& name, F f, Args&&... args) {
  brood::Process p = start(name, f, std::forward<Args>(args)...);
  p.join();
  return p.exitcode().value_or(-999);
}

/// To the file in the short form.
void log_plainly(level::level_enum lowest = level::info) {
  brood::log_to(std::make_shared<spdlog::sinks::basic_file_sink_mt>(g_file), lowest, kPlain);
}

[[noreturn]] void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

/// Holds the first record it is given until it is told to go on; then it writes to the file.
class Gate final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  Gate(brood::Event& has_one, brood::Event& go_on) : has_one_(has_one), go_on_(go_on), file_(g_file) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    has_one_.set();
    go_on_.wait();
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    file_.write(line.data(), static_cast<std::streamsize>(line.size()));
  }
  void flush_() override { file_.flush(); }
  brood::Event& has_one_;
  brood::Event& go_on_;
  std::ofstream file_;
};

void log_numbers(int first, int last) {
  for (int i = first; i <= last; ++i) get_logger()->info("record {}", i);
}

// --- what there is before anybody calls log_to…()

int defaults() {
  const auto facts = [] {
    const auto logger = get_logger();
    CHECK(logger == get_logger());
    CHECK(logger->name() == "brood");
    CHECK(logger->sinks().empty());
    CHECK(logger->level() == level::trace);  // the lowest: nothing is held back
    CHECK(spdlog::get("brood") == nullptr);
    logger->critical("nobody reads this");
    logger->flush();
  };
  facts();
  return run("child", facts);
}

/// Sinks given to the logger in spdlog's own way are this process's.
int local_sinks() {
  static std::ostringstream text;
  get_logger()->sinks().push_back(std::make_shared<spdlog::sinks::ostream_sink_mt>(text));
  get_logger()->set_pattern("%v");
  get_logger()->info("mine alone");
  CHECK(text.str() == "mine alone\n");
  return 0;
}

// --- gathering

int gather() {
  brood::log_to_file(g_file, level::debug);
  get_logger()->info("parent {}", 1);
  const int code = run("child", [] {
    get_logger()->debug("child {}", 2);
    get_logger()->trace("too low");
    std::thread([] {
      ::pthread_setname_np(::pthread_self(), "helper");
      SPDLOG_LOGGER_WARN(get_logger(), "from a thread, {}", 3);
    }).join();
    brood::Process grandchild({.name = "grandchild"}, [] {
      get_logger()->clone("net")->error("grandchild {}", 4);
      say("grandchild " + std::to_string(::getpid()));
    });
    grandchild.start();
    grandchild.join();
    say("child " + std::to_string(::getpid()));
  });
  get_logger()->critical("parent {}", 5);
  say("parent " + std::to_string(::getpid()));
  return code;
}

/// Each dies right after its last log call; what they wrote is in the file before the parent ends.
int killed() {
  log_plainly();
  for (int i = 0; i < 20; ++i) {
    const int code = run(
        "victim",
        [](int number) {
          for (int n = 1; n <= 5; ++n) get_logger()->info("{}.{}", number, n);
          die();
        },
        i);
    if (code != -SIGKILL) say("exit code " + std::to_string(code));
    CHECK(code == -SIGKILL);
  }
  get_logger()->flush();
  std::ifstream in(g_file);
  say(std::to_string(std::count(std::istreambuf_iterator<char>(in), {}, '\n')) + " lines after flush()");
  return 0;
}

/// Logs numbers until somebody kills it; `logged` is the last one whose log call has returned.
void count(brood::Value<int>& logged) {
  for (int i = 1;; ++i) {
    get_logger()->info("{}", i);
    logged.set(i);
  }
}

int killed_anywhere() {
  log_plainly();
  for (int round = 0; round < 20; ++round) {
    brood::Value<int> logged(0);
    const std::string name = "victim " + std::to_string(round);
    brood::Process victim = start(name, count, logged);
    support::await([&] { return logged.get() > 50 + 37 * round; });
    victim.kill();
    victim.join();
    say(name + " " + std::to_string(logged.get()));
  }
  return 0;
}

int gatherer_killed_anywhere() {
  brood::log_to_file(g_file);
  // Never destroyed: nothing is, in a process that is killed.
  auto& logged = *new brood::Value<int>(0);
  (void)new brood::Process(start(
      "child",
      [](brood::Value<int>& last) {
        for (int i = 1; i <= 3000; ++i) {
          get_logger()->info("record {}", i);
          last.set(i);
        }
        // Whoever is left writes the rest, and at the latest when it ends; it must not have ended before.
        brood::parent_process()->join();
      },
      logged));
  support::await([&] { return logged.get() > 500; });
  die();
}

int other_ends() {
  log_plainly();
  CHECK(run("exits", [] { get_logger()->info("before exit"), std::exit(3); }) == 3);
  CHECK(run("_exits", [] { get_logger()->info("before _exit"), ::_exit(4); }) == 4);
  CHECK(run("aborts", [] { get_logger()->info("before abort"), ::signal(SIGABRT, SIG_DFL), std::abort(); }) ==
        -SIGABRT);
  CHECK(run("throws", [] {
          get_logger()->info("before throw");
          throw std::runtime_error("it went wrong");
        }) == 1);
  return 0;
}

int levels() {
  log_plainly(level::warn);
  CHECK(get_logger()->level() == level::warn);
  const auto child = [] {
    get_logger()->info("info");
    get_logger()->warn("warn");
    get_logger()->error("error");
    brood::Process grandchild({.name = "grandchild"}, [] { get_logger()->warn("warn"); });
    grandchild.start();
    grandchild.join();
  };
  CHECK(run("first", child) == 0);
  get_logger()->set_level(level::err);
  CHECK(run("second", child) == 0);
  get_logger()->set_level(level::trace);
  return run("third", child);  // the sink still wants warnings only
}

int several_sinks() {
  static std::ostringstream text;
  const auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(text);
  log_plainly(level::err);
  CHECK(brood::log_to(sink, level::info, "[%l/%N] %v") == get_logger());
  brood::log_to_stderr(level::critical);
  brood::log_to_stderr(level::critical);
  CHECK(get_logger()->level() == level::info);
  CHECK(run("child", [] {
          get_logger()->debug("d");
          get_logger()->info("i");
          get_logger()->error("e");
          get_logger()->critical("c");
        }) == 0);
  get_logger()->flush();
  say(text.str());
  return 0;
}

int child_adds() {
  log_plainly(level::warn);
  const int code = run(
      "adder",
      [](const std::string& file) {
        get_logger()->warn("before");
        brood::log_to(std::make_shared<spdlog::sinks::basic_file_sink_mt>(file), level::info, kPlain);
        get_logger()->info("own info");
        get_logger()->warn("own warning");
        brood::Process grandchild({.name = "grandchild"}, [] {
          get_logger()->info("info");
          get_logger()->warn("warning");
        });
        grandchild.start();
        grandchild.join();
      },
      g_file + ".child");
  CHECK(run("sibling", [] { get_logger()->warn("mine"); }) == 0);
  return code;
}

int threads() {
  log_plainly();
  const auto crowd = [] {
    std::vector<std::thread> all;
    for (int t = 0; t < 4; ++t) {
      all.emplace_back([t] {
        for (int i = 0; i < 250; ++i) get_logger()->info("{} {}", t, i);
      });
    }
    for (auto& one : all) one.join();
  };
  brood::Process first = start("first", crowd);
  brood::Process second = start("second", crowd);
  crowd();
  first.join();
  second.join();
  return 0;
}

int long_records() {
  log_plainly();
  return run("child", [] {
    get_logger()->info(std::string(900'000, 'a'));
    std::string text;
    while (text.size() < 3'000'000) text += "äöü";
    get_logger()->info(text);
    get_logger()->info("");
    get_logger()->info(std::string_view("nul \0 and \xff", 11));
  });
}

int long_in_parent() {
  log_plainly();
  get_logger()->info(std::string(3'000'000, 'a'));
  return 0;
}

// --- the order of what is seen

int order() {
  log_plainly();
  brood::Event next;
  brood::Event said;
  brood::Process child = start(
      "child",
      [](brood::Event& my_turn, brood::Event& done) {
        for (int i = 0; i < 100; ++i) {
          my_turn.wait();
          my_turn.clear();
          get_logger()->info("{}", 2 * i + 1);
          done.set();
        }
      },
      next, said);
  for (int i = 0; i < 100; ++i) {
    get_logger()->info("{}", 2 * i);
    next.set();
    said.wait();
    said.clear();
  }
  child.join();
  return 0;
}

// --- the queue is full

void fill(brood::Event& begin) {
  get_logger()->info("record 1");
  begin.wait();
  log_numbers(2, 20);
}

/// Never destroyed, as the sink uses it to the end. One that waits because the queue is full; behind it, four in the queue, and one in the hands of the sink.
struct Full {
  explicit Full(brood::WhenFull policy) {
    brood::set_log_queue({.capacity = 4, .byte_budget = 1 << 20, .when_full = policy});
    brood::log_to(std::make_shared<Gate>(has_one, go_on), level::info, kPlain);
    child.emplace(start("child", fill, begin));
    has_one.wait();
    begin.set();
  }
  brood::Event has_one;
  brood::Event go_on;
  brood::Event begin;
  std::optional<brood::Process> child;
};

int full_block() {
  Full& full = *new Full(brood::WhenFull::block);
  support::await([&] { return support::is_asleep(static_cast<pid_t>(full.child->pid().value())); });
  say("it waits");
  full.go_on.set();
  full.child->join();
  return 0;
}

int full_gatherer_killed() {
  Full& full = *new Full(brood::WhenFull::block);
  support::await([&] { return support::is_asleep(static_cast<pid_t>(full.child->pid().value())); });
  die();
}

int full_fail() {
  Full& full = *new Full(brood::WhenFull::fail);
  full.child->join();
  full.go_on.set();
  return 0;
}

int full_drop() {
  Full& full = *new Full(brood::WhenFull::drop_newest);
  full.child->join();
  full.go_on.set();
  return 0;
}

// --- the gathering process dies

void outlive(brood::Event& logged) {
  get_logger()->info("while it lives");
  logged.set();
  brood::parent_process()->join();
  get_logger()->info("after its death");
  get_logger()->warn("and once more");
  brood::Process grandchild({.name = "grandchild"}, [] { get_logger()->info("of a grandchild"); });
  grandchild.start();
  grandchild.join();
}

int gatherer_killed() {
  log_plainly();
  static brood::Event logged;
  static const brood::Process child = start("child", outlive, logged);
  logged.wait();
  get_logger()->flush();
  die();
}

/// What had not been written is, by the child, although that logs nothing more.
int gatherer_killed_with_records() {
  static brood::Event has_one;
  static brood::Event never;
  static brood::Event logged;
  brood::log_to(std::make_shared<Gate>(has_one, never), level::info, kPlain);
  static const brood::Process child = start(
      "child",
      [](brood::Event& taken, brood::Event& done) {
        get_logger()->info("in the hands of the sink");
        taken.wait();
        log_numbers(1, 50);
        done.set();
        brood::parent_process()->join();
      },
      has_one, logged);
  logged.wait();
  die();
}

/// A grandchild that nobody waits for outlives the gatherer, which ends in good order.
void orphan(brood::Event& ready, std::int64_t gatherer) {
  const brood::base::UniqueFd watch(brood::os::pidfd_open(static_cast<pid_t>(gatherer)));
  get_logger()->info("while it lives");
  ready.set();
  pollfd entry{watch.get(), POLLIN, 0};
  CHECK(::poll(&entry, 1, -1) == 1);
  get_logger()->info("after its end");
}

int gatherer_ended() {
  log_plainly();
  static brood::Event ready;
  const int code = run(
      "child",
      [](brood::Event& is_ready, std::int64_t gatherer) {
        brood::Process process({.name = "orphan"}, orphan, is_ready, gatherer);
        process.start();
        is_ready.wait();
        die();
      },
      ready, std::int64_t{::getpid()});
  CHECK(code == -SIGKILL);
  return 0;
}

// --- exit

struct LogsLast {
  bool is_armed = false;
  ~LogsLast() {
    if (is_armed) get_logger()->info("a static object of " + brood::current_process_name());
  }
} g_logs_last;

/// The child is still at work when main() returns.
int at_exit() {
  g_logs_last.is_armed = true;
  std::atexit([] { get_logger()->info("a handler older than the log"); });
  log_plainly();
  std::atexit([] { get_logger()->info("a handler younger than the log"); });
  static brood::Event leaving;
  static brood::Process child = start(
      "child",
      [](brood::Event& is_leaving) {
        std::atexit([] { get_logger()->info("a handler of the child"); });
        is_leaving.wait();
        log_numbers(1, 3);
      },
      leaving);
  static const brood::Finalizer finalizer([] {
    get_logger()->info("leaving");
    leaving.set();
  });
  return 0;
}

/// The static object is older than the log's queue, which is gone by then; the record is not.
int at_exit_too_late() {
  log_plainly();
  return run("child", [] {
    get_logger()->info("in time");
    g_logs_last.is_armed = true;
  });
}

/// Calls exit() in the middle of things.
class Leaver final : public spdlog::sinks::base_sink<std::mutex> {
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (std::string(message.payload.data(), message.payload.size()) == "leave") std::exit(5);
  }
  void flush_() override {}
};

int exit_in_sink() {
  brood::log_to(std::make_shared<Leaver>());
  get_logger()->info("leave");
  return 0;
}

int exit_in_sink_by_child() {
  brood::set_log_queue({.capacity = 2});
  brood::log_to(std::make_shared<Leaver>());
  // Never destroyed: joined at exit by the library.
  (void)new brood::Process(start("child", [] {
    get_logger()->info("leave");
    log_numbers(1, 10);  // more than the queue holds
  }));
  for (;;) ::pause();
}

// --- forks of the application

template <class Body>
void in_fork(Body body) {
  const pid_t pid = ::fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    body();
    std::exit(0);
  }
  int status = 0;
  CHECK(::waitpid(pid, &status, 0) == pid);
  CHECK(status == 0);
}

int application_forks() {
  log_plainly();
  get_logger()->info("parent");
  g_file += ".fork";
  in_fork([] {
    get_logger()->info("fork");
    in_fork([] { get_logger()->info("fork of a fork"); });
    CHECK(run("started by a fork", [] { get_logger()->info("child"); }) == 0);
    log_plainly();
    get_logger()->info("fork with a file");
    in_fork([] { get_logger()->info("fork of a fork with a file"); });
  });
  get_logger()->info("parent again");
  return 0;
}

int fork_while_logging() {
  brood::set_fork_warning(nullptr);
  log_plainly();
  std::atomic<bool> enough = false;
  std::vector<std::thread> writers;
  for (int i = 0; i < 2; ++i) {
    writers.emplace_back([&] {
      while (!enough) get_logger()->info("noise");
    });
  }
  for (int i = 0; i < 50; ++i) {
    const pid_t pid = ::fork();
    CHECK(pid >= 0);
    if (pid == 0) {
      get_logger()->info("fork {}", i);
      ::_exit(0);
    }
    int status = 0;
    CHECK(::waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(run(
              "child", [](int number) { get_logger()->info("child {}", number); }, i) == 0);
  }
  enough = true;
  for (auto& one : writers) one.join();
  return 0;
}

/// The other way round: the process that forks sends its records elsewhere.
int fork_while_sending() {
  log_plainly();
  return run("middle", [] {
    brood::set_fork_warning(nullptr);
    std::atomic<bool> enough = false;
    std::thread writer([&] {
      while (!enough) get_logger()->info("noise");
    });
    for (int i = 0; i < 50; ++i) in_fork([i] { get_logger()->info("fork {}", i); });
    enough = true;
    writer.join();
  });
}

// --- sinks that misbehave

/// Takes the even ones.
class Moody final : public spdlog::sinks::base_sink<std::mutex> {
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::string text(message.payload.data(), message.payload.size());
    if (text == "record 3") throw 42;
    if (text.back() % 2 != 0) throw std::runtime_error("no odd numbers");
    say("took " + text);
  }
  void flush_() override {}
};

int sink_throws() {
  brood::log_to(std::make_shared<Moody>());
  log_numbers(1, 2);
  CHECK(run("child", [] { log_numbers(3, 5); }) == 0);
  return 0;
}

class Talker final : public spdlog::sinks::base_sink<std::mutex> {
  void sink_it_(const spdlog::details::log_msg& message) override {
    say("took " + std::string(message.payload.data(), message.payload.size()));
    get_logger()->info("by the sink");
    get_logger()->flush();
    try {
      brood::log_to_stderr();
      say("log_to_stderr() by a sink was not refused");
    } catch (const brood::UsageError&) {}
  }
  void flush_() override {}
};

int sink_logs() {
  brood::log_to(std::make_shared<Talker>());
  get_logger()->info("of the parent");
  return run("child", [] { get_logger()->info("of the child"); });
}

class Asker final : public spdlog::sinks::base_sink<std::mutex> {
  void sink_it_(const spdlog::details::log_msg& message) override {
    const brood::LogOrigin origin = brood::log_origin();
    say(origin.process + " " + std::to_string(origin.pid) + " " + origin.thread + " " +
        std::to_string(origin.thread_id == message.thread_id ? 1 : 0));
  }
  void flush_() override {}
};

int origin() {
  brood::log_to(std::make_shared<Asker>(), level::info, "");
  const brood::LogOrigin mine = brood::log_origin();
  CHECK(mine.pid == ::getpid() && mine.process == "MainProcess");
  return run("child", [] {
    get_logger()->info("");
    say("child " + std::to_string(::getpid()));
  });
}

// --- misuse, and what does not work

template <class E, class F>
void expect_throw(F action) {
  try {
    action();
  } catch (const E&) {
    return;
  }
  check(false, "something is thrown", __LINE__);
}

int errors() {
  expect_throw<brood::UsageError>([] { brood::log_to(nullptr); });
  expect_throw<brood::OsError>([] { brood::log_to_file("/nonexistent/directory/log"); });
  expect_throw<brood::UsageError>([] { brood::set_log_queue({.byte_budget = 1000}); });
  get_logger()->info("nothing has changed");
  CHECK(get_logger()->level() == level::trace);
  brood::set_log_queue({.byte_budget = 1 << 20});
  log_plainly();
  expect_throw<brood::UsageError>([] { brood::set_log_queue({}); });
  return 0;
}

/// Of the thread that gathers: the signals that it does not block, as in /proc.
int gathering_thread() {
  log_plainly();
  CHECK(run("child", [] { get_logger()->info("x"); }) == 0);
  get_logger()->flush();
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream comm(task.path() / "comm");
    std::string name;
    std::getline(comm, name);
    if (name != "brood-log") continue;
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("SigBlk:", 0) == 0) say("brood-log " + line.substr(line.find_last_of('\t') + 1));
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  brood::init(argc, argv);
  if (argc < 4) return 64;
  for (const auto method : {brood::StartMethod::fork, brood::StartMethod::spawn, brood::StartMethod::forkserver}) {
    if (to_string(method) == std::string_view(argv[1])) g_method = method;
  }
  brood::set_start_method(g_method);
  const std::map<std::string, std::function<int()>> cases = {
      {"defaults", defaults},
      {"local-sinks", local_sinks},
      {"gather", gather},
      {"killed", killed},
      {"killed-anywhere", killed_anywhere},
      {"gatherer-killed-anywhere", gatherer_killed_anywhere},
      {"other-ends", other_ends},
      {"levels", levels},
      {"several-sinks", several_sinks},
      {"child-adds", child_adds},
      {"threads", threads},
      {"long", long_records},
      {"long-in-parent", long_in_parent},
      {"order", order},
      {"full-block", full_block},
      {"full-gatherer-killed", full_gatherer_killed},
      {"full-fail", full_fail},
      {"full-drop", full_drop},
      {"gatherer-killed", gatherer_killed},
      {"gatherer-killed-with-records", gatherer_killed_with_records},
      {"gatherer-ended", gatherer_ended},
      {"at-exit", at_exit},
      {"at-exit-too-late", at_exit_too_late},
      {"exit-in-sink", exit_in_sink},
      {"exit-in-sink-by-child", exit_in_sink_by_child},
      {"application-forks", application_forks},
      {"fork-while-logging", fork_while_logging},
      {"fork-while-sending", fork_while_sending},
      {"sink-throws", sink_throws},
      {"sink-logs", sink_logs},
      {"origin", origin},
      {"errors", errors},
      {"gathering-thread", gathering_thread},
  };
  const auto found = cases.find(argv[2]);
  if (found == cases.end()) return 64;
  g_file = argv[3];
  return found->second();
}
