// What a Pool, a task and a map can be told; what a Pool tells.                                      (room: pool)
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <variant>
#include <vector>

#include "brood/detail/pool_call.hpp"
#include "brood/error.hpp"
#include "brood/process_options.hpp"

namespace brood::inline v1 {

/// A call that each worker does before its first task: a function or a lambda without captures, and its arguments. What it
/// returns (anything; it stays in the worker) is the worker's state: tasks that take one parameter more than they are given
/// arguments get it as the first, by reference.
///
///   Model load(const std::string& path);
///   int classify(Model& model, const Image& image);
///   brood::Pool pool(4, {.initializer = {load, "model.bin"}});
///   std::vector<int> classes = pool.map(classify, images);
///
/// Shared objects among the arguments must live as long as the pool: each new worker opens them.
/// Errors: what encoding the arguments throws; what cannot travel does not compile.
class Initializer {
 public:
  Initializer() = default;
  template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, Initializer>)
      [[gnu::visibility("hidden")]] Initializer(  // NOLINT(google-explicit-constructor): {load, "model.bin"}
          F&& f, Args&&... args)
      : call_(detail::pack_state_maker(std::forward<F>(f), std::forward<Args>(args)...)),
        state_(detail::state_type<std::decay_t<F>, Args...>()) {}

  // The pool's.
  /// What another process has packed, of which the type of its state is not known here.
  [[nodiscard]] static Initializer of_packed(detail::PackedCall call) {
    Initializer out;
    out.call_ = std::move(call);
    return out;
  }
  [[nodiscard]] const detail::PackedCall& call() const noexcept { return call_; }
  [[nodiscard]] const std::type_info* state() const noexcept { return state_; }

 private:
  detail::PackedCall call_;
  const std::type_info* state_ = nullptr;
};

/// Options of a Pool, for designated initialisers: Pool(4, {.tasks_per_child = 100}).
struct PoolOptions {
  Initializer initializer = {};
  /// A worker leaves after so many tasks and is replaced; a chunk of a map is one task. Nothing: it stays.
  std::optional<std::int64_t> tasks_per_child = {};
  /// A worker whose memory (RSS) has grown by more bytes than this since its first task leaves after the task that it is at, and
  /// is replaced.
  std::optional<std::size_t> max_memory_growth = {};
  /// The pool is broken once more workers than this have died in a row before they were ready (they could not be started, or died
  /// in the initializer) while no other got ready; or before they had begun what they had been sent, while nothing else was done.
  /// Of those that died together the first one counts. Those that are ready and wait may be killed as often as anybody likes.
  /// Pauses before new ones are started grow from 10 ms to 1 s, as long as they die within a second of being ready.
  unsigned max_idle_deaths = 10;
  /// Workers: start method, streams, directory, limits … The name is completed by a number and defaults to "PoolWorker".
  /// Workers are daemons, whatever it says here, and may have children all the same.
  ProcessOptions process = {};
};

