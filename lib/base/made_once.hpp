// What a process makes at its first use and keeps to its end.
#pragma once

#include <atomic>
#include <memory>

namespace brood::inline v1::base {

/// Without a lock and without the guard of a static variable: a child forked while another thread is inside one of those
/// would wait for it for ever. Threads that are first at the same time all make one, and all but one drop theirs again.
/// Never destroyed: shared objects with static storage may outlive it. Static storage, constinit.
template <class T>
class MadeOnce {
 public:
  /// The value, made by `make()` (a unique_ptr<T>) if there is none.
  template <class Make>
  T& get(Make&& make) {
    if (T* const made = value_.load(std::memory_order_acquire)) return *made;
    return offer(make());
  }
  /// The value: `fresh` unless somebody was first.
  T& offer(std::unique_ptr<T> fresh) {
    T* made = nullptr;
    if (!value_.compare_exchange_strong(made, fresh.get(), std::memory_order_acq_rel)) return *made;
    return *fresh.release();
  }

 private:
  std::atomic<T*> value_ = nullptr;
};

}  // namespace brood::inline v1::base
