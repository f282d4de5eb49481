// Stepper: runs a victim to an exact instruction of its operation, and kills it there.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace fault {

/// A place to kill at: after `steps` instructions of the operation; or, with `inside`, asleep in the system call that
/// the next instruction makes.
///
/// Counting from the start costs the square of the length. In long operations `calls` system calls are run through at
/// full speed first, and `steps` counts from the end of the last of them.
struct Point {
  long steps = 0;
  bool inside = false;
  long calls = 0;
};

/// What to do when the victim falls asleep inside its operation for the n-th time (from 0).
enum class Sleep : std::uint8_t {
  woken,      ///< something was done that ends the sleep
  by_itself,  ///< it has a timeout
  for_ever,   ///< nothing will: the operation ends here
};
using OnSleep = std::function<Sleep(int nth)>;

struct Arrival {
  bool ended = false;     ///< the operation was over before the point was reached
  bool asleep = false;    ///< killed while it slept in the kernel
  long steps = 0;         ///< stepped in all
  std::uintptr_t at = 0;  ///< instruction pointer
};

/// A forked process that has done its set-up and stands before the first instruction of the operation.
class Victim {
 public:
  /// Errors: std::runtime_error if the set-up fails.
  Victim(const std::function<void()>& ready, const std::function<void()>& operate);
  Victim(const Victim&) = delete;
  Victim& operator=(const Victim&) = delete;
  ~Victim() { kill(); }

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  Arrival run_to(const Point& point, const OnSleep& on_sleep);
  /// SIGKILL; returns when it is reaped.
  void kill() noexcept;

  /// Steps through all of the operation; `after_step(index, is_system_call)` may look at shared memory.
  /// Returns the number of instructions.
  struct Trace {
    long steps = 0;
    std::vector<long> calls;   ///< steps after which a system call had returned
    std::vector<long> sleeps;  ///< steps that slept: kill points `inside`
    bool ended = false;        ///< false: it sleeps for ever at the end
  };
  Trace trace(long limit, const OnSleep& on_sleep, const std::function<void(long step)>& after_step);

 private:
  enum class Stop : std::uint8_t { stepped, ended, asleep };
  /// Lets the victim go on by `request` and waits until it stops or sleeps.
  Stop advance(int request, const OnSleep* on_sleep);
  [[nodiscard]] std::uintptr_t instruction_pointer() const;
  [[nodiscard]] bool at_system_call() const;

  pid_t pid_ = -1;
  int sleeps_ = 0;
  bool slept_ = false;  ///< in the last advance
};

}  // namespace fault
