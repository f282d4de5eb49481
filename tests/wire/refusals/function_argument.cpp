// refused: T cannot travel to another process: it is or holds a std::function
#include <functional>
#include "brood/detail/callable.hpp"
void work(std::function<void()>) {}
void test() { brood::detail::pack_call(work, std::function<void()>()); }
