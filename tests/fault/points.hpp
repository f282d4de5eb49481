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

/// How many points an operation gets. Nobody can tell two instructions apart between which no shared byte changed and no
/// system call was made, while all others sleep; so what is left out of a long operation is not what matters.
struct Density {
  /// Up to this many instructions, all of them are points.
  long every = 600;
  /// Up to this many: each system call (before, inside if it sleeps, after), each instruction that changed shared memory,
  /// and each third one, from a random one on. Beyond: some random ones instead of those.
  long third = 2000;
  /// Above 1: the operation is long and uniform, or swept under another name too; each so-manieth one will do.
  long stride = 1;
  std::size_t random_points = 500;
};
/// A string copy changes shared memory at each of its steps; more changes than this are sampled evenly.
inline constexpr std::size_t kMostChanges = 600;

/// Steps `victim` through its operation to its end.
Plan make_plan(Victim& victim, const OnSleep& on_sleep, const Density& density, std::mt19937_64& random);

}  // namespace fault
