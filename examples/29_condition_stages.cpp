// Work in stages: everybody of the second stage waits on a condition until the first is done.
//
// Output (any order):
// Starting stage 1
// s1 done and ready for stage 2
// stage_2[1] running
// stage_2[2] running
// the first line of stage 2 came after stage 1: yes
#include <iostream>
#include <mutex>
#include <string>
#include <vector>

#include "brood/brood.hpp"

struct Progress {
  bool first_done = false;
  int too_early = 0;
};

void stage_1(brood::Lock& lock, brood::Condition& changed, brood::Value<Progress>& progress) {
  std::cout << "Starting stage 1" << std::endl;
  const std::scoped_lock guard(lock);
  std::cout << "s1 done and ready for stage 2" << std::endl;
  progress.with([](Progress& p) { p.first_done = true; });
  changed.notify_all();
}

void stage_2(brood::Lock& lock, brood::Condition& changed, brood::Value<Progress>& progress, int id) {
  std::unique_lock guard(lock);
  changed.wait(guard, [&] { return progress.get().first_done; });
  progress.with([](Progress& p) { p.too_early += !p.first_done; });
  std::cout << "stage_2[" << id << "] running" << std::endl;
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Lock lock;
  brood::Condition changed;
  brood::Value<Progress> progress;
  std::vector<brood::Process> second;
  for (int id = 1; id <= 2; ++id) second.emplace_back(stage_2, lock, changed, progress, id).start();
  brood::Process first(stage_1, lock, changed, progress);
  first.start();
  first.join();
  for (auto& process : second) process.join();
  std::cout << "the first line of stage 2 came after stage 1: " << (progress.get().too_early == 0 ? "yes" : "no")
            << '\n';
}
