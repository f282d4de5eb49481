// WaitSource: what waiting on many things asks of each of them.                                  (room: registry)
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "brood/handle.hpp"

namespace brood::inline v1 {

class Event;

namespace detail {

class Object;
class QueueCore;
class WorkCore;
class PriorityCore;
class SubscriptionCore;
class ConnectionCore;
struct WaitAccess;

/// One object in one wait. Used by one thread at a time; refers to the object, which must outlive it.
///
/// The order is that of every sleep in this library: read the death word, watch() everything, sleep until one of the bells'
/// words or the death word changes. Whoever has slept may have been given a wake-up that was meant for one who takes
/// something; since waiting takes nothing, it calls pass_on() of everything it slept on when it goes.
class WaitSource {
 public:
  /// What to sleep on. Without a word: a descriptor.
  struct Bell {
    const std::atomic<std::uint32_t>* word = nullptr;
    std::uint32_t seen = 0;
    std::uint32_t blocked_on = 0;    ///< the one process whose release is awaited, if there is one
    std::int64_t look_again_ns = 0;  ///< not 0: nobody may ring; look again after so long
  };

  WaitSource() = default;
  WaitSource(const WaitSource&) = delete;
  WaitSource& operator=(const WaitSource&) = delete;
  virtual ~WaitSource();

  /// Is it ready? Errors: those of the object; QueueClosed, ConnectionClosed, NotOwner, OsError.
  [[nodiscard]] virtual bool look() = 0;
  /// Says that somebody may sleep, then looks. If it is not ready, `bell` is what to sleep on.
  [[nodiscard]] virtual bool watch(Bell& bell) = 0;
  /// Of what is ready because something has happened since: from now on, since that was found.
  virtual void begin_anew() noexcept {}
  /// Hands on the wake-up of one sleeper, if there was one.
  virtual void pass_on() noexcept {}
  /// The fallback timer: are those that we wait for still there?
  virtual void look_round() noexcept {}

  /// At least 0: sleep with poll(2) until it is ready for `events()`.
  [[nodiscard]] virtual int descriptor() const noexcept { return -1; }
  [[nodiscard]] virtual short events() const noexcept { return 0; }
  /// For the record that says what a thread sleeps on.
  [[nodiscard]] virtual Handle object() const = 0;
};
using WaitSourcePointer = std::unique_ptr<WaitSource>;

// Made by the rooms of the objects. `since`: for what has no state but only changes, what its *_now() said.
[[nodiscard]] WaitSourcePointer lock_source(const Object& lock);
[[nodiscard]] WaitSourcePointer rlock_source(const Object& lock);
[[nodiscard]] WaitSourcePointer semaphore_source(const Object& semaphore);
[[nodiscard]] WaitSourcePointer event_source(const Object& event);
[[nodiscard]] std::uint64_t condition_now(const Object& condition);
[[nodiscard]] WaitSourcePointer condition_source(const Object& condition, std::uint64_t since);
[[nodiscard]] std::uint64_t barrier_now(const Object& barrier);
[[nodiscard]] WaitSourcePointer barrier_source(const Object& barrier, std::uint64_t since);
[[nodiscard]] WaitSourcePointer queue_source(const QueueCore& queue);
[[nodiscard]] WaitSourcePointer work_source(const WorkCore& queue);
[[nodiscard]] WaitSourcePointer priority_source(const PriorityCore& queue);
[[nodiscard]] WaitSourcePointer subscription_source(const SubscriptionCore& subscription);
[[nodiscard]] WaitSourcePointer connection_source(const ConnectionCore& connection);
/// Is there room for the smallest item?
[[nodiscard]] WaitSourcePointer room_source(const QueueCore& queue);
[[nodiscard]] WaitSourcePointer room_source(const PriorityCore& queue);
/// Has anything been taken away since this was made, or is it over? For who has tried to put after that, in vain.
[[nodiscard]] WaitSourcePointer taken_source(const QueueCore& queue);
[[nodiscard]] WaitSourcePointer taken_source(const PriorityCore& queue);
[[nodiscard]] WaitSourcePointer taken_source(const ConnectionCore& connection);

}  // namespace detail
}  // namespace brood::inline v1
