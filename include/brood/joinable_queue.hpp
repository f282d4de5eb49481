// JoinableQueue: a queue that can be joined once all its items are done.                          (room: channel)
//
// Complete example: examples/04_joinable_queue.cpp
#pragma once

#include <cstddef>
#include <optional>
#include <ostream>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/work_core.hpp"
#include "brood/detail/work_face.hpp"
#include "brood/error.hpp"

namespace brood::inline v1 {

/// Python's JoinableQueue: get() gives the item, task_done() says that one is done, join() waits until all are. It is a
/// WorkQueue<T> inside: the handle of one opens the other, and everything said there about capacity, crashes, dead
/// letters and lifetime holds here. New code is better off with WorkQueue, where an item cannot be forgotten.
///
/// An item is leased by get() until task_done(), which finishes the oldest that this thread holds, else the oldest of
/// its process. If the process dies before that, the item is given to somebody else. So, other than in Python, a process
/// can finish only what it took.
///
/// Threads:    safe. What a thread holds when it ends stays leased until task_done() or the end of its process.
/// Processes:  safe, through the handle.
/// Source:     Python multiprocessing.JoinableQueue.
template <class T>
class JoinableQueue : public detail::WorkFace<JoinableQueue<T>, T, T> {
  using Face = detail::WorkFace<JoinableQueue<T>, T, T>;

 public:
  /// Errors: UsageError (limits out of range), NoSpace, PermissionDenied, OsError.
  explicit JoinableQueue(std::size_t capacity = 0) : JoinableQueue(WorkQueueOptions{.capacity = capacity}) {}
  explicit JoinableQueue(const WorkQueueOptions& options) : Face(options) {}

  /// One attempt to take, with the deadline of a whole call; the forms are made of it.
  /// Errors: as WorkQueue::get_before.
  [[nodiscard]] std::optional<T> get_before(Deadline deadline) {
    const std::optional<detail::Leased> leased = this->core().take(deadline, true);
    if (!leased) return std::nullopt;
    return detail::decode_leased<T>(this->core(), *leased);
  }
  /// One of the items taken with get() is done. Looks through the leases: cheap unless thousands are open.
  /// Errors: ReleasedTooOften if this process holds none.
  void task_done() {
    if (!this->core().finish_one())
      throw ReleasedTooOften(this->handle().str() +
                             ": task_done() without an item that this process got and has not "
                             "finished");
  }

  friend std::ostream& operator<<(std::ostream& out, const JoinableQueue& queue) {
    return out << queue.core().printed("JoinableQueue");
  }

 private:
  friend Face;

  explicit JoinableQueue(detail::WorkCore::Pointer core) noexcept : Face(std::move(core)) {}
};

}  // namespace brood::inline v1
