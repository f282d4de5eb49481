#include "os/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <ctime>

namespace brood::inline v1::os {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

/// Absolute timespec of a deadline, or null for never.
class Timespec {
 public:
  explicit Timespec(Deadline deadline) noexcept
      : never_(deadline.is_never()),
        ts_{static_cast<std::time_t>(deadline.at_ns() / kNsPerSecond),
            static_cast<long>(deadline.at_ns() % kNsPerSecond)} {}
  [[nodiscard]] const timespec* get() const noexcept { return never_ ? nullptr : &ts_; }

 private:
  bool never_;
  timespec ts_;
};

Wake outcome(long result) noexcept { return result < 0 && errno == ETIMEDOUT ? Wake::timed_out : Wake::woken; }

}  // namespace

Wake futex_wait(const Word& word, std::uint32_t seen, Deadline deadline) noexcept {
  const Timespec ts(deadline);
  // FUTEX_WAIT_BITSET takes an absolute time; plain FUTEX_WAIT would restart a relative one after each signal.
  return outcome(::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, seen, ts.get(), nullptr, FUTEX_BITSET_MATCH_ANY));
}

Wake futex_wait_any(const WordSeen* words, unsigned count, Deadline deadline) noexcept {
  std::array<futex_waitv, kMostWords> waiters;  // not cleared: most sleeps are on two words
  if (count > kMostWords) count = kMostWords;
  for (unsigned i = 0; i < count; ++i) {
    waiters[i] = {words[i].seen, reinterpret_cast<std::uintptr_t>(words[i].word), FUTEX_32, 0};
  }
  const Timespec ts(deadline);
  return outcome(::syscall(SYS_futex_waitv, waiters.data(), count, 0, ts.get(), CLOCK_MONOTONIC));
}

Wake futex_wait_either(const Word& a, std::uint32_t a_seen, const Word& b, std::uint32_t b_seen,
                       Deadline deadline) noexcept {
  const std::array<WordSeen, 2> words = {{{&a, a_seen}, {&b, b_seen}}};
  return futex_wait_any(words.data(), 2, deadline);
}

int futex_wake(const Word& word, int count) noexcept {
  return static_cast<int>(::syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0));
}

int futex_wake_all(const Word& word) noexcept { return futex_wake(word, INT_MAX); }

}  // namespace brood::inline v1::os
