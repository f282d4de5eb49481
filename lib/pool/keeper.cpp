// The keeper: starts workers, sees them end, kills what does not; and how a pool begins and ends.
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <utility>

#include "brood/error.hpp"
#include "brood/remote_error.hpp"
#include "os/forks.hpp"
#include "os/program.hpp"
#include "pool/core.hpp"
#include "process/current.hpp"

namespace brood::inline v1::pool {
namespace {

/// Between asking the workers of a terminated pool to end and killing them.
constexpr std::int64_t kGraceNs = 1'000'000'000;

constinit std::atomic<unsigned> g_last_name = 0;

template <class Body>
std::thread named_thread(const char* name, Body body) {
  // Born with all signals blocked: the application's handlers run on the application's threads.
  const os::AllSignalsBlocked blocked;
  std::thread out(std::move(body));
  // Here and not there: from now on it counts as ours (os::foreign_threads).
  ::pthread_setname_np(out.native_handle(), name);
  return out;
}

PoolOptions checked(PoolOptions options) {
  if (options.tasks_per_child && *options.tasks_per_child < 1) {
    throw UsageError("PoolOptions::tasks_per_child is " + std::to_string(*options.tasks_per_child) +
                     "; a worker does one task at least; leave it out for no limit");
  }
  return options;
}

}  // namespace

Core::Core(std::size_t workers, PoolOptions options)
    : options_(checked(std::move(options))),
      creator_(::getpid()),
      forks_(os::forks()),
      name_(options_.process.name.empty() ? "PoolWorker" : options_.process.name),
      target_(workers),
      hall_memory_(sizeof(Hall)),
      hall_(*reinterpret_cast<Hall*>(hall_memory_.bytes().data())) {
  (void)g_last_name;
}

/// In the thread that lets go of it last, which may be one of its own.
Core::~Core() {
  at_exit_.cancel();
  for (std::thread* const thread : {&pump_, &keeper_}) {
    if (thread->get_id() == std::this_thread::get_id()) thread->detach();
    else if (thread->joinable()) thread->join();
  }
}

bool Core::is_creators() const noexcept { return os::forks() == forks_; }

void Core::require_creator() const {
  if (!is_creators()) [[unlikely]]
    throw UsageError("this Pool belongs to process " + std::to_string(creator_) +
                     ", which made it; a child makes its own Pool, also in a task");
}

// --- beginning and end -------------------------------------------------------------------------------------------------

void Core::start() {
  keeper_bell_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!keeper_bell_) throw OsError(errno, "cannot make an eventfd for a Pool");
  try {
    for (std::size_t i = 0; i < target_; ++i) {
      std::shared_ptr<Worker> worker = make_worker();
      const Lock lock(mutex_);
      add_worker(std::move(worker));
    }
    const auto self = shared_from_this();
    keeper_ = named_thread("brood-keeper", [self] { self->run_keeper(); });
    pump_ = named_thread("brood-pool", [self] { self->run_pump(); });
  } catch (...) {
    {
      const Lock lock(mutex_);
      state_ = State::terminated;
    }
    if (keeper_.joinable()) {
      finish();
    } else {
      for (const auto& worker : *workers_) worker->process->kill();
      for (const auto& worker : *workers_) worker->process->join();
      workers_ = std::make_shared<const Workers>();
    }
    throw;
  }
  // Not by `this`: one whose user has let go of it in an action may be destroyed by its own threads at any time.
  at_exit_ = Finalizer([weak = weak_from_this()] {
    if (const auto it = weak.lock()) it->finish();
  });
}

void Core::finish() noexcept {
  terminate();
  const bool is_ours = reads_here();
  if (!is_ours) (void)join(Deadline::never());
  {
    const Lock lock(mutex_);
    quits_ = true;
  }
  wake_keeper();
  hall_.pump.notify_all();
  // An action of a future lets go of the pool: this thread may be one of them, and they end by themselves, once the workers
  // have. The exit of the program waits for that.
  if (is_ours) return;
  for (std::thread* const thread : {&pump_, &keeper_}) {
    if (thread->joinable()) thread->join();
  }
  at_exit_.cancel();
}

void Core::close() {
  Lock lock(mutex_);
  if (state_ != State::running) return;
  state_ = State::closed;
  end_if_done();
}

void Core::end_if_done() {
  if (state_ != State::closed || open_jobs_ != 0) return;
  stop_workers(false);
  wake_keeper();
  changed_.notify_all();
}

void Core::terminate() {
  Lock lock(mutex_);
  if (state_ == State::terminated) return;
  state_ = State::terminated;
  // First: an action of a future may wait for their end.
  stop_workers(true);
  wake_keeper();
  fail_everything(lock, [] {
    return std::make_exception_ptr(
        PoolTerminated("the task was not done: its Pool was terminated, or went out of scope"));
  });
}

