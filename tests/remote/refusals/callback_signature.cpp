// refused by the language: no matching
#include "brood/callback.hpp"
void test() {
  brood::Callback<int(int)> f([](std::string) { return 1; });
}
