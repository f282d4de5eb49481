// Which instructions of an operation to kill at.
#pragma once

#include <cstddef>
#include <random>
#include <vector>

#include "fault/stepper.hpp"

namespace fault {

struct Plan {
  long instructions = 0;
  bool selected = false;  ///< the operation is too long for every instruction
  std::vector<Point> points;
};

/// Up to this many instructions, all of them are points. Beyond: each system call (before, inside if it sleeps, after),
/// each instruction that changed shared memory, and some random ones.
inline constexpr long kEveryInstruction = 2000;
/// A string copy changes shared memory at each of its steps; more changes than this are sampled evenly.
inline constexpr std::size_t kMostChanges = 600;

/// Steps `victim` through its operation to its end.
Plan make_plan(Victim& victim, const OnSleep& on_sleep, long stride, std::size_t random_points,
               std::mt19937_64& random);

}  // namespace fault
