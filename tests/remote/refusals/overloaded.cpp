// refused by the language: no matching
#include "brood/remote.hpp"
struct Thing {
  int f(int) { return 1; }
  int f(const char*) { return 2; }
};
void test(brood::Remote<Thing>& thing) { (void)thing.call<&Thing::f>(1); }
