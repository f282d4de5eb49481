// refused: starmap takes items that are tuples, pairs or arrays
#include "brood/pool.hpp"
int f(int);
void test(brood::Pool& pool) { (void)pool.starmap(f, std::vector{1, 2}); }
