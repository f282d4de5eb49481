// Pool: work spread over processes, where a crash costs one task.                                    (room: pool)
//
//   int square(int x) { return x * x; }
//   int main(int argc, char** argv) {
//     brood::init(argc, argv);
//     brood::Pool pool(5);
//     std::vector<int> squares = pool.map(square, std::vector{1, 2, 3});      // 1, 4, 9
//     brood::Future<int> one = pool.submit(square, 12);
//     for (int s : pool.imap(square, std::views::iota(0))) if (s > 100) break;     // lazily: the input has no end
//     return one.get() == 144 ? 0 : 1;
//   }
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/pool_core.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/error.hpp"
#include "brood/future.hpp"
#include "brood/pool_options.hpp"
#include "brood/process_options.hpp"
#include "brood/remote_error.hpp"
#include "brood/this_task.hpp"

namespace brood::inline v1 {

class Pool;

/// The results of imap() and imap_unordered(), as they come: an input range that is passed once, or next() again and again.
///
/// The input is read here: by the thread that asks for results, never more items ahead of the results taken than `look_ahead`.
/// So it may be anything, also without end, and need not be safe to use from other threads. An lvalue must outlive this
/// object, an rvalue is kept in it. Destroying this object drops the items that have not begun, and the results of the others.
///
/// What an item threw is thrown in its place by next(), or by the loop's `++`; next() goes on behind it. What the input itself
/// throws comes after the results of the items before, and ends the stream.
///
/// Threads: one at a time. Lifetime: after the pool's end what is left throws PoolTerminated.
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
  friend class Pool;
  using Encode = void (*)(Encoder& out, std::ranges::range_reference_t<Range> item);
  struct It {
    std::shared_ptr<pool::Core> core;
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
    auto job = std::make_shared<detail::StreamJob<R>>(it.core, it.function, it.options, it.results, it.sent);
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

/// A number of worker processes, and tasks for them.
///
/// A task is a function or a lambda without captures, given as a value (pool.map(square, items)) or when compiling
/// (pool.map<&square>(items)), with its arguments: values (brood/serialize.hpp), or shared objects, which the worker opens and
/// which must live until the task has ended. Results are values. Where the function has one parameter more than it is given
/// arguments, the first is the worker's state (Initializer).
///
/// A worker that dies, whatever the reason, costs the one item that it was at: that fails with WorkerDied, or is run again
/// (Retry). What it had finished before counts, what it had been given and had not begun goes to others, and it is replaced.
///
///   state        map, submit …        close()       terminate()    join()
///   running      yes                  → closed      → terminated   UsageError
///   closed       UsageError           no effect     → terminated   waits until all tasks are done and all workers have ended
///   terminated   UsageError           no effect     no effect      waits until all workers have ended
///   broken       PoolBroken           no effect     → terminated   UsageError, before close()
///
/// The end of the scope is terminate() and join(). So is, for a pool that is left at normal exit, that exit. Only the process that
/// made the pool uses it; a forked child's copy is a UsageError, its destructor does nothing, and it may make a Pool of its own. So
/// may a task.
///
/// Shape:   for each worker a process, and 280 KiB of shared memory; two threads. A task that is sent costs no system call as long
///          as nobody sleeps.
/// Threads: all members are safe, but moving and destroying. Who waits for a result reads results meanwhile, for all who wait;
///          when nobody waits, a thread of the pool does. Actions of futures (on_done) run in such a thread.
/// Crash:   of workers, see above; idle ones may be killed at any time. When this process is killed, its workers are sent
///          SIGTERM and, a second later, SIGKILL, and nothing is left of the pool.
/// Source:  Python multiprocessing.pool.Pool, concurrent.futures.ProcessPoolExecutor.
class Pool {
 public:
  /// As many workers as there are usable CPUs.
  explicit Pool(PoolOptions options = {}) : core_(std::nullopt, std::move(options)) {}
  /// Starts the workers; returns when they run, their initializers may be at work still.
  /// Errors: UsageError (less than one worker; limits that are not positive; what Process::start() refuses); StartError and
  /// OsError as Process::start(): then those that were started have been ended.
  explicit Pool(std::int64_t workers, PoolOptions options = {}) : core_(workers, std::move(options)) {}
  Pool(Pool&&) noexcept = default;
  /// Ends what this object stood for first.
  Pool& operator=(Pool&&) noexcept = default;
  ~Pool() = default;

