// Descriptors that end with this process, whatever it has forked.
#pragma once

#include <mutex>

namespace brood::inline v1::os {

/// While it lives, copies of this process that fork makes have /dev/null in the place of an open descriptor. A child that shared a
/// socket or a locked file with us would hold it after our death, and whoever waits for our end would wait for the child's.
/// (O_CLOEXEC says the same of programs only.) Destroy it before the descriptor is closed. Thread-safe.
class NotInForks {
 public:
  /// Nobody forks while this is held: for the time between the making of a descriptor and its NotInForks. Not for sleeping.
  using Pause = std::unique_lock<std::mutex>;
  [[nodiscard]] static Pause pause();

  NotInForks(int descriptor, const Pause& pause);
  explicit NotInForks(int descriptor) : NotInForks(descriptor, pause()) {}
  ~NotInForks();
  NotInForks(const NotInForks&) = delete;
  NotInForks& operator=(const NotInForks&) = delete;

 private:
  friend struct OpenHere;
  const int descriptor_;
  bool is_listed_ = true;
  NotInForks* next_;
  NotInForks* previous_ = nullptr;
};

}  // namespace brood::inline v1::os
