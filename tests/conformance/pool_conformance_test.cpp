// POL rows, and the tests of Python's Pool.
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <list>
#include <ranges>
#include <set>
#include <sstream>
#include <tuple>

#include "brood/atomic.hpp"
#include "brood/lock.hpp"
#include "brood/relatives.hpp"
#include "conformance/pool_texts.hpp"
#include "support/made.hpp"

namespace {

using namespace conformance;

class PoolConformance : public EveryPool {};
BROOD_METHODS(PoolConformance);
using PoolConformanceOnce = Once;

/// A Pool of this process.
struct DirectPools {
  StartMethod method;
  [[nodiscard]] Pool make(std::int64_t workers, brood::PoolOptions options = {}) const {
    options.process.start_method = method;
    return Pool(workers, std::move(options));
  }
};
#define BROOD_TEXT(Name)              \
  TEST_P(PoolConformance, Name) {     \
    const DirectPools kind{method()}; \
    pool_texts::Name(kind);           \
  }
BROOD_POOL_TEXTS(BROOD_TEXT)

// --- the pool ----------------------------------------------------------------------------------------------------------

TEST_P(PoolConformance, WorkersAreDaemonsAndThereAtOnce) {
  Pool pool = make(3);
  EXPECT_EQ(pool.size(), 3U);
  const auto children = brood::active_children();
  const auto workers = std::ranges::count_if(
      children, [](const auto& child) { return child.daemon && child.name.substr(0, 10) == "PoolWorker"; });
  EXPECT_EQ(workers, 3);
  std::set<std::int64_t> pids;
  for (const auto& worker : pool.insight().workers) pids.insert(worker.pid);
  EXPECT_EQ(pids.size(), 3U);
  const std::set<std::int64_t> seen = [&] {
    const auto all = pool.map(pid_of, numbers(50), {.chunk_size = 1});
    return std::set<std::int64_t>(all.begin(), all.end());
  }();
  EXPECT_TRUE(std::ranges::includes(pids, seen));
}

TEST_F(PoolConformanceOnce, AsManyWorkersAsUsableCpusByDefault) {
  Pool pool;
  EXPECT_EQ(pool.size(), brood::usable_cpu_count());
}

/// In a process of its own: descriptors run out when some workers have been started.
void starts_fail(const std::string& method) {
  brood::PoolOptions options;
  for (const auto one : brood::get_all_start_methods()) {
    if (to_string(one) == method) options.process.start_method = one;
  }
  { SCENARIO_CHECK(Pool(1, options).apply(square, 3) == 9); }
  const auto before = brood::active_children().size();
  rlimit limit{};
  SCENARIO_CHECK(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const rlimit was = limit;
  limit.rlim_cur = 60;
  SCENARIO_CHECK(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  bool refused = false;
  try {
    Pool pool(100, options);
  } catch (const brood::Error&) {
    refused = true;
  }
  SCENARIO_CHECK(refused);
  SCENARIO_CHECK(brood::active_children().size() == before);
  SCENARIO_CHECK(::setrlimit(RLIMIT_NOFILE, &was) == 0);
  SCENARIO_CHECK(Pool(2, options).apply(square, 4) == 16);
}
TEST_P(PoolConformance, AFailedConstructionEndsTheWorkersThatWereStarted) {
  expect_scenario(starts_fail, std::string(to_string(method())));
}

// --- one task -------------------------------------------------------------------------------------------------------

// --- maps -----------------------------------------------------------------------------------------------------------

// --- ends -------------------------------------------------------------------------------------------------------------

TEST_P(PoolConformance, OnlyItsCreatorUsesAPoolAndItDoesNotTravel) {
  static_assert(!brood::Transferable<Pool>);
  static_assert(!std::is_copy_constructible_v<Pool>);
  Pool pool = make(1);
  EXPECT_EQ(pool.apply(square, 2), 4);
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 1;
    try {
      (void)pool.submit(square, 1);
    } catch (const brood::UsageError&) {
      code = 0;
    }
    std::_Exit(code);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(pool.apply(square, 3), 9);
}

TEST_P(PoolConformance, ADestroyedRunningPoolLeavesNothing) {
  std::vector<std::int64_t> pids;
  {
    Pool pool = make(2);
    for (const auto& worker : pool.insight().workers) pids.push_back(worker.pid);
  }
  for (const std::int64_t pid : pids) EXPECT_NE(::kill(static_cast<pid_t>(pid), 0), 0);
}

TEST_P(PoolConformance, ArgumentsAndResultsAreFreedOnceDelivered) {
  const int before = Counted::alive;
  Pool pool = make(1);
  {
    const std::vector<Counted> items(5);
    const std::vector<Counted> results = pool.map(pass_counted, items);
    EXPECT_EQ(Counted::alive, before + 10);
  }
  EXPECT_EQ(Counted::alive, before);
  {
    Future<Counted> future = pool.submit(pass_counted, Counted(3));
    EXPECT_EQ(future.get().value, 3);
    EXPECT_EQ(Counted::alive, before + 1);  // the one in the future
    EXPECT_EQ(std::move(future).get().value, 3);
    EXPECT_EQ(Counted::alive, before);
  }
  const int in_worker = method() == StartMethod::fork ? before : 0;
  EXPECT_EQ(pool.apply(counted_alive), in_worker);
}

// --- lifetime of workers -----------------------------------------------------------------------------------------------

TEST_P(PoolConformance, AStaticPoolNeitherHangsNorFailsAtExit) {
  const Ran ran = run_program(test_program("conformance_cases"), {std::string(to_string(method())), "static-pool"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "main runs\n49\nmain ends\n");
  EXPECT_EQ(ran.err, "");
}

TEST_P(PoolConformance, AChildMayHaveAPoolOfItsOwn) {
  EXPECT_EQ(code_of([] {
              Pool pool(4);
              const bool right = pool.map(square, numbers(10)) == squares(10);
              pool.close();
              pool.join();
              std::exit(right ? 0 : 1);
            }),
            0);
}

/// In a process of its own, with enough descriptors.
void two_hundred(const std::string& method) {
  rlimit files{};
  SCENARIO_CHECK(::getrlimit(RLIMIT_NOFILE, &files) == 0);
  files.rlim_cur = files.rlim_max;
  SCENARIO_CHECK(::setrlimit(RLIMIT_NOFILE, &files) == 0);
  brood::PoolOptions options;
  for (const auto one : brood::get_all_start_methods()) {
    if (to_string(one) == method) options.process.start_method = one;
  }
  Pool pool(200, options);
  SCENARIO_CHECK(pool.map(square, numbers(1000), {.chunk_size = 1}) == squares(1000));
  SCENARIO_CHECK(pool.insight().deaths == 0);
}
TEST_P(PoolConformance, TwoHundredWorkersAreNoMatter) {
  expect_scenario(two_hundred, std::string(to_string(method())));
}

}  // namespace
