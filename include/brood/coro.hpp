// co_await for queues, connections, locks, semaphores, and whatever can be waited for.              (room: wait)
//
// Not in brood.hpp: include it where it is used.
#pragma once

#include <concepts>
#include <coroutine>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <type_traits>
#include <utility>

#include "brood/detail/async_operation.hpp"

namespace brood::inline v1 {

/// How a co_await may end before there is a result, and who resumes the coroutine:
///
///   co_await async_get(queue, AsyncOptions().deadline(Deadline::after(50ms)).stop(token));
///
/// Not an aggregate: g++ 12 destroys an aggregate twice that is a temporary inside a co_await expression, made with braces.
/// (That goes for items too: name them before `co_await async_put(queue, item)`.)
class AsyncOptions {
 public:
  /// Default: never.
  AsyncOptions deadline(Deadline when) && {
    deadline_ = when;
    return std::move(*this);
  }
  AsyncOptions stop(std::stop_token token) && {
    stop_ = std::move(token);
    return std::move(*this);
  }
  /// Called with the coroutine to resume, once, in a thread of the library (named brood-waiter), which serves all others
  /// too: hand the coroutine over and return. Default: the coroutine goes on in that thread, until it is suspended the next
  /// time, and must not sleep there. An operation that need not wait does not leave the caller's thread.
  AsyncOptions resume_by(std::function<void(std::coroutine_handle<>)> scheduler) && {
    resume_by_ = std::move(scheduler);
    return std::move(*this);
  }

  // For the operations.
  [[nodiscard]] Deadline deadline() const noexcept { return deadline_; }
  [[nodiscard]] const std::stop_token& stop() const noexcept { return stop_; }
  [[nodiscard]] std::function<void(std::coroutine_handle<>)>& resume_by() noexcept { return resume_by_; }

 private:
  Deadline deadline_ = Deadline::never();
  std::stop_token stop_;
  std::function<void(std::coroutine_handle<>)> resume_by_;
};

namespace detail {

/// Of type R without options; with them std::optional<R>, empty if the time ran out or it was stopped. Done is void, or
/// bool.
template <class Attempt, bool kMayFail>
class [[nodiscard]] Awaitable final : private AsyncOperation<Attempt> {
  using Operation = AsyncOperation<Attempt>;
  using Result = typename Attempt::Result;

 public:
  Awaitable(Attempt attempt, AsyncOptions options) : Operation(std::move(attempt)), options_(std::move(options)) {}
  /// A coroutine that is destroyed while it waits.
  ~Awaitable() override {
    if (!is_waiting_) return;
    on_stop_.reset();
    this->stop();
  }

  [[nodiscard]] bool await_ready() { return this->try_now(); }
  [[nodiscard]] bool await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    is_waiting_ = true;
    if (options_.stop().stop_possible()) on_stop_.emplace(options_.stop(), Stop{this});
    // If it returns false, this may be gone.
    if (!this->wait(options_.deadline())) return true;
    is_waiting_ = false;
    on_stop_.reset();
    return false;
  }
  auto await_resume() {
    if constexpr (!kMayFail) {
      if constexpr (std::same_as<Result, Done>) (void)this->take();
      else return *this->take();
    } else if constexpr (std::same_as<Result, Done>) {
      return this->take().has_value();
    } else {
      return this->take();
    }
  }

 private:
  struct Stop {
    Awaitable* self;
    void operator()() const noexcept { self->cancel(); }
  };
  void completed() noexcept override {
    on_stop_.reset();
    is_waiting_ = false;
    if (!options_.resume_by()) {
      waiting_.resume();
      return;
    }
    const auto resume_by = std::move(options_.resume_by());
    resume_by(waiting_);
  }

  AsyncOptions options_;
  std::coroutine_handle<> waiting_;
  std::optional<std::stop_callback<Stop>> on_stop_;
  bool is_waiting_ = false;
};

template <class Q>
concept GettableQueue = CanBeWaitedFor<Q> &&(
    requires(Q& queue) { queue.try_get(); } ||
    requires(Q & queue) {
      queue.get();
      queue.empty();
    });
template <class Q>
concept PuttableQueue = requires(Q& queue, const typename Q::value_type& item) {
  queue.put(item);
};

}  // namespace detail

