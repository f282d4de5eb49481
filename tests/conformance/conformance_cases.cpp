// A program with a main, static objects and exit handlers of its own, told by its arguments what to do.
//   conformance_cases METHOD CASE [ARGUMENTS]
#include <dlfcn.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "brood/error.hpp"
#include "brood/event.hpp"
#include "brood/finalizer.hpp"
#include "brood/forkserver.hpp"
#include "brood/init.hpp"
#include "brood/lock.hpp"
#include "brood/pool.hpp"
#include "brood/process.hpp"
#include "brood/shared_memory.hpp"
#include "brood/shared_memory_manager.hpp"

namespace {

/// Writes past all buffers, so that the order of lines is the order of events.
void line(const std::string& text) {
  const std::string whole = text + "\n";
  if (::write(STDOUT_FILENO, whole.data(), whole.size()) < 0) std::_Exit(99);
}

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

/// Made anew in every process that runs its own static initialisation. (A forkserver's children have the server's.)
brood::Lock g_lock;

int global_lock() {
  return run(
      [](const std::string& parents) {
        const std::scoped_lock guard(g_lock);
        line(g_lock.handle().str() == parents ? "the same lock" : "another lock");
      },
      g_lock.handle().str());
}

void say_whether_settled() { line(brood::get_start_method_if_set() ? "settled" : "unsettled"); }

int init_settles_nothing() {
  say_whether_settled();
  brood::Process p({.name = "child", .start_method = g_method}, [] { line("worker runs"); });
  say_whether_settled();
  p.start();
  p.join();
  line("exitcode " + std::to_string(p.exitcode().value_or(-999)));
  return 0;
}

int preload() {
  brood::set_forkserver_preload({g_arguments.at(0)}, brood::PreloadError::fail);
  return run(
      [](const std::string& path) {
        void* const module = ::dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
        const auto uses = module != nullptr
                              ? reinterpret_cast<bool (*)()>(::dlsym(module, "conformance_preload_uses_its_lock"))
                              : nullptr;
        line(uses != nullptr && uses() ? "the preloaded lock works" : "no preloaded lock");
      },
      g_arguments.at(0));
}

int talkative_preload() {
  brood::set_forkserver_preload({g_arguments.at(0)}, brood::PreloadError::fail);
  for (int i = 0; i < 3; ++i) {
    run([] {
      std::printf("printf of a child;");
      std::cout << "cout of a child;";
    });
  }
  return 0;
}

int handlers() {
  std::atexit([] { line("handler of " + brood::current_process_name()); });
  static const brood::Finalizer finalizer([] { line("finalizer of " + brood::current_process_name()); });
  return run([] { std::atexit([] { line("handler of " + brood::current_process_name()); }); });
}

/// Text that nobody has flushed before the starts; both ends of a child.
int flushing() {
  std::printf("printf before;");
  std::cout << "cout before;";
  std::cerr << "cerr before;";
  for (const bool exits : {true, false}) {
    brood::Process p(
        {.start_method = g_method},
        [](bool by_exit) {
          if (!by_exit) ::_exit(0);
        },
        exits);
    p.start();
    p.join();
  }
  std::printf("printf after;");
  return 0;
}

/// Everything that a normal exit does, in its order. The objects are never destroyed.
int exit_order() {
  static auto& running = *new brood::Event;
  static auto& may_end = *new brood::Event;
  const auto at_exit = [](const char* text, int priority) { new brood::Finalizer([text] { line(text); }, priority); };
  at_exit("finalizer -1, older", -1);
  at_exit("finalizer -1, newer", -1);
  at_exit("finalizer -5", -5);
  at_exit("finalizer 0, older", 0);
  at_exit("finalizer 0, newer", 0);
  at_exit("finalizer 10", 10);
  (new brood::Process(
       {.name = "daemon", .daemon = true, .start_method = g_method},
       [](brood::Event& runs) {
         ::signal(SIGTERM, [](int) {
           constexpr char kText[] = "daemon is told to end\n";
           if (::write(STDOUT_FILENO, kText, sizeof kText - 1) < 0) ::_exit(99);
           ::_exit(0);
         });
         runs.set();
         for (;;) ::pause();
       },
       running))
      ->start();
  running.wait();
  running.clear();
  // Ends only when the daemons have been ended, so that the order is a fact.
  (new brood::Process(
       {.name = "worker", .start_method = g_method},
       [](brood::Event& runs, brood::Event& end) {
         runs.set();
         end.wait();
         line("worker ends");
       },
       running, may_end))
      ->start();
  running.wait();
  new brood::Finalizer([] { may_end.set(); });
  return 0;
}

std::string own_command_line() {
  std::ifstream in("/proc/self/cmdline");
  return {std::istreambuf_iterator<char>(in), {}};
}
/// What static initialisation, in the forkserver before any child, sees of the arguments.
const std::string g_arguments_at_load = own_command_line();

int arguments() {
  const std::string whole = own_command_line();
  return run(
      [](const std::string& expected) {
        line(g_arguments_at_load == expected ? "seen at load" : "not seen at load");
        line(own_command_line() == expected ? "seen in the child" : "not seen in the child");
      },
      whole);
}

/// Names that no object can have, and one with all that it can.
int memory_names() {
  for (const char* name : {"brood:memory", "two\nlines"}) {
    try {
      (void)brood::SharedMemory::create(name, 10);
    } catch (const brood::UsageError&) {
      line("refused");
    }
  }
  const brood::SharedMemory memory = brood::SharedMemory::create("Every.kind-of_0", 10);
  line(brood::SharedMemory::remove(memory.name()) ? "made and removed" : "not removed");
  return 0;
}

/// attach HANDLE ends|dies
int attach() {
  auto memory = brood::SharedMemory::open(g_arguments.at(0));
  memory.bytes()[0] = std::byte{1};
  line("attached");
  if (g_arguments.at(1) == "dies") std::raise(SIGKILL);
  return 0;
}

int manager() {
  auto keeper = brood::SharedMemoryManager::started();
  const auto memory = keeper.shared_memory(100);
  return run(
      [](brood::SharedMemoryManager& same) {
        const auto list = same.shareable_list({1, 2, 3});
        line(std::to_string(list.size()) + " items");
      },
      keeper);
}

// --- pools that are left to the end of the program

int square(int x) { return x * x; }
int slow_square(int x) {
  ::usleep(20'000);
  return x * x;
}
std::optional<brood::Pool> g_pool;
brood::Pool& make_pool() {
  brood::PoolOptions options;
  options.process.start_method = g_method;
  return g_pool.emplace(2, options);
}

int static_pool() {
  line(std::to_string(make_pool().apply(square, 7)));
  line("main ends");
  return 0;
}

/// Work that is under way at exit is finished by an exit handler; what is submitted by a later one is refused.
int pool_at_exit() {
  static std::optional<brood::Future<int>> work;
  brood::Pool& pool = make_pool();
  work = pool.submit(slow_square, 7);
  std::atexit([] {
    try {
      (void)g_pool->submit(square, 7);
      line("accepted");
    } catch (const brood::Error&) {
      line("refused");
    }
  });
  std::atexit([] {
    g_pool->close();
    g_pool->join();
    line("done: " + std::to_string(work->get()));
  });
  line("main ends");
  return 0;
}

/// Nobody waits for what is under way.
int closed_pool() {
  brood::Pool& pool = make_pool();
  for (int i = 0; i < 50; ++i) (void)pool.submit(slow_square, i);
  pool.close();
  line("main ends");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  brood::init(argc, argv);
  line("main runs");
  if (argc < 3) return 64;
  for (const auto method : brood::get_all_start_methods()) {
    if (to_string(method) == std::string_view(argv[1])) g_method = method;
  }
  g_arguments.assign(argv + 3, argv + argc);
  const std::map<std::string, std::function<int()>> cases = {
      {"global-lock", global_lock},   {"init", init_settles_nothing},
      {"preload", preload},           {"talkative-preload", talkative_preload},
      {"handlers", handlers},         {"flushing", flushing},
      {"exit-order", exit_order},     {"arguments", arguments},
      {"memory-names", memory_names}, {"attach", attach},
      {"manager", manager},           {"static-pool", static_pool},
      {"pool-at-exit", pool_at_exit}, {"closed-pool", closed_pool},
  };
  const auto found = cases.find(argv[2]);
  return found == cases.end() ? 64 : found->second();
}
