// Core: one pool in the process that made it. See README.md for who does what under which lock.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/detail/future_core.hpp"
#include "brood/detail/pool_core.hpp"
#include "brood/finalizer.hpp"
#include "brood/pool_options.hpp"
#include "brood/process.hpp"
#include "brood/shared_memory.hpp"
#include "pool/desk.hpp"
#include "pool/histogram.hpp"
#include "pool/job.hpp"
#include "pool/worker.hpp"

namespace brood::inline v1::pool {

inline constexpr std::int64_t kNoTime = std::numeric_limits<std::int64_t>::max();

/// What nobody can say how long it takes.
inline constexpr std::int64_t kUnknownNs = kNoTime / 4;

/// What a worker was sent and has not finished.
struct Offered {
  JobData* job;  ///< null: it was revoked
  Range range;
  std::size_t next;  ///< the first item whose result has not come
  std::uint64_t seq;
  std::int64_t estimate_ns;
  std::uint64_t behind;  ///< where its record ends
};

/// A worker, as the master sees it. What is not marked otherwise is guarded by the pool's mutex.
struct Worker {
  Worker(unsigned n, SharedMemory memory, PipeEnd end)
      : number(n),
        desk_memory(std::move(memory)),
        desk(*reinterpret_cast<Desk*>(desk_memory.bytes().data())),
        pipe(std::move(end)),
        tasks(desk_memory.bytes().data() + kTaskRingAt, desk.task_tail, desk.task_head) {}

  const unsigned number;
  SharedMemory desk_memory;
  Desk& desk;
  PipeEnd pipe;  ///< sending: whoever feeds the worker; receiving: whoever reads
  RingWriter tasks;
  std::unique_ptr<Process> process;
  std::int64_t pid = 0;
  std::int64_t started_ns = 0;

  bool is_ready = false;    ///< its initializer is through
  bool is_leaving = false;  ///< it gets no more tasks
  bool is_told_to_stop = false;
  bool is_surplus = false;  ///< it will not be replaced
  bool is_feeding = false;  ///< a thread sends to it, without the mutex
  std::deque<Offered> offered = {};
  std::size_t live = 0;  ///< of these, not revoked
  std::uint64_t last_seq = 0;
  std::int64_t ahead_ns = 0;       ///< sum of the estimates of what is offered
  std::vector<bool> knows = {};    ///< which functions
  std::uint64_t given = 0;         ///< tasks it was ever sent and not relieved of
  std::int64_t not_before_ns = 0;  ///< it could not take, or did not begin, what it was sent: try again then
  std::int64_t distrust_ns = 0;    ///< how long it is left alone next time that it does not begin
  std::uint64_t looked_seq = 0;    ///< what was at the front …
  std::int64_t looked_ns = 0;      ///< … and since when
  /// Of the task at the front: why its worker is, or will be, killed.
  enum class Kill : std::uint8_t { none, timeout, cancel };
  Kill kill = Kill::none;
  std::uint64_t kill_seq = 0;  ///< its item `kill_item` is meant
  std::size_t kill_item = 0;
  std::int64_t kill_at_ns = kNoTime;  ///< when grace is over

  // The reader's.
  std::uint64_t read = 0;    ///< bytes of results
  bool is_read_out = false;  ///< it died in the middle of what it said last
  bool has_message = false;
  std::unique_ptr<detail::Received> received = {};
  detail::Chunk chunk = {};
  std::span<const std::byte> message = {};

  std::atomic<bool> has_ended = false;  ///< set by the keeper, after exit_code
  std::optional<int> exit_code = {};
  bool core_dumped = false;

  // Figures.
  std::uint64_t finished = 0;
  std::uint64_t failed = 0;
  std::int64_t busy_ns = 0;
  std::int64_t began_ns = 0;  ///< when it was ready; before that, when it had been started
  Histogram durations = {};

  [[nodiscard]] const std::byte* results() const noexcept { return desk_memory.bytes().data() + kResultRingAt; }
  [[nodiscard]] bool has_news() const noexcept {
    // SYNC ring-put: acquire; pairs with the release of the worker's commit.
    return desk.result_tail.load(std::memory_order_acquire) != read || has_ended.load(std::memory_order_acquire);
  }
};
using Workers = std::vector<std::shared_ptr<Worker>>;

/// An item that is to be settled, outside of the mutex.
struct Settlement {
  JobData* job;
  std::size_t item;
  Report kind;  ///< value or exception, in `bytes`; or `failed`
  std::span<const std::byte> bytes = {};
  std::exception_ptr failed = {};
  std::unique_ptr<detail::Received> received = {};  ///< what `bytes` are part of, if they are in no ring
  detail::Chunk chunk = {};
};
using Settlements = std::vector<Settlement>;

/// Deaths in a row. What had been started before the one that counted last belongs to that: many at once are one.
class DeathRow {
 public:
  /// False if it belongs to the last one.
  bool add(std::int64_t started_ns, std::int64_t now_ns) noexcept {
    if (count_ != 0 && started_ns < last_ns_) return false;
    ++count_;
    last_ns_ = now_ns;
    return true;
  }
  void end() noexcept { count_ = 0; }
  [[nodiscard]] unsigned count() const noexcept { return count_; }

