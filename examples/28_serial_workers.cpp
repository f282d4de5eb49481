// Workers that take turns under one lock: whoever is inside is alone, and everybody gets in.
//
// Output (any order):
// worker 0 worked alone, 100 turns
// worker 1 worked alone, 100 turns
// worker 2 worked alone, 100 turns
// worker 3 worked alone, 100 turns
// turns in all: 400
#include <iostream>
#include <mutex>
#include <vector>

#include "brood/brood.hpp"

struct Room {
  int inside = 0;
  int turns = 0;
};

void work(brood::Lock& lock, brood::Value<Room>& room, int id) {
  bool alone = true;
  constexpr int kTurns = 100;
  for (int turn = 0; turn < kTurns; ++turn) {
    const std::scoped_lock guard(lock);
    room.with([&](Room& r) { alone = alone && ++r.inside == 1; });
    room.with([](Room& r) {
      ++r.turns;
      --r.inside;
    });
  }
  const std::scoped_lock guard(lock);
  std::cout << "worker " << id << (alone ? " worked alone, " : " had company, ") << kTurns << " turns" << std::endl;
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Lock lock;
  brood::Value<Room> room;
  std::vector<brood::Process> workers;
  for (int id = 0; id < 4; ++id) workers.emplace_back(work, lock, room, id).start();
  for (auto& worker : workers) worker.join();
  std::cout << "turns in all: " << room.get().turns << '\n';
}
