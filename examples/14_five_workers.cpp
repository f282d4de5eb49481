// Five processes of one function, side by side.
//
// Output (any order):
// Worker: 0
// Worker: 1
// Worker: 2
// Worker: 3
// Worker: 4
// all done: 5 of 5
#include <algorithm>
#include <iostream>
#include <vector>

#include "brood/brood.hpp"

void work(int number) { std::cout << "Worker: " << number << std::endl; }

int main(int argc, char** argv) {
  brood::init(argc, argv);
  std::vector<brood::Process> workers;
  for (int number = 0; number < 5; ++number) workers.emplace_back(work, number).start();
  for (auto& worker : workers) worker.join();
  const auto good = std::count_if(workers.begin(), workers.end(), [](const auto& w) { return w.exitcode() == 0; });
  std::cout << "all done: " << good << " of " << workers.size() << '\n';
}
