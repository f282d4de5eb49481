// refused: an abstract class cannot be made in another process
#include "brood/detail/method.hpp"
struct Thing {
  virtual ~Thing() = default;
  virtual void f() = 0;
};
void test() { (void)brood::detail::pack_hosted<Thing>(); }
