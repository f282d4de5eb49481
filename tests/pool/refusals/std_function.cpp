// refused: the target is a std::function
#include "brood/pool.hpp"
void test(brood::Pool& pool, const std::function<int(int)>& f) { (void)pool.submit(f, 1); }
