// Actors: the processes around a victim — holders, sleepers, producers, and the fresh ones that judge.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace fault {

using Milliseconds = std::chrono::milliseconds;

/// Bounds the harness, never the verdict: who has not come by then hangs.
inline constexpr Milliseconds kPatience{2500};

/// What one actor and the tester share. Lies in anonymous shared memory.
struct Seat {
  std::atomic<std::uint32_t> used;
  std::atomic<int> mark;  ///< how far the actor has come
  std::atomic<int> go;    ///< how far it may go
  std::atomic<std::int64_t> value[4];
  char error[256];  ///< what an exception said that the actor did not expect
};

/// Marks that are set for every actor.
inline constexpr int kDone = 1000;   ///< its body returned
inline constexpr int kThrew = 1001;  ///< its body threw

/// The actor's own side.
class Self {
 public:
  explicit Self(Seat& seat) noexcept : seat_(seat) {}
  void mark(int mark) noexcept { seat_.mark.store(mark); }
  void await_go(int stage) const noexcept;
  void set(int index, std::int64_t value) noexcept { seat_.value[index].store(value); }

 private:
  Seat& seat_;
};

/// One forked process. It joins the domain, runs its body, and then stays until it is killed: ending would be a second
/// event beside the victim's death. Killed and reaped with this object.
class Actor {
 public:
  Actor() = default;
  /// Errors: std::runtime_error if it has not joined the domain in time.
  explicit Actor(std::function<void(Self&)> body);
  Actor(Actor&& other) noexcept;
  Actor& operator=(Actor&& other) noexcept;
  ~Actor() { kill(); }

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] int mark() const noexcept { return seat_ == nullptr ? 0 : seat_->mark.load(); }
  [[nodiscard]] bool has_reached(int mark_wanted) const noexcept { return mark() >= mark_wanted; }
  [[nodiscard]] bool is_done() const noexcept { return has_reached(kDone); }
  [[nodiscard]] bool threw() const noexcept { return mark() == kThrew; }
  [[nodiscard]] std::string error() const { return seat_ == nullptr ? std::string() : std::string(seat_->error); }
  [[nodiscard]] std::int64_t value(int index) const noexcept { return seat_->value[index].load(); }
  void go(int stage) noexcept { seat_->go.store(stage); }

  bool await(int mark_wanted, Milliseconds patience = kPatience) const noexcept;
  bool await_done(Milliseconds patience = kPatience) const noexcept { return await(kDone, patience); }
  /// Waits for an observed state: it has reached `mark_wanted` and the kernel says that its first thread is blocked in a
  /// futex call. No fixed pause: one would sometimes be too short.
  /// Errors: std::runtime_error if it does not.
  void await_blocked(int mark_wanted = 1) const;
  void kill() noexcept;

 private:
  pid_t pid_ = -1;
  Seat* seat_ = nullptr;
};

/// State and system call of a thread that is not running.
[[nodiscard]] bool sleeps_in_kernel(pid_t pid);
[[nodiscard]] bool sleeps_on_futex(pid_t pid);

/// An actor whose body ends by itself; waits for it. False, and `why` filled, if it threw or did not end.
bool run_fresh(const std::function<void(Self&)>& body, std::string& why);

/// Memory that all processes of the harness share.
[[nodiscard]] void* share(std::size_t bytes);
template <class T>
[[nodiscard]] T& shared() {
  return *new (share(sizeof(T))) T{};
}

void nap() noexcept;
[[nodiscard]] double now_ms() noexcept;
/// Puts the calling process on the processor for stepped victims (0), or on the other one (1) if there is one.
void use_processor(int which) noexcept;

}  // namespace fault
