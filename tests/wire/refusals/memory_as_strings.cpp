// refused: shared memory is seen as plain data without pointers
#include <string>

#include "brood/shared_memory.hpp"
void test(brood::SharedMemory& memory) { (void)memory.as<std::string>(); }
