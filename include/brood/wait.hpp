// wait_any(): one call for many things. as_fd(): the same for a loop of epoll.                       (room: wait)
//
// Complete example: examples/11_wait_many.cpp
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/wait_source.hpp"
#include "brood/fwd.hpp"

namespace brood::inline v1 {

namespace detail {

/// The way into the objects that can be waited for.
struct WaitAccess {
  template <class Q>
  static decltype(auto) core(Q& object) {
    return (object.core_);
  }
  template <class Q>
  static const Object& object(const Q& object) {
    return object.object_;
  }
  template <class Q>
  static decltype(auto) inner_queue(Q& queue) {
    return (queue.queue_);
  }
  template <class Q>
  static WorkCore& work(const Q& queue) {
    return queue.core();
  }
  template <class Q>
  static const QueueCore& work_queue(const Q& queue) {
    return queue.core().queue();
  }
  template <class T>
  static bool send_at_once(Connection<T>& connection, const T& value) {
    return connection.send_at_once(value);
  }
};

/// Has a descriptor that is readable when there is something to do: a listener, say.
template <class T>
concept HasDescriptor = requires(const T& object) {
  { object.descriptor() } -> std::convertible_to<int>;
};

}  // namespace detail

/// Something that can be waited for: what it refers to, and what is waited for. Copying it copies the reference. It opens
/// nothing and holds nothing; what it refers to must stay where it is and open while anybody waits.
///
///   made from                               ready when
///   Queue, SimpleQueue, WorkQueue,          get() would not sleep: an item, or shut down and over
///   JoinableQueue, PriorityQueue,
///   Subscription
///   room_in(queue)                          put() of a small item would not sleep
///   Connection                              poll() is true: a message, or end-of-file
///   Event                                   it is set, or was set since the wait began
///   Semaphore, BoundedSemaphore             there is a unit
///   Lock, RLock                             lock() would not sleep: free, its owner died, or (RLock) held by this thread
///   Condition                               anybody was notified since this Waitable was made
///   Barrier                                 the pass that parties could join when this Waitable was made has ended, or it
///                                           is broken
///   Process                                 it has ended
///   readable(fd), writable(fd),             poll(2) says so; an error, a hang-up and a bad number count as ready
///   anything with `int descriptor() const`
///
/// Waiting takes nothing: somebody else may be faster, and the attempt that follows says no. Nor is a wake-up lost
/// through it: one that another sleeper could use is handed on. A Condition's notifications are seen, not taken: as many
/// waiters wake as without. To miss none, make the Waitable before the lock is released under which the state was looked at.
///
/// Errors: those of the object, when the wait begins: QueueClosed, ConnectionClosed, WrongDirection, NotStarted, NotOwner,
///         UsageError (moved from).
class Waitable {
 public:
  // All implicit, so that wait_any() and containers take the objects themselves.
  Waitable(const Lock& lock);                   // NOLINT(google-explicit-constructor)
  Waitable(const RLock& lock);                  // NOLINT(google-explicit-constructor)
  Waitable(const Semaphore& semaphore);         // NOLINT(google-explicit-constructor)
  Waitable(const BoundedSemaphore& semaphore);  // NOLINT(google-explicit-constructor)
  Waitable(const Event& event);                 // NOLINT(google-explicit-constructor)
  Waitable(const Condition& condition);         // NOLINT(google-explicit-constructor)
  Waitable(const Barrier& barrier);             // NOLINT(google-explicit-constructor)
  Waitable(const Process& process);             // NOLINT(google-explicit-constructor)
  template <class T>
  Waitable(const Queue<T>& queue)  // NOLINT(google-explicit-constructor)
      : Waitable(detail::WaitAccess::core(queue), Side::get) {}
  template <class T>
  Waitable(const SimpleQueue<T>& queue)  // NOLINT(google-explicit-constructor)
      : Waitable(detail::WaitAccess::inner_queue(queue)) {}
  template <class T>
  Waitable(const WorkQueue<T>& queue)  // NOLINT(google-explicit-constructor)
      : Waitable(detail::WaitAccess::work(queue)) {}
  template <class T>
  Waitable(const JoinableQueue<T>& queue)  // NOLINT(google-explicit-constructor)
      : Waitable(detail::WaitAccess::work(queue)) {}
  template <class T>
  Waitable(const PriorityQueue<T>& queue)  // NOLINT(google-explicit-constructor)
      : Waitable(detail::WaitAccess::core(queue), Side::get) {}
  template <class T>
  Waitable(const Subscription<T>& subscription)  // NOLINT(google-explicit-constructor)
      : Waitable(detail::WaitAccess::core(subscription)) {}
  template <class T>
  Waitable(const Connection<T>& connection)  // NOLINT(google-explicit-constructor)
      : Waitable(detail::WaitAccess::core(connection)) {}
  template <detail::HasDescriptor T>
  Waitable(const T& object)  // NOLINT(google-explicit-constructor)
      : Waitable(object.descriptor(), Side::get) {}

