// What the tests of the synchronisation types share.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "brood/error.hpp"
#include "support/child.hpp"
#include "support/leak_check.hpp"
#include "support/sleepers.hpp"

namespace ladder {

using namespace std::chrono_literals;
using support::await;
using support::await_sleepers;
using support::Child;
using support::Ending;
using support::Line;

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

/// `call` throws E, and the text has all of these words: the object, what was expected, what was found, the remedy.
template <class E, class Call>
void expect_error(Call call, const std::vector<std::string>& words) {
  try {
    call();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const E& error) {
    const std::string text = error.what();
    for (const auto& word : words)
      EXPECT_NE(text.find(word), std::string::npos) << "'" << word << "' is missing in: " << text;
  }
}

/// In a child: fails it (GoogleTest's assertions are not heard across processes).
inline void require(bool fine, const std::string& what) {
  if (!fine) throw std::runtime_error("required: " + what);
}

/// A child that does `prepare`, says so, and waits to be killed.
template <class Prepare>
Child victim(Prepare prepare) {
  Child child([&](Line& line) {
    prepare();
    line.say('r');
    (void)line.hear();
  });
  child.line.expect('r');
  return child;
}

/// Runs `body(i)` in `count` threads and joins them.
template <class Body>
void in_threads(std::size_t count, Body body) {
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) threads.emplace_back([&body, i] { body(i); });
  for (auto& thread : threads) thread.join();
}

class Ladder : public support::NoLeaks {};

}  // namespace ladder
