// refused: a parameter of the target is a non-const reference to a value
#include "brood/pool.hpp"
int f(int& out);
void test(brood::Pool& pool) {
  int n = 0;
  (void)pool.submit(f, n);
}
