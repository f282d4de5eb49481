#include "channel.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>

namespace bench {

std::string to_arguments(const Workload& w) {
  std::string out;
  for (const std::size_t number : {static_cast<std::size_t>(w.shape), w.size_bytes,
                                   static_cast<std::size_t>(w.producers), static_cast<std::size_t>(w.consumers),
                                   static_cast<std::size_t>(w.milliseconds), static_cast<std::size_t>(w.in_place)})
    out += (out.empty() ? "" : " ") + std::to_string(number);
  return out;
}

Workload from_arguments(int argc, char** argv) {
  const auto number = [&](int at, long least, long most) {
    char* end = nullptr;
    const long value = at < argc ? std::strtol(argv[at], &end, 10) : -1;
    if (value < least || value > most || *end != '\0')
      throw std::invalid_argument("usage: SHAPE BYTES PRODUCERS CONSUMERS MILLISECONDS IN_PLACE, all of them numbers");
    return value;
  };
  return {.shape = static_cast<Shape>(number(1, 0, 2)),
          .size_bytes = static_cast<std::size_t>(number(2, 8, 1 << 30)),
          .producers = static_cast<int>(number(3, 1, 64)),
          .consumers = static_cast<int>(number(4, 1, 64)),
          .milliseconds = static_cast<int>(number(5, 1, 60'000)),
          .in_place = number(6, 0, 1) == 1};
}

int run_as_program(const Cell& cell) {
  try {
    for (const double sample : cell()) std::printf("%.9g\n", sample);
    return std::fflush(stdout) == 0 ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "brood_bench: %s\n", error.what());
    return 1;
  }
}

}  // namespace bench