 private:
  unsigned count_ = 0;
  std::int64_t last_ns_ = 0;
};

/// `of` says who asks. Errors: UsageError (less than one).
[[nodiscard]] std::size_t checked_count(std::int64_t workers, const char* of);
/// Of the state that a task wants of its worker, and that the pool's initializer makes (std::type_info::name(); null: none).
/// Errors: UsageError.
void check_state(const char* wanted, const char* have);

class Core final : public detail::PoolBody, public std::enable_shared_from_this<Core> {
 public:
  Core(std::size_t workers, PoolOptions options);
  ~Core() override;

  /// Starts workers and threads. Errors: as Pool::Pool; then there are none.
  void start();
  /// Ends both. Throws nothing.
  void finish() noexcept;

  [[nodiscard]] bool is_creators() const noexcept;
  /// Errors: UsageError.
  void require_creator() const;

  void admit(const detail::PoolFunction& function) override;
  void check_running() override;
  [[nodiscard]] std::size_t size() override;
  void submit(JobData& job) override;
  void withdraw(JobData& job, const std::exception_ptr& why) override;
  bool cancel(JobData& job) override;
  bool cancel_running(JobData& job, const CancelOptions& options) override;
  [[nodiscard]] bool is_running(JobData& job) override;
  bool wait(JobData& job, detail::PoolAwaited& what, Deadline deadline) override;
  /// Reads for all until `what` is ready.
  bool wait(detail::PoolAwaited& what, Deadline deadline);

  void close() override;
  void terminate() override;
  bool join(Deadline deadline) override;
  void resize(std::int64_t workers) override;
  [[nodiscard]] PoolInsight insight() override;
  [[nodiscard]] std::string printed() override;

 private:
  using Lock = std::unique_lock<std::mutex>;
  enum class State : std::uint8_t { running, closed, terminated, broken };
  struct FunctionEntry {
    std::vector<std::byte> announcement;
    std::int64_t estimate_ns = 0;  ///< of an item; 0: nobody knows
  };
  struct FunctionHash {
    std::size_t operator()(const std::pair<const void*, const void*>& f) const noexcept {
      return std::hash<const void*>{}(f.first) * 31 + std::hash<const void*>{}(f.second);
    }
  };

  // --- core.cpp, with the mutex
  void withdraw_offered(JobData& job, std::vector<Range>& out);
  void drop(Lock& lock, JobData& job, const std::vector<Range>& offered, const std::exception_ptr& why);

  // --- dispatch.cpp, with the mutex
  void check_running_locked() const;
  [[nodiscard]] std::uint32_t number_of(const detail::PoolFunction& function);
  void enqueue_back(JobData& job);
  void enqueue_front(JobData& job);
  void unqueue(JobData& job);
  [[nodiscard]] JobData* first_job() noexcept;
  void dispatch(Lock& lock);
  void refill(Lock& lock, const std::shared_ptr<Worker>& worker);
  [[nodiscard]] bool has_room(const Worker& worker, const JobData& job, std::int64_t now) const;
  enum class Given : std::uint8_t { yes, no, unlocked };
  Given give(Lock& lock, const std::shared_ptr<Worker>& worker);
  Given send_message(Lock& lock, Worker& worker, JobData& job, const Range& range, std::uint64_t seq,
                     std::vector<std::byte> sizes);
  [[nodiscard]] bool tell(Worker& worker, const Record& record, std::span<const std::byte> head,
                          std::span<const std::byte> payload);
  void tell_to_stop(Worker& worker);
  [[nodiscard]] Range take_range(JobData& job);
  void give_back(JobData& job, const Range& range);
  [[nodiscard]] static bool revoke(Worker& worker, const Offered& task, Stage as) noexcept;
  /// Takes back what the worker has not begun.
  void recall(Worker& worker);
  void forget(Worker& worker, Offered& task) noexcept;
  /// Lets go of what was revoked and passed over.
  void prune(Worker& worker) noexcept;

