// refused: the items of a map are no range
#include "brood/pool.hpp"
int f(int);
void test(brood::Pool& pool) { (void)pool.imap<f>(7); }
