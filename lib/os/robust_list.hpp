// The kernel's robust list of one thread: words that the kernel marks when the thread ends, however it ends.
#pragma once

#include <linux/futex.h>

#include <array>
#include <cstdint>

#include "os/futex.hpp"

namespace brood::inline v1::os {

/// The mark in a word, and the flag that asks for a wake-up with it.
inline constexpr std::uint32_t kThreadDied = FUTEX_OWNER_DIED;
inline constexpr std::uint32_t kWakeWhenDied = FUTEX_WAITERS;

/// A word and its link in the list.
struct MarkedWord {
  robust_list node;
  Word word;
};

/// The words of one thread. May lie in shared memory, and should: the kernel may throw away the private pages of a
/// dying process before it walks the list. The kernel wakes one waiter of each word.
struct RobustList {
  robust_list_head head;
  std::array<MarkedWord, 2> marked;
};

/// From here on the kernel marks both words when the calling thread ends. The thread must use no robust pthread mutex,
/// whose list this replaces. Stores the thread's id in the words.
void mark_at_thread_end(RobustList& list) noexcept;

[[nodiscard]] std::uint32_t thread_id() noexcept;

}  // namespace brood::inline v1::os
