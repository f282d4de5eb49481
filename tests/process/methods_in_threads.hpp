// The start methods for tests in which threads other than the first start processes, as the keeper of a Pool does.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "process/process_support.hpp"
#include "support/tsan.hpp"

#if SUPPORT_TSAN
// The thread sanitizer's runtime takes the first thread of a forked child for one of the parent's ("dup thread with used id").
#define INSTANTIATE_FOR_EVERY_METHOD_IN_THREADS(suite)                                                   \
  INSTANTIATE_TEST_SUITE_P(Methods, suite,                                                               \
                           ::testing::Values(brood::StartMethod::spawn, brood::StartMethod::forkserver), \
                           process_test::method_name)
inline const std::vector<std::string> kMethodsInThreads{"spawn", "forkserver"};
#else
#define INSTANTIATE_FOR_EVERY_METHOD_IN_THREADS(suite) INSTANTIATE_FOR_EVERY_METHOD(suite)
inline const std::vector<std::string> kMethodsInThreads{"fork", "spawn", "forkserver"};
#endif
