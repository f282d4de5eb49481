// WorkQueue: a queue of jobs, each of which is done although its worker may be killed.             (room: channel)
//
// Complete example: examples/05_work_queue.cpp
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <string_view>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/queue_forms.hpp"
#include "brood/detail/queue_items.hpp"
#include "brood/detail/work_core.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"

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
/// Forms:      put, put_many, get, try_…, …_for, …_until, range-for: detail/queue_forms.hpp.
/// Source:     Python multiprocessing.JoinableQueue; leases and dead letters as in SQS and RabbitMQ: lib/channel/README.md.
template <class T>
class WorkQueue : public detail::PutForms<WorkQueue<T>, T>, public detail::GetForms<WorkQueue<T>, Task<T>> {
 public:
  using value_type = T;

  /// Errors: UsageError (limits out of range), NoSpace, PermissionDenied, OsError.
  explicit WorkQueue(std::size_t capacity = 0) : WorkQueue(WorkQueueOptions{.capacity = capacity}) {}
  explicit WorkQueue(const WorkQueueOptions& options) : core_(detail::WorkCore::create(options, type())) {}
  /// With a name. Errors: also AlreadyExists, UsageError (a bad name).
  [[nodiscard]] static WorkQueue create(std::string_view name, const WorkQueueOptions& options = {}) {
    return WorkQueue(detail::WorkCore::create_named(name, options, type()));
  }
  /// An existing queue keeps its own options. Errors: TypeMismatch if it holds another type.
  [[nodiscard]] static WorkQueue open_or_create(std::string_view name, const WorkQueueOptions& options = {}) {
    return WorkQueue(detail::WorkCore::open_or_create(name, options, type()));
  }
  /// Errors: HandleError (malformed, stale), TypeMismatch (another kind, payload or layout), PermissionDenied, OsError.
  [[nodiscard]] static WorkQueue open(const Handle& handle) {
    return WorkQueue(detail::WorkCore::open(handle, type()));
  }
  [[nodiscard]] static WorkQueue open_named(std::string_view name) {
    return WorkQueue(detail::WorkCore::open_named(name, type()));
  }
  /// Takes the name away; who has the queue open keeps it. False if there was none.
  static bool remove(std::string_view name) { return detail::remove_work_queue(name); }

  /// One attempt to take, with the deadline of a whole call; the forms are made of it.
  /// Errors: QueueClosed: this object was closed; or the queue was shut down, nothing is left, and nothing can come back:
  ///         after shutdown() a worker waits as long as others are at work, for they may be killed.
  ///         DecodeError, or what opening a shared object in the item throws: then the item is a dead letter.
  [[nodiscard]] std::optional<Task<T>> get_before(Deadline deadline) { return task(core().take(deadline, false)); }

  /// Sleep until every item that was put is done, or a dead letter.
  /// Errors: QueueClosed (this object was closed).
  /// Crash:  items of killed workers come back and are waited for; if no worker is left, so is somebody who takes them.
  void join() { (void)core().join(Deadline::never()); }
  /// The attempts say whether it is so.
  [[nodiscard]] bool try_join() { return core().join(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] bool join_for(std::chrono::duration<Rep, Period> timeout) {
    return core().join(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool join_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return core().join(deadline); });
  }

  /// The oldest dead letter, if there is one. done() removes it, requeue() has it done after all; otherwise it stays a
  /// dead letter. Errors: as get().
  [[nodiscard]] std::optional<Task<T>> try_get_dead_letter() { return task(core().take_letter()); }
  [[nodiscard]] std::size_t dead_letters() const { return core().dead_letters(); }

  /// Items to be taken: those in line, and those that came back. As of some instant of the call.
  [[nodiscard]] std::size_t qsize() const { return core().qsize(); }
  [[nodiscard]] bool empty() const { return qsize() == 0; }
  /// Items in the hands of workers.
  [[nodiscard]] std::size_t leased() const { return core().leased(); }
  [[nodiscard]] std::uint32_t max_deliveries() const { return core().max_deliveries(); }

  /// End the queue for everybody: puts fail from now on; workers get what is left and what comes back, and then
  /// QueueClosed. With `immediate`, what is left is discarded and what comes back too.
  void shutdown(bool immediate = false) { core().shutdown(immediate); }

  friend std::ostream& operator<<(std::ostream& out, const WorkQueue& queue) {
    return out << queue.core().printed("WorkQueue");
  }

 private:
  friend class detail::PutForms<WorkQueue<T>, T>;

  explicit WorkQueue(detail::WorkCore::Pointer core) noexcept : core_(std::move(core)) {}
  [[nodiscard]] static const detail::QueueCore::Type& type() { return detail::Items<T>::type(); }
  [[nodiscard]] detail::WorkCore& core() const { return detail::WorkCore::of(core_); }
  [[nodiscard]] detail::QueueCore& put_core() { return core().queue(); }
  [[nodiscard]] const detail::QueueCore& put_core() const { return core().queue(); }
  [[nodiscard]] std::optional<Task<T>> task(std::optional<detail::Leased> leased) {
    if (!leased) return std::nullopt;
    return Task<T>(core_, leased->lease, detail::decode_leased<T>(core(), *leased));
  }

  detail::WorkCore::Pointer core_;
};

}  // namespace brood::inline v1
