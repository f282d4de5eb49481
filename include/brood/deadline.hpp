// Deadline: a point on the monotonic clock, made once at the door from any chrono timeout.         (room: base)
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace brood::inline v1 {

/// When to give up, on CLOCK_MONOTONIC. Inside the library only deadlines travel, so a timeout bounds the whole call.
///
/// Zero, negative and NaN durations mean "poll once"; durations too large to add mean "never".
class Deadline {
 public:
  /// Never gives up.
  [[nodiscard]] static constexpr Deadline never() noexcept { return Deadline(kNever); }
  /// Has passed already: one attempt, no sleep.
  [[nodiscard]] static constexpr Deadline now() noexcept { return Deadline(0); }

  template <class Rep, class Period>
  [[nodiscard]] static Deadline after(std::chrono::duration<Rep, Period> timeout) noexcept {
    using Wide = std::chrono::duration<long double, std::nano>;
    const long double wanted =
        std::chrono::duration_cast<Wide>(std::chrono::duration<long double, Period>(timeout)).count();
    if (!(wanted > 0)) return now();
    const std::int64_t start = clock_ns();
    if (wanted >= static_cast<long double>(kNever - start)) return never();
    // Round up: a wait may be longer than asked for, never shorter.
    const auto whole = static_cast<std::int64_t>(wanted);
    return Deadline(start + whole + (static_cast<long double>(whole) < wanted ? 1 : 0));
  }

  [[nodiscard]] constexpr bool is_never() const noexcept { return at_ns_ == kNever; }
  [[nodiscard]] constexpr bool is_poll() const noexcept { return at_ns_ == 0; }
  [[nodiscard]] bool passed() const noexcept { return !is_never() && clock_ns() >= at_ns_; }
  /// Nanoseconds of CLOCK_MONOTONIC; the largest value for never().
  [[nodiscard]] constexpr std::int64_t at_ns() const noexcept { return at_ns_; }
  /// The earlier of this deadline and `ns` from now.
  [[nodiscard]] Deadline capped(std::int64_t ns) const noexcept {
    const std::int64_t cap = clock_ns() + ns;
    return cap < at_ns_ ? Deadline(cap) : *this;
  }
  [[nodiscard]] static std::int64_t clock_ns() noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

 private:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
  constexpr explicit Deadline(std::int64_t at_ns) noexcept : at_ns_(at_ns) {}
  std::int64_t at_ns_;
};

namespace detail {

/// Runs `attempt(Deadline)` until it says yes or the caller's clock has passed `when`. Clocks other than the steady one
/// can be set while we sleep, so they are read again after each attempt.
template <class Clock, class Duration, class Attempt>
auto attempt_until(std::chrono::time_point<Clock, Duration> when, Attempt attempt)
    -> decltype(attempt(Deadline::now())) {
  static_assert(std::chrono::is_clock_v<Clock>,
                "brood: the time_point's clock is no chrono clock; local times have no instant");
  for (;;) {
    const auto current = Clock::now();
    using Wide = std::chrono::duration<long double>;
    auto answer = attempt(Deadline::after(Wide(when.time_since_epoch()) - Wide(current.time_since_epoch())));
    if (answer || Clock::now() >= when) return answer;
  }
}

}  // namespace detail
}  // namespace brood::inline v1
