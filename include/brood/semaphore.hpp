// Semaphore, BoundedSemaphore and Permit: counted admission between any processes.                  (room: sync)
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string_view>

#include "brood/deadline.hpp"
#include "brood/detail/shared_object.hpp"

namespace brood::inline v1 {

class Semaphore;

/// One unit of a Semaphore, held by scope. Move-only. The Semaphore object it came from must outlive it.
///
/// Crash:  when the process dies, the unit returns and a sleeper gets it.
class Permit {
 public:
  explicit Permit(Semaphore& semaphore);
  Permit(Permit&& other) noexcept : semaphore_(other.semaphore_) { other.semaphore_ = nullptr; }
  Permit& operator=(Permit&& other) noexcept;
  ~Permit();
  /// Give the unit back now. Errors: ReleasedTooOften if that was done before, or the permit was moved from.
  void release();

 private:
  friend class Semaphore;
  struct Taken {};
  Permit(Semaphore& semaphore, Taken) noexcept : semaphore_(&semaphore) {}
  Semaphore* semaphore_;
};

/// A counter that can be waited on. Anybody may release; what dead processes had acquired does not come back by itself,
/// because nobody can know that they did not mean it that way. Permits taken as a Permit do come back.
///
/// Shape:      one segment of five pages, one of them reserved; no descriptor stays open.
/// Threads:    safe.     Processes: safe, through the handle.
/// Crash:      a killing inside acquire or release has done it wholly or not at all; sleepers are never forgotten.
/// Lifetime:   an unnamed one is freed with its last user; a named one lives until remove().
/// Source:     Python multiprocessing.Semaphore; std::counting_semaphore; journalled counter: lib/sync/README.md.
class Semaphore : public detail::SharedObject<Semaphore, Kind::semaphore> {
 public:
  /// Ceiling of every semaphore.
  static constexpr std::int64_t kMaxValue = 2147483647;

  /// Errors: UsageError if the value is negative or above kMaxValue; NoSpace, PermissionDenied, OsError.
  explicit Semaphore(std::int64_t value = 1);
  [[nodiscard]] static Semaphore create(std::string_view name, std::int64_t value = 1);
  /// An existing one keeps its count.
  [[nodiscard]] static Semaphore open_or_create(std::string_view name, std::int64_t value = 1);

  /// Take one unit; sleep while there is none.
  void acquire() { (void)acquire_before(Deadline::never()); }
  [[nodiscard]] bool try_acquire() { return acquire_before(Deadline::now()); }
  /// Units: any chrono duration; zero or less means one attempt.
  template <class Rep, class Period>
  [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout) {
    return acquire_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_acquire_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [this](Deadline deadline) { return acquire_before(deadline); });
  }
  bool acquire_before(Deadline deadline);
  /// Add one unit; wakes one sleeper. Errors: ReleasedTooOften at the ceiling.
  void release();

  /// Units free now.
  [[nodiscard]] std::int64_t get_value() const;

  /// Take one unit that comes back by itself when the Permit, or this process, ends.
  /// Errors: OsError if more than 1024 living processes hold permits of one semaphore.
  [[nodiscard]] Permit permit();
  [[nodiscard]] std::optional<Permit> try_permit();
  template <class Rep, class Period>
  [[nodiscard]] std::optional<Permit> try_permit_for(std::chrono::duration<Rep, Period> timeout) {
    return permit_before(Deadline::after(timeout));
  }
  [[nodiscard]] std::optional<Permit> permit_before(Deadline deadline);

  friend std::ostream& operator<<(std::ostream& out, const Semaphore& semaphore);

 private:
  friend class Permit;
  friend detail::SharedObject<Semaphore, Kind::semaphore>;
  explicit Semaphore(detail::Object object) noexcept : SharedObject(std::move(object)) {}
};

/// A semaphore that can never have more units than it began with; all its units belong to the process that took them
/// and come back when that process dies.
///
/// Any process may release, as in Python: the unit is then taken off the releaser's own account if it holds one, else
/// off another's. So units free and units held always add up to the initial value.
///
/// Crash, Shape, Threads, Processes, Lifetime: as Semaphore, except as said.
/// Source:     Python multiprocessing.BoundedSemaphore.
class BoundedSemaphore : public detail::SharedObject<BoundedSemaphore, Kind::bounded_semaphore> {
 public:
  /// Errors: as Semaphore. With 0 no release can ever succeed.
  explicit BoundedSemaphore(std::int64_t value = 1);
  [[nodiscard]] static BoundedSemaphore create(std::string_view name, std::int64_t value = 1);
  [[nodiscard]] static BoundedSemaphore open_or_create(std::string_view name, std::int64_t value = 1);

  /// Errors: OsError if more than 1024 living processes hold units.
  void acquire() { (void)acquire_before(Deadline::never()); }
  [[nodiscard]] bool try_acquire() { return acquire_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] bool try_acquire_for(std::chrono::duration<Rep, Period> timeout) {
    return acquire_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_acquire_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [this](Deadline deadline) { return acquire_before(deadline); });
  }
  bool acquire_before(Deadline deadline);
  /// Errors: ReleasedTooOften if all units are in; checked and done in one step.
  void release();

  [[nodiscard]] std::int64_t get_value() const;
  friend std::ostream& operator<<(std::ostream& out, const BoundedSemaphore& semaphore);

 private:
  friend detail::SharedObject<BoundedSemaphore, Kind::bounded_semaphore>;
  explicit BoundedSemaphore(detail::Object object) noexcept : SharedObject(std::move(object)) {}
};

}  // namespace brood::inline v1
