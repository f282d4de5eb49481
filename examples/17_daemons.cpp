// A daemon ends with its creator, whatever it is doing: its last line is missing unless somebody joins it.
//
// Output:
// daemon flag: 1, by default: 0
// daemon: Starting
// worker: Starting
// worker: Exiting
// joined in time: 0, still alive: 1
// second daemon: Starting
// second daemon: Exiting
// joined in time: 1, still alive: 0
#include <chrono>
#include <iostream>
#include <string>

#include "brood/brood.hpp"

using namespace std::chrono_literals;

/// Works until it is let go.
void work(const std::string& name, brood::Event& started, brood::Event& go) {
  std::cout << name << ": Starting" << std::endl;
  started.set();
  go.wait();
  std::cout << name << ": Exiting" << std::endl;
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Event never;
  brood::Event started;
  brood::Event go;
  brood::Process daemon({.daemon = true}, work, "daemon", started, never);
  brood::Process worker(work, "worker", started, go);
  std::cout << "daemon flag: " << daemon.daemon() << ", by default: " << worker.daemon() << std::endl;
  for (brood::Process* p : {&daemon, &worker}) {
    started.clear();
    p->start();
    started.wait();
  }
  go.set();
  worker.join();
  const bool ended = daemon.join_for(100ms);
  std::cout << "joined in time: " << ended << ", still alive: " << daemon.is_alive() << std::endl;

  brood::Process joined({.daemon = true}, work, "second daemon", started, go);  // may go at once
  joined.start();
  joined.join();
  std::cout << "joined in time: 1, still alive: " << joined.is_alive() << std::endl;
  // The first daemon is ended here, before its "Exiting".
}
