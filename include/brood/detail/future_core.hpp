// FutureCore: the state behind a Future, without its type.                                         (room: call)
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "brood/deadline.hpp"

namespace brood::inline v1 {

namespace call {
class Line;  // lib/call/line.hpp
}  // namespace call

namespace detail {

class Decoder;

/// Held by shared_ptr, by the futures and by whoever will settle it. All members may be called by any thread.
class FutureCore {
 public:
  FutureCore() = default;
  FutureCore(const FutureCore&) = delete;
  FutureCore& operator=(const FutureCore&) = delete;
  virtual ~FutureCore();

  enum class Status : std::uint8_t { waiting, running, cancelled, failed, succeeded };
  [[nodiscard]] Status status() const;
  [[nodiscard]] bool is_settled() const { return status() >= Status::cancelled; }
  /// False if it was not settled until the deadline.
  bool wait(Deadline deadline) const;
  /// Runs when it is settled, in the thread that settles it; at once, in this one, if it is already. What it throws is printed
  /// to standard error.
  void when_settled(std::function<void()> action);
  /// False if it has begun or is settled.
  bool cancel();

  // For who settles it.
  /// waiting → running. False if it was cancelled.
  bool begin();
  /// The first word counts.
  void fail(std::exception_ptr why);
  /// The result in bytes, as it came by `line`. A result that cannot be decoded is a failure.
  void succeed(Decoder& in, call::Line& line);

  /// Of a settled one: what get() would throw; null if it succeeded.
  [[nodiscard]] std::exception_ptr error() const;

 protected:
  /// Called once, before anybody is told. Errors: DecodeError, and what opening shared objects throws.
  virtual void accept(Decoder& in) = 0;
  /// succeed() of what this process has made itself: `store` puts the value where accept() would.
  void succeed_with(const std::function<void()>& store);

 private:
  void settle(std::unique_lock<std::mutex> lock, Status status);

  mutable std::mutex mutex_;
  mutable std::condition_variable settled_;
  Status status_ = Status::waiting;
  std::exception_ptr error_;
  std::vector<std::function<void()>> actions_;
};

}  // namespace detail
}  // namespace brood::inline v1
