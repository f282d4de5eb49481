// Who reads what workers report: results, deaths, time limits.
#include <algorithm>
#include <csignal>
#include <utility>

#include "brood/error.hpp"
#include "brood/remote_error.hpp"
#include "pool/core.hpp"
#include "process/child.hpp"
#include "sync/spin.hpp"

namespace brood::inline v1::pool {
namespace {

/// About 20 µs.
constinit sync::SpinBudget g_result_spin(1400);

/// As long as something lies behind a task that runs: how long until somebody looks.
constexpr std::int64_t kTickNs = 1'000'000;
/// So late the pump may look; and so often it looks for a while after the last submission.
constexpr std::int64_t kSlackNs = 5'000'000;
constexpr std::int64_t kActiveNs = 100'000'000;
/// A worker that has not begun its first task after this time may be stopped.
constexpr std::int64_t kStuckNs = 5'000'000;
constexpr std::int64_t kLongestDistrustNs = 1'000'000'000;
/// A message that a worker is sending is waited for so long at a time.
constexpr std::int64_t kMessageNs = 1'000'000;
constexpr std::size_t kMostAtOnce = 128;
/// Who dies idle so soon after it was ready may have died of itself.
constexpr std::int64_t kYoungNs = 1'000'000'000;

/// The pool for which this thread reads.
thread_local constinit Core* t_reading = nullptr;

class Reads {
 public:
  explicit Reads(Core* core) noexcept : before_(std::exchange(t_reading, core)) {}
  ~Reads() { t_reading = before_; }
  Reads(const Reads&) = delete;
  Reads& operator=(const Reads&) = delete;

