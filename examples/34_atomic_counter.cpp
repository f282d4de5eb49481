// A lock-free counter that several processes increment, and a phase for which others wait without a lock.
//
// Output:
// 4 workers counted to 400000
// of 1000 tickets each was drawn once
#include <cstdint>
#include <iostream>
#include <vector>

#include "brood/brood.hpp"

void count(brood::Atomic<int>& phase, brood::Atomic<std::int64_t>& counter, brood::Atomic<int>& tickets,
           brood::RawArray<int>& drawn) {
  phase.wait(0);  // until it is something else
  for (int i = 0; i < 100'000; ++i) ++counter;
  // A ticket belongs to whoever drew it, so nobody else touches its element.
  for (int mine = tickets.fetch_add(1); mine < 1000; mine = tickets.fetch_add(1)) drawn.set(mine, drawn.get(mine) + 1);
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Atomic<int> phase;
  brood::Atomic<std::int64_t> counter;
  brood::Atomic<int> tickets;
  brood::RawArray<int> drawn(1000);

  std::vector<brood::Process> workers;
  for (int i = 0; i < 4; ++i) workers.emplace_back(count, phase, counter, tickets, drawn).start();
  phase.store(1);
  phase.notify_all();
  for (auto& worker : workers) worker.join();

  std::cout << workers.size() << " workers counted to " << counter.load() << '\n';
  bool once = true;
  for (const int times : drawn) once = once && times == 1;
  std::cout << "of 1000 tickets " << (once ? "each was drawn once" : "some were drawn twice or never") << '\n';
}