  // --- one task

  /// Have f(args…) done. Errors of encoding the arguments are thrown here, all others by Future::get(): what f throws, with its type
  /// (brood/remote_error.hpp); WorkerDied, TaskTimeout, PoolTerminated, PoolBroken, CancelledError; DecodeError.
  /// Future::cancel() takes back a task that has not begun; Pool::cancel() also stops one that runs.
  /// Errors: UsageError (the pool is closed; not its creator; the workers have no such state), PoolBroken.
  template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, TaskOptions>)
      [[nodiscard, gnu::visibility("hidden")]] auto submit(F&& f, Args&&... args) {
    return submit(TaskOptions{}, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same with options: submit({.hard_limit = 5s}, f, args…).
  template <class F, class... Args>
  [[nodiscard, gnu::visibility("hidden")]] auto submit(const TaskOptions& options, F&& f, Args&&... args) {
    return submit_as<std::decay_t<F>>(options, f, std::forward<Args>(args)...);
  }
  template <auto Given, class... Args>
  requires(!detail::FirstIsOptions<Args...>) [[nodiscard, gnu::visibility("hidden")]] auto submit(Args&&... args) {
    return submit_as<detail::Fixed<Given>>(TaskOptions{}, Given, std::forward<Args>(args)...);
  }
  template <auto Given, class... Args>
  [[nodiscard, gnu::visibility("hidden")]] auto submit(const TaskOptions& options, Args&&... args) {
    return submit_as<detail::Fixed<Given>>(options, Given, std::forward<Args>(args)...);
  }
  /// submit(), under Python's name.
  template <class F, class... Args>
  [[nodiscard, gnu::visibility("hidden")]] auto apply_async(F&& f, Args&&... args) {
    return submit(std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  [[nodiscard, gnu::visibility("hidden")]] auto apply_async(const TaskOptions& options, F&& f, Args&&... args) {
    return submit(options, std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// submit() and get().
  template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, TaskOptions>)
      [[gnu::visibility("hidden")]] auto apply(F&& f, Args&&... args) {
    return submit(std::forward<F>(f), std::forward<Args>(args)...).get();
  }
  template <class F, class... Args>
  [[gnu::visibility("hidden")]] auto apply(const TaskOptions& options, F&& f, Args&&... args) {
    return submit(options, std::forward<F>(f), std::forward<Args>(args)...).get();
  }

  // --- many items: f(item) for each

  /// The results in the order of the input: a vector, or nothing if f returns nothing. The input is read first, as a whole.
  /// Errors: as submit(); once all items have ended, what the first one of them that failed threw. UsageError (a negative chunk
  /// size).
  template <class F, class Range>
  [[gnu::visibility("hidden")]] auto map(F&& f, Range&& items, const MapOptions& options = {}) {
    return map_async(std::forward<F>(f), std::forward<Range>(items), options).get();
  }
  template <auto Given, class Range>
  [[gnu::visibility("hidden")]] auto map(Range&& items, const MapOptions& options = {}) {
    return map_as<false, false, detail::Fixed<Given>>(Given, items, options).get();
  }
  template <class F, class T>
  [[gnu::visibility("hidden")]] auto map(F&& f, std::initializer_list<T> items, const MapOptions& options = {}) {
    return map_async(std::forward<F>(f), items, options).get();
  }
  /// cancel() of its future takes back an input of which nothing has begun.
  template <class F, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto map_async(F&& f, Range&& items, const MapOptions& options = {}) {
    return map_as<false, false, std::decay_t<F>>(f, items, options);
  }
  /// The same, which never throws what became of an item: a vector of Outcome<R>, each a result or an exception.
  template <class F, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto map_outcomes(F&& f, Range&& items, const MapOptions& options = {}) {
    return map_as<false, true, std::decay_t<F>>(f, items, options).get();
  }
  template <class F, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto map_outcomes_async(F&& f, Range&& items,
                                                                   const MapOptions& options = {}) {
    return map_as<false, true, std::decay_t<F>>(f, items, options);
  }
  /// f(a, b…) for each item that is a tuple, a pair or an array (a, b…).
  template <class F, class Range>
  [[gnu::visibility("hidden")]] auto starmap(F&& f, Range&& items, const MapOptions& options = {}) {
    return map_as<true, false, std::decay_t<F>>(f, items, options).get();
  }
  template <auto Given, class Range>
  [[gnu::visibility("hidden")]] auto starmap(Range&& items, const MapOptions& options = {}) {
    return map_as<true, false, detail::Fixed<Given>>(Given, items, options).get();
  }
  template <class F, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto starmap_async(F&& f, Range&& items, const MapOptions& options = {}) {
    return map_as<true, false, std::decay_t<F>>(f, items, options);
  }
  /// Lazily, in the order of the input: see MapStream.
  /// Errors: as submit(); UsageError (a chunk size or look-ahead that is not positive).
  template <class F, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto imap(F&& f, Range&& items, const ImapOptions& options = {}) {
    return stream<std::decay_t<F>>(true, f, std::forward<Range>(items), options);
  }
  template <auto Given, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto imap(Range&& items, const ImapOptions& options = {}) {
    return stream<detail::Fixed<Given>>(true, Given, std::forward<Range>(items), options);
  }
  /// In the order in which the results come.
  template <class F, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto imap_unordered(F&& f, Range&& items, const ImapOptions& options = {}) {
    return stream<std::decay_t<F>>(false, f, std::forward<Range>(items), options);
  }
  template <auto Given, class Range>
  [[nodiscard, gnu::visibility("hidden")]] auto imap_unordered(Range&& items, const ImapOptions& options = {}) {
    return stream<detail::Fixed<Given>>(false, Given, std::forward<Range>(items), options);
  }

  // --- the pool itself

  /// Cancel a task of this pool's submit(), also while it runs: it is asked (this_task().stop_requested()), and after
  /// `options.grace` its worker is killed and replaced; then the future fails with CancelledError, and nothing is tried again. A
  /// task that returns or throws before that has its result. False if the future is settled already.
  /// Errors: UsageError (a future of something else).
  template <class T>
  bool cancel(const Future<T>& future, const CancelOptions& options = {}) {
    return core_.cancel(*detail::FutureMaker::state(future), options);
  }
  /// Take no more tasks; those that are there are done, then the workers end.
  void close() { core_.close(); }
  /// Drop the tasks that are there: their futures fail with PoolTerminated, at once. Idle workers are told to end, busy ones sent
  /// SIGTERM; what is left after a second is killed.
  void terminate() { core_.terminate(); }
  /// Wait until all workers have ended. Errors: UsageError (neither closed nor terminated; called by an action of a future of this
  /// pool).
  void join() { (void)core_.join(Deadline::never()); }
  /// False if they had not in time.
  template <class Rep, class Period>
  bool join_for(std::chrono::duration<Rep, Period> timeout) {
    return core_.join(Deadline::after(timeout));
  }
  /// As many workers as this from now on: more are started; of too many the idle ones leave first, others when they have finished
  /// what they are at. Returns at once. Errors: UsageError (less than one; not running), PoolBroken.
  void resize(std::int64_t workers) { core_.resize(workers); }
  /// How many workers there are to be.
  [[nodiscard]] std::size_t size() const { return core_.size(); }
  /// Figures of this moment.
  [[nodiscard]] PoolInsight insight() const { return core_.insight(); }
  /// `<Pool running workers=4 queued=0>`
  friend std::ostream& operator<<(std::ostream& out, const Pool& pool) { return detail::print(out, pool.core_); }

 private:
  template <class F, class... Args>
  [[gnu::visibility("hidden")]] auto submit_as(const TaskOptions& options,
                                               const typename detail::PoolTarget<F>::Pointer& f, Args&&... args) {
    if constexpr (detail::require_pool_target<F, Args...>()) {
      using Result = detail::pool_result_t<F, Args...>;
      if constexpr (detail::require_task_result<Result>()) {
        auto job =
            std::make_shared<detail::SubmitJob<Result>>(core_.get(), detail::pool_function<F, Args...>(f), options);
        {
          const detail::SpareEncoder out;
          detail::encode_pool_arguments(*out, detail::PoolParameters<F, Args...>{}, std::forward<Args>(args)...);
          job->set_item(*out);
        }
        job->submit();
        return detail::SubmitJob<Result>::future(job);
      } else {
        return detail::Refused{};
      }
    } else {
      return detail::Refused{};
    }
  }

  /// How one item of a map becomes arguments.
  template <bool Star, class F, class Item>
  struct ItemCall;
  template <class F, class Item>
  struct ItemCall<false, F, Item> {
    using Result = detail::pool_result_t<F, Item>;
    static constexpr bool require() { return detail::require_pool_target<F, Item>(); }
    [[gnu::visibility("hidden")]] static detail::PoolFunction function(
        const typename detail::PoolTarget<F>::Pointer& f) {
      return detail::pool_function<F, Item>(f);
    }
    static void encode(Encoder& out, Item item) {
      detail::encode_pool_arguments(out, detail::PoolParameters<F, Item>{}, std::forward<Item>(item));
    }
  };
  template <class F, class Item>
  struct ItemCall<true, F, Item> {
    template <class Indices>
    struct Parts;
    template <std::size_t... I>
    struct Parts<std::index_sequence<I...>> {
      using Result = detail::pool_result_t<F, decltype(std::get<I>(std::declval<Item>()))...>;
      static constexpr bool require() {
        return detail::require_pool_target<F, decltype(std::get<I>(std::declval<Item>()))...>();
      }
      [[gnu::visibility("hidden")]] static detail::PoolFunction function(
          const typename detail::PoolTarget<F>::Pointer& f) {
        return detail::pool_function<F, decltype(std::get<I>(std::declval<Item>()))...>(f);
      }
      static void encode(Encoder& out, Item item) {
        detail::encode_pool_arguments(out, detail::PoolParameters<F, decltype(std::get<I>(std::declval<Item>()))...>{},
                                      std::get<I>(std::forward<Item>(item))...);
      }
    };
    using All = Parts<std::make_index_sequence<detail::star_size<Item>()>>;
    using Result = typename All::Result;
    static constexpr bool require() {
      if constexpr (detail::require_tuple<Item>()) return All::require();
      else return false;
    }
    [[gnu::visibility("hidden")]] static detail::PoolFunction function(
        const typename detail::PoolTarget<F>::Pointer& f) {
      return All::function(f);
    }
    static void encode(Encoder& out, Item item) { All::encode(out, std::forward<Item>(item)); }
  };

  template <bool Star, bool Outcomes, class F, class Range>
  [[gnu::visibility("hidden")]] auto map_as(const typename detail::PoolTarget<F>::Pointer& f, Range&& items,
                                            const MapOptions& options) {
    using Call = ItemCall<Star, F, detail::item_reference_t<Range>>;
    if constexpr (detail::require_items<Range>() && Call::require()) {
      using Result = typename Call::Result;
      if constexpr (detail::require_task_result<Result>()) {
        const std::size_t chunk = detail::checked_chunk(options.chunk_size, 0);
        using Job = detail::MapJob<Result, Outcomes>;
        auto job = std::make_shared<Job>(core_.get(), Call::function(f), detail::task_options(options));
        detail::PoolItems encoded;
        for (auto&& item : items) {
          Call::encode(encoded.encoder(), std::forward<decltype(item)>(item));
          encoded.end();
        }
        const std::size_t count = encoded.size();
        job->begin(count);
        if (count == 0) {
          job->end_empty();
        } else {
          job->number_from(0);
          job->set_items(std::move(encoded), chunk != 0 ? chunk : core_.automatic_chunk(count));
          job->show(options.progress);
          job->submit();
        }
        return Job::future(job);
      } else {
        return detail::Refused{};
      }
    } else {
      return detail::Refused{};
    }
  }

  template <class F, class Range>
  [[gnu::visibility("hidden")]] auto stream(bool ordered, const typename detail::PoolTarget<F>::Pointer& f,
                                            Range&& items, const ImapOptions& options) {
    using Call = ItemCall<false, F, detail::item_reference_t<Range>>;
    if constexpr (detail::require_items<Range>() && Call::require()) {
      using Result = typename Call::Result;
      if constexpr (detail::require_task_result<Result>()) {
        using Stream = MapStream<Result, Range>;
        core_.check_running();
        const std::size_t chunk = detail::checked_chunk(options.chunk_size, 1);
        const std::size_t look_ahead = detail::checked_look_ahead(options.look_ahead, chunk, core_.size());
        return Stream(std::unique_ptr<typename Stream::It>(
            new typename Stream::It{core_.get(), Call::function(f), detail::task_options(options), chunk, look_ahead,
                                    &Call::encode, detail::StreamInput<Range>(std::forward<Range>(items)),
                                    std::make_shared<detail::StreamResults<Result>>(ordered)}));
      } else {
        return detail::Refused{};
      }
    } else {
      return detail::Refused{};
    }
  }

  detail::PoolCore core_;
};

}  // namespace brood::inline v1
