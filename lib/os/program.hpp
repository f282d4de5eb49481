// This process as a program: which file it runs, its arguments, its threads, its signals, its exit.
#pragma once

#include <csignal>
#include <cstddef>
#include <string>
#include <vector>

namespace brood::inline v1::os {

/// True in setuid and setgid programs: what the environment says was chosen by somebody else.
[[nodiscard]] bool runs_with_raised_rights() noexcept;

/// What to execute to run this very program again: /proc/self/exe (the same file even if it was deleted or replaced),
/// or the path our code is mapped from when the kernel was told to run something else (`ld.so ./prog`, valgrind). Empty
/// if that file has been deleted or /proc is not mounted.
[[nodiscard]] std::string own_executable();

/// The arguments this program was started with, from /proc.
[[nodiscard]] std::vector<std::string> own_arguments();

/// How many threads besides the caller and those of this library (named brood-…) there are.
[[nodiscard]] unsigned foreign_threads();

/// Blocks all signals of this thread while it lives.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() noexcept;
  ~AllSignalsBlocked();
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

/// Ignores SIGINT and SIGTERM, which go to whole process groups (Ctrl-C, a service that is stopped), while it lives.
class GroupSignalsIgnored {
 public:
  GroupSignalsIgnored() noexcept;
  ~GroupSignalsIgnored();
  GroupSignalsIgnored(const GroupSignalsIgnored&) = delete;
  GroupSignalsIgnored& operator=(const GroupSignalsIgnored&) = delete;

 private:
  struct sigaction interrupt_before_ {};
  struct sigaction terminate_before_ {};
};

/// What exec does, for a child that was only forked: handlers of asynchronous signals become the default, ignored
/// signals stay ignored except SIGCHLD, nothing is blocked. Handlers of crash signals stay: they print the report of a
/// sanitizer or of a debugging aid, and do not reach into the parent's affairs as a self-pipe's handler would.
void reset_signals_after_fork() noexcept;

/// Of a clone whose standard input has become another: what stdio had read ahead is the parent's.
void forget_read_ahead() noexcept;

/// `handler` runs at exit() with the status given to it, before everything that was registered earlier. 0 or ENOMEM.
[[nodiscard]] int at_exit_with_status(void (*handler)(int status)) noexcept;

/// Raises the soft limit of descriptors to the hard one; returns what it was.
[[nodiscard]] unsigned long raise_descriptor_limit() noexcept;
void restore_descriptor_limit(unsigned long soft) noexcept;

/// Stack for a thread of ours that needs `bytes` itself: thread-local variables of the program lie on it too.
[[nodiscard]] std::size_t thread_stack_bytes(std::size_t bytes) noexcept;

}  // namespace brood::inline v1::os