 private:
  Core* before_;
};

Deadline until(std::int64_t at_ns) {
  return at_ns == kNoTime ? Deadline::never() : Deadline::never().capped(at_ns - Deadline::clock_ns());
}

}  // namespace

bool Core::reads_here() const noexcept { return t_reading == this; }

// --- waiting ---------------------------------------------------------------------------------------------------------

bool Core::wait(JobData& /*job*/, detail::PoolAwaited& what, Deadline deadline) { return wait(what, deadline); }

bool Core::wait(detail::PoolAwaited& what, Deadline deadline) {
  if (what.is_ready()) return true;
  require_creator();
  Lock lock(mutex_);
  if (reads_here()) {
    // An action of a future, say, waits for another one. If this is the pump, it sleeps as a caller does now.
    const std::uint32_t before = hall_.leads.exchange(1);
    lead(lock, what, deadline);
    hall_.leads.exchange(before);
    return what.is_ready();
  }
  Follower me{&what};
  for (;;) {
    if (what.is_ready()) return true;
    if (!leading_) {
      leading_ = true;
      hall_.leads.store(1);
      {
        const Reads reads(this);
        lead(lock, what, deadline);
      }
      leave(lock);
      return what.is_ready();
    }
    if (deadline.passed()) return false;
    me.called = false;
    followers_.push_back(&me);
    lock.unlock();
    what.sleep(me.called, deadline);
    lock.lock();
    std::erase(followers_, &me);
    // Whoever was called and does not lead lets the next one do so.
    if (me.called && !leading_ && (what.is_ready() || deadline.passed())) leave(lock);
  }
}

void Core::leave(Lock& /*lock*/) {
  leading_ = false;
  // SYNC pool-bell: a barrier between this and our last look; a worker does the same between its record and its look at `leads`.
  hall_.leads.exchange(0);
  call_follower();
  if (has_news(*workers_)) hall_.pump.notify_all();
  else call_pump_if_needed();
}

void Core::call_follower() {
  if (followers_.empty()) return;
  Follower& next = *followers_.front();
  next.called = true;
  next.what->nudge();
}

/// Ticks may come a little late, so that not every task that is submitted wakes the pump.
void Core::call_pump_if_needed() {
  if (leading_ || pump_until_ns_ == 0) return;
  const std::int64_t timer = next_timer(Deadline::clock_ns());
  if (timer != kNoTime && timer + kSlackNs < pump_until_ns_) {
    pump_until_ns_ = 0;
    hall_.pump.notify_all();
  }
}

void Core::ring_reader() noexcept {
  hall_.caller.notify_all();
  hall_.pump.notify_all();
}

bool Core::has_news(const Workers& workers) const noexcept {
  return std::ranges::any_of(workers, [](const auto& worker) { return worker->has_news(); });
}

void Core::lead(Lock& lock, detail::PoolAwaited& what, Deadline deadline) {
  for (;;) {
    const bool found = read_all(lock);
    if (what.is_ready()) return;
    if (found) continue;
    if (deadline.passed()) return;
    const std::int64_t now = Deadline::clock_ns();
    run_timers(lock, now);
    if (what.is_ready()) return;
    const std::shared_ptr<const Workers> watched = workers_;
    const std::uint64_t version = workers_version_.load();
    const std::int64_t timer = next_timer(now);
    lock.unlock();
    const auto changed = [&] { return has_news(*watched) || workers_version_.load() != version; };
    sync::Spinner spinner(g_result_spin);
    bool news = false;
    do {
      news = changed();
    } while (!news && spinner.again());
    if (news) {
      spinner.succeeded();
    } else {
      const std::uint32_t seen = hall_.caller.arm();
      if (!changed() && !what.is_ready())
        (void)os::futex_wait(hall_.caller.word, seen, timer < deadline.at_ns() ? until(timer) : deadline);
    }
    lock.lock();
  }
}

void Core::run_pump() {
  Lock lock(mutex_);
  // To the end of the workers: finish() does not wait for it where an action of a future called that.
  while (!is_over()) {
    if (!leading_) {
      leading_ = true;
      bool found = false;
      {
        const Reads reads(this);
        found = read_all(lock);
        run_timers(lock, Deadline::clock_ns());
      }
      leading_ = false;
      call_follower();
      if (found) continue;
    }
    const std::int64_t now = Deadline::clock_ns();
    std::int64_t timer = leading_ ? kNoTime : next_timer(now);
    if (now - active_ns_ < kActiveNs) timer = std::min(timer, now + kSlackNs);
    const std::uint32_t seen = hall_.pump.arm();
    if (is_over() || (!leading_ && has_news(*workers_))) continue;
    pump_until_ns_ = timer;
    lock.unlock();
    (void)os::futex_wait(hall_.pump.word, seen, until(timer));
    lock.lock();
    pump_until_ns_ = 0;
  }
}

// --- reading ---------------------------------------------------------------------------------------------------------

bool Core::read_all(Lock& lock) {
  const std::shared_ptr<const Workers> all = workers_;
  bool found = false;
  for (const auto& worker : *all) {
    if (!worker->has_news()) continue;
    if (read_from(lock, worker)) found = true;
  }
  return found;
}

bool Core::read_from(Lock& lock, const std::shared_ptr<Worker>& from) {
  Worker& worker = *from;
  // Before the tail: who has ended says nothing afterwards.
  const bool has_ended = worker.has_ended.load(std::memory_order_acquire);
  // SYNC ring-put: acquire; pairs with the release of the worker's commit.
  const std::uint64_t tail = worker.desk.result_tail.load(std::memory_order_acquire);
  detail::FutureCore::ActionsWait actions;
  Settlements settlements;
  std::exception_ptr broken;
  bool found = false;
  while (!worker.is_read_out && settlements.size() < kMostAtOnce) {
    const std::byte* at = record_at(worker.results(), worker.read, tail);
    if (at == nullptr) break;
    Record record{};
    ResultHead head{};
    std::memcpy(&record, at, sizeof record);
    std::memcpy(&head, at + sizeof record, sizeof head);
    std::span<const std::byte> payload(at + sizeof record + sizeof head, record.payload);
    if (record.is_by_pipe != 0) {
      if (!fetch_message(lock, worker, has_ended)) break;
      payload = worker.message;
    }
    found = true;
    switch (static_cast<Report>(record.kind)) {
      case Report::ready:
        worker.is_ready = true;
        worker.began_ns = Deadline::clock_ns();
        unready_deaths_.end();
        wake_keeper();  // who waited for how this one would fare
        break;
      case Report::broken: {
        Decoder in(payload);
        broken = detail::decode_exception(in);
        break;
      }
      default: take_result(worker, record, head, payload, settlements); break;
    }
    worker.has_message = false;
    worker.read += record.bytes;
  }
  const std::uint64_t read = worker.read;
  if (found) {
    refill(lock, from);
    settle(lock, settlements);
    // SYNC ring-taken: the exchange releases what we have read, and is the barrier before the look whether the worker sleeps.
    worker.desk.result_head.exchange(read);
    worker.desk.room.notify_every();
  }
  if (broken) break_pool(lock, broken);
  if (has_ended && (worker.is_read_out || worker.read == worker.desk.result_tail.load()) && !worker.is_feeding) {
    bury(lock, from);
    found = true;
  }
  lock.unlock();
  actions.run();
  lock.lock();
  return found;
}

/// A payload that comes through the pipe. False if it has not come (yet).
bool Core::fetch_message(Lock& lock, Worker& worker, bool has_ended) {
  if (worker.has_message) return true;
  lock.unlock();
  // What nobody wanted is there still.
  worker.chunk = {};
  if (worker.received) worker.received->clear();
  else worker.received = std::make_unique<detail::Received>();
  try {
    if (const auto got = worker.pipe.connection.receive_in_place(*worker.received, worker.chunk,
                                                                 Deadline::never().capped(kMessageNs))) {
      worker.message = *got;
      worker.has_message = true;
    }
  } catch (const EndOfFile&) {
    // It died, and so does this message; the keeper will say so.
  } catch (const BrokenMessage&) {
    // The same.
  }
  lock.lock();
  if (!worker.has_message && has_ended) worker.is_read_out = true;
  return worker.has_message;
}

void Core::take_result(Worker& worker, const Record& record, const ResultHead& head, std::span<const std::byte> payload,
                       Settlements& out) {
  // What was revoked before it has been passed over.
  while (!worker.offered.empty() && worker.offered.front().seq < record.seq) worker.offered.pop_front();
  if (worker.offered.empty() || worker.offered.front().seq != record.seq) return;
  Offered& task = worker.offered.front();
  const auto kind = static_cast<Report>(record.kind);
  ++worker.finished;
  worker.busy_ns += head.duration_ns;
  worker.durations.add(head.duration_ns);
  end_death_rows();
  if (kind == Report::exception) ++worker.failed;
  if (task.job != nullptr) {
    JobData& job = *task.job;
    std::int64_t& estimate = functions_[job.function_number].estimate_ns;
    estimate = estimate == 0 ? head.duration_ns + 1 : estimate + (head.duration_ns - estimate) / 8;
    estimate = std::max<std::int64_t>(estimate, 1);
    const std::size_t item = task.range.begin + record.item;
    task.next = item + 1;
    const bool again = kind == Report::exception &&
                       retry(job, {.begin = item, .end = item + 1, .attempt = task.range.attempt}, RetryOn::exception);
    if (!again) {
      Settlement one{.job = &job, .item = item, .kind = kind, .bytes = payload};
      if (record.is_by_pipe != 0) {
        one.received = std::move(worker.received);
        one.chunk = std::move(worker.chunk);
      }
      ++job.decided;
      ++finished_;
      if (kind == Report::exception) ++failed_;
      out.push_back(std::move(one));
    }
  }
  if (record.is_last == 0) return;
  if (task.job != nullptr) forget(worker, task);
  worker.offered.pop_front();
  if (worker.kill != Worker::Kill::none && worker.kill_at_ns != kNoTime) {  // it was faster
    worker.kill = Worker::Kill::none;
    worker.kill_at_ns = kNoTime;
  }
  if (options_.max_memory_growth && head.grown_bytes > *options_.max_memory_growth && !worker.is_leaving) {
    recall(worker);
    tell_to_stop(worker);
  }
}

void Core::settle(Lock& lock, Settlements& all) {
  if (all.empty()) return;
  lock.unlock();
  std::vector<JobData*> over;
  for (Settlement& one : all) {
    Decoder in(one.bytes);
    const bool is_last = one.failed                  ? one.job->fail(one.item, std::move(one.failed))
                         : one.kind == Report::value ? one.job->succeed(one.item, in)
                                                     : one.job->fail_encoded(one.item, in);
    if (is_last) over.push_back(one.job);
  }
  all.clear();
  for (JobData* const job : over) job->finish();
  lock.lock();
  open_jobs_ -= over.size();
  if (!over.empty()) end_if_done();
  if (!reads_here()) ring_reader();
}

bool Core::retry(JobData& job, const Range& one, RetryOn how) {
  const Retry& rule = job.options.retry;
  if (!contains(rule.on, how) || one.attempt > rule.times || job.unwanted || state_ == State::terminated ||
      state_ == State::broken)
    return false;
  Range again = one;
  ++again.attempt;
  ++retried_;
  if (rule.backoff.count() <= 0) {
    give_back(job, again);
    return true;
  }
  // Doubled until it is longer than anybody waits.
  constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24 * 365);
  std::chrono::milliseconds pause = std::min(rule.backoff, kLongest);
  for (unsigned doublings = one.attempt - 1; doublings > 0 && pause < kLongest; --doublings) pause *= 2;
  delayed_.emplace(Deadline::clock_ns() + std::chrono::nanoseconds(std::min(pause, kLongest)).count(),
                   Delayed{&job, again});
  return true;
}