  // Nobody else's from here on.
  [[nodiscard]] detail::WaitSourcePointer source() const { return make_(*this); }

 private:
  enum class Side : std::uint8_t { get, put };
  using Make = detail::WaitSourcePointer (*)(const Waitable&);
  Waitable(Make make, const void* object, std::uint64_t detail = 0) noexcept
      : make_(make), object_(object), detail_(detail) {}
  Waitable(const detail::QueueCore& queue, Side side);
  Waitable(const detail::PriorityCore& queue, Side side);
  explicit Waitable(const detail::WorkCore& queue);
  explicit Waitable(const detail::SubscriptionCore& subscription);
  explicit Waitable(const detail::ConnectionCore& connection);
  Waitable(int descriptor, Side side);

  friend Waitable readable(int descriptor);
  friend Waitable writable(int descriptor);
  template <class T>
  friend Waitable room_in(const Queue<T>& queue);
  template <class T>
  friend Waitable room_in(const SimpleQueue<T>& queue);
  template <class T>
  friend Waitable room_in(const WorkQueue<T>& queue);
  template <class T>
  friend Waitable room_in(const JoinableQueue<T>& queue);
  template <class T>
  friend Waitable room_in(const PriorityQueue<T>& queue);

  Make make_;
  const void* object_;
  std::uint64_t detail_;  ///< what a Condition or a Barrier said; a descriptor
};

/// A descriptor of the application: something to read or to accept, or end-of-file; room to write.
[[nodiscard]] Waitable readable(int descriptor);
[[nodiscard]] Waitable writable(int descriptor);

/// Room to put: for an item of few bytes, since nobody knows how large the next one will be.
template <class T>
[[nodiscard]] Waitable room_in(const Queue<T>& queue) {
  return Waitable(detail::WaitAccess::core(queue), Waitable::Side::put);
}
template <class T>
[[nodiscard]] Waitable room_in(const SimpleQueue<T>& queue) {
  return room_in(detail::WaitAccess::inner_queue(queue));
}
template <class T>
[[nodiscard]] Waitable room_in(const WorkQueue<T>& queue) {
  return Waitable(detail::WaitAccess::work_queue(queue), Waitable::Side::put);
}
template <class T>
[[nodiscard]] Waitable room_in(const JoinableQueue<T>& queue) {
  return Waitable(detail::WaitAccess::work_queue(queue), Waitable::Side::put);
}
template <class T>
[[nodiscard]] Waitable room_in(const PriorityQueue<T>& queue) {
  return Waitable(detail::WaitAccess::core(queue), Waitable::Side::put);
}

/// Indices of what is ready, in ascending order.
using Ready = std::vector<std::size_t>;

namespace detail {
[[nodiscard]] Ready wait_any_before(std::span<const Waitable> what, Deadline deadline);

template <class T>
concept CanBeWaitedFor = std::convertible_to<const T&, Waitable>;
template <class R>
concept RangeOfWaitables =
    std::ranges::input_range<R> && std::convertible_to<std::ranges::range_reference_t<R>, Waitable>;

template <class R>
std::vector<Waitable> waitables_of(R&& range) {
  std::vector<Waitable> all;
  for (auto&& one : range) all.push_back(one);
  return all;
}
/// attempt_until() wants an answer that is true or false.
struct MaybeReady {
  Ready ready;
  explicit operator bool() const noexcept { return !ready.empty(); }
};
}  // namespace detail

/// Sleep until at least one of them is ready; returns the indices of all that are. An object given twice is reported
/// twice.
///
/// Errors:    UsageError for an empty list, which nobody could ever end; those of the objects (Waitable).
/// Units:     the _for form takes any chrono duration; zero and less look once. When the time is over and nothing is
///            ready, the answer is empty. An empty list sleeps for the time.
/// Threads:   safe, as far as the objects are: a Subscription is one thread's.    Processes: safe.
/// Cost:      one sleep on all words (futex_waitv) up to 126 objects of shared memory. Beyond, and where descriptors are
///            in the list, threads of the library (named brood-waiter) do the sleeping: about twice the wake-up time.
///            Without futex_waitv (Linux before 5.16) the objects are looked at every 0.1 to 5 ms.
/// Signals:   do not end it.
/// Crash:     a process killed in it has taken nothing; a wake-up that had been given to it goes to others. Deaths that
///            make something ready (a lock's owner, a pipe's last holder, a worker) wake it.
/// Source:    Python multiprocessing.connection.wait.
template <detail::CanBeWaitedFor... Objects>
requires(sizeof...(Objects) > 0) [[nodiscard]] Ready wait_any(const Objects&... objects) {
  const Waitable all[] = {Waitable(objects)...};
  return detail::wait_any_before(all, Deadline::never());
}
template <detail::RangeOfWaitables R>
requires(!detail::CanBeWaitedFor<R>) [[nodiscard]] Ready wait_any(R&& objects) {
  return detail::wait_any_before(detail::waitables_of(objects), Deadline::never());
}
[[nodiscard]] inline Ready wait_any(std::initializer_list<Waitable> objects) {
  return detail::wait_any_before(objects, Deadline::never());
}

template <class Rep, class Period, detail::CanBeWaitedFor... Objects>
[[nodiscard]] Ready wait_any_for(std::chrono::duration<Rep, Period> timeout, const Objects&... objects) {
  const std::initializer_list<Waitable> all = {Waitable(objects)...};
  return detail::wait_any_before(all, Deadline::after(timeout));
}
template <class Rep, class Period, detail::RangeOfWaitables R>
requires(!detail::CanBeWaitedFor<R>) [[nodiscard]] Ready
    wait_any_for(std::chrono::duration<Rep, Period> timeout, R&& objects) {
  return detail::wait_any_before(detail::waitables_of(objects), Deadline::after(timeout));
}
template <class Rep, class Period>
[[nodiscard]] Ready wait_any_for(std::chrono::duration<Rep, Period> timeout, std::initializer_list<Waitable> objects) {
  return detail::wait_any_before(objects, Deadline::after(timeout));
}

template <class Clock, class Duration, detail::CanBeWaitedFor... Objects>
[[nodiscard]] Ready wait_any_until(std::chrono::time_point<Clock, Duration> when, const Objects&... objects) {
  const std::initializer_list<Waitable> all = {Waitable(objects)...};
  const auto attempt = [&](Deadline deadline) { return detail::MaybeReady{detail::wait_any_before(all, deadline)}; };
  return detail::attempt_until(when, attempt).ready;
}
template <class Clock, class Duration, detail::RangeOfWaitables R>
requires(!detail::CanBeWaitedFor<R>) [[nodiscard]] Ready
    wait_any_until(std::chrono::time_point<Clock, Duration> when, R&& objects) {
  const std::vector<Waitable> all = detail::waitables_of(objects);
  const auto attempt = [&](Deadline deadline) { return detail::MaybeReady{detail::wait_any_before(all, deadline)}; };
  return detail::attempt_until(when, attempt).ready;
}

/// A descriptor that is readable when anything of what it was made from may be ready: for epoll, poll, select and the
/// event loops built on them. Move-only.
///
///   brood::ReadyFd jobs_fd = brood::as_fd(jobs);
///   add jobs_fd.fd() to epoll with EPOLLIN (level-triggered)
///   for (;;) {
///     epoll_wait(…);                                     // says jobs_fd.fd()
///     while (auto job = jobs.try_get()) work(*job);      // take as much as you like
///     jobs_fd.rearm();                                   // if there is more, it is readable again at once
///   }
///
/// It becomes readable once and stays so until rearm(): what comes between the two does not ring again. rearm() first
/// says that somebody waits and then looks, so nothing that comes after the last attempt is missed. That it is readable
/// says "try": somebody else may have been faster. An error (QueueClosed, …) makes it readable; the attempt throws it.
///
/// What it was made from must stay open and where it is while this object lives.
/// Shape:     one eventfd, and an epoll descriptor if there are descriptors among them; one thread of the library for up
///            to 126 objects of all ReadyFds.
/// Threads:   one at a time.
/// Processes: of this process only. A forked child's copy throws NotOwner; its destructor closes its copy of the descriptor
///            and leaves the parent's alone.
/// Crash:     deaths ring it as they wake a sleeper. The process that has it is killed: a wake-up that it had been given
///            goes to others.
class ReadyFd {
 public:
  explicit ReadyFd(std::span<const Waitable> what);
  ReadyFd(ReadyFd&& other) noexcept;
  ReadyFd& operator=(ReadyFd&& other) noexcept;
  ~ReadyFd();

  /// Belongs to this object; do not read it. Errors: UsageError (moved from).
  [[nodiscard]] int fd() const;
  /// Not readable, until something may be ready from now on; at once, if something is.
  /// Errors: NotOwner (a forked child's copy), UsageError (moved from), OsError.
  void rearm();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Errors: UsageError for an empty list; those of the objects (Waitable); OsError (descriptors, threads).
template <detail::CanBeWaitedFor... Objects>
requires(sizeof...(Objects) > 0) [[nodiscard]] ReadyFd as_fd(const Objects&... objects) {
  const Waitable all[] = {Waitable(objects)...};
  return ReadyFd(all);
}
template <detail::RangeOfWaitables R>
requires(!detail::CanBeWaitedFor<R>) [[nodiscard]] ReadyFd as_fd(R&& objects) {
  return ReadyFd(detail::waitables_of(objects));
}

}  // namespace brood::inline v1
