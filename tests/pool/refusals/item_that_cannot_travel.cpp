// refused: T cannot travel to another process: it is or holds a thread
#include <list>
#include <thread>
#include "brood/pool.hpp"
int f(const std::thread&);
void test(brood::Pool& pool, const std::list<std::thread>& threads) { (void)pool.map(f, threads); }
