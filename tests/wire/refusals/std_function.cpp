// refused: the target is a std::function
#include <functional>
#include "brood/detail/callable.hpp"
void test() {
  std::function<void()> f = [] {};
  brood::detail::pack_call(f);
}
