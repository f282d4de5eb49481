// refused: the number of arguments differs from the number of the task's parameters
#include "brood/pool.hpp"
int f(int, int, int);
void test(brood::Pool& pool) { (void)pool.submit(f, 1); }
