// refused: the method returns a type that cannot travel
#include <mutex>
#include "brood/remote.hpp"
struct Thing {
  std::mutex& mutex() { return mutex_; }
  std::mutex mutex_;
};
void test(brood::Remote<Thing>& thing) { (void)thing.call<&Thing::mutex>(); }
