// Histogram: how long things took, to within a tenth, in memory of fixed size.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace brood::inline v1::pool {

/// Buckets of eight to each doubling, as in HdrHistogram.
class Histogram {
 public:
  void add(std::int64_t ns) noexcept {
    ++counts_[bucket_of(ns)];
    ++all_;
  }
  /// `share` of 1 of all were no longer than this; 0 if there are none.
  [[nodiscard]] std::int64_t quantile(double share) const noexcept {
    if (all_ == 0) return 0;
    auto left = static_cast<std::uint64_t>(share * static_cast<double>(all_ - 1)) + 1;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      if (counts_[i] >= left) return middle_of(i);
      left -= counts_[i];
    }
    return middle_of(kBuckets - 1);
  }

 private:
  static constexpr unsigned kBits = 3;
  static constexpr std::size_t kBuckets = 45U << kBits;  // up to nine hours
  [[nodiscard]] static std::size_t bucket_of(std::int64_t ns) noexcept {
    const std::uint64_t value = ns > 0 ? static_cast<std::uint64_t>(ns) : 0;
    if (value < (1U << kBits)) return value;
    const unsigned exponent = static_cast<unsigned>(std::bit_width(value)) - 1 - kBits;
    const std::size_t bucket = (std::size_t{exponent} + 1) << kBits | ((value >> exponent) & ((1U << kBits) - 1));
    return bucket < kBuckets ? bucket : kBuckets - 1;
  }
  [[nodiscard]] static std::int64_t middle_of(std::size_t bucket) noexcept {
    if (bucket < (1U << kBits)) return static_cast<std::int64_t>(bucket);
    const unsigned exponent = static_cast<unsigned>(bucket >> kBits) - 1;
    const std::uint64_t low = ((bucket & ((1U << kBits) - 1)) | (1U << kBits)) << exponent;
    return static_cast<std::int64_t>(low + ((std::uint64_t{1} << exponent) >> 1));
  }
  std::array<std::uint64_t, kBuckets> counts_{};
  std::uint64_t all_ = 0;
};

}  // namespace brood::inline v1::pool
