// What a child has of its parent's memory: under fork a copy of everything, under spawn and forkserver what static
// initialisation makes. Threads are never copied.
//
// Output:
// fork: the variable is "set in main", threads: 1
// spawn: the variable is "static", threads: 1
// forkserver: the variable is "static", threads: 1
#include <condition_variable>
#include <filesystem>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>

#include "brood/brood.hpp"

std::string variable = "static";

void look(brood::StartMethod method) {
  int threads = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) threads += task.is_directory();
  std::cout << method << ": the variable is \"" << variable << "\", threads: " << threads << std::endl;
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::set_fork_warning(nullptr);  // fork among threads is warned of
  std::mutex mutex;
  std::condition_variable over;
  bool done = false;
  std::thread other([&] {
    std::unique_lock guard(mutex);
    over.wait(guard, [&] { return done; });
  });
  variable = "set in main";
  for (const auto method : {brood::StartMethod::fork, brood::StartMethod::spawn, brood::StartMethod::forkserver}) {
    brood::Process p({.start_method = method}, look, method);
    p.start();
    p.join();
  }
  {
    const std::scoped_lock guard(mutex);
    done = true;
  }
  over.notify_one();
  other.join();
}
