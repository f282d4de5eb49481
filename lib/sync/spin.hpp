// Spinner: how long to spin before sleeping, learnt from how it went before.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "os/futex.hpp"

namespace brood::inline v1::sync {

/// What one kind of wait of this process has learnt: about twice the pauses that lately led to success. Racy on purpose
/// (relaxed loads and stores): it is a guess, and a lost update costs a few pauses.
struct SpinBudget {
  std::atomic<std::uint32_t> pauses;
  std::atomic<std::uint32_t> waits;
  std::uint32_t most;  ///< never more pauses than this

  explicit constexpr SpinBudget(std::uint32_t most_pauses) noexcept
      : pauses(most_pauses), waits(0), most(most_pauses) {}
};

/// `while (!ready() && spinner.again()) {}` — afterwards call `succeeded()` if it was worth it.
///
/// A success keeps the budget at twice the pauses it took; a failure takes a quarter off; every 32nd wait tries the
/// full budget, so a changed situation is noticed. With both parties on one processor the budget goes to nearly
/// nothing, where a fixed spin would cost its full length at every wait.
class Spinner {
 public:
  explicit Spinner(SpinBudget& budget) noexcept : budget_(budget) {
    constexpr std::uint32_t kProbeEvery = 32;
    const std::uint32_t wait = budget.waits.load(std::memory_order_relaxed) + 1;
    budget.waits.store(wait, std::memory_order_relaxed);
    left_ = wait % kProbeEvery == 0 ? budget.most : budget.pauses.load(std::memory_order_relaxed);
  }

  bool again() noexcept {
    if (left_ == 0) {
      if (!failed_) {
        failed_ = true;
        const std::uint32_t now = budget_.pauses.load(std::memory_order_relaxed);
        budget_.pauses.store(std::max(kLeast, now - now / 4), std::memory_order_relaxed);
      }
      return false;
    }
    --left_;
    ++used_;
    os::cpu_relax();
    return true;
  }

  void succeeded() noexcept {
    if (failed_ || used_ == 0) return;
    const std::uint32_t wanted = std::min(used_ * 2, budget_.most);
    if (wanted > budget_.pauses.load(std::memory_order_relaxed))
      budget_.pauses.store(wanted, std::memory_order_relaxed);
  }

 private:
  static constexpr std::uint32_t kLeast = 4;
  SpinBudget& budget_;
  std::uint32_t left_;
  std::uint32_t used_ = 0;
  bool failed_ = false;
};

}  // namespace brood::inline v1::sync
