// Async operations: attempts, and what to wait for between them. For brood/coro.hpp and brood/asio.hpp.   (room: wait)
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include "brood/connection.hpp"
#include "brood/deadline.hpp"
#include "brood/detail/wait_source.hpp"
#include "brood/detail/watch.hpp"
#include "brood/lock.hpp"
#include "brood/priority_queue.hpp"
#include "brood/queue.hpp"
#include "brood/semaphore.hpp"
#include "brood/simple_queue.hpp"
#include "brood/wait.hpp"
#include "brood/work_queue.hpp"

namespace brood::inline v1::detail {

/// For attempts that give nothing but "done".
struct Done {};

// Each attempt is two functions: source() says what to wait for if the attempt that follows fails, attempt() tries once,
// without sleeping.

template <class Q>
struct GetAttempt {
  using Result = typename decltype(std::declval<Q&>().try_get())::value_type;
  Q* queue;
  [[nodiscard]] WaitSourcePointer source() const { return Waitable(*queue).source(); }
  [[nodiscard]] std::optional<Result> attempt() const { return queue->try_get(); }
};

template <class T>
struct GetAttempt<SimpleQueue<T>> {
  using Result = T;
  SimpleQueue<T>* queue;
  [[nodiscard]] WaitSourcePointer source() const { return Waitable(*queue).source(); }
  [[nodiscard]] std::optional<Result> attempt() const { return WaitAccess::inner_queue(*queue).try_get(); }
};

template <class T>
const QueueCore& put_core_of(const Queue<T>& queue) {
  return WaitAccess::core(queue);
}
template <class T>
const QueueCore& put_core_of(const SimpleQueue<T>& queue) {
  return put_core_of(WaitAccess::inner_queue(queue));
}
template <class T>
const QueueCore& put_core_of(const WorkQueue<T>& queue) {
  return WaitAccess::work_queue(queue);
}
template <class T>
const QueueCore& put_core_of(const JoinableQueue<T>& queue) {
  return WaitAccess::work_queue(queue);
}
template <class T>
const PriorityCore& put_core_of(const PriorityQueue<T>& queue) {
  return WaitAccess::core(queue);
}

template <class Q>
struct PutAttempt {
  using Result = Done;
  Q* queue;
  typename Q::value_type item;
  [[nodiscard]] WaitSourcePointer source() const { return taken_source(put_core_of(*queue)); }
  [[nodiscard]] std::optional<Done> attempt() const {
    if constexpr (requires { queue->try_put(item); }) {
      if (queue->try_put(item)) return Done{};
      if constexpr (requires { queue->when_full(); }) {
        // The policy is not to wait: as put() does.
        if (queue->when_full() != WhenFull::block) {
          queue->put(item);
          return Done{};
        }
      }
      return std::nullopt;
    } else {
      if (WaitAccess::inner_queue(*queue).try_put(item)) return Done{};
      return std::nullopt;
    }
  }
};

template <class T>
struct RecvAttempt {
  using Result = T;
  Connection<T>* connection;
  [[nodiscard]] WaitSourcePointer source() const { return Waitable(*connection).source(); }
  [[nodiscard]] std::optional<T> attempt() const { return connection->try_recv(); }
};

template <class T>
struct SendAttempt {
  using Result = Done;
  Connection<T>* connection;
  T value;
  [[nodiscard]] WaitSourcePointer source() const { return taken_source(WaitAccess::core(*connection)); }
  [[nodiscard]] std::optional<Done> attempt() const {
    if (WaitAccess::send_at_once(*connection, value)) return Done{};
    return std::nullopt;
  }
};

struct LockAttempt {
  using Result = std::unique_lock<Lock>;
  Lock* lock;
  [[nodiscard]] WaitSourcePointer source() const { return Waitable(*lock).source(); }
  [[nodiscard]] std::optional<Result> attempt() const {
    std::unique_lock guard(*lock, std::try_to_lock);
    if (!guard.owns_lock()) return std::nullopt;
    return guard;
  }
};

template <class S>
struct AcquireAttempt {
  using Result = Done;
  S* semaphore;
  [[nodiscard]] WaitSourcePointer source() const { return Waitable(*semaphore).source(); }
  [[nodiscard]] std::optional<Done> attempt() const {
    if (semaphore->try_acquire()) return Done{};
    return std::nullopt;
  }
};

/// Nothing is taken. What has happened since is remembered by the source, so it is one for the whole wait.
class WaitAttempt {
 public:
  using Result = Done;
  explicit WaitAttempt(const Waitable& what) : what_(what) {}
  [[nodiscard]] WaitSourcePointer source() const { return std::make_unique<Shared>(made()); }
  [[nodiscard]] std::optional<Done> attempt() const {
    if (made()->look()) return Done{};
    return std::nullopt;
  }

