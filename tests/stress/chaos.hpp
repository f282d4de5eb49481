// Chaos: workers in all roles over all objects at once, while a seeded hand kills, stops and restarts them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "stress/ledger.hpp"
#include "stress/roles.hpp"

namespace stress {

struct ChaosPlan {
  std::vector<Role> roles;  ///< one worker each
  double seconds = 0;
  std::uint64_t seed = 0;
  bool stops = true;    ///< also SIGSTOP and SIGCONT
  bool retires = true;  ///< also ends in good order
  /// Called now and then with the tally so far.
  std::function<void(const Tally&)> progress;
};

/// One world, its workers, the chaos; then everybody is brought back, must come on without any further death (a death
/// wakes everybody and would hide a lost wake-up), ends in good order, and the objects and the ledger are judged.
struct RoundResult {
  Tally tally;
  Verdict queue;
  JobVerdict jobs;
};
RoundResult run_round(const ChaosPlan& plan, const Ledger& ledger);

/// The roles of a soak: 21 processes.
std::vector<Role> all_roles();

}  // namespace stress
