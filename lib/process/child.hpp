// Child: a started process, as its creator sees it; and all of them together.
#pragma once

#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "brood/deadline.hpp"
#include "process/conversation.hpp"
#include "process/launcher.hpp"

namespace brood::inline v1::process {

class Child : public std::enable_shared_from_this<Child> {
 public:
  /// Registers itself, so that forked children close the descriptors. Call with the launch mutex held.
  Child(Launched launched, std::string name, bool daemon, Streams streams);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Learns pid and pidfd if a forkserver makes the process. False if that server died over it: nothing was started.
  [[nodiscard]] bool await_birth() { return process::await_birth(launched_); }
  /// Hands the order over and waits until the child is ready to run. Errors: StartError, OsError; the child is gone
  /// then.
  void bring_up(Order& order);
  /// Our end of a stream's pipe; nothing if it is no pipe, or was taken before. The caller owns it now: forked children do
  /// not close it.
  [[nodiscard]] base::UniqueFd take_stream(std::size_t number);

  [[nodiscard]] pid_t pid() const noexcept { return launched_.pid; }
  [[nodiscard]] int pidfd() const noexcept { return launched_.pidfd.get(); }
  /// pid of the process that started it.
  [[nodiscard]] pid_t creator() const noexcept { return creator_; }
  [[nodiscard]] bool is_daemon() const noexcept { return daemon_; }
  [[nodiscard]] std::string name() const;
  void set_name(std::string name);
  [[nodiscard]] bool is_running() const noexcept { return ready_.load() && !ended(); }
  [[nodiscard]] bool ended() const noexcept;
  [[nodiscard]] bool wait(Deadline deadline) const noexcept;
  /// Errors: OsError, but not for a process that has ended.
  void send_signal(int number);
  /// The two halves of ending a daemon: ask it, then, when its time is up, end it. The second returns when it has
  /// ended.
  void ask_to_end() noexcept;
  void end_after(Deadline grace) noexcept;
  /// Nothing while it runs. Reaps.
  [[nodiscard]] std::optional<int> exit_code();
  /// Once exit_code() has said something: whether the kernel told of a core.
  [[nodiscard]] bool core_dumped() const {
    const std::lock_guard guard(mutex_);
    return launched_.core_dumped;
  }

  /// In a forked child of this process: gives up the descriptors, which are the parent's.
  void forget() noexcept;

 private:
  Launched launched_;
  const bool daemon_;
  const pid_t creator_ = ::getpid();
  std::atomic<bool> ready_ = false;
  mutable std::mutex mutex_;  ///< guards what follows, and launched_.socket once the child is up
  std::string name_;
  std::optional<int> exit_code_;
  Streams streams_;
};

/// Held from the making of descriptors for a child until they are registered, and over fork: a forked child can so
/// close what belongs to its parent's children.
[[nodiscard]] std::mutex& launch_mutex();
/// Children whose descriptors are open. Takes the launch mutex.
[[nodiscard]] std::vector<std::shared_ptr<Child>> all_children();
/// Arranges that finalizers run, and children are ended or joined, when this process exits. Once a process.
void watch_over_children_at_exit();

/// Around fork() in this room; the launch mutex is held.
class ForkInProgress {
 public:
  ForkInProgress() noexcept;
  ~ForkInProgress();
  ForkInProgress(const ForkInProgress&) = delete;
  ForkInProgress& operator=(const ForkInProgress&) = delete;
  /// In the child: no children, no forkserver, no descriptors of theirs, launch mutex free.
  static void become_childless() noexcept;
};

/// Starts a process; `library` is what a light one loads. Errors: StartError, OsError.
[[nodiscard]] std::shared_ptr<Child> start_child(StartMethod method, const std::string& library, Order& order,
                                                 const ProcessOptions& options, bool daemon);

/// "3", "-SIGKILL".
[[nodiscard]] std::string exit_text(int code);

}  // namespace brood::inline v1::process
