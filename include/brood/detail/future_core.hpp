// FutureCore: the state behind a Future, without its type.                                         (room: call)
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "brood/deadline.hpp"

namespace brood::inline v1 {

namespace call {
class Line;  // lib/call/line.hpp
}  // namespace call

namespace detail {

class Decoder;
class FutureCore;

/// Who brings the answers of some futures about, and knows more of them than their states say.
class FutureSource {
 public:
  /// As FutureCore::wait(); the waiting thread may bring about the answer itself.
  virtual bool wait(FutureCore& what, Deadline deadline) = 0;
  /// As FutureCore::cancel().
  virtual bool cancel(FutureCore& what) = 0;
  [[nodiscard]] virtual bool is_running(const FutureCore& what) = 0;

 protected:
  FutureSource() = default;
  FutureSource(const FutureSource&) = default;
  FutureSource& operator=(const FutureSource&) = default;
  ~FutureSource() = default;
};

/// Held by shared_ptr, by the futures and by whoever will settle it. All members may be called by any thread.
class FutureCore {
 public:
  FutureCore() = default;
  /// `source` lives at least as long as this.
  explicit FutureCore(FutureSource* source) noexcept : source_(source) {}
  FutureCore(const FutureCore&) = delete;
  FutureCore& operator=(const FutureCore&) = delete;
  virtual ~FutureCore();

  enum class Status : std::uint8_t { waiting, running, cancelled, failed, succeeded };
  [[nodiscard]] Status status() const;
  [[nodiscard]] bool is_settled() const { return status() >= Status::cancelled; }
  /// False if it was not settled until the deadline.
  bool wait(Deadline deadline) const;
  /// Has begun and is not settled.
  [[nodiscard]] bool is_running() const;
  [[nodiscard]] FutureSource* source() const noexcept { return source_; }
  /// Runs when it is settled, in the thread that settles it; at once, in this one, if it is already. What it throws is printed
  /// to standard error.
  void when_settled(std::function<void()> action);
  /// False if it has begun or is settled.
  bool cancel();

  // For who settles it.
  /// waiting → running. False if it was cancelled.
  bool begin();
  /// The first word counts; false of others.
  bool fail(std::exception_ptr why);
  /// The result in bytes, as it came by `line`. A result that cannot be decoded is a failure.
  void succeed(Decoder& in, call::Line& line);
  /// The same for what came in no conversation.
  void succeed(Decoder& in);
  /// It will not be done, although it may have begun. False if it is settled.
  bool set_cancelled(std::exception_ptr why);

  // For a source.
  /// Sleeps until it is settled, `called` (set before nudge()), or the deadline; false then.
  bool sleep(const std::atomic<bool>& called, Deadline deadline) const;
  void nudge() const;

  /// While it lives, actions of futures that this thread settles wait; run() does them, and so does the end.
  class ActionsWait {
   public:
    ActionsWait() noexcept;
    ~ActionsWait();
    ActionsWait(const ActionsWait&) = delete;
    ActionsWait& operator=(const ActionsWait&) = delete;
    void run();

   private:
    friend class FutureCore;
    ActionsWait* before_;
    std::vector<std::function<void()>> actions_;
  };

  /// Of a settled one: what get() would throw; null if it succeeded.
  [[nodiscard]] std::exception_ptr error() const;

 protected:
  /// Called once, before anybody is told. Errors: DecodeError, and what opening shared objects throws.
  virtual void accept(Decoder& in) = 0;
  /// succeed() of what this process has made itself: `store` puts the value where accept() would.
  bool succeed_with(const std::function<void()>& store);

 private:
  void settle(std::unique_lock<std::mutex> lock, Status status);

  mutable std::mutex mutex_;
  mutable std::condition_variable settled_;
  Status status_ = Status::waiting;
  std::exception_ptr error_;
  std::vector<std::function<void()>> actions_;
  FutureSource* source_ = nullptr;
};

/// Some futures, in the order in which they are settled.
class FutureSet {
 public:
  explicit FutureSet(std::vector<std::shared_ptr<FutureCore>> futures);
  ~FutureSet();
  FutureSet(const FutureSet&) = delete;
  FutureSet& operator=(const FutureSet&) = delete;
  /// The place of the next one that is settled; sleeps until there is one. Nothing at the deadline, or if all were told.
  [[nodiscard]] std::optional<std::size_t> next(Deadline deadline);
  [[nodiscard]] std::size_t size() const noexcept { return futures_.size(); }
  /// How many were not told yet.
  [[nodiscard]] std::size_t left() const noexcept { return futures_.size() - told_; }

 private:
  struct Arrivals;
  std::vector<std::shared_ptr<FutureCore>> futures_;
  std::shared_ptr<Arrivals> arrivals_;
  std::size_t told_ = 0;
};

}  // namespace detail
}  // namespace brood::inline v1
