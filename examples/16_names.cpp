// Names: chosen, or made of the order of construction; children of children carry the numbers of their ancestors.
//
// Output:
// this is MainProcess
// my_service runs
// worker 1 runs
// Process-3 runs
// Process-3:1 runs
// unstarted: Process-4
#include <iostream>

#include "brood/brood.hpp"

void say_name() { std::cout << brood::current_process().name() << " runs" << std::endl; }

void say_name_and_breed() {
  say_name();
  brood::Process child(say_name);
  child.start();
  child.join();
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  std::cout << "this is " << brood::current_process().name() << std::endl;
  brood::Process service({.name = "my_service"}, say_name);
  brood::Process worker({.name = "worker 1"}, say_name);
  brood::Process unnamed(say_name_and_breed);  // the third that was made
  for (brood::Process* p : {&service, &worker, &unnamed}) {
    p->start();
    p->join();
  }
  const brood::Process idle;  // without a target
  std::cout << "unstarted: " << idle.name() << '\n';
}
