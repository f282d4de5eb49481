// WorkFace: what the two faces of a work queue, WorkQueue and JoinableQueue, have in common.        (room: channel)
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/queue_forms.hpp"
#include "brood/detail/queue_items.hpp"
#include "brood/detail/work_core.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1::detail {

/// Base of `Face`, from which `Item` is taken; it befriends this class and can be made from a WorkCore::Pointer.
template <class Face, class T, class Item>
class WorkFace : public PutForms<Face, T>, public GetForms<Face, Item> {
 public:
  using value_type = T;

  /// With a name. Errors: UsageError (a bad name, limits out of range), AlreadyExists, NoSpace, PermissionDenied, OsError.
  [[nodiscard]] static Face create(std::string_view name, const WorkQueueOptions& options = {}) {
    return Face(WorkCore::create_named(name, options, type()));
  }
  /// An existing queue keeps its own options. Errors: TypeMismatch if it holds another type.
  [[nodiscard]] static Face open_or_create(std::string_view name, const WorkQueueOptions& options = {}) {
    return Face(WorkCore::open_or_create(name, options, type()));
  }
  /// Errors: HandleError (malformed, stale), TypeMismatch (another kind, payload or layout), PermissionDenied, OsError.
  [[nodiscard]] static Face open(const Handle& handle) { return Face(WorkCore::open(handle, type())); }
  [[nodiscard]] static Face open_named(std::string_view name) { return Face(WorkCore::open_named(name, type())); }
  /// Takes the name away; who has the queue open keeps it, but can pass it on no more. False if there was none.
  static bool remove(std::string_view name) { return remove_work_queue(name); }

  /// This object will neither put nor take again; the queue goes on for everybody else. May be called again.
  void close() noexcept {
    if (core_) core_->queue().close();
  }
  [[nodiscard]] bool closed() const noexcept { return core_ && core_->queue().closed(); }

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
    return attempt_until(when, [&](Deadline deadline) { return core().join(deadline); });
  }

  /// Items to be taken: those in line, and those that came back. As of some instant of the call.
  [[nodiscard]] std::size_t qsize() const { return core().qsize(); }
  [[nodiscard]] bool empty() const { return qsize() == 0; }
  /// Items in the hands of workers; those of a dead one until somebody takes, finishes or joins.
  [[nodiscard]] std::size_t leased() const { return core().leased(); }
  [[nodiscard]] std::size_t dead_letters() const { return core().dead_letters(); }
  [[nodiscard]] std::uint32_t max_deliveries() const { return core().max_deliveries(); }

  /// End the queue for everybody: puts fail from now on; workers get what is left and what comes back, and then
  /// QueueClosed. With `immediate`, what is left is discarded and what comes back too.
  void shutdown(bool immediate = false) { core().shutdown(immediate); }

 protected:
  explicit WorkFace(const WorkQueueOptions& options) : core_(WorkCore::create(options, type())) {}
  explicit WorkFace(WorkCore::Pointer core) noexcept : core_(std::move(core)) {}
  ~WorkFace() = default;
  WorkFace(WorkFace&&) noexcept = default;
  WorkFace& operator=(WorkFace&&) noexcept = default;

  /// Errors: UsageError if this object was moved from.
  [[nodiscard]] WorkCore& core() const { return WorkCore::of(core_); }
  [[nodiscard]] const WorkCore::Pointer& shared_core() const noexcept { return core_; }

 private:
  friend class PutForms<Face, T>;
  friend struct WaitAccess;

  [[nodiscard]] static const QueueCore::Type& type() { return Items<T>::type(); }
  [[nodiscard]] QueueCore& put_core() { return core().queue(); }
  [[nodiscard]] const QueueCore& put_core() const { return core().queue(); }

  WorkCore::Pointer core_;
};

}  // namespace brood::inline v1::detail
