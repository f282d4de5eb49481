// Priorities, recycling, resizing, figures, progress.
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <mutex>
#include <set>
#include <sstream>

#include "base/unique_fd.hpp"
#include "brood/queue.hpp"
#include "pool/pool_support.hpp"

namespace {

using namespace pool_test;
using brood::WorkerInsight;

class PoolOptionsTest : public Pools {};

int note(brood::Queue<int>& order, int n) {
  order.put(n);
  return n;
}

TEST_F(PoolOptionsTest, HigherPrioritiesGoFirst) {
  Pool pool(1);
  Pipe gate;
  Pipe said;
  brood::Queue<int> order;
  auto inside = pool.submit(gated, 0, said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "inside 0");
  std::vector<brood::Future<int>> all;
  for (const int priority : {0, 5, -3, 5, 0}) {
    const auto n = static_cast<int>(all.size());
    all.push_back(pool.submit({.priority = priority}, note, order, n));
  }
  gate.let_go();
  for (const auto& one : all) one.wait();
  std::vector<int> found;
  while (const auto n = order.try_get()) found.push_back(*n);
  EXPECT_EQ(found, (std::vector{1, 3, 0, 4, 2}));
  EXPECT_EQ(inside.get(), 0);
}

TEST_F(PoolOptionsTest, AWorkerLeavesAfterItsTasks) {
  Pool pool(1, {.tasks_per_child = 3});
  std::vector<std::int64_t> pids;
  for (int i = 0; i < 9; ++i) pids.push_back(pool.apply(own_pid, i));
  for (std::size_t i = 0; i < 9; ++i) EXPECT_EQ(pids[i], pids[i / 3 * 3]) << i;
  EXPECT_EQ((std::set<std::int64_t>(pids.begin(), pids.end())).size(), 3U);
  // A chunk is one task.
  pids = pool.map(own_pid, std::vector(12, 0), {.chunk_size = 2});
  EXPECT_EQ((std::set<std::int64_t>(pids.begin(), pids.end())).size(), 2U);
  EXPECT_EQ(pool.insight().deaths, 0U);
  EXPECT_GE(pool.insight().recycled, 3U);
}

TEST_F(PoolOptionsTest, AWorkerThatHasGrownLeaves) {
  Pool pool(1, {.max_memory_growth = std::size_t{40} << 20});
  const auto grow = [](std::size_t mebibytes) {
    static std::vector<std::vector<char>> kept;
    kept.emplace_back(mebibytes << 20, 'x');
    std::this_thread::sleep_for(2ms);
    return static_cast<std::int64_t>(::getpid());
  };
  const std::int64_t first = pool.apply(grow, 1);
  EXPECT_EQ(pool.apply(grow, 1), first);
  EXPECT_EQ(pool.apply(grow, 80), first);  // its last
  EXPECT_NE(pool.apply(grow, 1), first);
  EXPECT_EQ(pool.insight().recycled, 1U);
}

TEST_F(PoolOptionsTest, GrowsAndShrinksWhileItRuns) {
  Pool pool(1);
  EXPECT_EQ(pool.size(), 1U);
  Pipe gate;
  Pipe said;
  std::vector<brood::Future<int>> inside;
  for (int i = 0; i < 4; ++i) inside.push_back(pool.submit(gated, i, said.writer(), gate.reader()));
  EXPECT_EQ(said.line(), "inside 0");
  pool.resize(4);
  EXPECT_EQ(pool.size(), 4U);
  for (int i = 1; i < 4; ++i) EXPECT_EQ(said.line().substr(0, 6), "inside");
  auto more = pool.map_async(square, std::vector(100, 2), {.chunk_size = 1});
  pool.resize(2);
  gate.let_go(4);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(inside[static_cast<std::size_t>(i)].get(), i);
  EXPECT_EQ(more.get(), std::vector(100, 4));
  wait_until([&] { return pool.insight().workers.size() == 2; });
  EXPECT_EQ(pool.map(square, {3, 4}), (std::vector{9, 16}));
  EXPECT_EQ(pool.insight().deaths, 0U);
  pool.resize(1);
  pool.resize(3);
  pool.close();
  EXPECT_THROW(pool.resize(2), brood::UsageError);
  pool.join();
}

TEST_F(PoolOptionsTest, WhatMakesNoSenseIsRefused) {
  Pool pool(1);
  EXPECT_THROW((void)pool.submit({.hard_limit = -1s}, square, 1), brood::UsageError);
  EXPECT_THROW((void)pool.submit({.soft_limit = -1ns}, square, 1), brood::UsageError);
  EXPECT_THROW((void)pool.map(square, {1}, {.retry = {.times = 1, .backoff = -5ms}}), brood::UsageError);
  EXPECT_THROW((void)pool.imap(square, std::vector{1}, {.hard_limit = -1s}).next(), brood::UsageError);
  EXPECT_EQ(pool.apply(square, 3), 9);
  EXPECT_THROW(Pool(10'000'000'000), brood::UsageError);
}

TEST_F(PoolOptionsTest, InsightCounts) {
  Pool pool(2);
  const auto nap = [](int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    if (ms == 3) throw std::runtime_error("three");
    return ms;
  };
  (void)pool.map_outcomes(nap, std::vector{1, 2, 3, 1, 2}, {.chunk_size = 1});
  const brood::PoolInsight seen = pool.insight();
  EXPECT_EQ(seen.finished, 5U);
  EXPECT_EQ(seen.failed, 1U);
  EXPECT_EQ(seen.queued, 0U);
  ASSERT_EQ(seen.workers.size(), 2U);
  std::uint64_t tasks = 0;
  std::chrono::nanoseconds busy{0};
  for (const WorkerInsight& one : seen.workers) {
    tasks += one.tasks;
    busy += one.busy;
    if (one.tasks == 0) continue;
    EXPECT_GE(one.p99, one.p50);
    EXPECT_GE(one.p99, 900us);
  }
  EXPECT_EQ(tasks, 5U);
  EXPECT_GE(busy, 9ms);
  const std::string text = (std::ostringstream() << seen).str();
  EXPECT_NE(text.find("5 done in"), std::string::npos) << text;
  EXPECT_NE(text.find("1 failed"), std::string::npos) << text;
}

TEST_F(PoolOptionsTest, NumbersAndAttemptsAreKnownToTasks) {
  Pool pool(1);
  const auto number = [](int) { return brood::this_task().number(); };
  EXPECT_EQ(pool.map(number, std::vector(5, 0), {.chunk_size = 2}), (std::vector<std::uint64_t>{0, 1, 2, 3, 4}));
  const auto first = pool.apply(number, 0);
  EXPECT_EQ(pool.apply(number, 0), first + 1);
  const auto third = [](int) {
    if (brood::this_task().attempt() < 3) throw std::runtime_error("again");
    return brood::this_task().attempt() * 10 + brood::this_task().worker();
  };
  EXPECT_EQ(pool.apply({.retry = {.times = 5, .on = brood::RetryOn::exception}}, third, 0), 31U);
}

TEST_F(PoolOptionsTest, ProgressIsTold) {
  Pool pool(2);
  std::mutex mutex;
  std::vector<brood::ProgressReport> told;
  const auto nap = [](int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    if (ms == 7) throw std::runtime_error("seven");
    return ms;
  };
  std::vector<int> items(60, 10);
  items[5] = 7;
  (void)pool.map_outcomes(nap, items,
                          {.chunk_size = 1,
                           .progress = {[&](const brood::ProgressReport& report) {
                                          const std::lock_guard lock(mutex);
                                          told.push_back(report);
                                        },
                                        "naps"}});
  const std::lock_guard lock(mutex);
  ASSERT_GE(told.size(), 2U);
  for (std::size_t i = 1; i < told.size(); ++i) EXPECT_GE(told[i].done, told[i - 1].done);
  EXPECT_TRUE(told.back().is_last);
  EXPECT_EQ(told.back().title, "naps");
  EXPECT_EQ(told.back().done, 60U);
  EXPECT_EQ(told.back().total, 60U);
  EXPECT_EQ(told.back().failed, 1U);
  EXPECT_GT(told.back().rate, 0);
  EXPECT_FALSE(told.front().is_last);
}

TEST_F(PoolOptionsTest, AProgressCallbackThatThrowsHarmsNothing) {
  Pool pool(1);
  testing::internal::CaptureStderr();
  EXPECT_EQ(pool.map(square, {1, 2},
                     {.progress = [](const brood::ProgressReport&) { throw std::runtime_error("not today"); }}),
            (std::vector{1, 4}));
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("not today"), std::string::npos) << said;
}

TEST_F(PoolOptionsTest, WhereThereIsNoTerminalProgressIsLines) {
  Pool pool(1);
  testing::internal::CaptureStderr();
  (void)pool.map(square, {1, 2}, {.progress = {true, "squares"}});
  pool.close();
  pool.join();
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(said.substr(0, 18), "squares: 100% 2/2,") << said;
  // That line, a head, the worker, the sum.
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 4) << said;
  EXPECT_NE(said.find("  worker       pid     tasks            busy     waiting         p50         p99\n"),
            std::string::npos)
      << said;
  EXPECT_NE(said.find("\n  1 worker, "), std::string::npos) << said;
  EXPECT_NE(said.find("% busy; 2 tasks\n"), std::string::npos) << said;
  EXPECT_EQ(said.find('\r'), std::string::npos);
}

TEST_F(PoolOptionsTest, TheFiguresOfManyWorkersAreShort) {
  Pool pool(10);
  const auto fail_or_die = [](int n) {
    if (n == 1) throw std::runtime_error("one");
    if (n == 2) die(Death::kill);
  };
  testing::internal::CaptureStderr();
  (void)pool.map_outcomes(fail_or_die, std::vector{0, 1, 2, 3}, {.progress = true});
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("100% 4/4, 2 failed"), std::string::npos) << said;
  EXPECT_NE(said.find("% busy; 4 tasks, 2 failed, 1 lost; 1 worker died\n"), std::string::npos) << said;
  // Of ten workers, or of nine if the dead one was not replaced yet.
  EXPECT_TRUE(said.find("     and 2 more\n") != std::string::npos ||
              said.find("     and 1 more\n") != std::string::npos)
      << said;
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 12) << said;
}

