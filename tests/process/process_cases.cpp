// A program with a main, static objects and exit handlers of its own, told by its arguments what to do.
//   process_cases METHOD CASE [ARGUMENTS]
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <unwind.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "brood/error.hpp"
#include "brood/event.hpp"
#include "brood/finalizer.hpp"
#include "brood/forkserver.hpp"
#include "brood/init.hpp"
#include "brood/process.hpp"
#include "support/keep.hpp"

namespace {

/// Writes past all buffers, so that the order of lines is the order of events.
void line(const std::string& text) {
  const std::string whole = text + "\n";
  if (::write(STDOUT_FILENO, whole.data(), whole.size()) < 0) std::_Exit(99);
}

struct Static {
  std::string text = "made before main";
  ~Static() { line("static destroyed in " + brood::current_process_name()); }
} g_static;

/// Registered before main, so that a forkserver's children have it, too; the cases that are about something else do not
/// see it.
bool g_hook_speaks = std::getenv("BROOD_TEST_HOOK") != nullptr;
[[maybe_unused]] const bool g_hooked = [] {
  brood::register_after_fork([] {
    if (g_hook_speaks) line("hook of static initialisation");
  });
  return true;
}();

/// A static object that ends the program when it is executed as a child.
[[maybe_unused]] const bool g_lives = [] {
  if (std::getenv("BROOD_TEST_EARLY_END") != nullptr && std::getenv("BROOD_ENTER") != nullptr) ::_exit(3);
  return true;
}();

std::string g_program;
std::vector<std::string> g_arguments;
brood::StartMethod g_method = brood::StartMethod::fork;

template <class F, class... Args>
int run(F f, Args&&... args) {
  brood::Process p({.name = "child", .start_method = g_method}, f, std::forward<Args>(args)...);
  p.start();
  p.join();
  line("exitcode " + std::to_string(p.exitcode().value_or(-999)));
  return 0;
}

/// A whole process while another one ends.
void start_one_more(const std::string& where) {
  brood::Process p(
      {.name = "another", .start_method = g_method}, [](const std::string& from) { line(from + ": runs"); }, where);
  p.start();
  p.join();
  line(where + ": exitcode " + std::to_string(p.exitcode().value_or(-999)));
}
struct Late {
  std::string where;
  ~Late() {
    if (!where.empty()) start_one_more(where);
  }
} g_late;

/// Before and after the children are joined, in an exit handler that is older than they, and in a static object's destructor.
int start_at_exit() {
  std::atexit([] { start_one_more("handler"); });
  support::keep(new brood::Finalizer([] { start_one_more("finalizer"); }));
  support::keep(new brood::Finalizer([] { start_one_more("late finalizer"); }, -1));
  g_late.where = "static object";
  return run([] {});
}

int start_at_exit_of_child() {
  return run(
      [](brood::StartMethod method) {
        g_method = method;
        support::keep(new brood::Finalizer([] { start_one_more("finalizer of child"); }));
        support::keep(new brood::Finalizer([] { start_one_more("late finalizer of child"); }, -1));
      },
      g_method);
}

/// Nobody but the end of the process joins these.
int leave_children_of_late_finalizer() {
  support::keep(new brood::Finalizer(
      [] {
        auto* const worker = support::keep(new brood::Process({.start_method = g_method}, [] {
          ::usleep(100'000);  // not to wait for anything: so that a parent that does not wait is seen not to
          line("worker done");
        }));
        worker->start();
        auto* const daemon = support::keep(new brood::Process({.daemon = true, .start_method = g_method}, [] {
          for (;;) ::pause();
        }));
        daemon->start();
      },
      -1));
  return 0;
}

/// How often start() said how a child had ended that ended before it was ready.
int early_end() {
  int told = 0;
  for (int i = 0; i < 50; ++i) {
    brood::Process p({.start_method = g_method}, [] {});
    try {
      p.start();
    } catch (const brood::StartError& error) {
      told += std::string_view(error.what()).find("running anything: it ended with code 3;") != std::string_view::npos;
    }
  }
  line("told " + std::to_string(told));
  return 0;
}

struct SaysNothing : std::exception {
  [[nodiscard]] const char* what() const noexcept override { return nullptr; }
};

/// As another language's runtime would.
void throw_foreign() {
  static _Unwind_Exception exception{};
  exception.exception_class = 0x666f726569676e00;  // "foreign"
  _Unwind_RaiseException(&exception);
  line("nobody catches it");
}

int name_in_ps() {
  return run([] {
    char name[16] = {};
    ::prctl(PR_GET_NAME, name);
    line(std::string("name ") + name);
  });
}

void fail_nested() {
  try {
    try {
      throw std::out_of_range("innermost");
    } catch (...) {
      std::throw_with_nested(std::logic_error("middle"));
    }
  } catch (...) {
    std::throw_with_nested(std::runtime_error("outermost"));
  }
}

int descriptors() {
  int count = 0;
  DIR* dir = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(dir)) count += entry->d_name[0] != '.';
  ::closedir(dir);
  return count - 1;  // without the listing's own
}

int siblings() {
  // A program may have been given descriptors; a child has those, and its parent's socket.
  line("inherited " + std::to_string(descriptors()));
  std::vector<brood::Process> sleepers;
  for (int i = 0; i < 5; ++i) {
    run([] { line("descriptors " + std::to_string(descriptors())); });
    sleepers.emplace_back(brood::ProcessOptions{.daemon = true, .start_method = g_method}, [] {
      for (;;) ::pause();
    });
    sleepers.back().start();
  }
  return 0;
}

/// Ends while children run; the objects are never destroyed.
int leave_children() {
  std::atexit([] { line("handler registered before the first start"); });
  static brood::Process* const worker = new brood::Process({.start_method = g_method}, [] {
    // The parent is on its way out as soon as it has said so, on the pipe that standard output is.
    line("worker done");
  });
  static brood::Process* const daemon = new brood::Process({.daemon = true, .start_method = g_method}, [] {
    ::signal(SIGTERM, SIG_IGN);
    line("daemon " + std::to_string(::getpid()));
    for (;;) ::pause();
  });
  daemon->start();
  worker->start();
  return 0;
}

int daemon_of_killed_parent() {
  static auto* const daemon = new brood::Process({.daemon = true, .start_method = g_method}, [] {
    for (;;) ::pause();
  });
  daemon->start();
  line("daemon " + std::to_string(daemon->pid().value()));
  for (;;) ::pause();
}

int stdio_of_children() {
  std::printf("parent's unflushed text;");
  std::cout << "and on cout;";
  return run([] {
    std::printf("child's text;");
    std::cout << "and cout of the child;";
    const int c = std::getchar();
    std::printf("stdin %s\n", c == EOF ? "empty" : "has bytes");
  });
}

int exit_handlers() {
  std::atexit([] { line("parent's handler in " + brood::current_process_name()); });
  return run([] {
    std::atexit([] { line("child's handler in " + brood::current_process_name()); });
    line("target sees a static " + g_static.text);
  });
}

/// The objects are never destroyed, so all of these run at exit; the last of the early ones lets the child go on, which is
/// joined before the late one.
int finalizers() {
  static auto& started = *new brood::Event;
  static auto& may_end = *new brood::Event;
  const auto at_exit = [](const char* text, int priority) {
    support::keep(
        new brood::Finalizer([text] { line(std::string(text) + " of " + brood::current_process_name()); }, priority));
  };
  at_exit("priority -1", -1);
  support::keep(new brood::Finalizer([] {
    line("oldest of " + brood::current_process_name());
    may_end.set();
  }));
  at_exit("newest", 0);
  at_exit("priority 5", 5);
  support::keep(new brood::Finalizer([] { throw std::runtime_error("an action that throws"); }, 9));
  auto* const child = support::keep(new brood::Process(
      {.name = "child", .start_method = g_method},
      [](brood::Event& runs, brood::Event& end) {
        line("child: early");
        runs.set();
        end.wait();
        line("child: joined");
      },
      started, may_end));
  child->start();
  started.wait();
  return 0;
}

int finalizer_of_child() {
  static const brood::Finalizer ours([] { line("finalizer of " + brood::current_process_name()); });
  return run([] { static const brood::Finalizer its([] { line("finalizer of " + brood::current_process_name()); }); });
}

int after_fork() {
  brood::register_after_fork([] { throw 7; });
  brood::register_after_fork([] { line("second hook in " + brood::current_process_name()); });
  return run([] { line("target runs"); });
}

int preload_warning() {
  brood::set_forkserver_preload({"/nonexistent/module.so"}, brood::PreloadError::warn);
  return run([] {});
}

int signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { line("handler of the parent in " + brood::current_process_name()); };
  ::sigaction(SIGUSR1, &action, nullptr);
  ::signal(SIGHUP, SIG_IGN);
  ::signal(SIGCHLD, SIG_IGN);
  sigset_t block;
  sigemptyset(&block);
  sigaddset(&block, SIGUSR2);
  sigaddset(&block, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &block, nullptr);
  return run([] {
    sigset_t mask;
    ::sigprocmask(SIG_SETMASK, nullptr, &mask);
    int blocked = 0;
    for (int number = 1; number < 32; ++number) blocked += sigismember(&mask, number);
    const auto disposition = [](int number) {
      struct sigaction now {};
      ::sigaction(number, nullptr, &now);
      return std::string(now.sa_handler == SIG_DFL ? "default" : now.sa_handler == SIG_IGN ? "ignored" : "handled");
    };
    line("blocked " + std::to_string(blocked) + " usr1 " + disposition(SIGUSR1) + " hup " + disposition(SIGHUP) +
         " chld " + disposition(SIGCHLD));
  });
}

