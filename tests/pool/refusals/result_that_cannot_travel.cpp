// refused: the task returns a type that cannot travel
#include <thread>
#include "brood/pool.hpp"
std::thread f(int);
void test(brood::Pool& pool) { (void)pool.submit(f, 1); }
