// PoolBody: what a pool does without knowing its functions' types; PoolJob: some items for one of them.   (room: pool)
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <iosfwd>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <variant>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/future_core.hpp"
#include "brood/detail/pool_call.hpp"
#include "brood/future.hpp"
#include "brood/pool_options.hpp"

namespace brood::inline v1 {

namespace pool {
class Core;      // lib/pool/core.hpp
struct JobData;  // lib/pool/job.hpp
}  // namespace pool

namespace detail {

/// What a thread may wait for while it reads results for all.
class PoolAwaited {
 public:
  [[nodiscard]] virtual bool is_ready() = 0;
  /// Sleeps until it is ready, `called` (set before nudge()), or the deadline.
  virtual void sleep(const std::atomic<bool>& called, Deadline deadline) = 0;
  virtual void nudge() = 0;

 protected:
  PoolAwaited() = default;
  PoolAwaited(const PoolAwaited&) = default;
  PoolAwaited& operator=(const PoolAwaited&) = default;
  ~PoolAwaited() = default;
};

/// Who does jobs: a pool of this process (pool::Core), or, far away, one that a manager keeps.
class PoolBody {
 public:
  PoolBody() = default;
  PoolBody(const PoolBody&) = delete;
  PoolBody& operator=(const PoolBody&) = delete;
  virtual ~PoolBody();

  /// Before a job is made. Errors: as submit(), as far as they are known without asking anybody.
  virtual void admit(const PoolFunction& function) = 0;
  /// Errors: UsageError (closed, terminated), PoolBroken.
  virtual void check_running() = 0;
  [[nodiscard]] virtual std::size_t size() = 0;

  /// Errors: UsageError (not running; the workers have no such state), PoolBroken.
  virtual void submit(pool::JobData& job) = 0;
  /// What has not begun. Throws nothing.
  virtual void withdraw(pool::JobData& job, const std::exception_ptr& why) = 0;
  /// All of it, if nothing has begun; then it is settled.
  virtual bool cancel(pool::JobData& job) = 0;
  virtual bool cancel_running(pool::JobData& job, const CancelOptions& options) = 0;
  [[nodiscard]] virtual bool is_running(pool::JobData& job) = 0;
  /// For something that results of this job may bring about.
  virtual bool wait(pool::JobData& job, PoolAwaited& what, Deadline deadline) = 0;

  virtual void close() = 0;
  virtual void terminate() = 0;
  virtual bool join(Deadline deadline) = 0;
  virtual void resize(std::int64_t workers) = 0;
  [[nodiscard]] virtual PoolInsight insight() = 0;
  [[nodiscard]] virtual std::string printed() = 0;
};
/// Null: it was moved from.
std::ostream& print(std::ostream& out, const std::shared_ptr<PoolBody>& body);

/// The arguments of some items, one after the other in one piece of memory.
class PoolItems {
 public:
  PoolItems() = default;
  /// Of items that are encoded already: where each ends, in the bytes and (or empty: there are none) in the handles.
  PoolItems(std::span<const std::byte> bytes, std::span<const Handle> handles, std::vector<std::size_t> ends,
            std::vector<std::size_t> handle_ends);
  [[nodiscard]] Encoder& encoder() noexcept { return out_; }
  /// What was encoded since the last end() is one item.
  void end();
  [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }

 private:
  friend class PoolJob;
  Encoder out_;
  std::vector<std::size_t> ends_;
  std::vector<std::size_t> handle_ends_;  ///< as long as there are no handles: empty
};

/// Some items for one function. Its items are handed out to workers in chunks, whole or what is left of them; each is settled
/// once, by succeed() or fail().
class PoolJob : public FutureSource, public std::enable_shared_from_this<PoolJob> {
 public:
  /// Errors: UsageError (the pool is not running, or its workers have no such state); PoolBroken.
  PoolJob(std::shared_ptr<PoolBody> body, const PoolFunction& function, const TaskOptions& options);
  virtual ~PoolJob();
  PoolJob(const PoolJob&) = delete;
  PoolJob& operator=(const PoolJob&) = delete;

  // Once, before it is submitted.
  void set_item(const Encoder& item);
  /// `chunk_size`: how many are handed out together; 0: as the pool thinks good.
  void set_items(PoolItems items, std::size_t chunk_size);
  void show(const Progress& progress);
  /// Tasks are called by their number in the pool; items of a map, from `first` on, by their place in the input.
  void number_from(std::size_t first);
  /// Errors: UsageError, PoolBroken; then no item has been settled.
  void submit();

  /// Takes back what has not begun; such items fail with `why`. What runs goes on.
  void withdraw(const std::exception_ptr& why);

  /// PoolBody's, of this job.
  bool cancel();
  bool cancel_running(const CancelOptions& options);
  [[nodiscard]] bool is_running();

