// refused: the number of arguments differs
#include "brood/detail/callable.hpp"
void work(int, int) {}
void test() { brood::detail::pack_call(work, 1); }
