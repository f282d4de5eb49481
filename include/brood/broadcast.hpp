// Broadcast: what one process publishes, every subscriber reads.                                  (room: channel)
//
// Complete example: examples/07_broadcast.cpp
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string_view>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/broadcast_core.hpp"
#include "brood/detail/queue_forms.hpp"
#include "brood/detail/queue_items.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

/// One reader's place in a Broadcast: it gets every item, in order, from where it began. Move-only.
///
/// Threads:   one at a time; any thread of the process.
/// Processes: of this process only: another one subscribes for itself. A forked child's copy throws NotOwner, and its end
///            does nothing.
/// Crash:     ends with its process, killed or not: the writer waits for it no longer.
/// Lifetime:  may outlive the Broadcast object it came from.
/// Forms:     get, try_…, …_for, …_until, range-for until the broadcast is shut down and all is read:
///            detail/queue_forms.hpp. Errors also: NotOwner.
template <class T>
class Subscription : public detail::GetForms<Subscription<T>, T> {
 public:
  using value_type = T;

  /// One attempt to get the next item, with the deadline of a whole call; the forms are made of it.
  /// Errors: QueueClosed (close() was called; the broadcast was shut down and all is read); NotOwner (another process's
  ///         subscription); DecodeError, or what opening a shared object in the item throws: then the item is skipped.
  [[nodiscard]] std::optional<T> get_before(Deadline deadline) { return detail::Items<T>::get(core_, deadline); }

  /// Items that this reader was too slow for, in all; told with the item that it got after them. 0 with
  /// SlowReader::block.
  [[nodiscard]] std::uint64_t missed() const noexcept { return core_.missed(); }
  /// Those of them between the item that the last get returned and the one before.
  [[nodiscard]] std::uint64_t just_missed() const noexcept { return core_.just_missed(); }
  /// Items that could be got now, as of some instant of the call. Errors: as get().
  [[nodiscard]] std::uint64_t pending() const { return core_.pending(); }

  /// Ends it before its destructor does. May be called again.
  void close() noexcept { core_.close(); }
  [[nodiscard]] bool closed() const noexcept { return core_.closed(); }
  /// Of the broadcast: a subscription has none, it stays in its process.
  [[nodiscard]] Handle handle() const { return core_.handle(); }
  friend std::ostream& operator<<(std::ostream& out, const Subscription& subscription) {
    return out << subscription.core_.printed();
  }

 private:
  friend struct detail::WaitAccess;
  template <class U>
  friend class Broadcast;
  explicit Subscription(detail::SubscriptionCore core) noexcept : core_(std::move(core)) {}

  detail::SubscriptionCore core_;
};

/// A stream of T in shared memory that any number of subscribers read, each at its own place. T is any type that travels
/// (brood/serialize.hpp).
///
/// One process publishes, as a rule; several may, one at a time. Nobody is held up by who does not subscribe: without
/// readers an item is kept until its place is needed. A reader that is a whole ring behind blocks the writer, or misses
/// items (BroadcastOptions::slow_reader); a dead one does neither.
///
/// Capacity:   in bytes and in subscriptions (BroadcastOptions).
/// Cost:       one lock and one copy to publish, whatever the number of readers; one copy, without any lock, to get.
/// Shape:      one segment: 4 KiB, 64 bytes for each subscription, the ring; no descriptor. Memory for the ring is taken
///             during its first lap.
/// Threads:    safe.     Processes: safe, through the handle.
/// Crash:      killed inside publish, the item is in for everybody or for nobody. Readers never see a torn item, also one
///             that was overtaken while it read. Nobody waits for the dead.
/// Lifetime:   an unnamed broadcast is freed with its last user, a named one lives until remove(). A shared object whose
///             handle is in an item lives until the item's place is needed for others: as long as it can be read.
/// Source:     ring with a cursor for each reader: LMAX Disruptor; seqlocks with atomic words: H.-J. Boehm, MSPC 2012.
template <class T>
class Broadcast {
 public:
  using value_type = T;

