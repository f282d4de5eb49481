// One image in shared memory, blurred by several workers, of which each writes its own rows: nobody copies it, nobody waits.
// Whoever only looks opens it read-only.
//
// Output:
// 640 x 480 pixels, 1228800 bytes
// brightest after the blur: 85
// a view keeps it open: true
// closed; the other handle still reads 85
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <span>
#include <vector>

#include "brood/brood.hpp"

constexpr std::size_t kWidth = 640;
constexpr std::size_t kHeight = 480;
using Pixel = std::uint16_t;

/// First the image, then the result of the same size.
void blur(brood::SharedMemory& memory, std::size_t from, std::size_t to) {
  const std::span<const Pixel> image = memory.as<Pixel>(0, kWidth * kHeight);
  const std::span<Pixel> result = memory.as<Pixel>(kWidth * kHeight * sizeof(Pixel), kWidth * kHeight);
  for (std::size_t y = from; y < to; ++y) {
    for (std::size_t x = 1; x + 1 < kWidth; ++x) {
      const std::size_t at = y * kWidth + x;
      result[at] = static_cast<Pixel>((image[at - 1] + image[at] + image[at + 1]) / 3);
    }
  }
}

int main(int argc, char** argv) {
  brood::init(argc, argv);
  brood::SharedMemory memory(2 * kWidth * kHeight * sizeof(Pixel));
  std::cout << kWidth << " x " << kHeight << " pixels, " << memory.size() << " bytes\n";
  memory.as<Pixel>()[kWidth * 100 + 100] = 255;

  std::vector<brood::Process> workers;
  for (std::size_t i = 0; i < 4; ++i)
    workers.emplace_back(blur, memory, i * kHeight / 4, (i + 1) * kHeight / 4).start();
  for (auto& worker : workers) worker.join();

  const auto reader = brood::SharedMemory::open_read_only(memory.handle());
  const std::span<const Pixel> result = reader.as<Pixel>(kWidth * kHeight * sizeof(Pixel));
  std::cout << "brightest after the blur: " << *std::max_element(result.begin(), result.end()) << '\n';

  {
    const auto view = memory.view();
    bool refused = false;
    try {
      memory.close();
    } catch (const brood::UsageError&) {
      refused = true;
    }
    std::cout << "a view keeps it open: " << std::boolalpha << (refused && !memory.is_closed()) << '\n';
  }
  memory.close();
  std::cout << "closed; the other handle still reads " << result[kWidth * 100 + 101] << '\n';
}
