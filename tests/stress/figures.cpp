#include "stress/figures.hpp"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "stress/board.hpp"

namespace stress {

Percentiles percentiles(int series, bool disturbed) {
  std::vector<float> times;
  const std::size_t count = std::min<std::size_t>(board().samples.load(), kSamples);
  for (std::size_t i = 0; i < count; ++i) {
    const Sample& sample = board().sample[i];
    if ((series == kAllSeries || sample.series == series) && (disturbed || sample.disturbed == 0))
      times.push_back(sample.ms);
  }
  if (times.empty()) return {};
  std::sort(times.begin(), times.end());
  const auto at = [&](double share) {
    const auto i = static_cast<std::size_t>(share * static_cast<double>(times.size()));
    return static_cast<double>(times[std::min(i, times.size() - 1)]);
  };
  constexpr double kMiddle = 0.50;
  constexpr double kTail = 0.99;
  return {times.size(), at(kMiddle), at(kTail), static_cast<double>(times.back())};
}

std::string to_string(const Percentiles& figures) {
  char text[96];
  std::snprintf(text, sizeof text, "p50 %.2f ms p99 %.2f ms max %.2f ms", figures.p50, figures.p99, figures.max);
  return text;
}

}  // namespace stress