// --- deaths ----------------------------------------------------------------------------------------------------------

/// It was inside of the function, as far as anybody can tell.
bool Core::is_in_item(const Worker& worker, const Offered& task) noexcept {
  return worker.desk.stages[task.seq % kStages].load() == stage_word(task.seq, Stage::running) &&
         worker.desk.begun.load(std::memory_order_acquire) > task.next - task.range.begin;
}

void Core::bury(Lock& lock, const std::shared_ptr<Worker>& dead) {
  Worker& worker = *dead;
  auto left = std::make_shared<Workers>(*workers_);
  std::erase(*left, dead);
  workers_ = std::move(left);
  ++workers_version_;
  Settlements settlements;
  bool was_busy = false;
  bool was_sent_something = false;
  // From the last one on, so that the first is in front again.
  for (auto it = worker.offered.rbegin(); it != worker.offered.rend(); ++it) {
    if (it->job == nullptr) continue;
    // Whom we killed has begun nothing behind what it was killed for.
    const bool is_spared = worker.kill_seq != 0 && (worker.kill_seq != it->seq || worker.kill_item != it->next);
    const bool is_in_item = !is_spared && Core::is_in_item(worker, *it);
    was_busy = was_busy || is_in_item || is_spared;
    was_sent_something = true;
    const Range rest{.begin = it->next + (is_in_item ? 1 : 0), .end = it->range.end, .attempt = it->range.attempt};
    if (it->job->unwanted) fail_unwanted(*it->job, rest, settlements);
    else if (rest.begin < rest.end) give_back(*it->job, rest);
    if (is_in_item) charge_death(worker, *it, settlements);
  }
  worker.offered.clear();
  worker.live = 0;
  const bool is_expected = worker.is_told_to_stop && worker.exit_code == 0;
  if (is_expected) {
    ++recycled_;
  } else {
    ++deaths_;
    if (was_busy || worker.finished != 0) {
      end_death_rows();
    } else if (state_ == State::running || state_ == State::closed) {
      note_idle_death(!worker.is_ready     ? Before::ready
                      : was_sent_something ? Before::beginning
                                           : Before::getting_anything,
                      worker.started_ns, Deadline::clock_ns() - worker.began_ns < kYoungNs);
    }
  }
  buried_.push_back(dead);
  wake_keeper();
  if (is_over()) hall_.pump.notify_all();
  if (fatal_deaths() > options_.max_idle_deaths) {
    break_pool(lock,
               std::make_exception_ptr(WorkerDied(
                   std::to_string(fatal_deaths()) + " workers in a row died " +
                       (worker.is_ready ? "before they began what they had been sent" : "before they were ready") +
                       ", the last one (pid " + std::to_string(worker.pid) + ") with exit code " +
                       process::exit_text(worker.exit_code.value_or(0)),
                   worker.pid, worker.exit_code)));
  }
  dispatch(lock);
  settle(lock, settlements);
}

