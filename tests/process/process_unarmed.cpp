// A program that forgot brood::init(). Prints what start() says; every line of main in a child would show as a second
// "main runs".
#include <cstdio>
#include <iostream>

#include "brood/error.hpp"
#include "brood/process.hpp"

int main() {
  std::cout << "main runs" << std::endl;
  for (const auto method : {brood::StartMethod::spawn, brood::StartMethod::forkserver}) {
    brood::Process p({.start_method = method}, [] { std::cout << "child runs" << std::endl; });
    try {
      p.start();
      std::cout << "started" << std::endl;
    } catch (const brood::UsageError& error) {
      std::cout << "refused: " << error.what() << std::endl;
    }
    std::cout << "pid " << (p.pid() ? "there" : "none") << std::endl;
  }
  brood::Process p({.start_method = brood::StartMethod::fork}, [] { std::cout << "forked child runs" << std::endl; });
  p.start();
  p.join();
  return p.exitcode().value_or(1);
}
