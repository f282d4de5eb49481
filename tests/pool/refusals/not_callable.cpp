// refused: the target is not callable
#include "brood/pool.hpp"
void test(brood::Pool& pool) { (void)pool.submit(7, 1); }
