// refused: a temporary (or moved) shared object is passed
#include "brood/pool.hpp"
#include "brood/queue.hpp"
void f(brood::Queue<int>&);
void test(brood::Pool& pool) { (void)pool.submit(f, brood::Queue<int>()); }
