// What has to be done when the process ends, in which order, and once only.
//
// Output:
// 1 the cache goes with its object
// 2 flush (highest priority)
// 3 close, the newest first
// 4 open
// child is over
// 5 when no child runs any more
#include <iostream>
#include <memory>
#include <string>

#include "brood/brood.hpp"

void say(const std::string& text) { std::cout << text << std::endl; }

int main(int argc, char** argv) {
  brood::init(argc, argv);
  // Objects that are never destroyed: their finalizers run at exit.
  static auto& last = *new brood::Finalizer([] { say("5 when no child runs any more"); }, -1);
  static auto& go = *new brood::Event;
  new brood::Finalizer([] {
    say("4 open");
    go.set();
  });
  new brood::Finalizer([] { say("3 close, the newest first"); });
  new brood::Finalizer([] { say("2 flush (highest priority)"); }, 100);
  static auto& cancelled = *new brood::Finalizer([] { say("never"); });
  cancelled.cancel();
  {
    const brood::Finalizer cache([] { say("1 the cache goes with its object"); });
  }
  static auto& child = *new brood::Process(
      [](brood::Event& event) {
        event.wait();
        say("child is over");
      },
      go);
  child.start();
  (void)last.still_active();
}
