// JoinableQueue: a queue that can be joined once all its items are done.                          (room: channel)
//
// Complete example: examples/04_joinable_queue.cpp
#pragma once

#include <chrono>
#include <cstddef>
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

/// Python's JoinableQueue: get() gives the item, task_done() says that one is done, join() waits until all are. It is a
/// WorkQueue<T> inside: the handle of one opens the other, and everything said there about capacity, crashes, dead
/// letters and lifetime holds here. New code is better off with WorkQueue, where an item cannot be forgotten.
///
/// An item is leased by get() until task_done(), which finishes the oldest that this thread holds, else the oldest of
/// its process. If the process dies before that, the item is given to somebody else. So, other than in Python, a process
/// can finish only what it took.
///
/// Threads:    safe.     Processes: safe, through the handle.
/// Source:     Python multiprocessing.JoinableQueue.
template <class T>
class JoinableQueue : public detail::PutForms<JoinableQueue<T>, T>, public detail::GetForms<JoinableQueue<T>, T> {
 public:
  using value_type = T;

  /// Errors: UsageError (limits out of range), NoSpace, PermissionDenied, OsError.
  explicit JoinableQueue(std::size_t capacity = 0) : JoinableQueue(WorkQueueOptions{.capacity = capacity}) {}
  explicit JoinableQueue(const WorkQueueOptions& options) : core_(detail::WorkCore::create(options, type())) {}
  /// With a name. Errors: also AlreadyExists, UsageError (a bad name).
  [[nodiscard]] static JoinableQueue create(std::string_view name, const WorkQueueOptions& options = {}) {
    return JoinableQueue(detail::WorkCore::create_named(name, options, type()));
  }
  /// An existing queue keeps its own options. Errors: TypeMismatch if it holds another type.
  [[nodiscard]] static JoinableQueue open_or_create(std::string_view name, const WorkQueueOptions& options = {}) {
    return JoinableQueue(detail::WorkCore::open_or_create(name, options, type()));
  }
  /// Errors: HandleError (malformed, stale), TypeMismatch (another kind, payload or layout), PermissionDenied, OsError.
  [[nodiscard]] static JoinableQueue open(const Handle& handle) {
    return JoinableQueue(detail::WorkCore::open(handle, type()));
  }
  [[nodiscard]] static JoinableQueue open_named(std::string_view name) {
    return JoinableQueue(detail::WorkCore::open_named(name, type()));
  }
  /// Takes the name away; who has the queue open keeps it. False if there was none.
  static bool remove(std::string_view name) { return detail::remove_work_queue(name); }

  /// One attempt to take, with the deadline of a whole call; the forms are made of it.
  /// Errors: QueueClosed: this object was closed; or the queue was shut down, nothing is left, and nothing can come back.
  ///         DecodeError, or what opening a shared object in the item throws: then the item is a dead letter.
  [[nodiscard]] std::optional<T> get_before(Deadline deadline) {
    const std::optional<detail::Leased> leased = core().take(deadline, true);
    if (!leased) return std::nullopt;
    return detail::decode_leased<T>(core(), *leased);
  }
  /// One of the items taken with get() is done. Looks through the leases: cheap unless thousands are open.
  /// Errors: ReleasedTooOften if this process holds none.
  void task_done() {
    if (!core().finish_one())
      throw ReleasedTooOften(this->handle().str() +
                             ": task_done() without an item that this process got and has not "
                             "finished");
  }

  /// Sleep until every item that was put is done, or a dead letter.
  /// Errors: QueueClosed (this object was closed).
  /// Crash:  items of killed processes come back and are waited for.
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

  /// Items to be taken: those in line, and those that came back. As of some instant of the call.
  [[nodiscard]] std::size_t qsize() const { return core().qsize(); }
  [[nodiscard]] bool empty() const { return qsize() == 0; }
  /// End the queue for everybody, as WorkQueue::shutdown.
  void shutdown(bool immediate = false) { core().shutdown(immediate); }

  friend std::ostream& operator<<(std::ostream& out, const JoinableQueue& queue) {
    return out << queue.core().printed("JoinableQueue");
  }

 private:
  friend class detail::PutForms<JoinableQueue<T>, T>;

  explicit JoinableQueue(detail::WorkCore::Pointer core) noexcept : core_(std::move(core)) {}
  [[nodiscard]] static const detail::QueueCore::Type& type() { return detail::Items<T>::type(); }
  [[nodiscard]] detail::WorkCore& core() const { return detail::WorkCore::of(core_); }
  [[nodiscard]] detail::QueueCore& put_core() { return core().queue(); }
  [[nodiscard]] const detail::QueueCore& put_core() const { return core().queue(); }

  detail::WorkCore::Pointer core_;
};

}  // namespace brood::inline v1
