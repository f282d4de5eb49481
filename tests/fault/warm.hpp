// What a victim does before its operation, so that first-use code does not blow up the number of instructions.
#pragma once

#include <chrono>

namespace fault {

/// Joins the domain, takes the thread's sleep record, and teaches the spinning waits that it never pays to spin: a spin
/// of a thousand rounds would be a thousand kill points of the same kind.
void settle_in();

/// Each failure takes a quarter off a spin budget; not 32, since every 32nd wait tries the full spin again.
inline constexpr int kLessons = 26;
inline constexpr std::chrono::nanoseconds kShort{1};
/// Teaches the same to the takers of another kind of queue.
template <class Queue>
void unlearn_spinning_in_get(Queue& queue) {
  for (int i = 0; i < kLessons; ++i) (void)queue.try_get_for(kShort);
}

}  // namespace fault
