// refused: the number of arguments differs from the number of the method's parameters
#include "brood/remote.hpp"
struct Thing {
  void f(int, int = 2) {}
};
void test(brood::Remote<Thing>& thing) { thing.call<&Thing::f>(1); }
