// refused: the target is a pointer to a member
#include "brood/detail/callable.hpp"
struct Type {
  void run() {}
};
void test() { brood::detail::pack_call(&Type::run, Type{}); }
