// refused: the target cannot be called with these arguments
#include "brood/pool.hpp"
void test(brood::Pool& pool) {
  (void)pool.submit([](std::integral auto x) { return x; }, std::string("text"));
}