bool Core::join(Deadline deadline) {
  Lock lock(mutex_);
  if (state_ == State::running || state_ == State::broken) {
    throw UsageError("Pool::join() of a Pool that is " + std::string(state_ == State::running ? "running" : "broken") +
                     "; close() or terminate() it first");
  }
  if (reads_here())
    throw UsageError(
        "Pool::join() in an action of a future of this Pool: the results that it waits for come through here");
  const auto done = [this] {
    // With tasks left, there will be workers again.
    const bool is_over = state_ != State::closed || open_jobs_ == 0;
    return is_over && workers_->empty() && corpses_ == 0 && starting_ == 0 && buried_.empty();
  };
  if (deadline.is_never()) {
    changed_.wait(lock, done);
    return true;
  }
  return changed_.wait_until(lock, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline.at_ns())),
                             done);
}

void Core::resize(std::int64_t count) {
  const std::size_t wanted = checked_count(count, "Pool::resize()");
  Lock lock(mutex_);
  check_running_locked();
  target_ = wanted;
  std::size_t staying = 0;
  for (const auto& it : *workers_) staying += it->is_surplus ? 0 : 1;
  // Idle ones first.
  for (const bool also_busy : {false, true}) {
    for (const auto& it : *workers_) {
      if (staying <= target_) break;
      if (it->is_surplus || (!also_busy && it->live != 0)) continue;
      it->is_surplus = true;
      --staying;
      recall(*it);
      tell_to_stop(*it);
    }
  }
  dispatch(lock);
  call_pump_if_needed();
  wake_keeper();
}

/// Who is idle ends by itself. The others, by force: at once, and all that is left after a grace.
void Core::stop_workers(bool by_force) {
  for (const auto& it : *workers_) {
    Worker& worker = *it;
    tell_to_stop(worker);
    if (by_force && (worker.live != 0 || !worker.offered.empty() || !worker.is_ready || !worker.is_told_to_stop))
      worker.process->terminate();
  }
  if (by_force) kill_all_at_ns_ = std::min(kill_all_at_ns_, Deadline::clock_ns() + kGraceNs);
}

void Core::break_pool(Lock& lock, const std::exception_ptr& cause) {
  if (state_ == State::terminated || state_ == State::broken) return;
  state_ = State::broken;
  const auto told = [&cause, text = "the Pool is broken and does nothing any more: " +
                                    detail::describe_exception(cause, " <- ")]() -> std::exception_ptr {
    try {
      try {
        std::rethrow_exception(cause);
      } catch (...) {
        std::throw_with_nested(PoolBroken(text));
      }
    } catch (...) {
      return std::current_exception();
    }
  };
  broken_ = told();
  stop_workers(true);
  wake_keeper();
  fail_everything(lock, told);
}

void Core::fail_everything(Lock& lock, const std::function<std::exception_ptr()>& why) {
  Settlements all;
  std::unordered_map<const JobData*, std::exception_ptr> made;
  const auto fail = [&](JobData& job, std::size_t begin, std::size_t end) {
    std::exception_ptr& own = made[&job];
    if (own == nullptr) own = why();
    for (std::size_t item = begin; item < end; ++item) {
      ++job.decided;
      ++finished_;
      ++failed_;
      all.push_back({.job = &job, .item = item, .kind = Report::exception, .failed = own});
    }
  };
  while (JobData* const job = first_job()) {
    while (job->has_pending()) {
      const Range range = take_range(*job);
      fail(*job, range.begin, range.end);
    }
  }
  for (const auto& [when, delayed] : std::exchange(delayed_, {}))
    fail(*delayed.job, delayed.range.begin, delayed.range.end);
  for (const auto& worker : *workers_) {
    for (Offered& task : worker->offered) {
      if (task.job == nullptr) continue;
      fail(*task.job, task.next, task.range.end);
      task.job = nullptr;
    }
  }
  settle(lock, all);
}

// --- workers -----------------------------------------------------------------------------------------------------------

std::shared_ptr<Worker> Core::make_worker() {
  unsigned number = 0;
  {
    const Lock lock(mutex_);
    number = ++last_worker_;
  }
  auto [mine, theirs] = make_pipe();
  auto worker = std::make_shared<Worker>(number, SharedMemory(static_cast<std::int64_t>(kDeskBytes)), std::move(mine));
  ProcessOptions options = options_.process;
  options.name = name_ + "-" + std::to_string(number);
  options.daemon = true;
  const WorkerOrder order{.number = number,
                          .watches_memory = options_.max_memory_growth.has_value(),
                          .initializer = options_.initializer.call().bytes};
  worker->process =
      std::make_unique<Process>(std::move(options), run_worker, theirs, worker->desk_memory, hall_memory_, order);
  worker->started_ns = Deadline::clock_ns();
  worker->process->start();
  theirs.connection.close();
  worker->pid = worker->process->pid().value_or(0);
  worker->began_ns = Deadline::clock_ns();
  return worker;
}

