// Watch: one wait that a thread of the library waits for.                                            (room: wait)
#pragma once

#include <cstdint>

#include "brood/deadline.hpp"
#include "brood/detail/wait_source.hpp"

namespace brood::inline v1 {

namespace waiting {
class WaiterThread;  // lib/wait/waiter.hpp
class Waiters;
}  // namespace waiting

namespace detail {

/// One source in the hands of a waiter thread, from start() until fired() is called, once. In between the source is that
/// thread's alone.
///
/// A forked child has no waiter threads: its copy of a Watch that was started is over.
class Watch {
 public:
  enum class Why : std::uint8_t {
    ready,      ///< it is, or it throws; somebody else may be faster
    timed_out,  ///< the deadline passed first
    cancelled,  ///< cancel() came first
  };

  Watch() = default;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  /// Must have been stopped: what fired() uses has been destroyed by now.
  virtual ~Watch() = default;

  /// Errors: OsError (no thread, no descriptor). Neither `source` nor its object may go before fired() or stop().
  void start(WaitSource& source, Deadline deadline);
  /// Makes fired(cancelled) come soon, if nothing else comes first. Before start(): soon after it.
  void cancel() noexcept;
  /// Once this has returned, fired() is not running in another thread and will not be called.
  void stop() noexcept;

 protected:
  /// In the waiter thread, which serves others too: do not sleep here. May start() this again, or destroy it.
  virtual void fired(Why why) noexcept = 0;

 private:
  friend class waiting::WaiterThread;
  friend class waiting::Waiters;

  WaitSource* source_ = nullptr;
  waiting::WaiterThread* thread_ = nullptr;  ///< while started
  std::uint64_t serial_ = 0;                 ///< of this start; 0 while not started
  std::int64_t process_ = 0;                 ///< that started it
  Deadline deadline_ = Deadline::never();
  bool is_cancelled_ = false;
  bool has_slept_ = false;  ///< a wake-up may have been swallowed
};

}  // namespace detail
}  // namespace brood::inline v1
