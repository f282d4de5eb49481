// Queue: a typed first-in-first-out channel between any number of processes.                      (room: channel)
//
// Complete example: examples/03_queue.cpp
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <optional>
#include <ostream>
#include <string_view>
#include <utility>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/detail/queue_forms.hpp"
#include "brood/detail/queue_items.hpp"
#include "brood/handle.hpp"
#include "brood/loan.hpp"

namespace brood::inline v1 {

/// A queue of T in shared memory: several producers, several consumers. T is any type that travels
/// (brood/serialize.hpp): values are copied, shared objects in them are reopened by the receiver.
///
/// put() returns when the item is in the segment: there is no hidden thread, and its producer may end at once. Items of
/// one producer stay in order.
///
/// Capacity:   in items (0 = as many as the bytes hold, at most 134217727) and in bytes (QueueOptions). The memory
///             grows with what is in it, by doubling, and is kept until the queue goes.
/// Shape:      one segment: 4 KiB, the ring (64 KiB at first), and the byte budget as address space; no descriptor.
/// Threads:    safe.     Processes: safe, through the handle.
/// Crash:      a producer killed inside put has put its item wholly or not at all; a consumer killed inside get has
///             taken it or left it to others. What a killed consumer had taken is gone with it. Nobody else waits for
///             the dead.
/// Lifetime:   an unnamed queue is freed, with what is in it, with its last user; a named one lives until remove().
///             A shared object whose handle lies in the queue lives as long as the message does.
/// Forms:      put, put_many, get, try_…, …_for, …_until, range-for: detail/queue_forms.hpp.
/// Source:     Python multiprocessing.Queue, and queue.Queue.shutdown of 3.13; ring with in-band commit:
///             lib/channel/README.md.
template <class T>
class Queue : public detail::PutForms<Queue<T>, T>,
              public detail::GetForms<Queue<T>, T>,
              public detail::LoanForms<Queue<T>, T> {
 public:
  using value_type = T;
  using detail::PutForms<Queue<T>, T>::put;
  using detail::PutForms<Queue<T>, T>::try_put;

  /// Errors: UsageError (limits out of range), NoSpace, PermissionDenied, OsError.
  explicit Queue(std::size_t capacity = 0) : Queue(QueueOptions{.capacity = capacity}) {}
  explicit Queue(const QueueOptions& options) : core_(detail::QueueCore::create(options, type())) {}
  /// With a name. Errors: also AlreadyExists, UsageError (a bad name).
  [[nodiscard]] static Queue create(std::string_view name, const QueueOptions& options = {}) {
    return Queue(detail::QueueCore::create_named(name, options, type()));
  }
  /// An existing queue keeps its own options. Errors: TypeMismatch if it holds another type.
  [[nodiscard]] static Queue open_or_create(std::string_view name, const QueueOptions& options = {}) {
    return Queue(detail::QueueCore::open_or_create(name, options, type()));
  }
  /// Errors: HandleError (malformed, stale), TypeMismatch (another kind, payload or layout), PermissionDenied, OsError.
  [[nodiscard]] static Queue open(const Handle& handle) { return Queue(detail::QueueCore::open(handle, type())); }
  [[nodiscard]] static Queue open_named(std::string_view name) {
    return Queue(detail::QueueCore::open_named(name, type()));
  }
  /// Takes the name away; who has the queue open keeps it, but can pass it on no more. False if there was none.
  static bool remove(std::string_view name) { return detail::remove_queue(name); }

  /// One attempt to put or take, with the deadline of a whole call; the forms are made of these.
  [[nodiscard]] std::optional<T> get_before(Deadline deadline) { return detail::Items<T>::get(core_, deadline); }

  /// Zero copy: loan() lends memory of the queue (brood/loan.hpp), put() takes it back as the next item; get_view() takes
  /// the oldest item and leaves it where it is. Both may be mixed with put() and get() of values.
  /// Errors: as put() of a value, and Full also where the policy is to drop the newest: there is no item yet that could be
  ///         dropped; UsageError (a loan that was put already, of another queue, or of the parent process).
  ///         After an attempt that failed the loan is still there.
  template <std::same_as<Loan<T>> L>
  void put(L&& loan) {
    if (!put_before(loan, Deadline::never())) core_.refused();
  }
  template <std::same_as<Loan<T>> L>
  [[nodiscard]] bool try_put(L&& loan) {
    return put_before(loan, Deadline::now());
  }
  bool put_before(Loan<T>& loan, Deadline deadline) {
    return loan.put_by([&](detail::Chunk& chunk, std::size_t skip, std::size_t size) {
      return core_.put(chunk, skip, size, deadline);
    });
  }
  using detail::PutForms<Queue<T>, T>::put_before;
  [[nodiscard]] T get_copied_once() requires(detail::kIsOne<T> && sizeof(T) >= detail::QueueCore::kChunkFrom) {
    return detail::load_raw<T>(reinterpret_cast<const std::byte*>(get_view().data()));
  }
  [[nodiscard]] T get_copied_once() requires detail::Items<T>::kFills { return detail::Items<T>::get_filled(core_); }
  /// Errors: as get().
  [[nodiscard]] View<T> get_view() { return *view_before(Deadline::never()); }
  [[nodiscard]] std::optional<View<T>> try_get_view() { return view_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<View<T>> try_get_view_for(std::chrono::duration<Rep, Period> timeout) {
    return view_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] std::optional<View<T>> try_get_view_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return view_before(deadline); });
  }
  [[nodiscard]] std::optional<View<T>> view_before(Deadline deadline) {
    const detail::SpareMessage message;
    if (!core_.get(*message, deadline)) return std::nullopt;
    return View<T>(message->bytes(), message->release_chunk());
  }

  /// Take what is there, up to `most` items, under one lock, and append it to `into`; sleep while there is nothing.
  /// Returns how many; large items come fewer at a time, but at least one.
  /// Errors: as get(). If an item of several cannot be decoded, all the others are in `into`.
  /// Crash:  killed inside, some of the oldest items are gone, those behind them are left to others.
  std::size_t get_many(std::vector<T>& into, std::size_t most) {
    return get_many_before(into, most, Deadline::never());
  }
  /// The attempts return 0 if nothing came.
  [[nodiscard]] std::size_t try_get_many(std::vector<T>& into, std::size_t most) {
    return get_many_before(into, most, Deadline::now());
  }
  template <class Rep, class Period>
  [[nodiscard]] std::size_t try_get_many_for(std::vector<T>& into, std::size_t most,
                                             std::chrono::duration<Rep, Period> timeout) {
    return get_many_before(into, most, Deadline::after(timeout));
  }
  std::size_t get_many_before(std::vector<T>& into, std::size_t most, Deadline deadline) {
    if (most == 0) return 0;
    const detail::SpareMessage message;
    if (!core_.get_many(*message, most, deadline)) return 0;
    std::exception_ptr first_error;
    for (std::size_t i = 0; i < message->items(); ++i) {
      try {
        into.push_back(detail::Items<T>::decode(core_.handle(), message->bytes(i)));
      } catch (...) {  // not swallowed: thrown below, once the others are delivered; more errors are of the same kind
        if (!first_error) first_error = std::current_exception();
      }
    }
    if (first_error) std::rethrow_exception(first_error);
    return message->items();
  }

  /// Items in the queue: exact when nobody is putting or taking, else as of some instant of the call.
  [[nodiscard]] std::size_t qsize() const { return core_.qsize(); }
  [[nodiscard]] bool empty() const { return core_.empty(); }

  /// End the queue for everybody: puts fail from now on; takers get what is left and then QueueClosed. With
  /// `immediate`, what is left is discarded. Everybody who sleeps in the queue wakes.
  void shutdown(bool immediate = false) { core_.shutdown(immediate); }

  friend std::ostream& operator<<(std::ostream& out, const Queue& queue) { return out << queue.core_.printed(); }

 private:
  friend struct detail::WaitAccess;
  friend class detail::PutForms<Queue<T>, T>;
  friend class detail::LoanForms<Queue<T>, T>;

  explicit Queue(detail::QueueCore core) noexcept : core_(std::move(core)) {}
  [[nodiscard]] static const detail::QueueCore::Type& type() { return detail::Items<T>::type(); }
  [[nodiscard]] detail::QueueCore& put_core() noexcept { return core_; }
  [[nodiscard]] detail::QueueCore& loan_core() noexcept { return core_; }
  [[nodiscard]] const detail::QueueCore& put_core() const noexcept { return core_; }

  detail::QueueCore core_;
};

}  // namespace brood::inline v1
