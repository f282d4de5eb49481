// WakeWord: "something may have changed" between one who puts and one who waits.
#pragma once

#include <climits>
#include <cstdint>

#include "os/futex.hpp"

namespace brood::inline v1::channel {

/// generation (31) | somebody may sleep (1).
///
/// A waiter arms the word, looks at the state once more, and sleeps on the value it armed. A notifier that finds the
/// mark takes it away, moves the generation on, and wakes one. That one arms again before it hands the wake on to the
/// next one ("arm before passing the baton": the mark that was taken for us was everybody's).
struct WakeWord {
  os::Word word;

  /// Mark that somebody may sleep. The value to sleep on.
  std::uint32_t arm() noexcept { return word.fetch_or(1) | 1; }

  /// Call after the state has changed and after an atomic read-modify-write (the unlock).
  void notify() noexcept {
    // SYNC wake-word: the waiter's arm() and our unlock are both full barriers; either we see the mark, or the waiter's
    // second look sees the new state.
    os::fence_after_read_modify_write();
    if ((word.load(std::memory_order_relaxed) & 1) != 0) [[unlikely]]
      take_mark(1);
  }
  /// The same, waking all: where sleepers wait for different amounts, the one that is woken may not be the one that can go.
  void notify_every() noexcept {
    os::fence_after_read_modify_write();
    if ((word.load(std::memory_order_relaxed) & 1) != 0) [[unlikely]]
      take_mark(INT_MAX);
  }
  void notify_all() noexcept {
    word.fetch_add(2);
    os::futex_wake_all(word);
  }

 private:
  void take_mark(int count) noexcept {
    std::uint32_t seen = word.load();
    while ((seen & 1) != 0) {
      if (!word.compare_exchange_weak(seen, (seen & ~1U) + 2)) continue;
      os::futex_wake(word, count);
      return;
    }
  }
};

}  // namespace brood::inline v1::channel
