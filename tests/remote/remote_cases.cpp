// A program with Remotes that it leaves to others to end, told by its arguments what to do.
//   remote_cases METHOD CASE
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <optional>
#include <string>

#include "brood/error.hpp"
#include "brood/init.hpp"
#include "brood/remote.hpp"

static void line(const std::string& text) {
  const std::string whole = text + "\n";
  if (::write(STDOUT_FILENO, whole.data(), whole.size()) < 0) std::_Exit(99);
}

class Speaks {  // not in an unnamed namespace: its name is printed
 public:
  explicit Speaks(std::string name) : name_(std::move(name)) { line(name_ + " made"); }
  Speaks(const Speaks&) = delete;
  Speaks& operator=(const Speaks&) = delete;
  ~Speaks() { line(name_ + " destroyed"); }
  int number() const { return 7; }

 private:
  std::string name_;
};

/// For the address sanitizer: this program and its forked children leave objects behind on purpose.
extern "C" [[gnu::used]] int __lsan_is_turned_off() { return 1; }  // NOLINT(bugprone-reserved-identifier)

namespace {

/// One at namespace scope, which is destroyed behind main().
brood::Remote<Speaks> g_speaks(brood::not_yet);

brood::RemoteOptions g_options;

int run(const std::string& what) {
  if (what == "static") {
    g_speaks = brood::Remote<Speaks>(brood::not_yet, g_options);
    g_speaks.start("static");
    static auto inner = brood::Remote<Speaks>::with(g_options, "local static");
    line(std::to_string(g_speaks.call<&Speaks::number>() + inner.call<&Speaks::number>()));
    return 0;
  }
  if (what == "leaked") {
    auto* leaked = new brood::Remote<Speaks>(brood::not_yet, g_options);
    leaked->start("leaked");
    line(std::to_string(leaked->call<&Speaks::number>()));
    return 0;
  }
  if (what == "exit") {
    auto speaks = brood::Remote<Speaks>::with(g_options, "exit");
    std::exit(3);
  }
  if (what == "fork") {
    auto speaks = brood::Remote<Speaks>::with(g_options, "parent's");
    (void)speaks.async<&Speaks::number>().get();
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        (void)speaks.call<&Speaks::number>();
        line("called");
      } catch (const brood::UsageError&) {
        line("UsageError");
      }
      try {
        speaks.stop();
        line("stopped");
      } catch (const brood::UsageError&) {
        line("UsageError");
      }
      std::cout << speaks << std::endl;
      std::exit(0);  // with the Remote on the stack, and its finalizer registered
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    line("child " + std::to_string(WEXITSTATUS(status)));
    line(std::to_string(speaks.call<&Speaks::number>()));
    const pid_t other = ::fork();
    if (other == 0) return 0;  // destroys it
    ::waitpid(other, &status, 0);
    line(std::to_string(speaks.call<&Speaks::number>()));
    return 0;
  }
  return 98;
}

}  // namespace

int main(int argc, char** argv) {
  brood::init(argc, argv);
  const std::string method = argv[1];
  for (const auto each : {brood::StartMethod::fork, brood::StartMethod::spawn, brood::StartMethod::forkserver})
    if (to_string(each) == method) g_options.process.start_method = each;
  g_options.process.name = "host";
  return run(argv[2]);
}
