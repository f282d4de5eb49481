// Context: everything brood makes, bound to one start method.                                      (room: process)
//
//   const brood::Context ctx(brood::StartMethod::spawn);
//   auto lock = ctx.lock();
//   auto jobs = ctx.queue<Job>(64);
//   brood::Process worker = ctx.process(work, lock, jobs);
//   worker.start();
//
// A library can so choose a method of its own and leave the program's choice (set_start_method) alone. Shared objects are
// the same whatever the context, and may be given to processes of any other.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "brood/barrier.hpp"
#include "brood/broadcast.hpp"
#include "brood/condition.hpp"
#include "brood/connection.hpp"
#include "brood/event.hpp"
#include "brood/joinable_queue.hpp"
#include "brood/lock.hpp"
#include "brood/priority_queue.hpp"
#include "brood/process.hpp"
#include "brood/queue.hpp"
#include "brood/rlock.hpp"
#include "brood/semaphore.hpp"
#include "brood/simple_queue.hpp"
#include "brood/value.hpp"
#include "brood/work_queue.hpp"

namespace brood::inline v1 {

/// Makes processes of one start method, and shared objects. A value: copy it freely.
///
/// Threads: safe. Source: Python multiprocessing.get_context.
class Context {
 public:
  /// Errors: UsageError for a number that is no start method.
  explicit Context(StartMethod method);
  [[nodiscard]] StartMethod get_start_method() const noexcept { return method_; }

  template <class F, class... Args>
  requires(!std::same_as<std::remove_cvref_t<F>, ProcessOptions>) [[nodiscard, gnu::visibility("hidden")]] Process
      process(F&& f, Args&&... args) const {
    return Process(options(), std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
  [[nodiscard, gnu::visibility("hidden")]] Process process(ProcessOptions given, F&& f, Args&&... args) const {
    return Process(options(std::move(given)), std::forward<F>(f), std::forward<Args>(args)...);
  }
  /// The same options with this context's method, for classes of your own: Indexer indexer(ctx.options()).
  /// Errors: UsageError if they name another method.
  [[nodiscard]] ProcessOptions options(ProcessOptions given = {}) const;

  [[nodiscard]] Lock lock(LockOptions given = {}) const { return Lock(given); }
  [[nodiscard]] RLock rlock(LockOptions given = {}) const { return RLock(given); }
  [[nodiscard]] Semaphore semaphore(std::int64_t value = 1) const { return Semaphore(value); }
  [[nodiscard]] BoundedSemaphore bounded_semaphore(std::int64_t value = 1) const { return BoundedSemaphore(value); }
  [[nodiscard]] Event event() const { return {}; }
  [[nodiscard]] Condition condition() const { return {}; }
  [[nodiscard]] Barrier barrier(std::int64_t parties, BarrierOptions given = {}) const {
    return Barrier(parties, given);
  }
  template <class T>
  [[nodiscard]] Queue<T> queue(std::size_t capacity = 0) const {
    return Queue<T>(capacity);
  }
  template <class T>
  [[nodiscard]] Queue<T> queue(const QueueOptions& given) const {
    return Queue<T>(given);
  }
  template <class T>
  [[nodiscard]] SimpleQueue<T> simple_queue() const {
    return SimpleQueue<T>();
  }
  template <class T>
  [[nodiscard]] JoinableQueue<T> joinable_queue(std::size_t capacity = 0) const {
    return JoinableQueue<T>(capacity);
  }
  template <class T>
  [[nodiscard]] WorkQueue<T> work_queue(const WorkQueueOptions& given = {}) const {
    return WorkQueue<T>(given);
  }
  template <class T>
  [[nodiscard]] PriorityQueue<T> priority_queue(std::size_t capacity = 0) const {
    return PriorityQueue<T>(capacity);
  }
  template <class T>
  [[nodiscard]] Broadcast<T> broadcast(const BroadcastOptions& given = {}) const {
    return Broadcast<T>(given);
  }
  template <class T>
  [[nodiscard]] auto pipe(bool duplex = true) const {
    return brood::pipe<T>(duplex);
  }
  template <class T>
  [[nodiscard]] Value<T> value(const T& initial = T{}) const {
    return Value<T>(initial);
  }

  [[nodiscard]] CurrentProcess current_process() const noexcept { return brood::current_process(); }
  [[nodiscard]] std::optional<ParentProcess> parent_process() const { return brood::parent_process(); }
  [[nodiscard]] std::vector<ChildInfo> active_children() const { return brood::active_children(); }
  [[nodiscard]] unsigned cpu_count() const { return brood::cpu_count(); }

  friend bool operator==(const Context&, const Context&) = default;

 private:
  StartMethod method_;
};

/// The context of the start method that is in use; asking settles it, as get_start_method() does.
[[nodiscard]] Context get_context();
[[nodiscard]] Context get_context(StartMethod method);

}  // namespace brood::inline v1
