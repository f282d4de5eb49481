// refused: a parameter of the target is a non-const reference to a value
#include "brood/remote.hpp"
struct Thing {
  void f(int& out) { out = 1; }
};
void test(brood::Remote<Thing>& thing) {
  int n = 0;
  thing.call<&Thing::f>(n);
}