  bool wait(FutureCore& what, Deadline deadline) override;
  bool cancel(FutureCore& /*what*/) override { return cancel(); }
  [[nodiscard]] bool is_running(const FutureCore& /*what*/) override { return is_running(); }

  /// Of one that reads for others too.
  bool wait(PoolAwaited& what, Deadline deadline);

  /// Pool::cancel(). Errors: UsageError (it is no task of this pool).
  static bool cancel_task(const std::shared_ptr<PoolBody>& body, FutureCore& future, const CancelOptions& options);

 private:
  friend struct pool::JobData;
  // By whichever thread reads, or ends the pool; different items perhaps at the same time.
  virtual void succeed(std::size_t item, Decoder& result) = 0;
  virtual void fail(std::size_t item, std::exception_ptr why) = 0;
  /// What the function threw, as the worker encoded it.
  virtual void fail_encoded(std::size_t item, Decoder& thrown);
  /// All items are settled.
  virtual void ended() {}

  std::unique_ptr<pool::JobData> data_;
};

/// A Pool's hold of its body, which ends with it.                                                  (lib/pool/pool_core.cpp)
class PoolCore {
 public:
  PoolCore(std::optional<std::int64_t> workers, PoolOptions options);
  PoolCore(PoolCore&& other) noexcept;
  PoolCore& operator=(PoolCore&& other) noexcept;
  ~PoolCore();

  /// Errors: UsageError (moved from; not the creator).
  [[nodiscard]] std::shared_ptr<PoolBody> body() const;
  /// Null: moved from.
  [[nodiscard]] std::shared_ptr<PoolBody> body_or_null() const noexcept;

 private:
  std::shared_ptr<pool::Core> core_;
};

/// Errors: UsageError.
[[nodiscard]] std::size_t checked_chunk(std::int64_t chunk_size, std::int64_t least);
[[nodiscard]] std::size_t checked_look_ahead(std::int64_t look_ahead, std::size_t chunk_size, std::size_t workers);

template <class... Args>
inline constexpr bool kFirstIsOptions = false;
template <class First, class... Rest>
inline constexpr bool kFirstIsOptions<First, Rest...> = std::is_same_v<std::remove_cvref_t<First>, TaskOptions>;
template <class... Args>
concept FirstIsOptions = kFirstIsOptions<Args...>;

template <class O>
[[nodiscard]] TaskOptions task_options(const O& options) {
  return {.priority = options.priority,
          .soft_limit = options.soft_limit,
          .hard_limit = options.hard_limit,
          .retry = options.retry};
}

// --- one call ----------------------------------------------------------------------------------------------------------

template <class R>
class SubmitJob final : public PoolJob {
 public:
  using PoolJob::PoolJob;
  [[nodiscard]] static Future<R> future(const std::shared_ptr<SubmitJob>& job) {
    return FutureMaker::make<R>(std::shared_ptr<FutureState<R>>(job, &job->state_));
  }

 private:
  void succeed(std::size_t /*item*/, Decoder& result) override { state_.succeed(result); }
  void fail(std::size_t /*item*/, std::exception_ptr why) override {
    if (exception_is_cancelled(why)) (void)state_.set_cancelled(std::move(why));
    else state_.fail(std::move(why));
  }
  static bool exception_is_cancelled(const std::exception_ptr& why);
  FutureState<R> state_{this};
};

/// CancelledError and what derives from it, made in this process.
[[nodiscard]] bool is_cancellation(const std::exception_ptr& why);
template <class R>
bool SubmitJob<R>::exception_is_cancelled(const std::exception_ptr& why) {
  return is_cancellation(why);
}

// --- maps --------------------------------------------------------------------------------------------------------------

template <class R>
[[nodiscard]] Outcome<R> decode_outcome(Decoder& in) {
  if constexpr (std::is_void_v<R>) {
    in.nil();
    in.finish();
    return Outcome<R>::of({});
  } else {
    R value = detail::decode<R>(in);
    in.finish();
    return Outcome<R>::of(std::move(value));
  }
}

/// Results in the order of the items: as values, of which the first failure is thrown, or each as its Outcome.
template <class R, bool Outcomes>
class MapJob final : public PoolJob {
 public:
  using Values = std::conditional_t<std::is_void_v<R>, void,
                                    std::vector<std::conditional_t<std::is_void_v<R>, std::monostate, R>>>;
  using Result = std::conditional_t<Outcomes, std::vector<Outcome<R>>, Values>;
  MapJob(std::shared_ptr<PoolBody> body, const PoolFunction& function, const TaskOptions& options)
      : PoolJob(std::move(body), function, options) {}

