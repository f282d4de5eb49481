// A work queue that survives its workers. A worker takes a Task, does the work, and says done(). If it dies before that,
// another one is given the item. An item that kills every worker ends as a dead letter instead of going round for ever.
//
// Output:
// done: 9 items, 3 workers died
// dead letter: 13, delivered 3 times
#include <csignal>
#include <iostream>
#include <vector>

#include "brood/brood.hpp"

void work(brood::WorkQueue<int>& items, brood::Queue<int>& results) {
  for (brood::Task<int>& item : items) {
    if (*item == 13) std::raise(SIGKILL);  // a crash: neither destructors nor exit handlers run
    results.put(*item);
    item.done();
  }
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::WorkQueue<int> items({.max_deliveries = 3});
  brood::Queue<int> results;
  for (int n = 10; n < 20; ++n) items.put(n);

  int died = 0;
  brood::Process worker(work, items, results);
  worker.start();
  while (!items.join_for(std::chrono::milliseconds(20))) {
    if (worker.is_alive()) continue;
    worker.join();
    ++died;
    worker = brood::Process(work, items, results);
    worker.start();
  }
  items.shutdown();
  worker.join();
  died += worker.exitcode() == 0 ? 0 : 1;

  std::vector<int> done;
  (void)results.try_get_many(done, 100);
  std::cout << "done: " << done.size() << " items, " << died << " workers died\n";
  while (auto letter = items.try_get_dead_letter()) {
    std::cout << "dead letter: " << **letter << ", delivered " << letter->deliveries() << " times\n";
    letter->done();
  }
}
