// Meter: how far a map is, for those who look.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "brood/pool_options.hpp"

namespace brood::inline v1::pool {

/// Threads: safe.
class Meter {
 public:
  Meter(Progress progress, std::size_t total);
  ~Meter();
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;
  /// One more item is settled.
  void note(bool is_failure);
  /// There will be no more.
  void end();

 private:
  void show(bool is_last);
  void draw(const ProgressReport& report) const;
  const Progress progress_;
  const std::size_t total_;
  const std::int64_t began_ns_;
  const bool is_terminal_;
  std::atomic<std::size_t> done_ = 0;
  std::atomic<std::size_t> failed_ = 0;
  std::atomic<std::int64_t> next_ns_;
  std::mutex mutex_;  ///< guards what follows
  std::int64_t shown_ns_;
  std::size_t shown_done_ = 0;
  double rate_ = 0;
  bool is_over_ = false;
};

}  // namespace brood::inline v1::pool
