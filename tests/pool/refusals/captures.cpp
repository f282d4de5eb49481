// refused: the target is a lambda with captures
#include "brood/pool.hpp"
void test(brood::Pool& pool, int n) {
  (void)pool.submit([n](int x) { return x + n; }, 1);
}
