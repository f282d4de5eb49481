// The forkserver with children forked ahead: a burst of starts finds them ready.
//
// Output:
// all of one server: yes
// 16 sums: 136
#include <iostream>
#include <set>
#include <vector>

#include <unistd.h>

#include "brood/brood.hpp"

void add(int number, brood::Queue<int>& sums, brood::Queue<pid_t>& parents) {
  sums.put(number);
  parents.put(getppid());
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::set_start_method(brood::StartMethod::forkserver);  // the default, too
  brood::set_forkserver_spares(16);
  brood::ensure_forkserver();  // now, not with the first start
  brood::Queue<int> sums;
  brood::Queue<pid_t> parents;
  std::vector<brood::Process> burst;
  for (int i = 1; i <= 16; ++i) burst.emplace_back(add, i, sums, parents).start();
  std::set<pid_t> servers;
  int sum = 0;
  for (auto& process : burst) {
    process.join();
    sum += sums.get();
    servers.insert(parents.get());
  }
  std::cout << "all of one server: " << (servers.size() == 1 && !servers.contains(getpid()) ? "yes" : "no") << '\n';
  std::cout << "16 sums: " << sum << '\n';
}
