// This process, its parent and its children, as processes that Process has made.                 (room: process)
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "brood/deadline.hpp"

namespace brood::inline v1 {

/// The calling process. "MainProcess" if no Process made it, so also in what the application forked itself.
///
/// Threads: safe.
class CurrentProcess {
 public:
  [[nodiscard]] std::string name() const;
  /// Seen by log records, error reports and the names of objects' users from now on; not by the parent.
  void set_name(std::string_view name);
  [[nodiscard]] std::int64_t pid() const noexcept;
  [[nodiscard]] bool daemon() const;
  /// The secret that this process shares with those that Process starts from it: a key for Listener and connect(). Bytes,
  /// not text; the library prints it nowhere.
  ///
  /// 32 random bytes, made when they are first asked for or a child is first started. A child has its parent's as it was at
  /// start(), whatever the method; what the application forks by itself has a copy once they have been made.
  [[nodiscard]] std::string authkey() const;
  /// Another one, for this process and the children that it starts from now on; an empty key is a key.
  void set_authkey(std::string key);
  [[nodiscard]] bool is_alive() const noexcept { return true; }
  [[nodiscard]] std::optional<int> exitcode() const noexcept { return std::nullopt; }
  /// As Process prints itself: `<Process name='MainProcess' pid=70 started>`.
  friend std::ostream& operator<<(std::ostream& out, const CurrentProcess& process);
};
[[nodiscard]] CurrentProcess current_process() noexcept;
/// The name of this process: "MainProcess", or what its Process was called.
[[nodiscard]] std::string current_process_name();

/// The process that started this one, whoever the kernel says is its parent (of a forkserver's child that is the server).
///
/// It is watched by a descriptor that every child has, so its death is seen at once and its pid cannot be mistaken.
/// Threads: safe. Errors, of all that look at its life: OsError if this process had no descriptor free when it was
/// started, or has closed that one.
class ParentProcess {
 public:
  [[nodiscard]] std::string name() const;
  [[nodiscard]] std::int64_t pid() const;
  [[nodiscard]] bool is_alive() const;
  /// Sleep until it has ended.
  void join() const;
  /// Sleep at most so long; true once it has ended.
  template <class Rep, class Period>
  bool join_for(std::chrono::duration<Rep, Period> timeout) const {
    return join_deadline(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  bool join_until(std::chrono::time_point<Clock, Duration> when) const {
    return detail::attempt_until(when, [this](Deadline deadline) { return join_deadline(deadline); });
  }
  /// A descriptor that is readable once it has ended. Belongs to the library; do not close it.
  [[nodiscard]] int sentinel() const;
  /// `<ParentProcess name='MainProcess' pid=70 started>`, or stopped.
  friend std::ostream& operator<<(std::ostream& out, const ParentProcess& process);

 private:
  [[nodiscard]] bool join_deadline(Deadline deadline) const;
};
/// Nothing in a process that no Process made.
[[nodiscard]] std::optional<ParentProcess> parent_process();

/// A child that runs.
struct ChildInfo {
  std::int64_t pid = 0;
  std::string name;
  bool daemon = false;
};
/// The running children of this process that Process has started; reaps those that have ended.
[[nodiscard]] std::vector<ChildInfo> active_children();

/// CPUs that are switched on in this machine. Errors: OsError if the kernel does not say.
[[nodiscard]] unsigned cpu_count();
/// CPUs that this thread may run on, at least 1: what a pool of workers should have.
[[nodiscard]] unsigned usable_cpu_count();

}  // namespace brood::inline v1