TEST_F(PoolOptionsTest, OnATerminalProgressIsABar) {
  brood::base::UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(static_cast<bool>(master));
  ASSERT_EQ(::grantpt(master.get()) | ::unlockpt(master.get()), 0);
  std::array<char, 128> name{};
  ASSERT_EQ(::ptsname_r(master.get(), name.data(), name.size()), 0);
  const brood::base::UniqueFd terminal(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  const brood::base::UniqueFd saved(::fcntl(2, F_DUPFD_CLOEXEC, 10));
  {
    Pool pool(1);
    ASSERT_EQ(::dup2(terminal.get(), 2), 2);
    (void)pool.map(square, {1, 2}, {.progress = true});
    pool.close();
    pool.join();
    ASSERT_EQ(::dup2(saved.get(), 2), 2);
  }
  // A terminal hands out what was written in pieces.
  std::string text;
  while (text.find("2 tasks") == std::string::npos) {
    std::array<char, 1024> said{};
    const ssize_t size = ::read(master.get(), said.data(), said.size());
    ASSERT_GT(size, 0) << text;
    text.append(said.data(), static_cast<std::size_t>(size));
  }
  EXPECT_EQ(text[0], '\r');
  EXPECT_NE(text.find("100% [####"), std::string::npos) << text;
  EXPECT_NE(text.find("2/2"), std::string::npos) << text;
  EXPECT_NE(text.find("\033[K\r\n  worker       pid "), std::string::npos) << text;
  EXPECT_NE(text.find("\r\n  1 worker, "), std::string::npos) << text;
}

}  // namespace
