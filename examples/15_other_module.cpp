// The target lies in another module, a shared library (15_other_module_library.cpp). Nothing is registered: the child finds the
// function again by the library's build id.
//
// Output:
// the library works for 42
// the same through a pointer: 43
#include <string>

#include "brood/brood.hpp"

void library_work(const std::string& text, int number);  // in the library

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Process p(library_work, "the library works for ", 42);
  p.start();
  p.join();
  void (*const chosen)(const std::string&, int) = library_work;
  brood::Process q(chosen, "the same through a pointer: ", 43);
  q.start();
  q.join();
}
