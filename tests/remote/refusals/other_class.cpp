// refused: the method in call<M> belongs to another class than the object
#include "brood/remote.hpp"
struct Thing {};
struct Other {
  void f() {}
};
void test(brood::Remote<Thing>& thing) { thing.call<&Other::f>(); }
