// refused: the target is a pointer to a member
#include "brood/pool.hpp"
struct Thing {
  int f() const { return 1; }
};
void test(brood::Pool& pool) { (void)pool.map(&Thing::f, std::vector<Thing>(2)); }
