// refused: a temporary (or moved) shared object is passed to a call
#include "brood/detail/callable.hpp"
struct Lock {  // stands for any shared object
  Lock() = default;
  Lock(Lock&&) = default;
  brood::Handle handle() const { return {}; }
  static Lock open(const brood::Handle&) { return {}; }
};

void work(Lock) {}
void test() { brood::detail::pack_call(work, Lock{}); }