int without_file() {
  char path[4096] = {};
  if (::readlink("/proc/self/exe", path, sizeof path - 1) < 0 || ::unlink(path) != 0) return 65;
  line("deleted");
  return run([] { std::exit(6); });
}

/// Another program takes the name of our file.
int replaced_file() {
  std::filesystem::copy_file("/bin/true", g_program + ".new");
  std::filesystem::rename(g_program + ".new", g_program);
  line("replaced");
  return run([] { std::exit(6); });
}

int command_line() {
  return run([] {
    std::FILE* file = std::fopen("/proc/self/cmdline", "r");
    char text[4096] = {};
    const std::size_t size = std::fread(text, 1, sizeof text - 1, file);
    std::fclose(file);
    for (std::size_t i = 0; i + 1 < size; ++i) text[i] = text[i] == '\0' ? ' ' : text[i];
    line(std::string("cmdline ") + (std::strrchr(text, '/') + 1));
    line(std::string("variable ") + (std::getenv("BROOD_ENTER") != nullptr ? "there" : "gone"));
  });
}

/// Functions to find again in the report of an exception; the loop keeps the call from becoming a jump.
[[gnu::noinline]] void go_wrong(volatile int& times) {
  times = times + 1;
  throw std::runtime_error("it went wrong");
}
[[gnu::noinline]] void lead_there() {
  for (volatile int times = 0; times < 2;) go_wrong(times);
}

}  // namespace

