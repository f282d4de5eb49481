// What the pool is asked: by its owner, by jobs, by futures.
#include "pool/core.hpp"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <typeinfo>

#include "brood/detail/type_id.hpp"
#include "brood/error.hpp"
#include "pool/meter.hpp"
#include "registry/layout.hpp"

namespace brood::inline v1::pool {
namespace {

std::string type_text(const char* type) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> readable(abi::__cxa_demangle(type, nullptr, nullptr, &status),
                                                        std::free);
  return detail::readable_type_name(status == 0 ? readable.get() : type);
}

}  // namespace

std::size_t checked_count(std::int64_t workers, const char* of) {
  if (workers < 1) throw UsageError(std::string(of) + " wants at least one worker, not " + std::to_string(workers));
  if (workers >= registry::kSlots)
    throw UsageError(std::string(of) + " of " + std::to_string(workers) + " workers: a domain has at most " +
                     std::to_string(registry::kSlots - 1) + " processes");
  return static_cast<std::size_t>(workers);
}

void check_state(const char* wanted, const char* have) {
  if (wanted == nullptr || (have != nullptr && std::string_view(wanted) == have)) return;
  throw UsageError("the task's first parameter is a worker's state of type " + type_text(wanted) + ", but " +
                   (have == nullptr ? std::string("this Pool has no initializer that returns one")
                                    : "the initializer of this Pool returns " + type_text(have)));
}

void Core::check_running_locked() const {
  switch (state_) {
    case State::running: return;
    case State::closed: throw UsageError("this Pool was closed; it takes no more tasks");
    case State::terminated: throw UsageError("this Pool was terminated; make a new one");
    case State::broken: std::rethrow_exception(broken_);
  }
}

void Core::check_running() {
  require_creator();
  const Lock lock(mutex_);
  check_running_locked();
}

void Core::admit(const detail::PoolFunction& function) {
  check_running();
  if (function.state == nullptr) return;
  const std::type_info* const have = options_.initializer.state();
  if (have != nullptr && *have == *function.state) return;
  pool::check_state(function.state->name(), have != nullptr ? have->name() : nullptr);
}

void Core::submit(JobData& job) {
  require_creator();
  Lock lock(mutex_);
  check_running_locked();
  job.function_number = number_of(job.function);
  if (!job.is_map) job.first_number = ++last_number_;
  if (job.chunk == 0) {
    constexpr std::size_t kChunksEach = 4;
    const std::size_t chunks = kChunksEach * target_;
    job.chunk = (job.items + chunks - 1) / chunks;
  }
  job.open();
  ++open_jobs_;
  active_ns_ = Deadline::clock_ns();
  enqueue_back(job);
  dispatch(lock);
  call_pump_if_needed();
}

/// What was offered to a worker that has not begun it.
void Core::withdraw_offered(JobData& job, std::vector<Range>& out) {
  for (const auto& worker : *workers_) {
    for (Offered& task : worker->offered) {
      if (task.job != &job || !revoke(*worker, task, Stage::revoked)) continue;
      out.push_back(task.range);
      forget(*worker, task);
      --worker->given;
    }
  }
}

/// The items that lie in `offered`, and those that nobody was offered, fail with `why`.
void Core::drop(Lock& lock, JobData& job, const std::vector<Range>& offered, const std::exception_ptr& why) {
  job.unwanted = why;
  Settlements all;
  const auto drop_range = [&](const Range& range) { fail_unwanted(job, range, all); };
  while (job.has_pending()) drop_range(take_range(job));
  for (auto it = delayed_.begin(); it != delayed_.end();) {
    if (it->second.job != &job) {
      ++it;
      continue;
    }
    drop_range(it->second.range);
    it = delayed_.erase(it);
  }
  std::ranges::for_each(offered, drop_range);
  settle(lock, all);
}

/// What has not begun.
void Core::withdraw(JobData& job, const std::exception_ptr& why) {
  if (!is_creators()) return;
  Lock lock(mutex_);
  if (!job.is_open()) return;
  std::vector<Range> offered;
  withdraw_offered(job, offered);
  drop(lock, job, offered, why);
}

