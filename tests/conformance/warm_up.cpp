// What rightly stays until the end of the program is made before the first look round: the registry and the forkserver.
#include <string>

#include "brood/lock.hpp"
#include "brood/process.hpp"
#include "support/leak_check.hpp"
#include "support/worker.hpp"

namespace {

const bool kWarm = support::before_first_baseline([] {
  brood::Lock lock;
  lock.lock();
  lock.unlock();
  if (SUPPORT_TSAN) return;
  brood::Process first({.start_method = brood::StartMethod::forkserver}, [] {});
  first.start();
  first.join();
});

}  // namespace
