// Boost.Asio: the operations of brood/coro.hpp with any completion token.                           (room: wait)
//
// Needs Boost 1.81 or later (headers only). Not in brood.hpp: include it where it is used.
#pragma once

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <concepts>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>

#include "brood/coro.hpp"

/// `co_await brood::asio::async_get(queue, executor, boost::asio::use_awaitable)`, and so on with use_future, callbacks,
/// deferred…
///
/// Signatures: void(std::exception_ptr, T); void(std::exception_ptr) for async_put, async_send, async_wait and acquiring a
///             semaphore. T that cannot be default-constructed (Task) comes as std::optional<T>.
/// Errors:     those of the operation; boost::system::system_error(operation_aborted) if it was cancelled: by the token's
///             cancellation slot (all types of cancellation; nothing was taken then), so awaitable_operators and
///             cancel_after work.
/// Threads:    the handler runs by its associated executor, or `executor`; never inside the initiating function.
/// Lifetime:   what it refers to must live, and stay where it is, until the handler has been called; so must the execution
///             context, which therefore cancels what is pending before it goes.
namespace brood::inline v1::asio {

namespace detail {

namespace net = boost::asio;

template <class Result>
using Given = std::conditional_t<std::default_initializable<Result>, Result, std::optional<Result>>;

template <class Result>
struct SignatureOf {
  using type = void(std::exception_ptr, Given<Result>);
};
template <>
struct SignatureOf<v1::detail::Done> {
  using type = void(std::exception_ptr);
};

/// Keeps itself until it is completed.
template <class Attempt, class Handler, class Executor>
class Pending final : public v1::detail::AsyncOperation<Attempt>,
                      public std::enable_shared_from_this<Pending<Attempt, Handler, Executor>> {
  using Operation = v1::detail::AsyncOperation<Attempt>;
  using Result = typename Attempt::Result;
  using HandlerExecutor = net::associated_executor_t<Handler, Executor>;

 public:
  Pending(Attempt attempt, Handler handler, const Executor& executor)
      : Operation(std::move(attempt)),
        handler_(std::move(handler)),
        io_work_(executor),
        work_(net::get_associated_executor(handler_, executor)) {}

  void begin() {
    const auto self = this->shared_from_this();
    if (this->try_now()) {
      deliver(self);
      return;
    }
    if (auto slot = net::get_associated_cancellation_slot(handler_); slot.is_connected()) {
      slot.assign([weak = this->weak_from_this()](net::cancellation_type type) {
        if (type == net::cancellation_type::none) return;
        if (const auto pending = weak.lock()) pending->cancel();
      });
    }
    keep_ = self;
    if (this->wait(Deadline::never())) {
      keep_.reset();
      deliver(self);
    }
  }

 private:
  void completed() noexcept override { deliver(std::move(keep_)); }

  /// By the executor of the operation to that of the handler, as Asio's own operations.
  static void deliver(std::shared_ptr<Pending> self) {
    // Of its own: the handler may be through, and with it all other work, before post() has returned in this thread; the
    // context must not go until then.
    const net::executor_work_guard<Executor> until_posted = self->io_work_;
    const Executor executor = until_posted.get_executor();
    net::post(executor, [self = std::move(self)]() mutable {
      const HandlerExecutor of_handler = self->work_.get_executor();
      net::dispatch(of_handler, [self = std::move(self)] { self->call(); });
    });
  }

  void call() {
    if (auto slot = net::get_associated_cancellation_slot(handler_); slot.is_connected()) slot.clear();
    Handler handler = std::move(handler_);
    const auto work = std::move(work_);
    const auto io_work = std::move(io_work_);
    std::exception_ptr error = this->error();
    if (!error && !this->has_result())
      error = std::make_exception_ptr(boost::system::system_error(net::error::operation_aborted));
    if constexpr (std::same_as<Result, v1::detail::Done>) {
      std::move(handler)(error);
    } else if constexpr (std::default_initializable<Result>) {
      Result result{};
      if (!error) result = *this->take();
      std::move(handler)(error, std::move(result));
    } else {
      std::optional<Result> result;
      if (!error) result = this->take();
      std::move(handler)(error, std::move(result));
    }
  }

  Handler handler_;
  net::executor_work_guard<Executor> io_work_;
  net::executor_work_guard<HandlerExecutor> work_;
  std::shared_ptr<Pending> keep_;
};

template <class Attempt, class Executor, class Token>
auto initiate(Attempt attempt, const Executor& executor, Token&& token) {
  return net::async_initiate<Token, typename SignatureOf<typename Attempt::Result>::type>(
      [executor](auto handler, Attempt moved) {
        using Handler = std::decay_t<decltype(handler)>;
        std::make_shared<Pending<Attempt, Handler, Executor>>(std::move(moved), std::move(handler), executor)->begin();
      },
      token, std::move(attempt));
}

}  // namespace detail

template <v1::detail::GettableQueue Q, class Executor, class Token>
auto async_get(Q& queue, const Executor& executor, Token&& token) {
  return detail::initiate(v1::detail::GetAttempt<Q>{&queue}, executor, std::forward<Token>(token));
}

template <v1::detail::PuttableQueue Q, class Executor, class Token>
auto async_put(Q& queue, typename Q::value_type item, const Executor& executor, Token&& token) {
  return detail::initiate(v1::detail::PutAttempt<Q>{&queue, std::move(item)}, executor, std::forward<Token>(token));
}

template <class T, class Executor, class Token>
auto async_recv(Connection<T>& connection, const Executor& executor, Token&& token) {
  return detail::initiate(v1::detail::RecvAttempt<T>{&connection}, executor, std::forward<Token>(token));
}

/// Errors: also NoSpace, see brood::async_send.
template <class T, class Executor, class Token>
auto async_send(Connection<T>& connection, std::type_identity_t<T> value, const Executor& executor, Token&& token) {
  return detail::initiate(v1::detail::SendAttempt<T>{&connection, std::move(value)}, executor,
                          std::forward<Token>(token));
}

template <class Executor, class Token>
auto async_acquire(Lock& lock, const Executor& executor, Token&& token) {
  return detail::initiate(v1::detail::LockAttempt{&lock}, executor, std::forward<Token>(token));
}
template <class S, class Executor, class Token>
requires(std::same_as<S, Semaphore> ||
         std::same_as<S, BoundedSemaphore>) auto async_acquire(S& semaphore, const Executor& executor, Token&& token) {
  return detail::initiate(v1::detail::AcquireAttempt<S>{&semaphore}, executor, std::forward<Token>(token));
}

template <class Executor, class Token>
auto async_wait(const Waitable& what, const Executor& executor, Token&& token) {
  return detail::initiate(v1::detail::WaitAttempt(what), executor, std::forward<Token>(token));
}

}  // namespace brood::inline v1::asio
