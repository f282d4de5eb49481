// refused: an argument cannot be converted
#include "brood/detail/callable.hpp"
void work(int) {}
void test() { brood::detail::pack_call(work, std::string("1")); }
