// Figures: how long survivors waited for what a killed process had held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace stress {

struct Percentiles {
  std::size_t count = 0;
  double p50 = 0;
  double p99 = 0;
  double max = 0;
};

inline constexpr int kAllSeries = -1;
/// Of one series of the board's samples or of all. Without `disturbed`, only times in which no process was stopped.
Percentiles percentiles(int series, bool disturbed);
/// "p50 0.42 ms p99 1.90 ms max 3.10 ms"
std::string to_string(const Percentiles& figures);

}  // namespace stress
