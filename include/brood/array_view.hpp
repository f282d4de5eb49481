// ArrayView: elements that lie in a row, seen as a matrix or a block of more dimensions.            (room: base)
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include "brood/error.hpp"

namespace brood::inline v1 {

/// Elements of somebody else, row by row: `view(i, j)` is the element j of row i. What std::mdspan is in C++23.
///
/// Shape:     a pointer and the extents; the elements stay where they are and must outlive the view.
/// Threads, Processes: as the elements: the view locks nothing.
/// Source:    std::mdspan with layout_right.
template <class T, std::size_t N>
class ArrayView {
  static_assert(N >= 1, "brood: a view has at least one dimension");

 public:
  using element_type = T;
  using Extents = std::array<std::size_t, N>;

  /// Errors: UsageError unless the extents make exactly as many elements as there are.
  ArrayView(std::span<T> elements, const Extents& extents) : data_(elements.data()), extents_(extents) {
    std::size_t wanted = 1;
    bool fits = true;
    for (const std::size_t extent : extents) fits = !__builtin_mul_overflow(wanted, extent, &wanted) && fits;
    if (fits && wanted == elements.size()) return;
    std::string shape;
    for (const std::size_t extent : extents) shape += (shape.empty() ? "" : " x ") + std::to_string(extent);
    throw UsageError("a view of " + shape + " elements cannot be laid over " + std::to_string(elements.size()) +
                     "; the product of the extents must be that number");
  }

  /// Unchecked.
  template <std::integral... I>
  requires(sizeof...(I) == N) [[nodiscard]] T& operator()(I... index) const noexcept {
    return data_[offset({static_cast<std::size_t>(index)...})];
  }
  /// Negative indices count from the end. Errors: UsageError.
  template <std::integral... I>
  requires(sizeof...(I) == N) [[nodiscard]] T& at(I... index) const {
    const std::array<std::int64_t, N> given{static_cast<std::int64_t>(index)...};
    Extents inside{};
    for (std::size_t k = 0; k < N; ++k) inside[k] = checked(k, given[k]);
    return data_[offset(inside)];
  }
  /// Row i: a view with one dimension less. Errors: UsageError.
  [[nodiscard]] ArrayView<T, N - 1> row(std::int64_t index) const requires(N > 1) {
    std::array<std::size_t, N - 1> rest{};
    std::size_t stride = 1;
    for (std::size_t k = 1; k < N; ++k) stride *= rest[k - 1] = extents_[k];
    return {std::span<T>(data_ + checked(0, index) * stride, stride), rest};
  }

  [[nodiscard]] std::size_t extent(std::size_t dimension) const { return extents_.at(dimension); }
  [[nodiscard]] const Extents& extents() const noexcept { return extents_; }
  [[nodiscard]] static constexpr std::size_t rank() noexcept { return N; }
  [[nodiscard]] std::size_t size() const noexcept {
    std::size_t all = 1;
    for (const std::size_t extent : extents_) all *= extent;
    return all;
  }
  /// All elements, in the order in which they lie.
  [[nodiscard]] std::span<T> span() const noexcept { return {data_, size()}; }
  [[nodiscard]] T* begin() const noexcept { return data_; }
  [[nodiscard]] T* end() const noexcept { return data_ + size(); }

 private:
  [[nodiscard]] std::size_t offset(const Extents& index) const noexcept {
    std::size_t at = 0;
    for (std::size_t k = 0; k < N; ++k) at = at * extents_[k] + index[k];
    return at;
  }
  [[nodiscard]] std::size_t checked(std::size_t dimension, std::int64_t given) const {
    const auto extent = static_cast<std::int64_t>(extents_[dimension]);
    const std::int64_t inside = given < 0 ? given + extent : given;
    if (inside >= 0 && inside < extent) return static_cast<std::size_t>(inside);
    throw UsageError("dimension " + std::to_string(dimension) + " of a view has " + std::to_string(extent) +
                     " places, there is none at index " + std::to_string(given));
  }
  T* data_;
  Extents extents_;
};

}  // namespace brood::inline v1
