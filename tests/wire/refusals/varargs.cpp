// refused: the target takes C varargs
#include "brood/detail/callable.hpp"
void log(const char*, ...) {}
void test() { brood::detail::pack_call(log, "text"); }
