// A plugin that crashes, in a process of its own: the program goes on, is told how it ended, and has a new one at the next call.
//
// Output:
// filter: "a b c" -> "a-b-c"
// filter: "" -> the plugin is gone: exit code -SIGSEGV
// filter: "d e" -> "d-e"
// filter: "" -> the plugin is gone: exit code -SIGSEGV
// filter: "f g" -> "f-g"
// 2 hosts were replaced; this process has seen 5 texts
#include <sys/resource.h>

#include <csignal>
#include <iostream>
#include <string>

#include "brood/brood.hpp"

/// Somebody else's code: for an empty text it follows a null pointer.
class Plugin {
 public:
  explicit Plugin(char separator) : separator_(separator) {
    const rlimit none{};
    ::setrlimit(RLIMIT_CORE, &none);  // no core files of an example
    ::signal(SIGSEGV, SIG_DFL);       // a sanitizer's report would be noise
  }
  std::string filter(std::string text) {
    if (text.empty()) ::raise(SIGSEGV);
    for (char& c : text) {
      if (c == ' ') c = separator_;
    }
    return text;
  }

 private:
  char separator_;
};
BROOD_REMOTE(Plugin, filter)

int main(int argc, char** argv) {
  brood::init(argc, argv);
  // A host that died is replaced, up to ten times, by a new Plugin('-').
  auto plugin = brood::Remote<Plugin>::with({.restarts = 10}, '-');
  int seen = 0;
  for (const std::string text : {"a b c", "", "d e", "", "f g"}) {
    ++seen;
    std::cout << "filter: \"" << text << "\" -> ";
    try {
      const std::string filtered = plugin.filter(text);
      std::cout << '"' << filtered << "\"\n";
    } catch (const brood::PeerGone& gone) {
      std::cout << "the plugin is gone: exit code " << (gone.exitcode() == -SIGSEGV ? "-SIGSEGV" : "?") << '\n';
    }
  }
  std::cout << plugin.restarts() << " hosts were replaced; this process has seen " << seen << " texts\n";
}
