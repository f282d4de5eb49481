// A module for the forkserver to load: makes a lock, and says something that it does not flush.
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "brood/lock.hpp"

extern "C" bool conformance_preload_uses_its_lock();

namespace {

brood::Lock g_lock;

[[maybe_unused]] const bool g_loaded = [] {
  if (std::getenv("BROOD_TEST_PRELOAD_TALKS") != nullptr) {
    std::printf("printf of the module;");
    std::cout << "cout of the module;";
  }
  return true;
}();

}  // namespace

bool conformance_preload_uses_its_lock() {
  const bool got = g_lock.try_lock();
  if (got) g_lock.unlock();
  return got;
}
