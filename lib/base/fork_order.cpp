#include "base/fork_order.hpp"

#include <pthread.h>

#include <array>
#include <cstddef>
#include <mutex>

namespace brood::inline v1::base {
namespace {

struct Order {
  std::mutex mutex;  ///< held across fork as well, so no guard is added between locking and unlocking
  std::array<ForkGuard, 4> guards{};
};

Order& order();

void take_all() {
  auto& all = order();
  all.mutex.lock();
  for (const auto& guard : all.guards) {
    if (guard.lock != nullptr) guard.lock();
  }
}

void release_all() {
  auto& all = order();
  for (std::size_t i = all.guards.size(); i-- > 0;) {
    if (all.guards[i].unlock != nullptr) all.guards[i].unlock();
  }
  all.mutex.unlock();
}

Order& order() {
  static auto* const it = [] {
    auto* made = new Order;  // never destroyed: exit handlers fork, too
    ::pthread_atfork(take_all, release_all, release_all);
    return made;
  }();
  return *it;
}

}  // namespace

void hold_across_fork(ForkOrder place, ForkGuard guard) {
  auto& all = order();
  const std::lock_guard adding(all.mutex);
  all.guards[static_cast<std::size_t>(place)] = guard;
}

}  // namespace brood::inline v1::base