/// Each of these is what the function of that name without `async_` does, for a coroutine: it does not put the thread to
/// sleep. What they refer to must live, and stay where it is, until the coroutine has gone on; it may be destroyed while
/// it waits, then nothing was taken.
///
/// Without options the result is that of the function. With options it is an optional (of Done operations: bool): nothing if
/// the time ran out or a stop was asked for, and then nothing was taken.
///
/// Errors:    those of the function, thrown by co_await; OsError (no thread).
/// Threads:   see AsyncOptions::resume_by.
/// Processes: a forked child's copies of waiting coroutines never go on.
/// Crash:     as of the function; while it waits, nothing is held.
/// Source:    wait_any() (brood/wait.hpp).

/// The oldest item of a Queue, SimpleQueue, WorkQueue (a Task), JoinableQueue, PriorityQueue, Subscription.
template <detail::GettableQueue Q>
auto async_get(Q& queue) {
  return detail::Awaitable<detail::GetAttempt<Q>, false>({&queue}, {});
}
template <detail::GettableQueue Q>
auto async_get(Q& queue, AsyncOptions options) {
  return detail::Awaitable<detail::GetAttempt<Q>, true>({&queue}, std::move(options));
}

/// The item is copied (or moved) into the operation.
template <detail::PuttableQueue Q>
auto async_put(Q& queue, typename Q::value_type item) {
  return detail::Awaitable<detail::PutAttempt<Q>, false>({&queue, std::move(item)}, {});
}
template <detail::PuttableQueue Q>
auto async_put(Q& queue, typename Q::value_type item, AsyncOptions options) {
  return detail::Awaitable<detail::PutAttempt<Q>, true>({&queue, std::move(item)}, std::move(options));
}

template <class T>
auto async_recv(Connection<T>& connection) {
  return detail::Awaitable<detail::RecvAttempt<T>, false>({&connection}, {});
}
template <class T>
auto async_recv(Connection<T>& connection, AsyncOptions options) {
  return detail::Awaitable<detail::RecvAttempt<T>, true>({&connection}, std::move(options));
}

/// A message must fit into the ring at once (PipeOptions::ring_bytes); send() streams longer ones. Errors: also NoSpace.
template <class T>
auto async_send(Connection<T>& connection, std::type_identity_t<T> value) {
  return detail::Awaitable<detail::SendAttempt<T>, false>({&connection, std::move(value)}, {});
}
template <class T>
auto async_send(Connection<T>& connection, std::type_identity_t<T> value, AsyncOptions options) {
  return detail::Awaitable<detail::SendAttempt<T>, true>({&connection, std::move(value)}, std::move(options));
}

/// A std::unique_lock that holds it. (Not of an RLock: that belongs to a thread, and a coroutine does not.)
inline auto async_acquire(Lock& lock) { return detail::Awaitable<detail::LockAttempt, false>({&lock}, {}); }
inline auto async_acquire(Lock& lock, AsyncOptions options) {
  return detail::Awaitable<detail::LockAttempt, true>({&lock}, std::move(options));
}
template <class S>
requires(std::same_as<S, Semaphore> || std::same_as<S, BoundedSemaphore>) auto async_acquire(S& semaphore) {
  return detail::Awaitable<detail::AcquireAttempt<S>, false>({&semaphore}, {});
}
template <class S>
requires(std::same_as<S, Semaphore> || std::same_as<S, BoundedSemaphore>) auto async_acquire(S& semaphore,
                                                                                             AsyncOptions options) {
  return detail::Awaitable<detail::AcquireAttempt<S>, true>({&semaphore}, std::move(options));
}

/// One thing that can be waited for: an Event, a Process, a descriptor, … Counts from this call on.
inline auto async_wait(const Waitable& what) {
  return detail::Awaitable<detail::WaitAttempt, false>(detail::WaitAttempt(what), {});
}
inline auto async_wait(const Waitable& what, AsyncOptions options) {
  return detail::Awaitable<detail::WaitAttempt, true>(detail::WaitAttempt(what), std::move(options));
}

}  // namespace brood::inline v1
