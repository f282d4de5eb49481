// refused: T cannot travel to another process: it is or holds a std::shared_ptr
#include <memory>
#include "brood/detail/callable.hpp"
void work(std::shared_ptr<int>) {}
void test() { brood::detail::pack_call(work, std::make_shared<int>(1)); }
