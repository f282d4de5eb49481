// Meter: how far a map is, for those who look.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

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
  /// There will be no more. Where it is shown, `figures` (null: none) are asked for and shown, too.
  using Figures = std::function<PoolInsight()>;
  void end(const Figures& figures);

 private:
  void show(bool is_last, const Figures& figures);
  [[nodiscard]] std::string line_of(const ProgressReport& report) const;
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
