// Barrier: a fixed number of parties wait for each other, again and again.                          (room: sync)
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string_view>

#include "brood/deadline.hpp"
#include "brood/detail/shared_object.hpp"

namespace brood::inline v1 {

struct BarrierOptions {
  /// Run once a pass, by the party that arrives last, before anybody leaves. A function or a lambda without captures:
  /// it is found again in every process of the same program. If it throws, the barrier breaks.
  void (*action)() = nullptr;
  /// For wait() without a timeout of its own. None: wait for ever.
  std::optional<std::chrono::nanoseconds> timeout = {};
};

/// A cyclic barrier in shared memory. A party is a thread of any process.
///
///   state     wait()                                     abort()    reset()
///   filling   sleeps; the last arriver lets all go       → broken   the waiting get BrokenBarrier; stays filling
///   broken    throws BrokenBarrier                       —          → filling
///
/// It breaks when a wait times out, the action throws, abort() is called, or an enrolled process dies. A process is
/// enrolled from the moment the barrier is passed to it as an argument of its Process, or from its first wait(), until
/// its Barrier object is destroyed or leave() is called; ending without either counts as death.
///
/// Shape:      one segment; 32 bytes a waiting thread and 8 a process, reserved as they come.
/// Threads:    safe.     Processes: safe, through the handle.
/// Crash:      a dead party breaks the barrier for everybody within about a millisecond. A party killed inside wait()
///             has arrived or not; a pass that has begun to end ends for all.
/// Source:     Python multiprocessing.Barrier; per-party records: lib/sync/README.md.
class Barrier : public detail::SharedObject<Barrier, Kind::barrier> {
 public:
  static constexpr std::int64_t kMaxParties = 65536;

  /// Errors: UsageError if `parties` is below 1 or above kMaxParties; NoSpace, PermissionDenied, OsError.
  explicit Barrier(std::int64_t parties, BarrierOptions options = {});
  [[nodiscard]] static Barrier create(std::string_view name, std::int64_t parties, BarrierOptions options = {});
  /// An existing one keeps its own parties and options.
  [[nodiscard]] static Barrier open_or_create(std::string_view name, std::int64_t parties, BarrierOptions options = {});

  Barrier(Barrier&& other) noexcept;
  Barrier& operator=(Barrier&& other) noexcept;
  /// Leaves, if this object enrolled its process.
  ~Barrier();

  /// Wait until all parties have arrived. Returns the order of arrival, 0 … parties−1, different for each.
  /// Errors: BrokenBarrier; what the action throws (in the last arriver only).
  std::size_t wait() { return wait_before(default_deadline()); }
  /// Units: any chrono duration. A wait that times out breaks the barrier for everybody; negative: at once, unless this
  /// is the last party to arrive.
  template <class Rep, class Period>
  std::size_t wait_for(std::chrono::duration<Rep, Period> timeout) {
    return wait_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  std::size_t wait_until(std::chrono::time_point<Clock, Duration> when) {
    return wait_before(Deadline::after(when - Clock::now()));
  }
  std::size_t wait_before(Deadline deadline);

  /// Back to empty: the waiting get BrokenBarrier, the barrier can be used again. Forgets dead parties.
  void reset();
  /// Break the barrier until reset().
  void abort();

  /// Count this process as a party from now on. Done by itself, see above.
  void enrol();
  /// This process takes no further part: its end does not break the barrier.
  void leave() noexcept;

  [[nodiscard]] std::size_t parties() const;
  /// Threads waiting now; 0 if broken.
  [[nodiscard]] std::size_t n_waiting() const;
  [[nodiscard]] bool broken() const;

  friend std::ostream& operator<<(std::ostream& out, const Barrier& barrier);

 private:
  friend detail::SharedObject<Barrier, Kind::barrier>;
  explicit Barrier(detail::Object object) noexcept : SharedObject(std::move(object)) {}
  [[nodiscard]] Deadline default_deadline() const;

  /// Registry identity under which this object enrolled; a forked child has another.
  std::atomic<std::uint32_t> enrolled_as_ = 0;
};

}  // namespace brood::inline v1
