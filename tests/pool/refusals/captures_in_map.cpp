// refused: the target is a lambda with captures
#include "brood/pool.hpp"
void test(brood::Pool& pool, int n) {
  (void)pool.map([&n](int x) { return x + n; }, std::vector{1, 2});
}