/// Somebody may kill idle workers, as many and as often as he likes. That is no reason to give up; only what keeps workers from
/// getting ready, or from beginning what they are sent, is: it will happen to the next one, too.
void Core::note_idle_death(Before what, std::int64_t started_ns, bool is_young) {
  const std::int64_t now = Deadline::clock_ns();
  if (what == Before::ready) (void)unready_deaths_.add(started_ns, now);
  if (what == Before::beginning) (void)unbegun_deaths_.add(started_ns, now);
  if (!is_young || !young_deaths_.add(started_ns, now) || young_deaths_.count() < 2) return;
  constexpr std::int64_t kFirstPauseNs = 10'000'000;
  constexpr std::int64_t kLongestPauseNs = 1'000'000'000;
  const std::int64_t pause = std::min(kLongestPauseNs, kFirstPauseNs << std::min(young_deaths_.count() - 2, 7U));
  start_at_ns_ = std::max(start_at_ns_, now + pause);
}

void Core::end_death_rows() noexcept {
  unready_deaths_.end();
  unbegun_deaths_.end();
  young_deaths_.end();
}

unsigned Core::fatal_deaths() const noexcept { return std::max(unready_deaths_.count(), unbegun_deaths_.count()); }

void Core::fail_unwanted(JobData& job, const Range& range, Settlements& out) {
  for (std::size_t item = range.begin; item < range.end; ++item) {
    ++job.decided;
    ++finished_;
    ++failed_;
    out.push_back({.job = &job, .item = item, .kind = Report::exception, .failed = job.unwanted});
  }
}

