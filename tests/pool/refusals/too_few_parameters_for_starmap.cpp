// refused: the number of arguments differs from the number of the task's parameters
#include "brood/pool.hpp"
int f(int);
void test(brood::Pool& pool) { (void)pool.starmap(f, std::vector<std::pair<int, int>>{{1, 2}}); }
