// Ten processes, of which a semaphore lets three be active at a time.
//
// Output:
// active at once: at most 3, never more than allowed
// finished: 10
// nobody is active any more: 0
#include <iostream>
#include <string>
#include <vector>

#include "brood/brood.hpp"

struct Activity {
  int active = 0;
  int most = 0;
  int finished = 0;
};

void work(brood::Semaphore& places, brood::Value<Activity>& activity, brood::Barrier& crowd) {
  crowd.wait();  // all want in at the same time
  const brood::Permit place(places);
  activity.with([](Activity& a) { a.most = std::max(a.most, ++a.active); });
  activity.with([](Activity& a) {
    --a.active;
    ++a.finished;
  });
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Semaphore places(3);
  brood::Value<Activity> activity;
  brood::Barrier crowd(10);
  std::vector<brood::Process> workers;
  for (int i = 0; i < 10; ++i) workers.emplace_back(work, places, activity, crowd).start();
  for (auto& worker : workers) worker.join();
  const Activity seen = activity.get();
  std::cout << "active at once: at most 3, " << (seen.most <= 3 ? "never more than allowed" : "but more were seen")
            << '\n';
  std::cout << "finished: " << seen.finished << '\n';
  std::cout << "nobody is active any more: " << seen.active << '\n';
}
