// wait(), as_completed(), Promise: several futures at once, and futures of one's own.               (room: call)
//
//   auto [done, not_done] = brood::wait(futures, brood::ReturnWhen::any, 5s);
//   for (brood::Future<Page>& page : brood::as_completed(pages)) show(page.get());
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/error.hpp"
#include "brood/future.hpp"

namespace brood::inline v1 {

/// When wait() returns: once any future is settled, or all are, or the first one has failed (cancelled ones have not); always
/// once all are settled.
enum class ReturnWhen : std::uint8_t { any, all, first_exception };

/// What wait() found, each in the order of the input.
template <class T>
struct Waited {
  std::vector<Future<T>> done = {};
  std::vector<Future<T>> not_done = {};
};

namespace detail {

template <class T>
struct IsFuture : std::false_type {};
template <class T>
struct IsFuture<Future<T>> : std::true_type {
  using Result = T;
};
template <class R>
concept RangeOfFutures =
    std::ranges::input_range<R> && IsFuture<std::remove_cvref_t<std::ranges::range_reference_t<R>>>::value;
template <class R>
using result_of_futures = typename IsFuture<std::remove_cvref_t<std::ranges::range_reference_t<R>>>::Result;

/// Each future once, in the order in which they were met.
template <class T, class R>
[[nodiscard]] std::vector<Future<T>> different_futures(R&& futures) {
  std::vector<Future<T>> out;
  std::vector<const void*> seen;
  for (const Future<T>& one : futures) {
    out.push_back(one);
    seen.push_back(FutureMaker::state(one).get());
  }
  // Their places, by what they stand for; of equals the first one stays.
  std::vector<std::size_t> order(out.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return seen[i]; });
  std::vector<bool> again(out.size());
  for (std::size_t i = 1; i < order.size(); ++i) again[order[i]] = seen[order[i]] == seen[order[i - 1]];
  std::vector<Future<T>> different;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!again[i]) different.push_back(std::move(out[i]));
  }
  return different;
}
template <class T>
[[nodiscard]] std::vector<std::shared_ptr<FutureCore>> cores_of(const std::vector<Future<T>>& futures) {
  std::vector<std::shared_ptr<FutureCore>> out;
  out.reserve(futures.size());
  for (const Future<T>& one : futures) out.push_back(FutureMaker::state(one));
  return out;
}

template <class T, class R>
[[nodiscard]] Waited<T> wait_before(R&& futures, ReturnWhen when, Deadline deadline) {
  if (when > ReturnWhen::first_exception) throw UsageError("brood::wait(): that is no ReturnWhen");
  std::vector<Future<T>> all = different_futures<T>(futures);
  FutureSet set(cores_of(all));
  std::vector<bool> is_done(all.size());
  for (bool enough = false; !enough;) {
    const auto place = set.next(deadline);
    if (!place) break;
    is_done[*place] = true;
    const bool failed = !all[*place].cancelled() && all[*place].exception() != nullptr;
    enough = when == ReturnWhen::any || (when == ReturnWhen::first_exception && failed);
  }
  // What else is settled by now is told, too.
  while (const auto place = set.next(Deadline::now())) is_done[*place] = true;
  Waited<T> out;
  for (std::size_t i = 0; i < all.size(); ++i) (is_done[i] ? out.done : out.not_done).push_back(std::move(all[i]));
  return out;
}

}  // namespace detail

/// Sleep until these futures are settled, or enough of them; a future that is given twice counts once. Nothing is thrown when
/// the time is over: what is not settled is in `not_done`.
///
/// Errors:  UsageError (a future that stands for nothing; no ReturnWhen). What calls threw stays in their futures.
/// Threads: safe. Source: Python concurrent.futures.wait.
template <detail::RangeOfFutures R>
[[nodiscard]] auto wait(R&& futures, ReturnWhen when = ReturnWhen::all) -> Waited<detail::result_of_futures<R>> {
  return detail::wait_before<detail::result_of_futures<R>>(futures, when, Deadline::never());
}
template <detail::RangeOfFutures R, class Rep, class Period>
[[nodiscard]] auto wait(R&& futures, ReturnWhen when, std::chrono::duration<Rep, Period> timeout)
    -> Waited<detail::result_of_futures<R>> {
  return detail::wait_before<detail::result_of_futures<R>>(futures, when, Deadline::after(timeout));
}