 private:
  class Shared final : public WaitSource {
   public:
    explicit Shared(std::shared_ptr<WaitSource> source) : source_(std::move(source)) {}
    bool look() override { return source_->look(); }
    bool watch(Bell& bell) override { return source_->watch(bell); }
    void pass_on() noexcept override { source_->pass_on(); }
    void look_round() noexcept override { source_->look_round(); }
    int descriptor() const noexcept override { return source_->descriptor(); }
    short events() const noexcept override { return source_->events(); }
    Handle object() const override { return source_->object(); }

   private:
    std::shared_ptr<WaitSource> source_;
  };
  const std::shared_ptr<WaitSource>& made() const {
    if (!source_) source_ = what_.source();
    return source_;
  }
  Waitable what_;
  mutable std::shared_ptr<WaitSource> source_;
};

/// One operation: attempts until one succeeds or throws, the deadline passes, or it is cancelled. completed() is called in
/// a waiter thread, once; with an attempt that succeeded the result counts, whatever came at the same time.
template <class Attempt>
class AsyncOperation : private Watch {
 public:
  using Result = typename Attempt::Result;

  explicit AsyncOperation(Attempt attempt) : attempt_(std::move(attempt)) {}
  ~AsyncOperation() override = default;

  /// In the caller's thread. True if there is nothing to wait for.
  [[nodiscard]] bool try_now() {
    try {
      result_ = attempt_.attempt();
    } catch (...) {  // travels to who asked for the result
      error_ = std::current_exception();
    }
    return result_ || error_;
  }
  /// After try_now() was in vain: tries once more, now that what happens after counts, and hands it to a waiter thread. True
  /// if it is done, false if completed() will be called, or was.
  [[nodiscard]] bool wait(Deadline deadline) {
    deadline_ = deadline;
    if (deadline.is_poll() || try_with_source()) return true;
    try {
      start(*source_, deadline);
    } catch (...) {  // travels to who asked for the result
      error_ = std::current_exception();
      return true;
    }
    return false;
  }
  using Watch::cancel;
  using Watch::stop;

  [[nodiscard]] std::exception_ptr error() const noexcept { return error_; }
  [[nodiscard]] Why why() const noexcept { return why_; }
  /// Nothing if the time ran out or it was cancelled. Throws what the attempt threw.
  [[nodiscard]] std::optional<Result> take() {
    if (error_) std::rethrow_exception(error_);
    return std::move(result_);
  }
  [[nodiscard]] bool has_result() const noexcept { return result_.has_value(); }

 protected:
  virtual void completed() noexcept = 0;

 private:
  bool try_with_source() {
    try {
      source_ = attempt_.source();
    } catch (...) {  // travels to who asked for the result
      error_ = std::current_exception();
      return true;
    }
    return try_now();
  }
  void fired(Why why) noexcept final {
    why_ = why;
    if (why == Why::ready && !try_with_source()) {
      try {
        start(*source_, deadline_);  // somebody else was faster
        return;
      } catch (...) {  // travels to who asked for the result
        error_ = std::current_exception();
      }
    }
    completed();
  }

  Attempt attempt_;
  Deadline deadline_ = Deadline::never();
  WaitSourcePointer source_;
  std::optional<Result> result_;
  std::exception_ptr error_;
  Why why_ = Why::ready;
};

}  // namespace brood::inline v1::detail
