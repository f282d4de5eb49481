// A pool of five workers: map with the results in order, one call, calls that go on, results as they come.
//
// Output:
// [1, 4, 9]
// 12 squared is 144
// 3 + 4 = 7, 5 + 6 = 11
// the first square above 100: 121
#include <iostream>
#include <ranges>
#include <utility>
#include <vector>

#include "brood/brood.hpp"

int square(int x) { return x * x; }
int add(int a, int b) { return a + b; }

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Pool pool(5);

  const char* separator = "[";
  for (const int x : pool.map(square, {1, 2, 3})) std::cout << std::exchange(separator, ", ") << x;
  std::cout << "]\n";

  std::cout << "12 squared is " << pool.apply(square, 12) << '\n';

  brood::Future<int> first = pool.submit(add, 3, 4);  // both are on their way …
  brood::Future<int> second = pool.submit(add, 5, 6);
  std::cout << "3 + 4 = " << first.get() << ", 5 + 6 = " << second.get() << '\n';

  // The input has no end; it is read a little ahead of the results.
  for (const int x : pool.imap(square, std::views::iota(0))) {
    if (x <= 100) continue;
    std::cout << "the first square above 100: " << x << '\n';
    break;
  }
}
