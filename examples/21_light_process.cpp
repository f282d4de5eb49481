// A child that loads one library and nothing of the program: the program's static object is made once, and main has no
// brood::init() and needs none. The library is 21_light_library.cpp.
//
// Output:
// the library is loaded
// the program's thousand tables are made
// main begins
// the library is loaded
// a child of memfd:brood-light adds
// 3 + 4 = 7, exit code 0
// a function of the program is refused
#include <iostream>

#include "brood/brood.hpp"

brood::Process make_adder(brood::Queue<int>& sums, int a, int b);  // of the library

struct Tables {
  Tables() { std::cout << "the program's thousand tables are made" << std::endl; }
} g_tables;

int main() {
  std::cout << "main begins" << std::endl;
  brood::Queue<int> sums(1);
  brood::Process adder = make_adder(sums, 3, 4);
  adder.start();
  adder.join();
  std::cout << "3 + 4 = " << sums.get() << ", exit code " << adder.exitcode().value() << std::endl;

  brood::Process own({.start_method = brood::StartMethod::light}, [] {});
  try {
    own.start();
  } catch (const brood::UsageError&) {  // its text names the cures
    std::cout << "a function of the program is refused" << std::endl;
  }
}