  /// Errors: UsageError (limits out of range), NoSpace, PermissionDenied, OsError.
  explicit Broadcast(const BroadcastOptions& options = {}) : core_(detail::BroadcastCore::create(options, type())) {}
  /// With a name. Errors: also AlreadyExists, UsageError (a bad name).
  [[nodiscard]] static Broadcast create(std::string_view name, const BroadcastOptions& options = {}) {
    return Broadcast(detail::BroadcastCore::create_named(name, options, type()));
  }
  /// An existing broadcast keeps its own options. Errors: TypeMismatch if it holds another type.
  [[nodiscard]] static Broadcast open_or_create(std::string_view name, const BroadcastOptions& options = {}) {
    return Broadcast(detail::BroadcastCore::open_or_create(name, options, type()));
  }
  /// Errors: HandleError (malformed, stale), TypeMismatch (another kind, payload or layout), PermissionDenied, OsError.
  [[nodiscard]] static Broadcast open(const Handle& handle) {
    return Broadcast(detail::BroadcastCore::open(handle, type()));
  }
  [[nodiscard]] static Broadcast open_named(std::string_view name) {
    return Broadcast(detail::BroadcastCore::open_named(name, type()));
  }
  /// Takes the name away; who has the broadcast open keeps it, but can pass it on no more. False if there was none.
  static bool remove(std::string_view name) { return detail::remove_broadcast(name); }

  /// Publish one item to everybody who subscribes. With SlowReader::block, sleep while a living reader is in the way: also
  /// one of this thread, which would wait for ever. The attempts return whether the item is in.
  /// Errors: QueueClosed (closed here, or shut down); NoSpace (the item can never fit, or memory cannot be had);
  ///         what encoding the item throws: then nothing was published.
  void publish(const T& item) { (void)publish_before(item, Deadline::never()); }
  [[nodiscard]] bool try_publish(const T& item) { return publish_before(item, Deadline::now()); }
  /// Units: any chrono duration; it bounds the whole call; zero or less means one attempt.
  template <class Rep, class Period>
  [[nodiscard]] bool try_publish_for(const T& item, std::chrono::duration<Rep, Period> timeout) {
    return publish_before(item, Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_publish_until(const T& item, std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return publish_before(item, deadline); });
  }
  bool publish_before(const T& item, Deadline deadline) { return detail::Items<T>::put(core(), item, deadline); }

  /// Become a reader, from here on or from the oldest item that is still there (SubscribeOptions::start).
  /// Errors: QueueClosed (closed here); OsError (EAGAIN: there are most_readers of them).
  /// Crash:  killed inside, there is no subscription.
  [[nodiscard]] Subscription<T> subscribe(const SubscribeOptions& options = {}) {
    return Subscription<T>(detail::SubscriptionCore(core_, options));
  }

  /// Subscriptions of living processes.
  [[nodiscard]] std::size_t readers() const { return core().readers(); }
  [[nodiscard]] std::size_t most_readers() const { return core().most_readers(); }
  /// Items published so far. One whose writer was killed in the same moment may not be counted yet.
  [[nodiscard]] std::uint64_t published() const { return core().published(); }
  [[nodiscard]] std::size_t byte_budget() const { return core().byte_budget(); }
  [[nodiscard]] SlowReader slow_reader() const { return core().slow_reader(); }

  /// This object will neither publish nor subscribe any more; its subscriptions go on. May be called again.
  void close() noexcept {
    if (core_) core_->close();
  }
  [[nodiscard]] bool closed() const { return core().closed(); }
  /// End it for everybody: nothing can be published any more; readers get what they have not read yet, and then
  /// QueueClosed.
  void shutdown() { core().shutdown(); }
  [[nodiscard]] bool is_shut_down() const { return core().is_shut_down(); }

  [[nodiscard]] Handle handle() const { return core().handle(); }
  friend std::ostream& operator<<(std::ostream& out, const Broadcast& broadcast) {
    return out << broadcast.core().printed();
  }

  Broadcast(Broadcast&&) noexcept = default;
  Broadcast& operator=(Broadcast&&) noexcept = default;
  ~Broadcast() = default;

 private:
  explicit Broadcast(detail::BroadcastCore::Pointer core) noexcept : core_(std::move(core)) {}
  [[nodiscard]] static const detail::BroadcastCore::Type& type() { return detail::Items<T>::type(); }
  [[nodiscard]] detail::BroadcastCore& core() const { return detail::BroadcastCore::of(core_); }

  detail::BroadcastCore::Pointer core_;
};

}  // namespace brood::inline v1
