// Sockets that end with this process, whatever it has forked.
#pragma once

namespace brood::inline v1::os {

/// While it lives, copies of this process that fork makes have /dev/null in the place of an open descriptor. A child that shared a
/// socket with us would hold it open after our death, and whoever waits for our end would wait for the child's. (O_CLOEXEC says
/// the same of programs only.) Destroy it before the descriptor is closed. Thread-safe; a fork waits for the constructor
/// and the destructor.
class NotInForks {
 public:
  explicit NotInForks(int descriptor);
  ~NotInForks();
  NotInForks(const NotInForks&) = delete;
  NotInForks& operator=(const NotInForks&) = delete;

  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

 private:
  friend struct OpenHere;
  const int descriptor_;
  NotInForks* next_;
  NotInForks* previous_ = nullptr;
};

}  // namespace brood::inline v1::os
