// What is most urgent comes out first: the lowest number, and among equals what was put first.
//
// Output:
// 0 stop the press
// 5 print page 1
// 5 print page 2
// 9 clean the rollers
#include <iostream>
#include <string>

#include "brood/brood.hpp"

void print_all(brood::PriorityQueue<std::string>& orders, brood::Queue<std::string>& log) {
  while (!orders.empty()) {
    const brood::Prioritised<std::string> next = orders.get_with_priority();
    log.put(std::to_string(next.priority) + ' ' + next.item);
  }
  log.shutdown();
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::PriorityQueue<std::string> orders;
  brood::Queue<std::string> log;
  orders.put("print page 1", 5);
  orders.put("clean the rollers", 9);
  orders.put("print page 2", 5);
  orders.put("stop the press", 0);

  brood::Process printer(print_all, orders, log);
  printer.start();
  for (const std::string& line : log) std::cout << line << '\n';
  printer.join();
}
