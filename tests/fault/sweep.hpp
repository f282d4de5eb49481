// Sweep: kills a victim at one point after the other and counts the verdicts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fault/scene.hpp"

namespace fault {

struct SweepOptions {
  long sample = 1;  ///< every n-th point only
  std::uint64_t seed = 1;
  bool every = false;  ///< every instruction, of operations up to 2000 of them
  bool verbose = false;
};

struct Bad {
  Point point;
  std::string where;  ///< the stopped instruction in words
  std::string what;
  double ms = 0;
};

struct Result {
  std::string name;
  bool control = false;
  long instructions = 0;
  long points = 0;
  double slowest_ms = 0;
  double seconds = 0;
  std::vector<Bad> wrong;
  std::vector<Bad> by_fallback;
};

Result sweep(const Operation& operation, const SweepOptions& options);

}  // namespace fault