void Core::charge_death(Worker& worker, const Offered& task, Settlements& out) {
  JobData& job = *task.job;
  const Range one{.begin = task.next, .end = task.next + 1, .attempt = task.range.attempt};
  Settlement lost{.job = &job, .item = one.begin, .kind = Report::exception};
  const std::string what = title(job, one.begin);
  switch (worker.kill) {
    case Worker::Kill::cancel: lost.failed = job.unwanted; break;
    case Worker::Kill::timeout:
      if (retry(job, one, RetryOn::timeout)) return;
      lost.failed = std::make_exception_ptr(TaskTimeout(
          what + " ran for longer than its hard limit of " +
          std::to_string(std::chrono::duration<double>(job.options.hard_limit).count()) + " s, and its worker (pid " +
          std::to_string(worker.pid) + ") was killed for it (attempt " + std::to_string(one.attempt) + ")"));
      break;
    case Worker::Kill::none:
      if (retry(job, one, RetryOn::died)) return;
      ++lost_;
      lost.failed = std::make_exception_ptr(
          WorkerDied("the worker of " + what + " (pid " + std::to_string(worker.pid) + ") died in it: exit code " +
                         process::exit_text(worker.exit_code.value_or(0)) +
                         (worker.core_dumped ? ", core dumped" : "") + " (attempt " + std::to_string(one.attempt) + ")",
                     worker.pid, worker.exit_code, job.number_of(one.begin), one.attempt, worker.core_dumped));
      break;
  }
  if (!lost.failed) lost.failed = std::make_exception_ptr(CancelledError(what + " was cancelled"));
  ++job.decided;
  ++finished_;
  ++failed_;
  out.push_back(std::move(lost));
}

// --- time ------------------------------------------------------------------------------------------------------------

/// False if it has finished meanwhile.
bool Core::kill(Worker& worker, Worker::Kill why) {
  const Offered* const task = first_live(worker);
  // SYNC pool-kill: a barrier between this and the look; see Worker::do_task.
  worker.desk.kill.exchange(1);
  if (task == nullptr || worker.has_news() || !is_in_item(worker, *task)) {
    worker.desk.kill.store(0);
    return false;
  }
  worker.kill = why;
  worker.kill_at_ns = kNoTime;
  worker.kill_seq = task->seq;
  worker.kill_item = task->next;
  if (why == Worker::Kill::timeout) ++timeouts_;
  worker.process->kill();
  return true;
}

