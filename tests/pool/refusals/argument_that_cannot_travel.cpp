// refused: T cannot travel to another process: it is or holds a mutex
#include <mutex>
#include "brood/pool.hpp"
int f(const std::mutex&);
void test(brood::Pool& pool, const std::mutex& mutex) { (void)pool.submit(f, mutex); }