int main(int argc, char** argv) {
  brood::init(argc, argv);
  line("main runs");
  if (argc < 3) return 64;
  for (const auto method : brood::get_all_start_methods()) {
    if (to_string(method) == std::string_view(argv[1])) g_method = method;
  }
  g_program = argv[0];
  g_arguments.assign(argv + 3, argv + argc);
  const std::map<std::string, std::function<int()>> cases = {
      {"return", [] { return run([] {}); }},
      {"exit", [] { return run([](int code) { std::exit(code); }, std::stoi(g_arguments.at(0))); }},
      {"_exit", [] { return run([](int code) { ::_exit(code); }, std::stoi(g_arguments.at(0))); }},
      {"quick_exit", [] { return run([](int code) { std::quick_exit(code); }, std::stoi(g_arguments.at(0))); }},
      {"abort", [] { return run([] { std::abort(); }); }},
      {"raise", [] { return run([](int number) { ::raise(number); }, std::stoi(g_arguments.at(0))); }},
      {"throw", [] { return run(lead_there); }},
      {"throw-nested", [] { return run(fail_nested); }},
      {"throw-int", [] { return run([] { throw 7; }); }},
      {"throw-nothing", [] { return run([] { throw SaysNothing(); }); }},
      {"throw-foreign", [] { return run(throw_foreign); }},
      {"pthread_exit", [] { return run([] { ::pthread_exit(nullptr); }); }},
      {"start-at-exit", start_at_exit},
      {"start-at-exit-of-child", start_at_exit_of_child},
      {"leave-late", leave_children_of_late_finalizer},
      {"early-end", early_end},
      {"name-in-ps", name_in_ps},
      {"siblings", siblings},
      {"leave", leave_children},
      {"daemon-of-killed", daemon_of_killed_parent},
      {"stdio", stdio_of_children},
      {"exit-handlers", exit_handlers},
      {"finalizers", finalizers},
      {"finalizer-of-child", finalizer_of_child},
      {"after-fork", after_fork},
      {"preload-warning", preload_warning},
      {"signals", signals},
      {"cmdline", command_line},
      {"without-file", without_file},
      {"replaced-file", replaced_file},
  };
  const auto found = cases.find(argv[2]);
  return found == cases.end() ? 64 : found->second();
}
