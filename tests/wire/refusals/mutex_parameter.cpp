// refused: a parameter of the target is a non-const reference to a value
#include <mutex>
#include "brood/detail/callable.hpp"
void work(std::mutex&) {}
void test() {
  std::mutex m;
  brood::detail::pack_call(work, m);
}
