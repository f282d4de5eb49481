// refused: the target is a lambda with captures
#include "brood/pool.hpp"
void test(int n) {
  brood::Pool pool(2, {.initializer = {[n] { return n; }}});
}
