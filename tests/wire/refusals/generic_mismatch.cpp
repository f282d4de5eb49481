// refused: the target cannot be called with these arguments
#include "brood/detail/callable.hpp"
void test() {
  brood::detail::pack_call([](auto a, int b) { return sizeof(a) + static_cast<unsigned>(b); }, 1);
}
