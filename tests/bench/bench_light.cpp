// The library that light children of brood_bench load.
#include <stdexcept>

#include "brood/process.hpp"

namespace {
void nothing() {}
}  // namespace

extern "C" void bench_light_start_and_join() {
  brood::Process process({.start_method = brood::StartMethod::light}, nothing);
  process.start();
  process.join();
  if (process.exitcode() != 0) throw std::runtime_error("brood: the child failed");
}
