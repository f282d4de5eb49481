// refused: the target is a lambda with captures (or an object with data)
#include "brood/detail/callable.hpp"
void test() {
  int n = 1;
  brood::detail::pack_call([&](int a) { n += a; }, 2);
}
