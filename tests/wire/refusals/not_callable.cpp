// refused: the target is not callable
#include "brood/detail/callable.hpp"
void test() { brood::detail::pack_call(7); }
