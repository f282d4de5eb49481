// PoolForms: how tasks are given, for Pool and PoolProxy; it knows their types, and a PoolBody does the rest.   (room: pool)
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/pool_core.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/error.hpp"
#include "brood/future.hpp"
#include "brood/map_stream.hpp"
#include "brood/pool_options.hpp"

namespace brood::inline v1::detail {

/// `Self` has body(), which throws UsageError if it stands for nothing, and body_or_null().
template <class Self>
class PoolForms {
 public:
  // --- one task

  /// Have f(args…) done. Errors of encoding the arguments are thrown here, all others by Future::get(): what f throws, with its type
  /// (brood/remote_error.hpp); WorkerDied, TaskTimeout, PoolTerminated, PoolBroken, CancelledError; DecodeError.
  /// Future::cancel() takes back a task that has not begun; Pool::cancel() also stops one that runs.
  /// Errors: UsageError (the pool is closed; not its creator; the workers have no such state), PoolBroken.
  template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, TaskOptions>)
      [[nodiscard, gnu::visibility("hidden")]] auto submit(F&& f, Args&&... args) const {
    return submit(TaskOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same with options: submit({.hard_limit = 5s}, f, args…).
  template <class F, class... Args>
  [[nodiscard, gnu::visibility("hidden")]] auto submit(const TaskOptions& options, F&& f, Args&&... args) const {
    return submit_as<std::decay_t<F>>(options, f, std::forward<Args>(args)...);
  }
  template <auto Given, class... Args>
  requires(!FirstIsOptions<Args...>) [[nodiscard, gnu::visibility("hidden")]] auto submit(Args&&... args) const {
    return submit_as<Fixed<Given>>(TaskOptions{}, Given, std::forward<Args>(args)...);
  }
  template <auto Given, class... Args>
  [[nodiscard, gnu::visibility("hidden")]] auto submit(const TaskOptions& options, Args&&... args) const {
    return submit_as<Fixed<Given>>(options, Given, std::forward<Args>(args)...);
  }
  /// submit(), under Python's name.
  template <class F, class... Args>
  [[nodiscard, gnu::visibility("hidden")]] auto apply_async(F&& f, Args&&... args) const {
    return submit(std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  [[nodiscard, gnu::visibility("hidden")]] auto apply_async(const TaskOptions& options, F&& f, Args&&... args) const {
    return submit(options, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// submit() and get().
  template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, TaskOptions>)
      [[gnu::visibility("hidden")]] auto apply(F&& f, Args&&... args) const {
    return submit(std::forward<F>(f), std::forward<Args>(args)...).get();
  }
  template <class F, class... Args>
  [[gnu::visibility("hidden")]] auto apply(const TaskOptions& options, F&& f, Args&&... args) const {
    return submit(options, std::forward<F>(f), std::forward<Args>(args)...).get();
  }

  // --- many items: f(item) for each

  /// The results in the order of the input: a vector, or nothing if f returns nothing. The input is read first, as a whole.
  /// Errors: as submit(); once all items have ended, what the first one of them that failed threw. UsageError (a negative chunk
  /// size).
  template <class F, class Range>
  [[gnu::visibility("hidden")]] auto map(F&& f, Range&& items, const MapOptions& options = {}) const {
    return map_async(std::forward<F>(f), std::forward<Range>(items), options).get();
  }
  template <auto Given, class Range>
  [[gnu::visibility("hidden")]] auto map(Range&& items, const MapOptions& options = {}) const {
    return map_as<false, false, Fixed<Given>>(Given, items, options).get();
  }
  template <class F, class T>
  [[gnu::visibility("hidden")]] auto map(F&& f, std::initializer_list<T> items, const MapOptions& options = {}) const {
    return map_async(std::forward<F>(f), items, options).get();
  }
  /// cancel() of its future takes back an input of which nothing has begun.
  template <class F, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto map_async(F&& f, Range&& items, const MapOptions& options = {}) const {
    return map_as<false, false, std::decay_t<F>>(f, items, options);
  }
  /// The same, which never throws what became of an item: a vector of Outcome<R>, each a result or an exception.
  template <class F, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto map_outcomes(F&& f, Range&& items,
                                                             const MapOptions& options = {}) const {
    return map_as<false, true, std::decay_t<F>>(f, items, options).get();
  }
  template <class F, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto map_outcomes_async(F&& f, Range&& items,
                                                                   const MapOptions& options = {}) const {
    return map_as<false, true, std::decay_t<F>>(f, items, options);
  }
  /// f(a, b…) for each item that is a tuple, a pair or an array (a, b…).
  template <class F, class Range>
  [[gnu::visibility("hidden")]] auto starmap(F&& f, Range&& items, const MapOptions& options = {}) const {
    return map_as<true, false, std::decay_t<F>>(f, items, options).get();
  }
  template <auto Given, class Range>
  [[gnu::visibility("hidden")]] auto starmap(Range&& items, const MapOptions& options = {}) const {
    return map_as<true, false, Fixed<Given>>(Given, items, options).get();
  }
  template <class F, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto starmap_async(F&& f, Range&& items,
                                                              const MapOptions& options = {}) const {
    return map_as<true, false, std::decay_t<F>>(f, items, options);
  }
  /// Lazily, in the order of the input: see MapStream.
  /// Errors: as submit(); UsageError (a chunk size or look-ahead that is not positive).
  template <class F, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto imap(F&& f, Range&& items, const ImapOptions& options = {}) const {
    return stream<std::decay_t<F>>(true, f, std::forward<Range>(items), options);
  }
  template <auto Given, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto imap(Range&& items, const ImapOptions& options = {}) const {
    return stream<Fixed<Given>>(true, Given, std::forward<Range>(items), options);
  }
  /// In the order in which the results come.
  template <class F, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto imap_unordered(F&& f, Range&& items,
                                                               const ImapOptions& options = {}) const {
    return stream<std::decay_t<F>>(false, f, std::forward<Range>(items), options);
  }
  template <auto Given, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto imap_unordered(Range&& items, const ImapOptions& options = {}) const {
    return stream<Fixed<Given>>(false, Given, std::forward<Range>(items), options);
  }

  // --- the pool itself

  /// Cancel a task of this pool's submit(), also while it runs: it is asked (this_task().stop_requested()), and after
  /// `options.grace` its worker is killed and replaced; then the future fails with CancelledError, and nothing is tried again. A
  /// task that returns or throws before that has its result. Of a map_async(): the items that run, and those that have not begun.
  /// False if the future is settled already.
  /// Errors: UsageError (a future of something else).
  template <class T>
  bool cancel(const Future<T>& future, const CancelOptions& options = {}) const {
    return PoolJob::cancel_task(body(), *FutureMaker::state(future), options);
  }
  /// Take no more tasks; those that are there are done, then the workers end.
  void close() const { body()->close(); }
  /// Drop the tasks that are there: their futures fail with PoolTerminated, at once. Idle workers are told to end, busy ones sent
  /// SIGTERM; what is left after a second is killed.
  void terminate() const { body()->terminate(); }
  /// Wait until all workers have ended. Errors: UsageError (neither closed nor terminated; called by an action of a future of this
  /// pool).
  void join() const { (void)body()->join(Deadline::never()); }
  /// False if they had not in time.
  template <class Rep, class Period>
  bool join_for(std::chrono::duration<Rep, Period> timeout) const {
    return body()->join(Deadline::after(timeout));
  }
  /// As many workers as this from now on: more are started; of too many the idle ones leave first, others when they have finished
  /// what they are at. Returns at once. Errors: UsageError (less than one; not running), PoolBroken.
  void resize(std::int64_t workers) const { body()->resize(workers); }
  /// How many workers there are to be.
  [[nodiscard]] std::size_t size() const { return body()->size(); }
  /// Figures of this moment.
  [[nodiscard]] PoolInsight insight() const { return body()->insight(); }
  /// `<Pool running workers=4 queued=0>`
  friend std::ostream& operator<<(std::ostream& out, const Self& pool) {
    return print(out, static_cast<const PoolForms&>(pool).body_or_null());
  }

 protected:
  PoolForms() = default;
  PoolForms(const PoolForms&) = default;
  PoolForms(PoolForms&&) noexcept = default;
  PoolForms& operator=(const PoolForms&) = default;
  PoolForms& operator=(PoolForms&&) noexcept = default;
  ~PoolForms() = default;

 private:
  template <class F, class... Args>
  [[gnu::visibility("hidden")]] auto submit_as(const TaskOptions& options, const typename PoolTarget<F>::Pointer& f,
                                               Args&&... args) const {
    if constexpr (require_pool_target<F, Args...>()) {
      using Result = pool_result_t<F, Args...>;
      if constexpr (require_task_result<Result>()) {
        auto job = std::make_shared<SubmitJob<Result>>(body(), pool_function<F, Args...>(f), options);
        {
          const SpareEncoder out;
          encode_pool_arguments(*out, PoolParameters<F, Args...>{}, std::forward<Args>(args)...);
          job->set_item(*out);
        }
        job->submit();
        return SubmitJob<Result>::future(job);
      } else {
        return Refused{};
      }
    } else {
      return Refused{};
    }
  }

  /// How one item of a map becomes arguments.
  template <bool Star, class F, class Item>
  struct ItemCall;
  template <class F, class Item>
  struct ItemCall<false, F, Item> {
    using Result = pool_result_t<F, Item>;
    static constexpr bool require() { return require_pool_target<F, Item>(); }
    [[gnu::visibility("hidden")]] static PoolFunction function(const typename PoolTarget<F>::Pointer& f) {
      return pool_function<F, Item>(f);
    }
    static void encode(Encoder& out, Item item) {
      encode_pool_arguments(out, PoolParameters<F, Item>{}, std::forward<Item>(item));
    }
  };
  template <class F, class Item>
  struct ItemCall<true, F, Item> {
    template <class Indices>
    struct Parts;
    template <std::size_t... I>
    struct Parts<std::index_sequence<I...>> {
      using Result = pool_result_t<F, decltype(std::get<I>(std::declval<Item>()))...>;
      static constexpr bool require() {
        return require_pool_target<F, decltype(std::get<I>(std::declval<Item>()))...>();
      }
      [[gnu::visibility("hidden")]] static PoolFunction function(const typename PoolTarget<F>::Pointer& f) {
        return pool_function<F, decltype(std::get<I>(std::declval<Item>()))...>(f);
      }
      static void encode(Encoder& out, Item item) {
        encode_pool_arguments(out, PoolParameters<F, decltype(std::get<I>(std::declval<Item>()))...>{},
                              std::get<I>(std::forward<Item>(item))...);
      }
    };
    using All = Parts<std::make_index_sequence<star_size<Item>()>>;
    using Result = typename All::Result;
    static constexpr bool require() {
      if constexpr (require_tuple<Item>()) return All::require();
      else return false;
    }
    [[gnu::visibility("hidden")]] static PoolFunction function(const typename PoolTarget<F>::Pointer& f) {
      return All::function(f);
    }
    static void encode(Encoder& out, Item item) { All::encode(out, std::forward<Item>(item)); }
  };

  template <bool Star, bool Outcomes, class F, class Range>
  [[gnu::visibility("hidden")]] auto map_as(const typename PoolTarget<F>::Pointer& f, Range&& items,
                                            const MapOptions& options) const {
    using Call = ItemCall<Star, F, item_reference_t<Range>>;
    if constexpr (require_items<Range>() && Call::require()) {
      using Result = typename Call::Result;
      if constexpr (require_task_result<Result>()) {
        const std::size_t chunk = checked_chunk(options.chunk_size, 0);
        using Job = MapJob<Result, Outcomes>;
        const std::shared_ptr<PoolBody> pool = body();
        auto job = std::make_shared<Job>(pool, Call::function(f), task_options(options));
        PoolItems encoded;
        for (auto&& item : items) {
          Call::encode(encoded.encoder(), std::forward<decltype(item)>(item));
          encoded.end();
        }
        const std::size_t count = encoded.size();
        job->begin(count);
        if (count == 0) {
          pool->check_running();
          job->end_empty();
        } else {
          job->number_from(0);
          job->set_items(std::move(encoded), chunk);
          job->show(options.progress);
          job->submit();
        }
        return Job::future(job);
      } else {
        return Refused{};
      }
    } else {
      return Refused{};
    }
  }

  template <class F, class Range>
  [[gnu::visibility("hidden")]] auto stream(bool ordered, const typename PoolTarget<F>::Pointer& f, Range&& items,
                                            const ImapOptions& options) const {
    using Call = ItemCall<false, F, item_reference_t<Range>>;
    if constexpr (require_items<Range>() && Call::require()) {
      using Result = typename Call::Result;
      if constexpr (require_task_result<Result>()) {
        using Stream = MapStream<Result, Range>;
        std::shared_ptr<PoolBody> pool = body();
        pool->check_running();
        const std::size_t chunk = checked_chunk(options.chunk_size, 1);
        const std::size_t look_ahead = checked_look_ahead(options.look_ahead, chunk, pool->size());
        return Stream(std::unique_ptr<typename Stream::It>(new typename Stream::It{
            std::move(pool), Call::function(f), task_options(options), chunk, look_ahead, &Call::encode,
            StreamInput<Range>(std::forward<Range>(items)), std::make_shared<StreamResults<Result>>(ordered)}));
      } else {
        return Refused{};
      }
    } else {
      return Refused{};
    }
  }

  [[nodiscard]] std::shared_ptr<PoolBody> body() const { return static_cast<const Self&>(*this).body(); }
  [[nodiscard]] std::shared_ptr<PoolBody> body_or_null() const {
    return static_cast<const Self&>(*this).body_or_null();
  }
};

template <class P>
concept IsPool = std::derived_from<P, PoolForms<P>>;

}  // namespace brood::inline v1::detail
