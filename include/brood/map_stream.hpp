// MapStream: what imap() and imap_unordered() of a Pool, or of a PoolProxy, give.                     (room: pool)
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/pool_core.hpp"
#include "brood/error.hpp"
#include "brood/pool_options.hpp"

namespace brood::inline v1 {

namespace detail {
template <class Self>
class PoolForms;  // brood/detail/pool_forms.hpp
}  // namespace detail

/// The results of imap() and imap_unordered(), as they come: an input range that is passed once, or next() again and again.
///
/// The input is read here: by the thread that asks for results, never more items ahead of the results taken than `look_ahead`.
/// So it may be anything, also without end, and need not be safe to use from other threads. An lvalue must outlive this
/// object, an rvalue is kept in it. Destroying this object drops the items that have not begun, and the results of the others.
///
/// What an item threw is thrown in its place by next(), or by the loop's `++`; next() goes on behind it. What the input itself
/// throws comes after the results of the items before, and ends the stream.
///
/// Threads: one at a time. Lifetime: after the pool's end, what had been sent throws PoolTerminated, and what had not UsageError, once.
/// Source:  Python multiprocessing.pool.IMapIterator; there the input is read to its end at once, by a thread.
template <class R, class Range>
class MapStream {
 public:
  using value_type = typename Outcome<R>::Stored;

  MapStream(MapStream&&) noexcept = default;
  MapStream& operator=(MapStream&& other) noexcept {
    if (this != &other) {
      abandon();
      it_ = std::move(other.it_);
    }
    return *this;
  }
  ~MapStream() { abandon(); }

  /// The next result; nothing at the end. Errors: what the item threw, WorkerDied, TaskTimeout, PoolTerminated, PoolBroken; what the
  /// input threw.
  [[nodiscard]] std::optional<value_type> next() {
    std::optional<Outcome<R>> outcome = next_outcome();
    if (!outcome) return std::nullopt;
    return std::move(*outcome).value();
  }
  /// Errors: also TimeoutError; then nothing is lost, and it may be asked again.
  template <class Rep, class Period>
  [[nodiscard]] std::optional<value_type> next_for(std::chrono::duration<Rep, Period> timeout) {
    std::optional<Outcome<R>> outcome = next_before(Deadline::after(timeout));
    if (!outcome) return std::nullopt;
    return std::move(*outcome).value();
  }
  /// The same without throwing what became of the item.
  [[nodiscard]] std::optional<Outcome<R>> next_outcome() { return next_before(Deadline::never()); }

  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = MapStream::value_type;
    using difference_type = std::ptrdiff_t;
    Iterator() = default;
    explicit Iterator(MapStream& stream) : stream_(&stream) { ++*this; }
    [[nodiscard]] value_type& operator*() const noexcept { return *stream_->it_->current; }
    Iterator& operator++() {
      stream_->it_->current = stream_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t /*end*/) noexcept { return it.is_at_end(); }

   private:
    [[nodiscard]] bool is_at_end() const noexcept { return !stream_->it_->current.has_value(); }
    MapStream* stream_ = nullptr;
  };
  /// Takes the first result.
  [[nodiscard]] Iterator begin() { return Iterator(*this); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  template <class Self>
  friend class detail::PoolForms;
  using Encode = void (*)(Encoder& out, std::ranges::range_reference_t<Range> item);
  struct It {
    std::shared_ptr<detail::PoolBody> body;
    detail::PoolFunction function;
    TaskOptions options;
    std::size_t chunk;
    std::size_t look_ahead;
    Encode encode;
    detail::StreamInput<Range> input;
    std::shared_ptr<detail::StreamResults<R>> results;
    std::deque<std::shared_ptr<detail::StreamJob<R>>> jobs = {};
    std::size_t sent = 0;
    std::size_t taken = 0;
    bool input_over = false;
    std::exception_ptr input_error = {};
    std::optional<value_type> current = {};
  };
  explicit MapStream(std::unique_ptr<It> it) : it_(std::move(it)) { fill(); }

  /// Sends what may be sent ahead.
  void fill() {
    It& it = *it_;
    while (!it.input_over && it.sent - it.taken < it.look_ahead) {
      detail::PoolItems items;
      try {
        while (items.size() < it.chunk && !it.input_over) {
          it.input_over = !it.input.next([&](auto&& item) {
            it.encode(items.encoder(), std::forward<decltype(item)>(item));
            items.end();
          });
        }
      } catch (...) {
        // What the input throws is thrown by next(), behind the results of the items before.
        it.input_over = true;
        it.input_error = std::current_exception();
      }
      const std::size_t count = items.size();
      if (count == 0) break;
      try {
        send(std::move(items));
      } catch (...) {
        // The pool takes no more. What it has taken comes first.
        it.input_over = true;
        it.input_error = std::current_exception();
      }
    }
    while (!it.jobs.empty() && it.jobs.front()->is_over()) it.jobs.pop_front();
  }
  void send(detail::PoolItems items) {
    It& it = *it_;
    const std::size_t count = items.size();
    auto job = std::make_shared<detail::StreamJob<R>>(it.body, it.function, it.options, it.results, it.sent);
    job->number_from(it.sent);
    job->set_items(std::move(items), it.chunk);
    job->submit();
    it.sent += count;
    it.jobs.push_back(std::move(job));
  }
  std::optional<Outcome<R>> next_before(Deadline deadline) {
    if (!it_) throw UsageError("this MapStream was moved from");
    It& it = *it_;
    if (!it.input_over) fill();
    if (it.taken == it.sent) {
      if (const std::exception_ptr error = std::exchange(it.input_error, nullptr)) std::rethrow_exception(error);
      return std::nullopt;
    }
    for (;;) {
      if (std::optional<Outcome<R>> outcome = it.results->take()) {
        ++it.taken;
        return outcome;
      }
      if (!it.jobs.back()->wait(*it.results, deadline)) throw TimeoutError("the next result has not come in time");
    }
  }
  void abandon() noexcept {
    if (!it_) return;
    const auto why = std::make_exception_ptr(CancelledError("its results are not wanted any more"));
    for (const auto& job : it_->jobs) job->withdraw(why);
  }

  std::unique_ptr<It> it_;
};

}  // namespace brood::inline v1
