// Whether this object was closed, while other threads use it.                                     (room: channel)
#pragma once

#include <atomic>

namespace brood::inline v1::detail {

/// Goes one way. Moves with its object, which nobody else may use meanwhile.
class ClosedFlag {
 public:
  ClosedFlag() = default;
  ClosedFlag(const ClosedFlag& other) noexcept : is_set_(static_cast<bool>(other)) {}
  ClosedFlag& operator=(const ClosedFlag& other) noexcept {
    is_set_.store(static_cast<bool>(other), std::memory_order_relaxed);
    return *this;
  }
  ~ClosedFlag() = default;

  void set() noexcept { is_set_.store(true, std::memory_order_relaxed); }
  explicit operator bool() const noexcept { return is_set_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> is_set_ = false;
};

}  // namespace brood::inline v1::detail
