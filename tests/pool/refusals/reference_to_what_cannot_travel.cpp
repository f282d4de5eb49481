// refused: the task returns a type that cannot travel
#include <mutex>
#include "brood/pool.hpp"
std::mutex& f(int);
void test(brood::Pool& pool) { (void)pool.submit(f, 1); }
