// JobData: a job as the pool sees it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "brood/detail/pool_core.hpp"
#include "brood/handle.hpp"
#include "brood/pool_options.hpp"

namespace brood::inline v1::pool {

class Meter;
struct Worker;

/// Items that were handed out together, or what is left of them.
struct Range {
  std::size_t begin = 0;
  std::size_t end = 0;
  unsigned attempt = 1;
};

struct JobData {
  JobData(detail::PoolJob& job, std::shared_ptr<detail::PoolBody> in, const detail::PoolFunction& f,
          const TaskOptions& o)
      : of(&job), body(std::move(in)), function(f), options(o) {}

  /// From now on it lives until all of its items are settled.
  void open();
  /// Each item once, outside of the body's locks. True: it was the last one; then finish() is due.
  [[nodiscard]] bool succeed(std::size_t item, Decoder& result);
  [[nodiscard]] bool fail(std::size_t item, std::exception_ptr why);
  [[nodiscard]] bool fail_encoded(std::size_t item, Decoder& thrown);
  /// Tells the job that it is over, which may destroy this.
  void finish();

  detail::PoolJob* const of;
  const std::shared_ptr<detail::PoolBody> body;
  const detail::PoolFunction function;
  const TaskOptions options;
  std::vector<std::byte> bytes = {};          ///< arguments of all items
  std::vector<std::size_t> ends = {};         ///< of each item in them; empty: there is one
  std::vector<Handle> handles = {};           ///< of all items
  std::vector<std::size_t> handle_ends = {};  ///< of each item, if there are several and some have any
  std::size_t items = 1;
  std::size_t chunk = 1;
  bool is_map = false;           ///< items are known by their places
  std::size_t first_number = 0;  ///< of item 0
  std::shared_ptr<Meter> meter = {};

  // Under the pool's mutex, from submit() on; of a pool of this process.
  std::uint32_t function_number = 0;
  std::size_t next = 0;              ///< the first item that was never handed out
  std::vector<Range> returned = {};  ///< to be handed out before that, the last one first
  bool is_queued = false;
  JobData* before = nullptr;
  JobData* after = nullptr;
  std::size_t decided = 0;           ///< items of which it is known what becomes of them; some may not be settled yet
  std::exception_ptr unwanted = {};  ///< it was withdrawn or is being killed for this
  Worker* at = nullptr;              ///< of a single item: where it was offered last
  std::uint64_t at_seq = 0;

  // Of a manager's pool: its number there, and the process that sent it.
  std::uint64_t sent_as = 0;
  int sent_by = 0;

  /// Keeps the job as long as an item is not settled.
  std::shared_ptr<detail::PoolJob> self = {};
  std::atomic<std::size_t> unsettled = 0;

  /// It was submitted, and not all of it is decided. (`self` goes once all is, outside of the mutex.)
  [[nodiscard]] bool is_open() const noexcept { return decided != items && self != nullptr; }
  [[nodiscard]] bool has_pending() const noexcept { return next < items || !returned.empty(); }
  [[nodiscard]] std::size_t begin_of(std::size_t item) const noexcept {
    return item == 0 || ends.empty() ? 0 : ends[item - 1];
  }
  [[nodiscard]] std::size_t end_of(std::size_t item) const noexcept { return ends.empty() ? bytes.size() : ends[item]; }
  /// Handles of the items [begin, end).
  [[nodiscard]] std::span<const Handle> handles_of(const Range& range) const noexcept {
    if (handles.empty()) return {};
    if (handle_ends.empty()) return handles;
    const std::size_t from = range.begin == 0 ? 0 : handle_ends[range.begin - 1];
    return std::span(handles).subspan(from, handle_ends[range.end - 1] - from);
  }
  [[nodiscard]] std::uint64_t number_of(std::size_t item) const noexcept { return first_number + item; }

 private:
  [[nodiscard]] bool settled(bool is_failure);
};

/// Jobs with something to hand out, of one priority: a list through them.
struct Line {
  JobData* first = nullptr;
  JobData* last = nullptr;
  void push_back(JobData& job) noexcept {
    job.before = last;
    job.after = nullptr;
    (last != nullptr ? last->after : first) = &job;
    last = &job;
  }
  void push_front(JobData& job) noexcept {
    job.after = first;
    job.before = nullptr;
    (first != nullptr ? first->before : last) = &job;
    first = &job;
  }
  void remove(JobData& job) noexcept {
    (job.before != nullptr ? job.before->after : first) = job.after;
    (job.after != nullptr ? job.after->before : last) = job.before;
    job.before = nullptr;
    job.after = nullptr;
  }
};

}  // namespace brood::inline v1::pool
