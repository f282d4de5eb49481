#include "os/thrown_from.hpp"

#include <gtest/gtest.h>
#include <pthread.h>

#include <stdexcept>
#include <string>
#include <thread>

using brood::os::call_and_note_throw;
using brood::os::ThrownFrom;

// Not in an unnamed namespace: short names in the report.
[[gnu::noinline]] void throw_far_down(int depth) {  // NOLINT(misc-no-recursion)
  volatile int left = depth;
  if (left == 0) throw std::out_of_range("far down");
  throw_far_down(left - 1);
  left = 0;
}

namespace {

/// The report of what f throws, or "nothing".
template <class F>
std::string report_of(F f, ThrownFrom& from) {
  try {
    call_and_note_throw([](void* body) { (*static_cast<F*>(body))(); }, &f, from);
  } catch (...) {
    return describe(from, "");
  }
  return "nothing";
}

std::size_t lines_with(const std::string& text, const std::string& word) {
  std::size_t found = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++found;
  return found;
}

}  // namespace

TEST(ThrownFrom, NamesTheActiveFunctions) {
  ThrownFrom from;
  const std::string report = report_of([] { throw_far_down(3); }, from);
  EXPECT_TRUE(report.starts_with("#0 throw_far_down(int)")) << report;
  EXPECT_EQ(lines_with(report, "throw_far_down(int)"), 4U) << report;
  EXPECT_EQ(lines_with(report, "testing::"), 0U) << "what lies below the call does not count:\n" << report;
}

TEST(ThrownFrom, OfADeepStackTheInnermost) {
  ThrownFrom from;
  const std::string report = report_of([] { throw_far_down(1000); }, from);
  EXPECT_TRUE(from.is_cut);
  EXPECT_GT(lines_with(report, "throw_far_down(int)"), ThrownFrom::kMost / 2) << report;
  EXPECT_TRUE(report.ends_with("…\n")) << report;
}

TEST(ThrownFrom, WhatIsCaughtInsideIsNotNoted) {
  ThrownFrom from;
  const auto body = [] {
    try {
      throw_far_down(2);
    } catch (const std::out_of_range&) {
      return;
    }
  };
  EXPECT_EQ(report_of(body, from), "nothing");
  EXPECT_EQ(from.count, 0U);
}

TEST(ThrownFrom, TheExceptionItselfArrivesUnchanged) {
  ThrownFrom from;
  try {
    call_and_note_throw([](void*) { throw_far_down(0); }, nullptr, from);
    FAIL() << "nothing was thrown";
  } catch (const std::out_of_range& error) {
    EXPECT_STREQ(error.what(), "far down");
  }
  EXPECT_GT(from.count, 0U);
}

TEST(ThrownFrom, NestedAndInThreads) {
  std::string inner_report;
  std::string outer_report;
  std::thread([&] {
    ThrownFrom outer;
    outer_report = report_of(
        [&] {
          ThrownFrom inner;
          inner_report = report_of([] { throw_far_down(1); }, inner);
          throw_far_down(0);
        },
        outer);
  }).join();
  EXPECT_EQ(lines_with(inner_report, "throw_far_down(int)"), 2U) << inner_report;
  EXPECT_EQ(lines_with(outer_report, "throw_far_down(int)"), 1U) << outer_report;
}

TEST(ThrownFrom, AThreadMayEndInside) {
  pthread_t thread{};
  ASSERT_EQ(::pthread_create(
                &thread, nullptr,
                [](void*) -> void* {
                  ThrownFrom from;
                  call_and_note_throw([](void*) { ::pthread_exit(nullptr); }, nullptr, from);
                  return nullptr;
                },
                nullptr),
            0);
  EXPECT_EQ(::pthread_join(thread, nullptr), 0);
}
