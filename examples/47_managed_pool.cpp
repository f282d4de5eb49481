// A pool in a manager's server: its workers are shared by several processes, each of which gets its own results. One worker dies; the
// process that had given it its task is told, and the others notice nothing.
//
// Link with brood-manager as well (pkg-config brood-manager).
//
// Output:
// squares: 1 4 9
// two clients: 332833500 332833500
// a worker of the server's died in it: signal 9
// 3 workers still
// the pool was closed by somebody
#include <csignal>
#include <iostream>
#include <numeric>
#include <vector>

#include "brood/brood.hpp"
#include "brood/manager.hpp"

long square(long x) { return x * x; }

void sum_of_squares(const brood::PoolProxy& pool, const brood::ListProxy<long>& sums) {
  std::vector<long> numbers(1000);
  std::iota(numbers.begin(), numbers.end(), 0);
  const std::vector<long> squares = pool.map(square, numbers);
  sums.append(std::accumulate(squares.begin(), squares.end(), 0L));
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Manager manager;
  const brood::PoolProxy pool = manager.pool(3);
  std::cout << "squares:";
  for (const long x : pool.map(square, {1L, 2L, 3L})) std::cout << ' ' << x;
  std::cout << '\n';

  const auto sums = manager.list<long>();
  brood::Process one(sum_of_squares, pool, sums);
  brood::Process other(sum_of_squares, pool, sums);
  one.start();
  other.start();
  try {
    pool.apply([] { std::raise(SIGKILL); });
  } catch (const brood::WorkerDied& died) {
    one.join();
    other.join();
    std::cout << "two clients: " << sums.at(0) << ' ' << sums.at(1) << '\n';
    std::cout << "a worker of the server's died in it: signal " << -died.exitcode().value_or(0) << '\n';
  }
  std::cout << pool.size() << " workers still\n";  // it is replaced

  brood::Process closer([](const brood::PoolProxy& it) { it.close(); }, pool);
  closer.start();
  closer.join();
  try {
    (void)pool.submit(square, 1L);
  } catch (const brood::UsageError&) {
    std::cout << "the pool was closed by somebody\n";
  }
  pool.join();
}
