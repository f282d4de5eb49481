// A lock passed to children: each prints three lines, and no two of them mix their lines. The fourth child is killed
// while it holds a second lock; the next taker is told, and repairs.
//
// Output (any order):
// worker 0: one
// worker 0: two
// worker 0: three
// worker 1: one
// worker 1: two
// worker 1: three
// worker 2: one
// worker 2: two
// worker 2: three
// in step: yes
// owner died: yes
// repaired: yes
#include <csignal>
#include <iostream>
#include <mutex>
#include <vector>

#include "brood/brood.hpp"

void work(brood::Lock& terminal, brood::Value<int>& inside, brood::Value<int>& mixed, int id) {
  const std::scoped_lock guard(terminal);
  inside.with([](int& n) { ++n; });
  for (const char* word : {"one", "two", "three"}) std::cout << "worker " << id << ": " << word << std::endl;
  if (inside.get() != 1) mixed.set(1);
  inside.with([](int& n) { --n; });
}

void die_holding(brood::Lock& lock) {
  lock.lock();
  std::raise(SIGKILL);
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Lock terminal;
  brood::Value<int> inside;
  brood::Value<int> mixed;
  std::vector<brood::Process> workers;
  for (int id = 0; id < 3; ++id) workers.emplace_back(work, terminal, inside, mixed, id).start();
  for (auto& worker : workers) worker.join();
  std::cout << "in step: " << (mixed.get() == 0 ? "yes" : "no") << '\n';

  brood::Lock guarded;
  brood::Process victim(die_holding, guarded);
  victim.start();
  victim.join();
  try {
    const std::scoped_lock guard(guarded);
  } catch (const brood::OwnerDied&) {
    std::cout << "owner died: yes\n";
    const bool repaired = guarded.recover([] { /* put right what the lock guards */ });
    const std::scoped_lock guard(guarded);
    std::cout << "repaired: " << (repaired ? "yes" : "no") << '\n';
  }
}
