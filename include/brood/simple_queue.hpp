// SimpleQueue: a queue reduced to put and get.                                                  (room: channel)
#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <utility>

#include "brood/error.hpp"
#include "brood/handle.hpp"
#include "brood/queue.hpp"

namespace brood::inline v1 {

/// A queue without limits, timeouts or attempts, for code that wants none of them. put() waits only while the byte
/// budget of QueueOptions is used up.
///
/// It is a Queue<T> inside: the handle of one opens the other, and everything said there about shape, threads,
/// processes, crashes and lifetime holds here.
///
/// Source:     Python multiprocessing.SimpleQueue.
template <class T>
class SimpleQueue {
 public:
  using value_type = T;

  /// Errors: NoSpace, PermissionDenied, OsError.
  SimpleQueue() = default;
  /// Errors: also AlreadyExists, UsageError (a bad name).
  [[nodiscard]] static SimpleQueue create(std::string_view name) { return SimpleQueue(Queue<T>::create(name)); }
  /// Errors: TypeMismatch if it holds another type.
  [[nodiscard]] static SimpleQueue open_or_create(std::string_view name) {
    return SimpleQueue(Queue<T>::open_or_create(name));
  }
  /// Errors: HandleError (malformed, stale), TypeMismatch (another kind, payload or layout), PermissionDenied, OsError.
  [[nodiscard]] static SimpleQueue open(const Handle& handle) { return SimpleQueue(Queue<T>::open(handle)); }
  [[nodiscard]] static SimpleQueue open_named(std::string_view name) { return SimpleQueue(Queue<T>::open_named(name)); }
  /// Takes the name away; who has the queue open keeps it, but can pass it on no more. False if there was none.
  static bool remove(std::string_view name) { return Queue<T>::remove(name); }

  /// Errors: QueueClosed; NoSpace (the item can never fit, or memory cannot be had); what encoding the item throws.
  void put(const T& item) { queue_.put(item); }
  /// Sleeps while the queue is empty. Errors: QueueClosed; DecodeError, or what opening a shared object in the item
  /// throws — then the item is gone.
  [[nodiscard]] T get() { return queue_.get(); }
  /// As of some instant of the call. Errors: QueueClosed (closed here).
  [[nodiscard]] bool empty() const {
    if (closed()) throw QueueClosed(handle().str() + ": this SimpleQueue object was closed by close()");
    return queue_.empty();
  }
  /// This object will neither put nor take again; the queue goes on for everybody else. May be called again.
  void close() noexcept { queue_.close(); }
  [[nodiscard]] bool closed() const noexcept { return queue_.closed(); }

  [[nodiscard]] Handle handle() const { return queue_.handle(); }
  friend std::ostream& operator<<(std::ostream& out, const SimpleQueue& queue) { return out << queue.queue_; }

 private:
  friend struct detail::WaitAccess;
  explicit SimpleQueue(Queue<T> queue) noexcept : queue_(std::move(queue)) {}

  Queue<T> queue_;
};

}  // namespace brood::inline v1
