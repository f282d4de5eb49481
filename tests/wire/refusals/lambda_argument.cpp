// refused: T cannot travel to another process: it is or holds a lambda
#include "brood/detail/callable.hpp"
void test() {
  int n = 1;
  brood::detail::pack_call([](auto f) { f(); }, [&n] { ++n; });
}