/// Futures in the order in which they are settled: an input range that is passed once, or next() again and again. Those that
/// were settled before come first.
///
/// Errors: TimeoutError, whose text says how many of how many are not settled, once the time since the call is over.
/// Source: Python concurrent.futures.as_completed.
template <class T>
class Completed {
 public:
  Completed(std::vector<Future<T>> futures, Deadline deadline)
      : it_(std::make_unique<It>(std::move(futures), deadline)) {}

  /// Nothing once all were told.
  [[nodiscard]] std::optional<Future<T>> next() {
    const auto place = it_->set.next(it_->deadline);
    if (place) return std::move(it_->futures[*place]);  // not kept here: the result may be large
    if (it_->set.left() == 0) return std::nullopt;
    throw TimeoutError(std::to_string(it_->set.left()) + " (of " + std::to_string(it_->set.size()) +
                       ") futures are not settled");
  }

  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = Future<T>;
    using difference_type = std::ptrdiff_t;
    Iterator() = default;
    explicit Iterator(Completed& all) : all_(&all) { ++*this; }
    [[nodiscard]] Future<T>& operator*() const noexcept { return *all_->it_->current; }
    Iterator& operator++() {
      all_->it_->current = all_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t /*end*/) noexcept { return it.is_at_end(); }

   private:
    [[nodiscard]] bool is_at_end() const noexcept { return !all_->it_->current.has_value(); }
    Completed* all_ = nullptr;
  };
  [[nodiscard]] Iterator begin() { return Iterator(*this); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  struct It {
    It(std::vector<Future<T>> all, Deadline until)
        : futures(std::move(all)), set(detail::cores_of(futures)), deadline(until) {}
    std::vector<Future<T>> futures;
    detail::FutureSet set;
    Deadline deadline;
    std::optional<Future<T>> current = {};
  };
  std::unique_ptr<It> it_;
};

template <detail::RangeOfFutures R>
[[nodiscard]] auto as_completed(R&& futures) -> Completed<detail::result_of_futures<R>> {
  using T = detail::result_of_futures<R>;
  return {detail::different_futures<T>(futures), Deadline::never()};
}
/// The time counts from this call.
template <detail::RangeOfFutures R, class Rep, class Period>
[[nodiscard]] auto as_completed(R&& futures, std::chrono::duration<Rep, Period> timeout)
    -> Completed<detail::result_of_futures<R>> {
  using T = detail::result_of_futures<R>;
  return {detail::different_futures<T>(futures), Deadline::after(timeout)};
}

/// The other side of a Future: for executors of one's own, and for tests.
///
/// A Promise that is destroyed before it was kept cancels its future. Move-only.
/// Threads: safe, but moving and destroying. Source: Python Future.set_result, set_exception; std::promise.
template <class T>
class Promise {
 public:
  Promise() : state_(std::make_shared<detail::FutureState<T>>()) {}
  Promise(Promise&&) noexcept = default;
  Promise& operator=(Promise&& other) noexcept {
    if (this != &other) {
      drop();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~Promise() { drop(); }

  /// As often as you like: all stand for the same result.
  [[nodiscard]] Future<T> future() const { return detail::FutureMaker::make<T>(shared()); }
  /// The work begins: from now on the future cannot be cancelled. False if it was.
  [[nodiscard]] bool begin() { return shared()->begin(); }
  /// Errors: InvalidState if the future is settled, also by cancel().
  template <class... V>
  requires(std::is_void_v<T> ? sizeof...(V) == 0 : sizeof...(V) == 1) void set_result(V&&... value) {
    if (!shared()->set(std::forward<V>(value)...)) throw_settled();
  }
  void set_exception(std::exception_ptr error) {
    if (error == nullptr) throw UsageError("Promise::set_exception() of no exception");
    if (!shared()->fail(std::move(error))) throw_settled();
  }
  template <class E>
  requires std::derived_from<std::remove_cvref_t<E>, std::exception>
  void set_exception(E&& error) { set_exception(std::make_exception_ptr(std::forward<E>(error))); }

 private:
  [[nodiscard]] const std::shared_ptr<detail::FutureState<T>>& shared() const {
    if (!state_) throw UsageError("this Promise was moved from");
    return state_;
  }
  [[noreturn]] static void throw_settled() {
    throw InvalidState("a Promise can be kept once; its future is settled already, or was cancelled");
  }
  void drop() noexcept {
    if (!state_ || state_->is_settled()) return;
    (void)state_->set_cancelled(
        std::make_exception_ptr(CancelledError("nobody will do this: its Promise was dropped")));
  }
  std::shared_ptr<detail::FutureState<T>> state_;
};

}  // namespace brood::inline v1
