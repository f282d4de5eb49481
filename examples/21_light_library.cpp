// The library of 21_light_process.cpp: what its light children load. It knows nothing of the program.
#include <filesystem>
#include <iostream>
#include <string>

#include "brood/brood.hpp"

namespace {

struct Table {
  Table() { std::cout << "the library is loaded" << std::endl; }
} g_table;

void add(brood::Queue<int>& sums, int a, int b) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").filename();
  std::cout << "a child of " << program.substr(0, program.find(' ')) << " adds" << std::endl;
  sums.put(a + b);
}

}  // namespace

/// The Process is made here, so a light child finds everything that it needs in this library.
brood::Process make_adder(brood::Queue<int>& sums, int a, int b) {
  return brood::Process({.start_method = brood::StartMethod::light}, add, sums, a, b);
}
