// refused: an argument cannot be converted to the type of the target's parameter
#include "brood/remote.hpp"
struct Thing {
  void f(int) {}
};
void test(brood::Remote<Thing>& thing) { thing.call<&Thing::f>("text"); }
