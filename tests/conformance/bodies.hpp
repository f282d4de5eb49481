// The fixture of the conformance tests: each runs with its workers in processes of every start method and in threads.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "support/leak_check.hpp"
#include "support/sleepers.hpp"
#include "support/worker.hpp"

namespace conformance {

using namespace std::chrono_literals;
using support::Body;
using support::require;
using support::Worker;

class Bodies : public support::NoLeaks, public ::testing::WithParamInterface<Body> {
 protected:
  [[nodiscard]] Body body() const { return GetParam(); }

  template <class F, class... Args>
  [[nodiscard]] Worker worker(F f, Args&&... args) const {
    return Worker(body(), f, std::forward<Args>(args)...);
  }
  /// The same worker `count` times.
  template <class F, class... Args>
  [[nodiscard]] std::vector<std::unique_ptr<Worker>> workers(std::size_t count, F f, Args&... args) const {
    std::vector<std::unique_ptr<Worker>> made;
    for (std::size_t i = 0; i < count; ++i) made.push_back(std::make_unique<Worker>(body(), f, args...));
    return made;
  }
};

/// How long something took, by the clock that the library promises.
class Stopwatch {
 public:
  [[nodiscard]] std::chrono::nanoseconds elapsed() const { return std::chrono::steady_clock::now() - start_; }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

template <class T>
std::string printed(const T& object) {
  std::ostringstream out;
  out << object;
  return std::move(out).str();
}

#define BROOD_BODIES(Suite)                                                           \
  INSTANTIATE_TEST_SUITE_P(Bodies, Suite, ::testing::ValuesIn(support::all_bodies()), \
                           [](const auto& which) { return support::to_string(which.param); })

}  // namespace conformance