/// Which failures of a task are tried again. Combine with |.
enum class RetryOn : std::uint8_t {
  died = 1,       ///< its worker died
  timeout = 2,    ///< its hard limit passed
  exception = 4,  ///< it threw
};
[[nodiscard]] constexpr RetryOn operator|(RetryOn a, RetryOn b) noexcept {
  return static_cast<RetryOn>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr bool contains(RetryOn set, RetryOn one) noexcept {
  return (static_cast<unsigned>(set) & static_cast<unsigned>(one)) != 0;
}

/// Whether a task that failed is run again: {.times = 3, .backoff = 100ms}. A task whose worker died may have done its work
/// before: what is tried again should bear that.
struct Retry {
  unsigned times = 0;                    ///< after the first attempt
  std::chrono::milliseconds backoff{0};  ///< before the first retry; doubled before each further one
  RetryOn on = RetryOn::died;
};

/// Options of one task: pool.submit({.hard_limit = 5s}, f, args…).
struct TaskOptions {
  /// Higher ones are begun first; among equals, the order of submission.
  int priority = 0;
  /// So long after the task has begun this_task().stop_requested() is true in it; 0: never. The rest is up to the task.
  std::chrono::nanoseconds soft_limit{0};
  /// So long after the task has begun its worker is killed, also one that is stopped (SIGSTOP); the task fails with
  /// TaskTimeout. 0: never.
  std::chrono::nanoseconds hard_limit{0};
  Retry retry = {};
};

/// What a Progress callback is told.
struct ProgressReport {
  std::string title;
  std::size_t done = 0;    ///< items that have a result or an exception
  std::size_t failed = 0;  ///< of these, with an exception
  std::size_t total = 0;
  std::chrono::nanoseconds elapsed{0};
  double rate = 0;                               ///< items per second, lately
  std::optional<std::chrono::nanoseconds> left;  ///< at that rate; nothing before the first item
  bool is_last = false;                          ///< all are done, or the pool is over
};

/// Shows how far a map is: {.progress = true} draws a bar on standard error if that is a terminal, and prints a line now and
/// then if not, and at the end what each worker did since the pool began; {.progress = f} calls f(report) instead, from the thread that reads the results: every 100 ms at most, and at
/// the end. What f throws is printed to standard error.
class Progress {
 public:
  using Callback = std::function<void(const ProgressReport&)>;
  Progress() = default;
  Progress(bool show, std::string title = {})  // NOLINT(google-explicit-constructor)
      : shows_(show), title_(std::move(title)) {}
  template <std::invocable<const ProgressReport&> F>
  Progress(F callback, std::string title = {})  // NOLINT(google-explicit-constructor)
      : shows_(true), title_(std::move(title)), callback_(std::move(callback)) {}

  [[nodiscard]] bool shows() const noexcept { return shows_; }
  [[nodiscard]] const std::string& title() const noexcept { return title_; }
  [[nodiscard]] const Callback& callback() const noexcept { return callback_; }

 private:
  bool shows_ = false;
  std::string title_;
  Callback callback_;
};

/// Options of map and its kin: pool.map(f, items, {.chunk_size = 16}). Limits and retries are those of each item.
struct MapOptions {
  /// Items that are sent to a worker together; 0: as many as give each worker four chunks, rounded up. A worker that dies
  /// costs the item that it was at, whatever the size.
  std::int64_t chunk_size = 0;
  int priority = 0;
  std::chrono::nanoseconds soft_limit{0};
  std::chrono::nanoseconds hard_limit{0};
  Retry retry = {};
  Progress progress = {};
};

/// Options of imap and imap_unordered. Limits and retries are those of each item.
struct ImapOptions {
  /// Items that are sent to a worker together; at least 1.
  std::int64_t chunk_size = 1;
  /// How many items are taken from the input ahead of the one that is waited for; 0: 32 chunks for each worker.
  std::int64_t look_ahead = 0;
  int priority = 0;
  std::chrono::nanoseconds soft_limit{0};
  std::chrono::nanoseconds hard_limit{0};
  Retry retry = {};
};

/// Options of Pool::cancel.
struct CancelOptions {
  /// A task that runs is asked first (this_task().stop_requested()), and so long afterwards its worker is killed. 0: at once.
  std::chrono::nanoseconds grace{0};
  /// False: it is asked only.
  bool kill = true;
};

/// What became of one item: its result, or the exception.
template <class T>
class Outcome {
 public:
  using value_type = T;
  using Stored = std::conditional_t<std::is_void_v<T>, std::monostate, T>;
  Outcome() = default;
  [[nodiscard]] static Outcome of(Stored value) {
    Outcome out;
    out.value_.emplace(std::move(value));
    return out;
  }
  [[nodiscard]] static Outcome of_error(const std::exception_ptr& error) {
    Outcome out;
    out.error_ = error;
    return out;
  }

  [[nodiscard]] bool has_value() const noexcept { return value_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }
  /// Null if there is a result.
  [[nodiscard]] std::exception_ptr error() const noexcept { return error_; }
  /// Errors: the exception.
  const Stored& value() const& {
    check();
    return *value_;
  }
  Stored&& value() && {
    check();
    return *std::move(value_);
  }
  const Stored& operator*() const& { return value(); }
  const Stored* operator->() const { return &value(); }
  [[nodiscard]] Stored value_or(Stored otherwise) const { return has_value() ? *value_ : otherwise; }

 private:
  void check() const {
    if (error_) std::rethrow_exception(error_);
    if (!value_) throw UsageError("this Outcome is of nothing: it was default-constructed");
  }
  std::optional<Stored> value_;
  std::exception_ptr error_;
};

/// Of one worker, as the pool sees it.
struct WorkerInsight {
  enum class State : std::uint8_t { starting, idle, busy, leaving };
  unsigned number = 0;  ///< counted from 1 over all workers that the pool ever had
  std::int64_t pid = 0;
  State state = State::starting;
  std::uint64_t tasks = 0;              ///< items that it has finished
  std::uint64_t failed = 0;             ///< of these, with an exception
  std::size_t ahead = 0;                ///< chunks that it has been sent and has not finished
  std::chrono::nanoseconds busy{0};     ///< in tasks, as it measured
  std::chrono::nanoseconds waiting{0};  ///< the rest of its life
  std::chrono::nanoseconds p50{0};      ///< of its tasks; to within 10 %
  std::chrono::nanoseconds p99{0};
};
[[nodiscard]] std::string_view to_string(WorkerInsight::State state) noexcept;

/// Figures of a Pool; printable.
struct PoolInsight {
  std::vector<WorkerInsight> workers;
  std::size_t queued = 0;      ///< items that wait for a worker
  std::uint64_t finished = 0;  ///< items with a result or an exception, of all workers
  std::uint64_t failed = 0;    ///< of these, with an exception
  std::uint64_t retried = 0;   ///< attempts that were repeated
  std::uint64_t lost = 0;      ///< items whose worker died in them, for good
  std::uint64_t timeouts = 0;  ///< workers killed by a hard limit
  std::uint64_t deaths = 0;    ///< workers that died
  std::uint64_t recycled = 0;  ///< workers that left after tasks_per_child, max_memory_growth or resize
  std::chrono::nanoseconds elapsed{0};
  friend std::ostream& operator<<(std::ostream& out, const PoolInsight& insight);
};

}  // namespace brood::inline v1
