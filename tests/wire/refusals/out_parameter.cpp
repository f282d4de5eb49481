// refused: a parameter of the target is a non-const reference to a value
#include "brood/detail/callable.hpp"
void work(std::vector<int>&) {}
void test() {
  std::vector<int> v;
  brood::detail::pack_call(work, v);
}
