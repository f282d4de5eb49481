// refused: an argument is a std::ref of a shared object; pass the object itself
#include <functional>

#include "brood/detail/callable.hpp"
#include "brood/lock.hpp"
void work(brood::Lock&) {}
void test() {
  brood::Lock lock;
  brood::detail::pack_call(work, std::ref(lock));
}