/// All of it or nothing: while we decide no item is handed out, and each that was is either taken back, or has begun.
bool Core::cancel(JobData& job) {
  require_creator();
  Lock lock(mutex_);
  if (!job.is_open() || job.decided != 0) return false;
  std::vector<Range> offered;
  withdraw_offered(job, offered);
  const bool has_begun = std::ranges::any_of(*workers_, [&](const auto& worker) {
    return std::ranges::any_of(worker->offered, [&](const Offered& task) { return task.job == &job; });
  });
  if (has_begun) {
    // The last one first, so that the first is in front again.
    std::ranges::sort(offered, std::ranges::greater(), &Range::begin);
    for (const Range& range : offered) give_back(job, range);
    dispatch(lock);
    return false;
  }
  drop(lock, job, offered, std::make_exception_ptr(CancelledError("the task was cancelled before it began")));
  return true;
}

bool Core::is_running(JobData& job) {
  if (!is_creators()) return false;
  const Lock lock(mutex_);
  if (!job.is_open()) return false;
  return std::ranges::any_of(*workers_, [&](const auto& worker) {
    return std::ranges::any_of(worker->offered, [&](const Offered& task) {
      return task.job == &job && worker->desk.stages[task.seq % kStages].load() == stage_word(task.seq, Stage::running);
    });
  });
}

bool Core::cancel_running(JobData& job, const CancelOptions& options) {
  if (cancel(job)) return true;
  Lock lock(mutex_);
  if (!job.is_open()) return false;
  std::vector<Range> offered;
  withdraw_offered(job, offered);
  for (const auto& it : *workers_) {
    Worker& worker = *it;
    const Offered* const task = first_live(worker);
    if (task == nullptr || task->job != &job) continue;
    worker.desk.stop.store(task->seq);
    worker.desk.stop_bell.notify_all();
    if (options.kill && worker.kill == Worker::Kill::none) {
      worker.kill = Worker::Kill::cancel;
      worker.kill_at_ns = Deadline::clock_ns() + std::max<std::int64_t>(options.grace.count(), 0);
      hall_.caller.notify_all();
      call_pump_if_needed();
    }
  }
  // No further attempts, and nothing more of a map.
  drop(lock, job, offered, std::make_exception_ptr(CancelledError("the task was cancelled while it ran")));
  return true;
}

std::size_t Core::size() {
  require_creator();
  const Lock lock(mutex_);
  return target_;
}

std::string Core::title(const JobData& job, std::size_t item) {
  return (job.is_map ? "item " : "task ") + std::to_string(job.number_of(item));
}

PoolInsight Core::insight() {
  require_creator();
  const Lock lock(mutex_);
  const std::int64_t now = Deadline::clock_ns();
  PoolInsight out;
  for (const auto& it : *workers_) {
    const Worker& worker = *it;
    WorkerInsight one;
    one.number = worker.number;
    one.pid = worker.pid;
    one.state = worker.is_leaving  ? WorkerInsight::State::leaving
                : !worker.is_ready ? WorkerInsight::State::starting
                : worker.live != 0 ? WorkerInsight::State::busy
                                   : WorkerInsight::State::idle;
    one.tasks = worker.finished;
    one.failed = worker.failed;
    one.ahead = worker.live;
    one.busy = std::chrono::nanoseconds(worker.busy_ns);
    one.waiting = std::chrono::nanoseconds(std::max<std::int64_t>(now - worker.began_ns - worker.busy_ns, 0));
    one.p50 = std::chrono::nanoseconds(worker.durations.quantile(0.5));
    one.p99 = std::chrono::nanoseconds(worker.durations.quantile(0.99));
    out.workers.push_back(one);
  }
  for (const auto& [priority, line] : queue_) {
    for (const JobData* job = line.first; job != nullptr; job = job->after) {
      out.queued += job->items - job->next;
      for (const Range& range : job->returned) out.queued += range.end - range.begin;
    }
  }
  for (const auto& [when, delayed] : delayed_) out.queued += delayed.range.end - delayed.range.begin;
  out.finished = finished_;
  out.failed = failed_;
  out.retried = retried_;
  out.lost = lost_;
  out.timeouts = timeouts_;
  out.deaths = deaths_;
  out.recycled = recycled_;
  out.elapsed = std::chrono::nanoseconds(now - began_ns_);
  return out;
}

std::string Core::printed() {
  if (!is_creators()) return "<Pool of another process>";  // whose threads may have held the mutex
  const PoolInsight now = insight();
  const Lock lock(mutex_);
  constexpr std::array kStates = {"running", "closed", "terminated", "broken"};
  return std::string("<Pool ") + kStates.at(static_cast<std::size_t>(state_)) +
         " workers=" + std::to_string(now.workers.size()) + " queued=" + std::to_string(now.queued) + ">";
}

}  // namespace brood::inline v1::pool
