// An image in shared memory, and a matrix: tasks get the memory itself, not a copy, and a few numbers that say which part is
// theirs. What comes back is small.
//
// Output:
// 1024 x 768 pixels, 4 bands
// blurred by workers as by this process: true
// no pixel travelled: true
// the product of two matrices is right: true
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <vector>

#include "brood/brood.hpp"

constexpr std::size_t kWidth = 1024;
constexpr std::size_t kHeight = 768;
constexpr std::size_t kBands = 4;

/// The mean of the neighbourhood of 3 × 3, clipped at the border, for the rows [first, last).
void blur_rows(const std::uint8_t* from, std::uint8_t* to, std::size_t first, std::size_t last) {
  for (std::size_t y = first; y < last; ++y) {
    for (std::size_t x = 0; x < kWidth; ++x) {
      unsigned sum = 0;
      unsigned count = 0;
      for (std::size_t v = y == 0 ? 0 : y - 1; v <= y + 1 && v < kHeight; ++v) {
        for (std::size_t u = x == 0 ? 0 : x - 1; u <= x + 1 && u < kWidth; ++u, ++count) sum += from[v * kWidth + u];
      }
      to[y * kWidth + x] = static_cast<std::uint8_t>(sum / count);
    }
  }
}

/// A task: the worker maps both images when it meets them first. Returns how many pixels it wrote.
std::size_t blur_band(brood::SharedMemory& from, brood::SharedMemory& to, std::size_t band) {
  const std::size_t first = band * kHeight / kBands;
  const std::size_t last = (band + 1) * kHeight / kBands;
  blur_rows(from.as<std::uint8_t>().data(), to.as<std::uint8_t>().data(), first, last);
  return (last - first) * kWidth;
}

/// A row of c = a · b, all n × n.
void multiply_row(brood::RawArray<double>& a, brood::RawArray<double>& b, brood::RawArray<double>& c, std::size_t n,
                  std::size_t row) {
  const auto left = a.view(n, n);
  const auto right = b.view(n, n);
  auto out = c.view(n, n);
  for (std::size_t column = 0; column < n; ++column) {
    double sum = 0;
    for (std::size_t k = 0; k < n; ++k) sum += left(row, k) * right(k, column);
    out(row, column) = sum;
  }
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::Pool pool(2);

  brood::SharedMemory from(kWidth * kHeight);
  brood::SharedMemory to(kWidth * kHeight);
  const auto pixels = from.as<std::uint8_t>();
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(i * 2654435761U >> 13);

  std::vector<brood::Future<std::size_t>> bands;
  for (std::size_t band = 0; band < kBands; ++band) bands.push_back(pool.submit(blur_band, from, to, band));
  std::size_t written = 0;
  for (auto& band : bands) written += band.get();
  std::cout << kWidth << " x " << kHeight << " pixels, " << bands.size() << " bands\n";

  std::vector<std::uint8_t> alone(kWidth * kHeight);
  blur_rows(pixels.data(), alone.data(), 0, kHeight);
  const auto blurred = to.as<std::uint8_t>();
  std::cout << "blurred by workers as by this process: "
            << (std::equal(alone.begin(), alone.end(), blurred.begin()) ? "true" : "false") << '\n';
  std::cout << "no pixel travelled: " << (written == alone.size() ? "true" : "false") << '\n';

  constexpr std::size_t kOrder = 64;
  brood::RawArray<double> a(kOrder * kOrder);
  brood::RawArray<double> b(kOrder * kOrder);
  brood::RawArray<double> c(kOrder * kOrder);
  for (std::size_t i = 0; i < kOrder; ++i) {
    for (std::size_t k = 0; k < kOrder; ++k) {
      a.view(kOrder, kOrder)(i, k) = static_cast<double>(i + k);
      b.view(kOrder, kOrder)(i, k) = i == k ? 2 : 0;  // twice the identity
    }
  }
  std::vector<brood::Future<void>> rows;
  for (std::size_t row = 0; row < kOrder; ++row) rows.push_back(pool.submit(multiply_row, a, b, c, kOrder, row));
  for (auto& row : rows) row.get();
  bool is_right = true;
  for (std::size_t i = 0; i < kOrder; ++i) {
    for (std::size_t k = 0; k < kOrder; ++k)
      is_right = is_right && c.view(kOrder, kOrder)(i, k) == 2 * static_cast<double>(i + k);
  }
  std::cout << "the product of two matrices is right: " << (is_right ? "true" : "false") << '\n';
}
