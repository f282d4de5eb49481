// A list expression, evaluated in parallel: Python's [steps(n) for n in range(1, 30) if n % 2] is a map over a view. Nothing of it
// is stored before it is sent.
//
// Output:
// steps(n) for odd n below 30: 0 7 5 16 19 14 9 17 12 20 7 15 23 111 18
// the same in one process: true
// the longest way of all odd n below 1000: 871, 178 steps
// table: 1 2 3 4 | 2 4 6 8 | 3 6 9 12
#include <algorithm>
#include <iostream>
#include <ranges>
#include <tuple>
#include <utility>
#include <vector>

#include "brood/brood.hpp"

/// How many steps Collatz's rule takes from n to 1.
int steps(long n) {
  int count = 0;
  for (; n != 1; ++count) n = n % 2 == 0 ? n / 2 : 3 * n + 1;
  return count;
}

bool is_odd(long n) { return n % 2 != 0; }
int times(int a, int b) { return a * b; }

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Pool pool(4);

  auto odd = std::views::iota(1L, 30L) | std::views::filter(is_odd);
  const std::vector<int> all = pool.map(steps, odd);
  std::cout << "steps(n) for odd n below 30:";
  for (const int count : all) std::cout << ' ' << count;
  std::cout << "\nthe same in one process: " << (std::ranges::equal(all, odd, {}, {}, steps) ? "true" : "false")
            << '\n';

  // A condition and a result that belong together: the function returns both. The order does not matter for a maximum.
  const auto with_number = [](long n) { return std::pair(steps(n), n); };
  std::pair<int, long> longest;
  for (const auto& one :
       pool.imap_unordered(with_number, std::views::iota(1L, 1000L) | std::views::filter(is_odd), {.chunk_size = 50}))
    longest = std::max(longest, one);
  std::cout << "the longest way of all odd n below 1000: " << longest.second << ", " << longest.first << " steps\n";

  // Two loops: [a * b for a in range(1, 4) for b in range(1, 5)].
  std::vector<std::tuple<int, int>> pairs;
  for (int a = 1; a < 4; ++a) {
    for (int b = 1; b < 5; ++b) pairs.emplace_back(a, b);
  }
  const std::vector<int> table = pool.starmap(times, pairs);
  std::cout << "table:";
  for (std::size_t i = 0; i < table.size(); ++i) std::cout << (i != 0 && i % 4 == 0 ? " | " : " ") << table[i];
  std::cout << '\n';
}