Offered* Core::first_live(Worker& worker) noexcept {
  const auto it = std::ranges::find_if(worker.offered, [](const Offered& one) { return one.job != nullptr; });
  return it == worker.offered.end() ? nullptr : &*it;
}

/// What waits behind a task that takes longer than was thought, that another worker could do, or that does not begin, is taken
/// back.
void Core::rebalance(Worker& worker, std::int64_t now, bool others_idle) {
  Offered* const first = first_live(worker);
  if (first == nullptr || worker.is_feeding) return;
  const bool runs = worker.desk.stages[first->seq % kStages].load() == stage_word(first->seq, Stage::running);
  if (worker.looked_seq != first->seq) {
    worker.looked_seq = first->seq;
    worker.looked_ns = now;
  }
  if (runs) {
    worker.distrust_ns = 0;
    if (worker.live < 2) return;
    const std::int64_t since = now - worker.desk.began_ns.load(std::memory_order_relaxed);
    const bool is_long = since > 2 * kTickNs + 2 * std::min(first->estimate_ns, kUnknownNs);
    if (!is_long && !others_idle) return;
    recall(worker);
    if (!is_long || first->job == nullptr) return;
    worker.ahead_ns += kUnknownNs - first->estimate_ns;  // nothing more behind this one
    first->estimate_ns = kUnknownNs;
  } else if (now - worker.looked_ns > kStuckNs && !worker.has_news()) {
    recall(worker);
    worker.distrust_ns = std::clamp(worker.distrust_ns * 2, kStuckNs, kLongestDistrustNs);
    worker.not_before_ns = now + worker.distrust_ns;
    worker.looked_seq = 0;
  }
}

void Core::run_timers(Lock& lock, std::int64_t now) {
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const Delayed due = delayed_.begin()->second;
    delayed_.erase(delayed_.begin());
    give_back(*due.job, due.range);
  }
  const bool others_idle = queue_.empty() && std::ranges::any_of(*workers_, [](const auto& it) {
                             return it->is_ready && !it->is_leaving && it->live == 0;
                           });
  for (const auto& it : *workers_) {
    Worker& worker = *it;
    prune(worker);
    if (worker.kill_at_ns <= now) (void)kill(worker, worker.kill);
    if (const Offered* const first = first_live(worker); first != nullptr && worker.kill == Worker::Kill::none) {
      const std::int64_t limit = first->job->options.hard_limit.count();
      if (limit > 0 && is_in_item(worker, *first) &&
          worker.desk.began_ns.load(std::memory_order_relaxed) + limit <= now)
        (void)kill(worker, Worker::Kill::timeout);
    }
    rebalance(worker, now, others_idle);
    if (worker.is_leaving) tell_to_stop(worker);
  }
  dispatch(lock);
}

std::int64_t Core::next_timer(std::int64_t now) const {
  std::int64_t next = delayed_.empty() ? kNoTime : delayed_.begin()->first;
  for (const auto& it : *workers_) {
    Worker& worker = *it;
    next = std::min(next, std::max(now, worker.kill_at_ns));
    if (worker.live > 1 || (worker.is_leaving && !worker.is_told_to_stop)) next = std::min(next, now + kTickNs);
    if (worker.not_before_ns != 0 && !queue_.empty()) next = std::min(next, std::max(now, worker.not_before_ns));
    const Offered* const first = first_live(worker);
    if (first == nullptr) continue;
    const bool runs = is_in_item(worker, *first);
    if (!runs) next = std::min(next, now + kStuckNs);
    const std::int64_t limit = first->job->options.hard_limit.count();
    if (limit <= 0 || worker.kill != Worker::Kill::none) continue;
    // One that has not begun, or is between two items, can not be late before that.
    next = std::min(next, (runs ? worker.desk.began_ns.load(std::memory_order_relaxed) : now) + limit);
  }
  return next;
}

}  // namespace brood::inline v1::pool
