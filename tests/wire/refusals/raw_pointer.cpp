// refused: T cannot travel to another process: it is or holds a raw pointer
#include "brood/detail/callable.hpp"
void work(int*) {}
void test() {
  int n = 1;
  brood::detail::pack_call(work, &n);
}
