// Waiters: the threads of this process that wait for what cannot wait for itself. See README.md.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/detail/watch.hpp"
#include "os/futex.hpp"

namespace brood::inline v1::waiting {

using detail::WaitSource;
using detail::Watch;

/// One thread, asleep on up to kMost words, or on descriptors.
class WaiterThread {
 public:
  /// With the thread's own word and the death word: as many as the kernel takes.
  static constexpr std::size_t kMost = os::kMostWords - 2;

  WaiterThread(std::mutex& mutex, bool polls);
  WaiterThread(const WaiterThread&) = delete;
  WaiterThread& operator=(const WaiterThread&) = delete;

  /// Errors: OsError.
  void launch();
  void join() noexcept;
  /// After join(): those that are left.
  [[nodiscard]] std::span<Watch* const> left() const noexcept { return watches_; }

  // All of these with the mutex held.
  [[nodiscard]] bool polls() const noexcept { return polls_; }
  [[nodiscard]] bool has_room() const noexcept { return watches_.size() < kMost; }
  void add(Watch& watch);
  void kick() noexcept;
  void end() noexcept;
  /// Takes out those of `watches` that are this thread's, and waits until fired() of none of them runs. May let go of the
  /// mutex meanwhile. Afterwards they are the caller's, who passes on what they may have swallowed.
  void take_out(std::span<Watch* const> watches, std::unique_lock<std::mutex>& guard);

 private:
  struct Chosen {
    Watch* watch;
    std::uint64_t serial;
    Watch::Why why;
  };
  void run();
  /// Without the mutex: looks at all of them and, if none is ready, sleeps.
  void look_and_sleep(std::span<Watch* const> watches, std::uint32_t kick_seen, std::vector<Chosen>& fired);
  void sleep_on_words(std::span<Watch* const> watches, std::uint32_t kick_seen, std::uint32_t deaths, Deadline until);
  void sleep_on_descriptors(std::span<Watch* const> watches, Deadline until);
  void fire(const std::vector<Chosen>& fired, std::unique_lock<std::mutex>& guard);
  void forget(std::size_t index) noexcept;

  std::mutex& mutex_;
  const bool polls_;
  pthread_t thread_{};
  os::Word kicks_ = 0;
  base::UniqueFd doorbell_;  ///< of one that polls: what kick() writes to
  // Guarded by the mutex.
  std::vector<Watch*> watches_;
  std::condition_variable changed_;
  bool is_busy_ = false;           ///< looking or asleep: the sources are this thread's
  unsigned takers_ = 0;            ///< threads that want to take something out; they go first
  const Watch* firing_ = nullptr;  ///< whose fired() runs; it may be gone
  bool ends_ = false;
  // The thread's own, from one look to the next.
  std::vector<WaitSource::Bell> bells_;
};

/// All of them, in one process.
class Waiters {
 public:
  /// Those of this process; a forked child has its own.
  static Waiters& instance();

  /// Errors: OsError.
  void start(Watch& watch, WaitSource& source, Deadline deadline);
  void cancel(Watch& watch) noexcept;
  void stop(std::span<Watch* const> watches) noexcept;

 private:
  friend struct ForkHandlers;
  explicit Waiters(pid_t process) : process_(process) {}
  WaiterThread& thread_for(const WaitSource& source);
  void end_all() noexcept;

  const pid_t process_;
  std::mutex mutex_;
  std::uint64_t last_serial_ = 0;
  bool is_over_ = false;
  std::vector<std::unique_ptr<WaiterThread>> threads_;
  std::vector<std::unique_ptr<WaiterThread>> ended_;  ///< at exit; a Watch may still name one
};

}  // namespace brood::inline v1::waiting
