// The tasks of the topic pool, the same for every contender.
#pragma once

#include <chrono>
#include <cstddef>
#include <ctime>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <vector>

namespace bench {

inline int plus_one(int x) { return x + 1; }

/// So many microseconds of the thread's processor time: what else runs on the machine makes no task shorter.
inline int compute(int microseconds) {
  const auto now_us = [] {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<long>(time.tv_sec) * 1'000'000 + time.tv_nsec / 1000;
  };
  const long until = now_us() + microseconds;
  while (now_us() < until) {}
  return microseconds;
}

inline int doze(int microseconds) {
  std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
  return microseconds;
}

[[nodiscard]] inline std::vector<int> numbers(int count) {
  std::vector<int> out(static_cast<std::size_t>(count));
  std::iota(out.begin(), out.end(), 0);
  return out;
}
/// Errors: std::runtime_error if these are not the results of plus_one() of numbers().
inline void check_plus_one(const std::vector<int>& results, int count) {
  if (results.size() != static_cast<std::size_t>(count)) throw std::runtime_error("there are not all results");
  for (int i = 0; i < count; ++i) {
    if (results[static_cast<std::size_t>(i)] != i + 1) throw std::runtime_error("a result is wrong");
  }
}

}  // namespace bench
