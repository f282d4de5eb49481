// Which worker gets what, and when: the queue, sending ahead, taking back.
#include <algorithm>
#include <cstring>
#include <utility>

#include "brood/detail/codec.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/error.hpp"
#include "os/function_id.hpp"
#include "pool/core.hpp"

namespace brood::inline v1::pool {
namespace {

/// A worker is sent as much ahead as it is thought to do in this time.
constexpr std::int64_t kAheadNs = 1'000'000;
/// Of tasks up to this length one waits behind the one that runs.
constexpr std::int64_t kPairNs = 4'000'000;
/// After a worker could not take a message.
constexpr std::int64_t kPauseNs = 1'000'000;
/// For a message that streams: so long, and a second for each so many bytes.
constexpr std::int64_t kStreamNs = 1'000'000'000;
constexpr std::int64_t kStreamBytesPerNs = 1;  // 1 GB/s would be fast

}  // namespace

std::uint32_t Core::number_of(const detail::PoolFunction& function) {
  const std::pair key(function.invoke, function.target);
  if (const auto it = function_numbers_.find(key); it != function_numbers_.end()) return it->second;
  Encoder out;
  detail::encode(out, os::identify(function.invoke));
  if (function.target == nullptr) out.nil();
  else detail::encode(out, os::identify(function.target));
  const auto number = static_cast<std::uint32_t>(functions_.size());
  functions_.push_back({out.take_bytes()});
  function_numbers_.emplace(key, number);
  return number;
}

// --- the queue -------------------------------------------------------------------------------------------------------

void Core::enqueue_back(JobData& job) {
  if (job.is_queued) return;
  queue_[job.options.priority].push_back(job);
  job.is_queued = true;
}

void Core::enqueue_front(JobData& job) {
  if (job.is_queued) return;
  queue_[job.options.priority].push_front(job);
  job.is_queued = true;
}

void Core::unqueue(JobData& job) {
  if (!job.is_queued) return;
  const auto line = queue_.find(job.options.priority);
  line->second.remove(job);
  if (line->second.first == nullptr) queue_.erase(line);
  job.is_queued = false;
}

JobData* Core::first_job() noexcept { return queue_.empty() ? nullptr : queue_.begin()->second.first; }

Range Core::take_range(JobData& job) {
  Range out;
  if (!job.returned.empty()) {
    out = job.returned.back();
    job.returned.pop_back();
  } else {
    out = {.begin = job.next, .end = std::min(job.items, job.next + job.chunk)};
    job.next = out.end;
  }
  if (!job.has_pending()) unqueue(job);
  return out;
}

void Core::give_back(JobData& job, const Range& range) {
  job.returned.push_back(range);
  enqueue_front(job);
}

// --- sending ---------------------------------------------------------------------------------------------------------

/// False if there is no room.
bool Core::tell(Worker& worker, const Record& about, std::span<const std::byte> head,
                std::span<const std::byte> payload) {
  Record record = about;
  const std::size_t bytes = padded(sizeof record + head.size() + payload.size());
  std::byte* to = worker.tasks.reserve(bytes);
  if (to == nullptr) return false;
  record.bytes = static_cast<std::uint32_t>(bytes);
  record.payload = static_cast<std::uint32_t>(payload.size());
  std::memcpy(to, &record, sizeof record);
  to += sizeof record;
  if (!head.empty()) std::memcpy(to, head.data(), head.size());
  if (!payload.empty()) std::memcpy(to + head.size(), payload.data(), payload.size());
  worker.tasks.commit_and_fence(bytes);
  // SYNC pool-tasks: the exchange of the tail is a barrier, and so is the worker's arm(): it sees the record, or we the mark.
  worker.desk.tasks.notify_every();
  return true;
}

void Core::tell_to_stop(Worker& worker) {
  worker.is_leaving = true;
  if (worker.is_told_to_stop || worker.is_feeding) return;
  Record record{};
  record.kind = static_cast<std::uint8_t>(Order::stop);
  // Without room it is asked again when it has finished something.
  worker.is_told_to_stop = tell(worker, record, {}, {});
}

bool Core::has_room(const Worker& worker, const JobData& job, std::int64_t now) const {
  if (!worker.is_ready || worker.is_leaving || worker.is_feeding || worker.kill != Worker::Kill::none) return false;
  if (options_.tasks_per_child && worker.given >= static_cast<std::uint64_t>(*options_.tasks_per_child)) return false;
  if (worker.not_before_ns > now) return false;
  if (!worker.offered.empty() && worker.last_seq + 1 - worker.offered.front().seq >= kStages) return false;
  if (worker.live == 0) return true;
  if (worker.live >= kMostAhead) return false;
  const std::int64_t each = functions_[job.function_number].estimate_ns;
  if (each == 0 || worker.ahead_ns >= kUnknownNs) return false;
  const std::int64_t more = each * static_cast<std::int64_t>(job.chunk);
  return worker.ahead_ns + more <= kAheadNs || (worker.live == 1 && more <= kPairNs);
}

void Core::dispatch(Lock& lock) {
  for (;;) {
    JobData* const job = first_job();
    if (job == nullptr) return;
    // The one with the least to do.
    const std::int64_t now = 0;
    std::shared_ptr<Worker> best;
    for (const auto& worker : *workers_) {
      if (!has_room(*worker, *job, worker->not_before_ns == 0 ? now : Deadline::clock_ns())) continue;
      if (!best || worker->live < best->live) best = worker;
      if (best->live == 0) break;
    }
    if (!best) return;
    if (give(lock, best) == Given::no) best->not_before_ns = Deadline::clock_ns() + kPauseNs;
  }
}

void Core::refill(Lock& lock, const std::shared_ptr<Worker>& worker) {
  prune(*worker);
  while (JobData* const job = first_job()) {
    const std::int64_t now = worker->not_before_ns == 0 ? 0 : Deadline::clock_ns();
    if (!has_room(*worker, *job, now)) break;
    const Given given = give(lock, worker);
    if (given == Given::no) {
      worker->not_before_ns = Deadline::clock_ns() + kPauseNs;
      break;
    }
  }
  // Half-way to the end of what it has, it may ring.
  worker->desk.ring_at.store(worker->last_seq - worker->live / 2, std::memory_order_relaxed);
  if (worker->is_leaving ||
      (options_.tasks_per_child && worker->given >= static_cast<std::uint64_t>(*options_.tasks_per_child)))
    tell_to_stop(*worker);
}

Core::Given Core::give(Lock& lock, const std::shared_ptr<Worker>& to) {
  Worker& worker = *to;
  JobData& job = *first_job();
  if (worker.knows.size() <= job.function_number) worker.knows.resize(job.function_number + 1);
  if (!worker.knows[job.function_number]) {
    Record record{};
    record.kind = static_cast<std::uint8_t>(Order::function);
    record.seq = job.function_number;
    if (!tell(worker, record, {}, functions_[job.function_number].announcement)) return Given::no;
    worker.knows[job.function_number] = true;
  }
  const Range range = take_range(job);
  const std::size_t items = range.end - range.begin;
  const std::size_t from = job.begin_of(range.begin);
  const std::span<const std::byte> arguments(job.bytes.data() + from, job.end_of(range.end - 1) - from);
  const std::span<const Handle> handles = job.handles_of(range);
  const std::size_t sizes_bytes = items > 1 ? items * sizeof(std::uint32_t) : 0;

  const std::uint64_t seq = worker.last_seq + 1;
  Record record{};
  record.kind = static_cast<std::uint8_t>(Order::task);
  record.seq = seq;
  TaskHead head{};
  head.soft_ns = job.options.soft_limit.count();
  head.number = job.number_of(range.begin);
  head.function = job.function_number;
  head.items = static_cast<std::uint32_t>(items);
  head.attempt = range.attempt;

  const bool is_inline = handles.empty() && sizes_bytes + arguments.size() <= kMostInline;
  std::vector<std::byte> packed;
  std::span<const std::byte> payload = arguments;
  if (sizes_bytes != 0) {
    packed.resize(sizes_bytes + (is_inline ? arguments.size() : 0));
    for (std::size_t i = 0; i < items; ++i) {
      const std::size_t item = range.begin + i;
      const auto size = static_cast<std::uint32_t>(job.end_of(item) - job.begin_of(item));
      std::memcpy(packed.data() + i * sizeof size, &size, sizeof size);
    }
    if (is_inline && !arguments.empty()) std::memcpy(packed.data() + sizes_bytes, arguments.data(), arguments.size());
    payload = packed;
  }

  worker.desk.stages[seq % kStages].store(stage_word(seq, Stage::offered), std::memory_order_relaxed);
  record.is_by_pipe = is_inline ? 0 : 1;
  // SYNC ring-put: the tail publishes the stage, too.
  if (!tell(worker, record, std::as_bytes(std::span(&head, 1)), is_inline ? payload : std::span<const std::byte>())) {
    give_back(job, range);
    return Given::no;
  }
  const std::int64_t each = functions_[job.function_number].estimate_ns;
  const std::int64_t estimate = each == 0 ? kUnknownNs : each * static_cast<std::int64_t>(items);
  worker.offered.push_back({&job, range, range.begin, seq, estimate, worker.tasks.position()});
  ++worker.live;
  worker.not_before_ns = 0;
  worker.ahead_ns += estimate;
  worker.last_seq = seq;
  ++worker.given;
  job.at = &worker;
  job.at_seq = seq;
  if (is_inline) return Given::yes;
  return send_message(lock, worker, job, range, seq, std::move(packed));
}

/// The record is there already, and the worker may wait for the message. Without the mutex: messages may be large.
Core::Given Core::send_message(Lock& lock, Worker& worker, JobData& job, const Range& range, std::uint64_t seq,
                               std::vector<std::byte> sizes) {
  const std::shared_ptr<detail::PoolJob> keeps = job.self;
  worker.is_feeding = true;
  lock.unlock();
  const std::size_t from = job.begin_of(range.begin);
  const std::span<const std::byte> arguments(job.bytes.data() + from, job.end_of(range.end - 1) - from);
  const std::span<const Handle> handles = job.handles_of(range);
  const std::size_t all = sizes.size() + arguments.size();
  bool is_sent = false;
  std::exception_ptr failure;
  try {
    detail::Chunk chunk;
    if (handles.empty()) {
      try {
        chunk = worker.pipe.connection.allocate(all, Deadline::now());
      } catch (const NoSpace&) {
        // It streams.
      }
    }
    if (chunk) {
      if (!sizes.empty()) std::memcpy(chunk.data(), sizes.data(), sizes.size());
      std::memcpy(chunk.data() + sizes.size(), arguments.data(), arguments.size());
      is_sent = worker.pipe.connection.send(chunk, 0, all, Deadline::never().capped(kStreamNs));
    } else {
      std::span<const std::byte> bytes = arguments;
      if (!sizes.empty()) {
        sizes.insert(sizes.end(), arguments.begin(), arguments.end());
        bytes = sizes;
      }
      is_sent = worker.pipe.connection.send(
          bytes, handles, Deadline::never().capped(kStreamNs + static_cast<std::int64_t>(all) / kStreamBytesPerNs));
    }
  } catch (const PeerGone&) {
    // It died: whoever reads will take back what it had.
  } catch (...) {
    failure = std::current_exception();  // an object in it is gone, or cannot be sent
  }
  lock.lock();
  worker.is_feeding = false;
  if (is_sent) return Given::unlocked;
  // It is taken back, unless the worker was faster, which it cannot be without the message, or the pool has ended.
  const auto it = std::ranges::find(worker.offered, seq, &Offered::seq);
  if (it == worker.offered.end() || it->job == nullptr || !revoke(worker, *it, Stage::unsent)) return Given::unlocked;
  forget(worker, *it);
  --worker.given;
  if (!failure) {
    give_back(job, range);
    worker.not_before_ns = Deadline::clock_ns() + kPauseNs;
    return Given::unlocked;
  }
  Settlements failed;
  job.decided += range.end - range.begin;
  for (std::size_t item = range.begin; item < range.end; ++item)
    failed.push_back({.job = &job, .item = item, .kind = Report::exception, .failed = failure});
  settle(lock, failed);
  return Given::unlocked;
}

// --- taking back -----------------------------------------------------------------------------------------------------

bool Core::revoke(Worker& worker, const Offered& task, Stage as) noexcept {
  std::uint64_t expected = stage_word(task.seq, Stage::offered);
  return worker.desk.stages[task.seq % kStages].compare_exchange_strong(expected, stage_word(task.seq, as));
}

void Core::recall(Worker& worker) {
  // From the last one on, so that the first is in front again.
  for (auto it = worker.offered.rbegin(); it != worker.offered.rend(); ++it) {
    if (it->job == nullptr) continue;
    if (!revoke(worker, *it, Stage::revoked)) break;  // it runs; so did all before
    give_back(*it->job, it->range);
    forget(worker, *it);
    --worker.given;
  }
}

void Core::forget(Worker& worker, Offered& task) noexcept {
  worker.ahead_ns -= task.estimate_ns;
  --worker.live;
  task.job = nullptr;
  task.estimate_ns = 0;
}

void Core::prune(Worker& worker) noexcept {
  if (worker.live == worker.offered.size()) return;
  const std::uint64_t passed = worker.desk.task_head.load(std::memory_order_acquire);
  while (!worker.offered.empty() && worker.offered.front().job == nullptr && worker.offered.front().behind <= passed)
    worker.offered.pop_front();
}

}  // namespace brood::inline v1::pool
