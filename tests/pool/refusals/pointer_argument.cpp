// refused: T cannot travel to another process: it is or holds a raw pointer
#include "brood/pool.hpp"
int f(int*);
void test(brood::Pool& pool, int* p) { (void)pool.submit(f, p); }
