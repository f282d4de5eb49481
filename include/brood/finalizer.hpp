// Finalizers: what a process does when an object goes, or at the latest when it ends; hooks after a fork.   (room: process)
//
//   brood::Finalizer scratch([path] { std::filesystem::remove_all(path); });
//
// Complete example: examples/19_finalizers.cpp
#pragma once

#include <functional>
#include <memory>

namespace brood::inline v1 {

/// An action that runs once: when this object is destroyed, when it is called, or when the process ends by exit() (also by
/// return from main or from a target), whichever comes first; never in a process that was forked off.
///
/// At exit: finalizers with a priority of 0 and more, the highest first, among equals the newest first; then daemons are
/// ended and other children joined; then the finalizers with negative priorities in the same order. (An action that
/// needs no children any more therefore gets a negative one. An object with static storage runs its action when it is
/// destroyed, in the order of static objects.) What an action throws at exit or in the destructor is
/// printed to standard error, and the next one follows.
///
/// Threads: safe. Processes: belongs to the one that made it.
/// Crash: a killed process, and one that leaves by _exit, quick_exit or an uncaught exception, runs none.
/// Source: Python multiprocessing.util.Finalize.
class Finalizer {
 public:
  Finalizer() = default;  ///< does nothing
  explicit Finalizer(std::function<void()> action, int priority = 0);
  Finalizer(Finalizer&& other) noexcept = default;
  Finalizer& operator=(Finalizer&& other) noexcept;
  ~Finalizer();

  /// Run it now. False if it has run, was cancelled, or belongs to another process. Errors: what the action throws.
  bool operator()();
  /// It shall not run at all.
  void cancel() noexcept;
  /// Whether it would still run in this process.
  [[nodiscard]] bool still_active() const noexcept;

  struct Entry;

 private:
  void run_quietly() noexcept;
  std::shared_ptr<Entry> entry_;
};

/// `hook` runs in every child that comes to be by fork (start methods fork and forkserver), before its target, in the order
/// of registration: to reseed, to reconnect. A child of the forkserver has only hooks that were registered by static
/// initialisation. What a hook throws is printed to standard error, and the next one follows.
void register_after_fork(std::function<void()> hook);

}  // namespace brood::inline v1
