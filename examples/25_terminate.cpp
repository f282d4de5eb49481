// The state of a process before, during and after; a polite end with a grace, then a certain one.
//
// Output (regular expressions):
// BEFORE: <Process name='slow' parent=\d+ initial> alive 0
// DURING: <Process name='slow' pid=\d+ parent=\d+ started> alive 1
// AFTER: <Process name='slow' pid=\d+ parent=\d+ stopped exitcode=-SIGTERM> alive 0
// deaf to SIGTERM after its grace: yes
// KILLED: <Process name='deaf' pid=\d+ parent=\d+ stopped exitcode=-SIGKILL> alive 0
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <iostream>

#include "brood/brood.hpp"

using namespace std::chrono_literals;

void sleep_for_ever(bool deaf, brood::Event& ready) {
  if (deaf) std::signal(SIGTERM, SIG_IGN);
  ready.set();
  for (;;) pause();
}

void tell(const char* when, const brood::Process& p) {
  std::cout << when << ": " << p << " alive " << p.is_alive() << '\n';
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Event ready;
  brood::Process slow({.name = "slow"}, sleep_for_ever, false, ready);
  tell("BEFORE", slow);
  slow.start();
  tell("DURING", slow);
  slow.terminate();
  slow.join();
  tell("AFTER", slow);

  brood::Process deaf({.name = "deaf"}, sleep_for_ever, true, ready);
  ready.clear();
  deaf.start();
  ready.wait();
  deaf.terminate();
  if (!deaf.join_for(100ms)) {
    std::cout << "deaf to SIGTERM after its grace: yes\n";
    deaf.kill();
    deaf.join();
  }
  tell("KILLED", deaf);
}
