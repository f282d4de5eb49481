// refused: an argument cannot be converted to the type of the target's parameter
#include "brood/pool.hpp"
int f(int);
void test() { brood::Pool pool(2, {.initializer = {f, "text"}}); }
