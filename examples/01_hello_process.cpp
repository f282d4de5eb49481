// A function in a process of its own. Arguments travel; what the child prints comes before what follows join().
//
// Output:
// starting
// hello world, from a child of its own: yes
// exit code 0
#include <unistd.h>

#include <iostream>
#include <string>

#include "brood/brood.hpp"

void greet(const std::string& whom, pid_t parent) {
  std::cout << "hello " << whom << ", from a child of its own: " << (getpid() != parent ? "yes" : "no") << '\n';
}

int main(int argc, char** argv) {
  brood::init(argc, argv);  // a child of spawn or forkserver turns off here and never runs what follows
  std::cout << "starting" << std::endl;
  brood::Process p(greet, "world", getpid());
  p.start();
  p.join();
  std::cout << "exit code " << p.exitcode().value() << '\n';
}
