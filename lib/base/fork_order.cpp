#include "base/fork_order.hpp"

#include <pthread.h>

#include <array>
#include <atomic>
#include <cstddef>

namespace brood::inline v1::base {
namespace {

constexpr std::size_t kPlaces = static_cast<std::size_t>(ForkOrder::descriptors) + 1;

// No mutex around them: a thread that forks may hold the first of the guards already, and would then take this mutex
// after it, every other thread before it.
constinit std::array<std::atomic<const ForkGuard*>, kPlaces> g_guards{};
/// What the fork of this thread has taken; a guard that is added meanwhile is not among it.
thread_local constinit std::array<const ForkGuard*, kPlaces> t_taken{};

void take_all() {
  for (std::size_t i = 0; i < kPlaces; ++i) {
    t_taken[i] = g_guards[i].load(std::memory_order_acquire);
    if (t_taken[i] != nullptr) t_taken[i]->lock();
  }
}

void release_all() {
  for (std::size_t i = kPlaces; i-- > 0;) {
    if (t_taken[i] != nullptr) t_taken[i]->unlock();
  }
}

void release_all_in_child() {
  for (std::size_t i = kPlaces; i-- > 0;) {
    if (t_taken[i] != nullptr)
      (t_taken[i]->unlock_in_child != nullptr ? t_taken[i]->unlock_in_child : t_taken[i]->unlock)();
  }
}

}  // namespace

void hold_across_fork(ForkOrder place, ForkGuard guard) {
  [[maybe_unused]] static const int registered = ::pthread_atfork(take_all, release_all, release_all_in_child);
  // Never deleted: exit handlers fork, too.
  g_guards[static_cast<std::size_t>(place)].store(new ForkGuard(guard), std::memory_order_release);
}

}  // namespace brood::inline v1::base
