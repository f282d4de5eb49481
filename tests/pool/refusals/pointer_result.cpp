// refused: the task returns a pointer into the worker's memory
#include "brood/pool.hpp"
int* f(int);
void test(brood::Pool& pool) { (void)pool.submit(f, 1); }
