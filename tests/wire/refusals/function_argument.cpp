// refused: T cannot travel to another process: it is or holds a std::function
#include "brood/detail/callable.hpp"
#include <functional>
void work(std::function<void()>) {}
void test() { brood::detail::pack_call(work, std::function<void()>()); }
