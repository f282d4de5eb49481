// refused: T cannot travel to another process: it is or holds a thread
#include <thread>
#include "brood/detail/callable.hpp"
void work(const std::thread&) {}
void test() {
  std::thread t;
  brood::detail::pack_call(work, t);
}