void Core::add_worker(std::shared_ptr<Worker> worker) {
  auto more = std::make_shared<Workers>(*workers_);
  more->push_back(std::move(worker));
  workers_ = std::move(more);
  ++workers_version_;
}

/// How many there are too few of.
std::size_t Core::missing() const {
  if (state_ == State::terminated || state_ == State::broken || (state_ == State::closed && open_jobs_ == 0)) return 0;
  const auto staying =
      static_cast<std::size_t>(std::ranges::count_if(*workers_, [](const auto& it) { return !it->is_surplus; }));
  return target_ > staying ? target_ - staying : 0;
}

/// After two generations none of which got ready, one goes ahead, and the others wait for how it fares: until it is ready, or buried.
bool Core::may_start() const {
  return unready_deaths_.count() < 2 || std::ranges::all_of(*workers_, [](const auto& it) { return it->is_ready; });
}

void Core::start_missing(Lock& lock) {
  while (missing() != 0 && may_start() && Deadline::clock_ns() >= start_at_ns_) {
    const std::int64_t tried_ns = Deadline::clock_ns();
    ++starting_;
    lock.unlock();
    std::shared_ptr<Worker> worker;
    std::exception_ptr failure;
    try {
      worker = make_worker();
    } catch (...) {
      failure = std::current_exception();  // whatever it is, it is the pool's to say once there are too many
    }
    lock.lock();
    --starting_;
    if (worker) {
      add_worker(worker);
      // It ended while this worker was being started. (A closed one with tasks left has not ended.)
      if (state_ == State::terminated || state_ == State::broken) stop_workers(true);
      else end_if_done();
      ring_reader();
    } else {
      note_idle_death(Before::ready, tried_ns, true);
      if (fatal_deaths() > options_.max_idle_deaths) break_pool(lock, failure);
    }
    changed_.notify_all();
  }
}

void Core::wake_keeper() noexcept {
  const std::uint64_t one = 1;
  (void)!::write(keeper_bell_.get(), &one, sizeof one);  // full: it is awake
}

void Core::run_keeper() {
  Lock lock(mutex_);
  std::vector<pollfd> entries;
  std::vector<std::shared_ptr<Worker>> watched;
  for (;;) {
    // Reaped and let go of, without the mutex.
    std::vector<std::shared_ptr<Worker>> dead = std::exchange(buried_, {});
    if (!dead.empty()) {
      corpses_ += dead.size();
      lock.unlock();
      const std::size_t count = dead.size();
      dead.clear();
      lock.lock();
      corpses_ -= count;
      changed_.notify_all();
    }
    start_missing(lock);
    if (is_over() && buried_.empty()) return;

    const std::int64_t now = Deadline::clock_ns();
    if (kill_all_at_ns_ <= now) {
      kill_all_at_ns_ = kNoTime;
      for (const auto& worker : *workers_) worker->process->kill();
    }
    std::int64_t next = kill_all_at_ns_;
    if (missing() != 0 && may_start()) next = std::min(next, start_at_ns_);
    entries.assign(1, {keeper_bell_.get(), POLLIN, 0});
    watched.clear();
    for (const auto& worker : *workers_) {
      if (worker->has_ended.load(std::memory_order_relaxed)) continue;
      watched.push_back(worker);
      entries.push_back({worker->process->sentinel(), POLLIN, 0});
    }
    lock.unlock();
    const std::int64_t left_ms = next == kNoTime ? -1 : std::max<std::int64_t>((next - now + 999'999) / 1'000'000, 0);
    const int ready = ::poll(entries.data(), entries.size(), static_cast<int>(std::min<std::int64_t>(left_ms, 60'000)));
    if (ready > 0 && entries[0].revents != 0) {
      std::uint64_t count = 0;
      (void)!::read(keeper_bell_.get(), &count, sizeof count);
    }
    bool found = false;
    for (std::size_t i = 0; ready > 0 && i < watched.size(); ++i) {
      if (entries[i + 1].revents == 0) continue;
      Worker& worker = *watched[i];
      worker.process->join();
      worker.exit_code = worker.process->exitcode();
      worker.core_dumped = worker.process->core_dumped();
      worker.has_ended.store(true, std::memory_order_release);
      found = true;
    }
    if (found) ring_reader();
    watched.clear();
    lock.lock();
  }
}

}  // namespace brood::inline v1::pool
