// A worker dies in the middle of a task: that task fails and says how, all others have their results, and the pool goes on. A task
// that may be run twice is tried again; one that takes too long is killed.
//
// Output:
// 0: half of it is 0
// 1: std::invalid_argument, 1 is odd
// 2: half of it is 1
// 3: lost, its worker was ended by signal 11
// 4: half of it is 2
// tried 3 times: 42
// too late: true
// the pool still works: 50
#include <csignal>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "brood/brood.hpp"

int half(int x) {
  if (x == 3) std::raise(SIGSEGV);  // as any bug would
  if (x % 2 != 0) throw std::invalid_argument(std::to_string(x) + " is odd");
  return x / 2;
}

/// Its memory runs out twice: then the kernel kills.
int unlucky(int result) {
  if (brood::this_task().attempt() < 3) std::raise(SIGKILL);
  return result;
}

void for_ever() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

int main(int argc, char** argv) {
  using namespace std::chrono_literals;
  brood::init(argc, argv);
  brood::Pool pool(2);

  const auto outcomes = pool.map_outcomes(half, std::vector{0, 1, 2, 3, 4});  // map() would throw the first failure
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    std::cout << i << ": ";
    try {
      const int result = outcomes[i].value();
      std::cout << "half of it is " << result << '\n';
    } catch (const brood::WorkerDied& died) {
      std::cout << "lost, its worker was ended by signal " << died.signal() << '\n';
    } catch (const std::invalid_argument& error) {
      std::cout << "std::invalid_argument, " << error.what() << '\n';
    }
  }

  std::cout << "tried 3 times: " << pool.apply({.retry = {.times = 5, .backoff = 1ms}}, unlucky, 42) << '\n';

  try {
    pool.apply({.hard_limit = 50ms}, for_ever);
  } catch (const brood::TaskTimeout&) {
    std::cout << "too late: true\n";
  }
  std::cout << "the pool still works: " << pool.apply(half, 100) << '\n';
}
