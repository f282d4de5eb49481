// refused: the number of arguments differs from the number of the initializer's parameters
#include "brood/pool.hpp"
int f(int, int);
void test() { brood::Pool pool(2, {.initializer = {f, 1}}); }
