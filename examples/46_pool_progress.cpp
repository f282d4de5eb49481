// Progress of a map: {.progress = true} draws a bar with rate and time left on a terminal, and prints plain lines elsewhere (to
// standard error, so not below); a function gets the figures. Then what the workers did; a limit that asks, and one that is set by hand.
//
// Output (regular expressions):
// primes: 40 of 40, 1 failed, [0-9.e+]+ a second
// 41 tasks by 2 workers, 1 failed, 0 lost
// asked to stop after [1-9][0-9]* rounds
// cancelled: true
// three workers now: 3
#include <chrono>
#include <iostream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "brood/brood.hpp"

/// How many primes there are below n.
long primes(long n) {
  if (n == 7) throw std::invalid_argument("seven is not to be asked for");
  long count = 0;
  for (long k = 2; k < n; ++k) {
    bool is_prime = true;
    for (long d = 2; is_prime && d * d <= k; ++d) is_prime = k % d != 0;
    if (is_prime) ++count;
  }
  return count;
}

/// Works until it is asked to stop.
long rounds() {
  long count = 0;
  do {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    ++count;
  } while (!brood::this_task().stop_requested());
  return count;
}

void for_ever() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

int main(int argc, char** argv) {
  using namespace std::chrono_literals;
  brood::init(argc, argv);
  brood::Pool pool(2);

  std::vector<long> limits;
  for (long n = 0; n < 40; ++n) limits.push_back(n);
  const auto print_last = [](const brood::ProgressReport& report) {
    if (!report.is_last) return;
    std::cout << report.title << ": " << report.done << " of " << report.total << ", " << report.failed << " failed, "
              << report.rate << " a second\n";
  };
  (void)pool.map_outcomes(primes, limits, {.progress = {print_last, "primes"}});

  // On standard error: a bar, or lines.
  (void)pool.map(primes, std::vector<long>{1000}, {.progress = {true, "one more"}});

  const brood::PoolInsight insight =
      pool.insight();  // std::cerr << insight prints all of it, with p50 and p99 of each worker
  std::cout << insight.finished << " tasks by " << insight.workers.size() << " workers, " << insight.failed
            << " failed, " << insight.lost << " lost\n";

  std::cout << "asked to stop after " << pool.apply({.soft_limit = 20ms}, rounds) << " rounds\n";

  auto endless = pool.submit(for_ever);
  pool.cancel(endless, {.grace = 10ms});  // it does not listen, so its worker is killed, and replaced
  try {
    endless.get();
  } catch (const brood::CancelledError&) {
    std::cout << "cancelled: true\n";
  }
  pool.resize(3);
  std::cout << "three workers now: " << pool.size() << '\n';
}
