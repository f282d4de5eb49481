// Owner: which process an object belongs to, when forks make copies of it.
#pragma once

#include <unistd.h>

#include <atomic>
#include <thread>

namespace brood::inline v1::net {

/// A copy that a fork made belongs to the child from its first use there. (By the process's number: it is compared in
/// descendants of the maker only, whose own ancestors are still known to the kernel or never had it.)
class Owner {
 public:
  [[nodiscard]] bool is_me() const noexcept { return process_.load(std::memory_order_acquire) == ::getpid(); }

  /// Runs `take_over` at the first use in a forked child, once, before any thread of it goes on.
  template <class TakeOver>
  void here(TakeOver take_over) {
    const int me = ::getpid();
    int owner = process_.load(std::memory_order_acquire);
    if (owner == me) [[likely]]
      return;
    for (; owner != me; owner = process_.load(std::memory_order_acquire)) {
      if (owner == -me) {  // another thread of ours is at it
        std::this_thread::yield();
        continue;
      }
      if (!process_.compare_exchange_strong(owner, -me)) continue;
      try {
        take_over();
      } catch (...) {  // passed on; whoever comes next tries again
        process_.store(owner);
        throw;
      }
      // SYNC owner: release; pairs with the acquire above: who sees the owner sees what take_over() did.
      process_.store(me, std::memory_order_release);
    }
  }

 private:
  std::atomic<int> process_ = ::getpid();
};

}  // namespace brood::inline v1::net
