// Victims: directed killings of running processes, one after the other — each way to die, behind each door.
#pragma once

#include <cstdint>

#include "stress/board.hpp"

namespace stress {

/// Goes through all ways and doors in random order, again and again, for that long; prints one row for each way.
/// Includes the negative control: a door that does not wait for the proof of death must be caught.
Tally kill_victims(double seconds, std::uint64_t seed);

}  // namespace stress
