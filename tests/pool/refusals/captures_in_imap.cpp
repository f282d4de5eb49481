// refused: the target is a lambda with captures
#include "brood/pool.hpp"
void test(brood::Pool& pool, int n) {
  for (const int y : pool.imap([n](int x) { return x + n; }, std::vector{1, 2})) (void)y;
}
