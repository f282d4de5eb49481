// WorkQueue: a queue of jobs, each of which is done although its worker may be killed.             (room: channel)
//
// Complete example: examples/05_work_queue.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/work_core.hpp"
#include "brood/detail/work_face.hpp"
#include "brood/error.hpp"

namespace brood::inline v1 {

/// An item taken from a WorkQueue, and the duty to finish it. Move-only.
///
/// done() finishes it. Destroyed without that (an exception, an early return), or if its process dies or ends, the item
/// goes back: first in line, with its count of deliveries.
///
/// Threads:   one at a time; any thread of the process.     Processes: of this process only; a forked child's copy does
///            nothing.
/// Lifetime:  may outlive the WorkQueue object it came from.
template <class T>
class Task {
 public:
  /// The item. It is this process's own copy: changing it changes nothing for the next worker.
  [[nodiscard]] T& operator*() noexcept { return value_; }
  [[nodiscard]] const T& operator*() const noexcept { return value_; }
  [[nodiscard]] T* operator->() noexcept { return &value_; }
  [[nodiscard]] const T* operator->() const noexcept { return &value_; }

  /// How often the item was given to a worker, this time included.
  [[nodiscard]] std::uint32_t deliveries() const noexcept { return lease_.deliveries; }
  /// Its place in the order in which items were first taken from this queue.
  [[nodiscard]] std::uint64_t sequence() const noexcept { return lease_.sequence; }
  /// False once done(), give_back(), condemn() or requeue() was called, or if this was moved from.
  [[nodiscard]] bool is_open() const noexcept { return core_ != nullptr; }

  /// The item is finished; nobody will get it again.
  /// Errors: NotOwner if the task is not open, or not of this process (a forked child's copy).
  void done() { end(detail::WorkCore::End::finished); }
  /// Let somebody do it: first in line; a dead letter if this was the last delivery (WorkQueueOptions::max_deliveries).
  /// Errors: as done().
  void give_back() { end(detail::WorkCore::End::returned); }
  /// Nobody can do it: a dead letter at once. Errors: as done().
  void condemn() { end(detail::WorkCore::End::condemned); }
  /// First in line again, with no deliveries yet: what to do with a dead letter once the cause is mended.
  /// Errors: as done().
  void requeue() { end(detail::WorkCore::End::forgiven); }

  Task(Task&& other) noexcept : core_(std::move(other.core_)), lease_(other.lease_), value_(std::move(other.value_)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      leave();
      core_ = std::move(other.core_);
      lease_ = other.lease_;
      value_ = std::move(other.value_);
    }
    return *this;
  }
  ~Task() { leave(); }

 private:
  template <class U>
  friend class WorkQueue;

  Task(detail::WorkCore::Pointer core, const detail::Lease& lease, T value)
      : core_(std::move(core)), lease_(lease), value_(std::move(value)) {}

  void end(detail::WorkCore::End how) {
    const detail::WorkCore::Pointer core = std::move(core_);
    if (!core) throw NotOwner("this task is not open: it was finished, given back or moved from before");
    if (!core->end(lease_, how)) {
      throw NotOwner(core->queue().handle().str() + ": this process does not hold task " +
                     std::to_string(lease_.sequence) + "; a child of fork must take its own");
    }
  }
  void leave() noexcept {
    if (core_) (void)core_->end(lease_, detail::WorkCore::End::returned);
    core_.reset();
  }

  detail::WorkCore::Pointer core_;
  detail::Lease lease_;
  T value_;
};

/// A queue of T from which items are leased: whoever takes one gets a Task and says when it is done. What is in the hands
/// of a process that dies goes back, first in line, so every item is done at least once; `deliveries()` tells whether
/// somebody may have begun with it before. After `max_deliveries` an item is a dead letter, which is kept until it is
/// read.
///
/// Capacity:   as of a Queue for what waits in line; items in the hands of workers, those that came back and dead letters
///             may take another byte budget, and are 65536 at most. A worker that asks for more waits until some are done.
/// Shape:      one segment: a queue's, and behind it 64 bytes for each lease and the leased items.
/// Threads:    safe.     Processes: safe, through the handle.
/// Crash:      killed inside any call, it is wholly done or not at all. Items of the dead are given to the next who
///             asks; join() goes on waiting for them, and for nobody who is dead.
/// Lifetime:   as of a Queue. Shared objects in an item live until it is done.
/// Forms:      put, put_many, get, try_…, …_for, …_until, range-for: detail/queue_forms.hpp; create, open, join…, counts,
///             shutdown: detail/work_face.hpp.
/// Source:     Python multiprocessing.JoinableQueue; leases and dead letters as in SQS and RabbitMQ: lib/channel/README.md.
template <class T>
class WorkQueue : public detail::WorkFace<WorkQueue<T>, T, Task<T>> {
  using Face = detail::WorkFace<WorkQueue<T>, T, Task<T>>;

 public:
  /// Errors: UsageError (limits out of range), NoSpace, PermissionDenied, OsError.
  explicit WorkQueue(std::size_t capacity = 0) : WorkQueue(WorkQueueOptions{.capacity = capacity}) {}
  explicit WorkQueue(const WorkQueueOptions& options) : Face(options) {}

  /// One attempt to take, with the deadline of a whole call; the forms are made of it.
  /// Errors: QueueClosed: this object was closed; or the queue was shut down, nothing is left, and nothing can come back:
  ///         after shutdown() a worker waits as long as others are at work, for they may be killed.
  ///         DecodeError, or what opening a shared object in the item throws: then the item is a dead letter.
  ///         NoSpace: dead letters fill the place for items in the hands of workers, or memory cannot be had.
  [[nodiscard]] std::optional<Task<T>> get_before(Deadline deadline) {
    return task(this->core().take(deadline, false));
  }
  /// The oldest dead letter, if there is one. done() removes it, requeue() has it done after all; otherwise it stays a
  /// dead letter. Errors: as get().
  [[nodiscard]] std::optional<Task<T>> try_get_dead_letter() { return task(this->core().take_letter()); }

  friend std::ostream& operator<<(std::ostream& out, const WorkQueue& queue) {
    return out << queue.core().printed("WorkQueue");
  }

 private:
  friend Face;

  explicit WorkQueue(detail::WorkCore::Pointer core) noexcept : Face(std::move(core)) {}
  [[nodiscard]] std::optional<Task<T>> task(std::optional<detail::Leased> leased) {
    if (!leased) return std::nullopt;
    return Task<T>(this->shared_core(), leased->lease, detail::decode_leased<T>(this->core(), *leased));
  }
};

}  // namespace brood::inline v1
