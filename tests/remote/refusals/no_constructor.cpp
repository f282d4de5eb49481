// refused: the object has no constructor for these arguments
#include "brood/remote.hpp"
struct Thing {
  explicit Thing(std::string) {}
};
void test() { brood::Remote<Thing> thing(1, 2); }
