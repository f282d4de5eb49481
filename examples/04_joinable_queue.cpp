// Python's JoinableQueue: put work, have it done by several processes, and join the queue: it returns when every item is
// done, not only taken.
//
// Output:
// sum of squares 338350
// one more item: 10000
#include <iostream>

#include "brood/brood.hpp"

void square(brood::JoinableQueue<int>& numbers, brood::Value<long>& sum) {
  for (const int number : numbers) {
    sum.with([&](long& s) { s += static_cast<long>(number) * number; });
    numbers.task_done();
  }
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::JoinableQueue<int> numbers;
  brood::Value<long> sum(0);
  brood::Process one(square, numbers, sum);
  brood::Process two(square, numbers, sum);
  one.start();
  two.start();

  for (int n = 1; n <= 100; ++n) numbers.put(n);
  numbers.join();
  std::cout << "sum of squares " << sum.get() << '\n';

  sum.set(0);
  numbers.put(100);
  numbers.join();
  std::cout << "one more item: " << sum.get() << '\n';

  numbers.shutdown();
  one.join();
  two.join();
}
