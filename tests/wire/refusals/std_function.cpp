// refused: the target is a std::function
#include "brood/detail/callable.hpp"
#include <functional>
void test() {
  std::function<void()> f = [] {};
  brood::detail::pack_call(f);
}