  // --- reader.cpp
  void lead(Lock& lock, detail::PoolAwaited& what, Deadline deadline);
  bool read_all(Lock& lock);
  void call_follower();
  bool read_from(Lock& lock, const std::shared_ptr<Worker>& worker);
  [[nodiscard]] bool fetch_message(Lock& lock, Worker& worker, bool has_ended);
  [[nodiscard]] bool reads_here() const noexcept;
  /// Nobody will use it, and nobody works for it any more.
  [[nodiscard]] bool is_over() const noexcept { return quits_ && workers_->empty(); }
  enum class Before : std::uint8_t { ready, beginning, getting_anything };
  void note_idle_death(Before what, std::int64_t started_ns, bool is_young);
  void end_death_rows() noexcept;
  [[nodiscard]] unsigned fatal_deaths() const noexcept;
  [[nodiscard]] static std::string title(const JobData& job, std::size_t item);
  [[nodiscard]] static Offered* first_live(Worker& worker) noexcept;
  void take_result(Worker& worker, const Record& record, const ResultHead& head, std::span<const std::byte> payload,
                   Settlements& out);
  void settle(Lock& lock, Settlements& all);
  void settled(Lock& lock, JobData& job);
  /// Of an item that failed as `how`: another attempt, or a settlement.
  [[nodiscard]] bool retry(JobData& job, const Range& one, RetryOn how);
  void bury(Lock& lock, const std::shared_ptr<Worker>& worker);
  /// Nobody wants the rest of a cancelled job.
  void fail_unwanted(JobData& job, const Range& range, Settlements& out);
  void charge_death(Worker& worker, const Offered& task, Settlements& out);
  [[nodiscard]] static bool is_in_item(const Worker& worker, const Offered& task) noexcept;
  void rebalance(Worker& worker, std::int64_t now, bool others_idle);
  [[nodiscard]] std::exception_ptr death_of(const Worker& worker, const JobData& job, std::size_t item,
                                            unsigned attempt) const;
  void run_timers(Lock& lock, std::int64_t now);
  [[nodiscard]] std::int64_t next_timer(std::int64_t now) const;
  bool kill(Worker& worker, Worker::Kill why);
  void leave(Lock& lock);
  void call_pump_if_needed();
  void ring_reader() noexcept;
  void run_pump();
  [[nodiscard]] std::shared_ptr<const Workers> workers() const { return workers_; }
  [[nodiscard]] bool has_news(const Workers& workers) const noexcept;

  // --- keeper.cpp
  void run_keeper();
  void wake_keeper() noexcept;
  [[nodiscard]] std::shared_ptr<Worker> make_worker();
  void add_worker(std::shared_ptr<Worker> worker);
  void start_missing(Lock& lock);
  [[nodiscard]] std::size_t missing() const;
  [[nodiscard]] bool may_start() const;
  void stop_workers(bool by_force);
  void break_pool(Lock& lock, const std::exception_ptr& cause);
  /// `why` makes an exception for each job: its threads may change what they catch.
  void fail_everything(Lock& lock, const std::function<std::exception_ptr()>& why);
  void end_if_done();
  [[nodiscard]] std::exception_ptr over_error() const;

  const PoolOptions options_;
  const int creator_;
  const unsigned forks_;
  const std::string name_;

  mutable std::mutex mutex_;
  State state_ = State::running;
  std::exception_ptr broken_;
  std::size_t target_;
  std::shared_ptr<const Workers> workers_ = std::make_shared<const Workers>();
  std::atomic<std::uint64_t> workers_version_ = 0;
  std::size_t starting_ = 0;  ///< the keeper is at it
  std::size_t corpses_ = 0;   ///< ended, and not reaped by the keeper
  std::vector<std::shared_ptr<Worker>> buried_;
  std::map<int, Line, std::greater<>> queue_;
  struct Delayed {
    JobData* job;
    Range range;
  };
  std::multimap<std::int64_t, Delayed> delayed_;
  std::unordered_map<std::pair<const void*, const void*>, std::uint32_t, FunctionHash> function_numbers_;
  std::deque<FunctionEntry> functions_;
  std::size_t open_jobs_ = 0;
  std::uint64_t last_number_ = 0;

  SharedMemory hall_memory_;
  Hall& hall_;
  bool leading_ = false;  ///< somebody reads
  struct Follower {
    detail::PoolAwaited* what;
    std::atomic<bool> called = false;
  };
  std::vector<Follower*> followers_;
  std::int64_t pump_until_ns_ = 0;  ///< when the pump will look by itself; 0: it is awake
  std::int64_t active_ns_ = 0;      ///< when something was submitted last

  bool quits_ = false;
  std::thread pump_;
  std::thread keeper_;
  base::UniqueFd keeper_bell_;
  std::condition_variable changed_;  ///< workers ended
  unsigned last_worker_ = 0;
  DeathRow unready_deaths_;       ///< before they were ready, and none was in between
  DeathRow unbegun_deaths_;       ///< before they began what they had been sent, and none finished anything in between
  DeathRow young_deaths_;         ///< before they had begun anything, soon after they were ready or before that
  std::int64_t start_at_ns_ = 0;  ///< the next worker, not before
  std::int64_t kill_all_at_ns_ = kNoTime;
  Finalizer at_exit_;

  // Figures.
  const std::int64_t began_ns_ = Deadline::clock_ns();
  std::uint64_t finished_ = 0;
  std::uint64_t failed_ = 0;
  std::uint64_t retried_ = 0;
  std::uint64_t lost_ = 0;
  std::uint64_t timeouts_ = 0;
  std::uint64_t deaths_ = 0;
  std::uint64_t recycled_ = 0;
};

}  // namespace brood::inline v1::pool
