// Future: the answer of a call that goes on elsewhere.                                              (room: call)
//
//   brood::Future<long> sum = account.async<&Account::total>();
//   … other work …
//   std::cout << sum.get();                      // waits; throws what the call threw, with its type
#pragma once

#include <chrono>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "brood/deadline.hpp"
#include "brood/detail/codec.hpp"
#include "brood/detail/future_core.hpp"
#include "brood/error.hpp"

namespace brood::inline v1 {

template <class T>
class Future;

namespace detail {

/// The state with its result.
template <class T>
class FutureState final : public FutureCore {
 public:
  using FutureCore::FutureCore;
  using Stored = std::conditional_t<std::is_void_v<T>, std::monostate, T>;
  /// Of a succeeded one.
  [[nodiscard]] Stored& result() { return *result_; }
  template <class... V>
  bool set(V&&... value) {
    return succeed_with([&] { result_.emplace(std::forward<V>(value)...); });
  }

 private:
  void accept(Decoder& in) override {
    if constexpr (std::is_void_v<T>) {
      in.nil();
      result_.emplace();
    } else if constexpr (Transferable<T>) {
      result_.emplace(detail::decode<T>(in));
    } else {
      in.fail("nothing: this result is made here", "bytes");
    }
  }
  std::optional<Stored> result_;
};

struct FutureMaker {
  template <class T>
  [[nodiscard]] static Future<T> make(std::shared_ptr<FutureState<T>> state) {
    return Future<T>(std::move(state));
  }
  template <class T>
  [[nodiscard]] static const std::shared_ptr<FutureState<T>>& state(const Future<T>& future) {
    (void)future.state();
    return future.state_;
  }
};

}  // namespace detail

/// Stands for the result of a call. Copies stand for the same result; it may be asked for as often as you like.
///
/// Threads: safe; as with a shared_ptr, one object is not for several threads at once, copies are.
/// Crash:   if the process that was to answer dies, the future fails with PeerGone: nobody waits for the dead.
/// Lifetime: independent of whoever made it: what is dropped unasked is settled all the same.
/// Source:  Python concurrent.futures.Future; std::shared_future.
template <class T>
class Future {
 public:
  using value_type = T;
  Future() = default;

  /// False of a default-constructed or moved-from one; everything else then throws UsageError.
  [[nodiscard]] bool valid() const noexcept { return state_ != nullptr; }
  /// Settled: with a result, an exception, or by cancel().
  [[nodiscard]] bool done() const { return state().is_settled(); }
  [[nodiscard]] bool cancelled() const { return state().status() == detail::FutureCore::Status::cancelled; }
  /// Has begun and is not settled.
  [[nodiscard]] bool running() const { return state().is_running(); }

  void wait() const { (void)state().wait(Deadline::never()); }
  /// False if it was not settled in time.
  template <class Rep, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
    return state().wait(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool wait_until(std::chrono::time_point<Clock, Duration> when) const {
    return detail::attempt_until(when, [this](Deadline deadline) { return state().wait(deadline); });
  }

  /// The result; sleep until there is one. An lvalue gives a copy, an rvalue (`a.async<&A::f>().get()`) the result itself, once.
  /// Errors: what the call threw (brood/remote_error.hpp); PeerGone; CancelledError; DecodeError.
  T get() const& {
    wait();
    return copy();
  }
  T get() && {
    wait();
    return take();
  }
  /// Errors: also TimeoutError; then nothing has changed.
  template <class Rep, class Period>
  T get_for(std::chrono::duration<Rep, Period> timeout) const& {
    demand(wait_for(timeout));
    return copy();
  }
  template <class Rep, class Period>
  T get_for(std::chrono::duration<Rep, Period> timeout) && {
    demand(wait_for(timeout));
    return take();
  }
  /// What get() would throw, or null; sleeps until it is settled.
  [[nodiscard]] std::exception_ptr exception() const {
    wait();
    return state().error();
  }

  /// False if the call has begun, or is over. True: it will not be done, and get() throws CancelledError.
  bool cancel() { return state().cancel(); }

  /// Calls action(future) when it is settled: in the thread that brings the answer, so briefly; or at once, in this one. What
  /// the action throws is printed to standard error.
  template <class Action>
  void on_done(Action action) const {
    state().when_settled([state = state_, action = std::move(action)]() mutable { action(Future(state)); });
  }
  /// The future of next(result), or of next() after a future of void. If this one fails, so does that one, without a call.
  template <class Next>
  [[nodiscard]] auto then(Next next) const {
    if constexpr (std::is_void_v<T>) {
      using Result = std::invoke_result_t<Next&>;
      return continue_with<Result>([next = std::move(next)](const Future& /*self*/) mutable { return next(); });
    } else {
      using Result = std::invoke_result_t<Next&, T>;
      return continue_with<Result>([next = std::move(next)](const Future& self) mutable { return next(self.get()); });
    }
  }

  /// co_await: goes on in the thread that brings the answer.
  [[nodiscard]] auto operator co_await() const {
    struct Awaiter {
      Future future;
      [[nodiscard]] bool await_ready() const { return future.done(); }
      void await_suspend(std::coroutine_handle<> waiting) const {
        future.state().when_settled([waiting] { waiting.resume(); });
      }
      T await_resume() const { return future.get(); }
    };
    return Awaiter{*this};
  }

 private:
  friend struct detail::FutureMaker;
  template <class>
  friend class Future;
  explicit Future(std::shared_ptr<detail::FutureState<T>> state) noexcept : state_(std::move(state)) {}

  [[nodiscard]] detail::FutureState<T>& state() const {
    if (!state_) throw UsageError("this Future stands for nothing: it was default-constructed, or moved from");
    return *state_;
  }
  static void demand(bool settled) {
    if (!settled) throw TimeoutError("the call has not been answered in time");
  }
  void check() const {
    if (const std::exception_ptr error = state().error()) std::rethrow_exception(error);
  }
  [[nodiscard]] T copy() const {
    check();
    if constexpr (!std::is_void_v<T>) {
      static_assert(std::is_copy_constructible_v<T>,
                    "brood: the result cannot be copied; take it by std::move(future).get()");
      if constexpr (std::is_copy_constructible_v<T>) return state().result();
    }
  }
  [[nodiscard]] T take() {
    check();
    const std::shared_ptr<detail::FutureState<T>> last = std::move(state_);
    if constexpr (!std::is_void_v<T>) return std::move(last->result());
  }

  template <class Result, class Step>
  [[nodiscard]] Future<Result> continue_with(Step step) const {
    auto after = std::make_shared<detail::FutureState<Result>>();
    state().when_settled([state = state_, after, step = std::move(step)]() mutable {
      if (!after->begin()) return;
      if (const std::exception_ptr error = state->error()) return (void)after->fail(error);
      try {
        if constexpr (std::is_void_v<Result>) {
          step(Future(state));
          after->set();
        } else {
          after->set(step(Future(state)));
        }
      } catch (...) {
        after->fail(std::current_exception());
      }
    });
    return Future<Result>(std::move(after));
  }

  std::shared_ptr<detail::FutureState<T>> state_;
};

}  // namespace brood::inline v1
