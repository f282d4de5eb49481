// refused: T cannot travel to another process: it is or holds a std::string_view or std::span
#include "brood/detail/callable.hpp"
void work(std::string_view) {}
void test() { brood::detail::pack_call(work, "text"); }