  void begin(std::size_t items) { outcomes_.resize(items); }
  /// Without items there is nobody who could end it.
  void end_empty() { ended(); }
  [[nodiscard]] static Future<Result> future(const std::shared_ptr<MapJob>& job) {
    return FutureMaker::make<Result>(std::shared_ptr<FutureState<Result>>(job, &job->state_));
  }

 private:
  void succeed(std::size_t item, Decoder& result) override { outcomes_[item] = decode_outcome<R>(result); }
  void fail(std::size_t item, std::exception_ptr why) override { outcomes_[item] = Outcome<R>::of_error(why); }
  void ended() override {
    if constexpr (Outcomes) {
      state_.set(std::move(outcomes_));
    } else {
      for (Outcome<R>& one : outcomes_) {
        if (const std::exception_ptr error = one.error()) {
          if (is_cancellation(error)) return (void)state_.set_cancelled(error);
          return (void)state_.fail(error);
        }
      }
      if constexpr (std::is_void_v<R>) {
        state_.set();
      } else {
        std::vector<R> values;
        values.reserve(outcomes_.size());
        for (Outcome<R>& one : outcomes_) values.push_back(std::move(one).value());
        outcomes_ = {};
        state_.set(std::move(values));
      }
    }
  }

  std::vector<Outcome<R>> outcomes_;
  FutureState<Result> state_{this};
};

// --- streams -----------------------------------------------------------------------------------------------------------

/// The results of an imap that have come and were not taken, in the order of the items or of their coming.
template <class R>
class StreamResults final : public PoolAwaited {
 public:
  explicit StreamResults(bool ordered) : ordered_(ordered) {}

  void put(std::size_t item, Outcome<R> outcome) {
    const std::lock_guard lock(mutex_);
    if (ordered_) {
      const std::size_t at = item - taken_;
      if (slots_.size() <= at) slots_.resize(at + 1);
      slots_[at].emplace(std::move(outcome));
      if (at != 0) return;
    } else {
      slots_.emplace_back(std::move(outcome));
    }
    came_.notify_all();
  }
  [[nodiscard]] std::optional<Outcome<R>> take() {
    const std::lock_guard lock(mutex_);
    if (!has_next()) return std::nullopt;
    std::optional<Outcome<R>> out = std::move(slots_.front());
    slots_.pop_front();
    ++taken_;
    return out;
  }
  [[nodiscard]] bool is_ready() override {
    const std::lock_guard lock(mutex_);
    return has_next();
  }
  void sleep(const std::atomic<bool>& called, Deadline deadline) override {
    std::unique_lock lock(mutex_);
    const auto done = [&] { return has_next() || called.load(); };
    if (deadline.is_never()) return came_.wait(lock, done);
    came_.wait_until(lock, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline.at_ns())), done);
  }
  void nudge() override {
    const std::lock_guard lock(mutex_);
    came_.notify_all();
  }

 private:
  [[nodiscard]] bool has_next() const { return !slots_.empty() && slots_.front().has_value(); }
  const bool ordered_;
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<std::optional<Outcome<R>>> slots_;
  std::size_t taken_ = 0;
};

template <class R>
class StreamJob final : public PoolJob {
 public:
  StreamJob(std::shared_ptr<PoolBody> body, const PoolFunction& function, const TaskOptions& options,
            std::shared_ptr<StreamResults<R>> results, std::size_t first)
      : PoolJob(std::move(body), function, options), results_(std::move(results)), first_(first) {}
  [[nodiscard]] bool is_over() const noexcept { return is_over_.load(std::memory_order_acquire); }

 private:
  void succeed(std::size_t item, Decoder& result) override { results_->put(first_ + item, decode_outcome<R>(result)); }
  void fail(std::size_t item, std::exception_ptr why) override {
    results_->put(first_ + item, Outcome<R>::of_error(why));
  }
  void ended() override { is_over_.store(true, std::memory_order_release); }

  const std::shared_ptr<StreamResults<R>> results_;
  const std::size_t first_;
  std::atomic<bool> is_over_ = false;
};

/// A range that is taken item by item, by the thread that asks for results. An lvalue is referred to, an rvalue is kept.
template <class Range>
class StreamInput {
 public:
  explicit StreamInput(Range&& range) : range_(std::forward<Range>(range)) {}
  /// False at the end. Errors: those of the range.
  template <class Take>
  bool next(Take take) {
    if (!at_) at_.emplace(std::ranges::begin(range_));
    else if (!is_fresh_) ++*at_;
    is_fresh_ = true;
    if (*at_ == std::ranges::end(range_)) return false;
    is_fresh_ = false;
    take(**at_);
    return true;
  }

 private:
  Range range_;
  std::optional<std::ranges::iterator_t<std::remove_reference_t<Range>>> at_;
  bool is_fresh_ = false;
};

}  // namespace detail
}  // namespace brood::inline v1
