// Turn: one thread at a time, with a deadline.
#pragma once

#include <atomic>
#include <cstdint>

#include "brood/deadline.hpp"
#include "os/futex.hpp"

namespace brood::inline v1::net {

/// A lock of this process that can be waited for with a deadline, and that a forked child can make anew: the thread that
/// held it at the fork does not exist there. (Neither is so with the mutexes of the standard library.)
class Turn {
 public:
  [[nodiscard]] bool enter(Deadline deadline) noexcept {
    std::uint32_t seen = kFree;
    // SYNC turn: acquire; pairs with the release in leave().
    if (word_.compare_exchange_strong(seen, kTaken, std::memory_order_acquire)) return true;
    // From now on somebody may sleep, and whoever leaves looks after them.
    while (word_.exchange(kContended, std::memory_order_acquire) != kFree) {
      if (deadline.passed()) return false;
      (void)os::futex_wait(word_, kContended, deadline);
    }
    return true;
  }
  void leave() noexcept {
    if (word_.exchange(kFree, std::memory_order_release) == kContended) os::futex_wake(word_, 1);
  }
  /// In the child of a fork, before any other thread can use it.
  void begin_anew() noexcept { word_.store(kFree); }

 private:
  static constexpr std::uint32_t kFree = 0;
  static constexpr std::uint32_t kTaken = 1;
  static constexpr std::uint32_t kContended = 2;
  os::Word word_ = kFree;
};

/// Leaves at the end of the block.
class InTurn {
 public:
  InTurn(Turn& turn, Deadline deadline) noexcept : turn_(turn), entered_(turn.enter(deadline)) {}
  ~InTurn() {
    if (entered_) turn_.leave();
  }
  InTurn(const InTurn&) = delete;
  InTurn& operator=(const InTurn&) = delete;
  [[nodiscard]] explicit operator bool() const noexcept { return entered_; }

 private:
  Turn& turn_;
  bool entered_;
};

}  // namespace brood::inline v1::net
