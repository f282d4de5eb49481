// Waiting for an event for ever, and waiting with a timeout that passes.
//
// Output:
// main: waiting before calling Event.set()
// wait_for_event_timeout: starting
// wait_for_event_timeout: e.is_set() -> 0
// main: event is set
// wait_for_event: e.is_set() -> 1
#include <chrono>
#include <iostream>

#include "brood/brood.hpp"

using namespace std::chrono_literals;

void wait_for_event(brood::Event& e) {
  e.wait();
  std::cout << "wait_for_event: e.is_set() -> " << e.is_set() << std::endl;
}

void wait_for_event_timeout(brood::Event& e, std::chrono::milliseconds timeout) {
  std::cout << "wait_for_event_timeout: starting" << std::endl;
  const bool set = e.wait_for(timeout);
  std::cout << "wait_for_event_timeout: e.is_set() -> " << set << std::endl;
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Event e;
  std::cout << "main: waiting before calling Event.set()" << std::endl;
  brood::Process blocking({.name = "block"}, wait_for_event, e);
  brood::Process timed({.name = "nonblock"}, wait_for_event_timeout, e, 50ms);
  blocking.start();
  timed.start();
  timed.join();  // its time is over before the event is set
  std::cout << "main: event is set" << std::endl;
  e.set();
  blocking.join();
}
