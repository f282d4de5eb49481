// The kernel's robust list of one thread: words that the kernel marks when the thread ends, however it ends.
#pragma once

#include <linux/futex.h>

#include <cstdint>

#include "os/futex.hpp"

namespace brood::inline v1::os {

/// The mark in a word, and the flag that asks for a wake-up with it.
inline constexpr std::uint32_t kThreadDied = FUTEX_OWNER_DIED;
inline constexpr std::uint32_t kWakeWhenDied = FUTEX_WAITERS;

/// A list of one entry. Lies beside its word; may lie in shared memory, and should: the kernel may throw away the private
/// pages of a dying process before it walks the list.
struct RobustList {
  robust_list_head head;
  robust_list node;
};

/// From here on the kernel marks `word` when the calling thread ends. The thread must use no robust pthread mutex, whose
/// list this replaces. Stores the thread's id in the word.
void mark_at_thread_end(RobustList& list, Word& word) noexcept;

[[nodiscard]] std::uint32_t thread_id() noexcept;

}  // namespace brood::inline v1::os
