// Which of the copies that fork makes this process is.
#pragma once

#include <atomic>

namespace brood::inline v1::os {

extern std::atomic<unsigned> g_forks;  // os/forks.cpp

/// How many forks lie between the program's first process and this one. One load, where getpid() would be a system call.
/// relaxed: a forked child begins with one thread, which counted.
inline unsigned forks() noexcept { return g_forks.load(std::memory_order_relaxed); }

/// For the time in which somebody else's function works for another process. A child that it forks is a copy of this one, with the
/// same conversations: one that comes back from the function, instead of ending in it, would go on as if it were this process.
/// It is told so on standard error, and ends at once with exit code 1.
class ForkedCopiesEnd {
 public:
  /// `what`: "the task of a Pool"
  explicit ForkedCopiesEnd(const char* what) noexcept : what_(what), forks_(forks()) {}
  ~ForkedCopiesEnd() {
    if (forks() != forks_) [[unlikely]]
      end();
  }
  ForkedCopiesEnd(const ForkedCopiesEnd&) = delete;
  ForkedCopiesEnd& operator=(const ForkedCopiesEnd&) = delete;

 private:
  [[noreturn]] void end() const noexcept;
  const char* what_;
  const unsigned forks_;
};

}  // namespace brood::inline v1::os
