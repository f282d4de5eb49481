// Futexes on words in shared segments (never the private flag), with deadlines on CLOCK_MONOTONIC.
#pragma once

#include <atomic>
#include <cstdint>

#include "brood/deadline.hpp"

namespace brood::inline v1::os {

using Word = std::atomic<std::uint32_t>;
static_assert(sizeof(Word) == 4 && Word::is_always_lock_free, "futex words must be plain 32-bit words");

enum class Wake : std::uint8_t { woken, timed_out };

/// Sleep while `word` holds `seen`. Spurious returns (signals, a changed word) are Wake::woken: callers re-check
/// anyway.
Wake futex_wait(const Word& word, std::uint32_t seen, Deadline deadline) noexcept;

/// Sleep while both words hold what was seen. Needs capabilities().futex_waitv.
Wake futex_wait_either(const Word& a, std::uint32_t a_seen, const Word& b, std::uint32_t b_seen,
                       Deadline deadline) noexcept;

/// The same over up to kMostWords words; those beyond are not slept on.
inline constexpr unsigned kMostWords = 128;
struct WordSeen {
  const Word* word;
  std::uint32_t seen;
};
Wake futex_wait_any(const WordSeen* words, unsigned count, Deadline deadline) noexcept;

/// Wake up to `count` sleepers; returns how many were woken.
int futex_wake(const Word& word, int count) noexcept;
int futex_wake_all(const Word& word) noexcept;

/// A full barrier at a place where this thread has just executed an atomic read-modify-write. On x86 that instruction
/// was the barrier already.
inline void fence_after_read_modify_write() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  std::atomic_signal_fence(std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

/// The processor's hint that this is a spin loop.
/// This line is about to be written here: fetch it for that now, beside other work, instead of twice and waited for. (GCC
/// makes a prefetch for reading of __builtin_prefetch(…, 1) unless told of the processor.)
inline void prefetch_for_writing(const void* line) noexcept {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(line)));
#else
  __builtin_prefetch(line, 1);
#endif
}

inline void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

}  // namespace brood::inline v1::os
