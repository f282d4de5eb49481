// refused: the method returns a pointer into the other process
#include "brood/remote.hpp"
struct Thing {
  int* find() { return nullptr; }
};
void test(brood::Remote<Thing>& thing) { (void)thing.call<&Thing::find>(); }
