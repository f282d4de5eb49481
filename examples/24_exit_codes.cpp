// How processes end, and what exitcode() says of it.
//
// Output:
// returns: 0
// exits with 3: 3
// throws: 1
// aborts: -6
// is terminated: -15
#include <csignal>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <string>

#include "brood/brood.hpp"

void returns() {}
void exits() { std::exit(3); }
void throws() { throw std::runtime_error("There was an error!"); }  // told on standard error, with name and type
void aborts() { std::abort(); }
void sleeps(brood::Event& never) { never.wait(); }

int code_of(brood::Process p, bool terminate = false) {
  p.start();
  if (terminate) p.terminate();
  p.join();
  return p.exitcode().value();
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Event never;
  const brood::ProcessOptions quiet{.standard_error = brood::Stdio::null()};
  std::cout << "returns: " << code_of(brood::Process(returns)) << '\n';
  std::cout << "exits with 3: " << code_of(brood::Process(exits)) << '\n';
  std::cout << "throws: " << code_of(brood::Process(quiet, throws)) << '\n';
  std::cout << "aborts: " << code_of(brood::Process(quiet, aborts)) << '\n';
  std::cout << "is terminated: " << code_of(brood::Process(sleeps, never), true) << '\n';
}
