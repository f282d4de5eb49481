// refused: call<M> takes &Class::function
#include "brood/remote.hpp"
struct Thing {};
void test(brood::Remote<Thing>& thing) { thing.call<7>(); }
