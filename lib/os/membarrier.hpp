// Barriers on every processor at once, so that one side of a pair of threads can do without any of its own.
#pragma once

#include <atomic>

namespace brood::inline v1::os {

/// This process takes part: barrier_for_all() of others reaches it. Once a process; children of fork say it anew.
/// False if the kernel cannot (capabilities().membarrier).
[[nodiscard]] bool join_barriers() noexcept;

/// Every thread of every process that takes part has executed a full memory barrier between the call and the return.
///
/// Makes `x = 1; no_reorder(); read y` on one side as strong as `y = 1; barrier_for_all(); read x` on the other: at least
/// one of the two sees the other's store. The first side pays nothing, the second about a microsecond.
void barrier_for_all() noexcept;

/// The cheap side of that pair: the compiler, at least, keeps the order.
inline void no_reorder() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

}  // namespace brood::inline v1::os
