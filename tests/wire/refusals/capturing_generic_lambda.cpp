// refused: the target is a lambda with captures (or an object with data)
#include "brood/detail/callable.hpp"
void test() {
  int n = 1;
  brood::detail::pack_call([n](auto a) { return a + n; }, 2);
}
