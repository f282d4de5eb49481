// A function in a process of its own. The parent goes on while it runs; arguments travel, shared objects too.
//
// Output:
// starting
// Waiting for the process to finish
// hello world, from a child of its own: yes
// exit code 0
#include <unistd.h>

#include <iostream>
#include <string>

#include "brood/brood.hpp"

void greet(const std::string& whom, pid_t parent, brood::Event& go) {
  go.wait();
  std::cout << "hello " << whom << ", from a child of its own: " << (getpid() != parent ? "yes" : "no") << '\n';
}

int main(int argc, char** argv) {
  brood::init(argc, argv);  // a child of spawn or forkserver turns off here and never runs what follows
  std::cout << "starting" << std::endl;
  brood::Event go;
  brood::Process p(greet, "world", getpid(), go);
  p.start();
  std::cout << "Waiting for the process to finish" << std::endl;
  go.set();
  p.join();
  std::cout << "exit code " << p.exitcode().value() << '\n';
}
