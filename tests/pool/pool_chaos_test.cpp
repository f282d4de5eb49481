// Random kills amid thousands of tasks; masters that are killed; pools that are left to the end of a program.
#include <algorithm>
#include <array>
#include <atomic>
#include <random>
#include <sstream>
#include <tuple>
#include <utility>

#include "base/unique_fd.hpp"
#include "brood/domain.hpp"
#include "brood/shared_memory.hpp"
#include "os/process_identity.hpp"
#include "os/reap.hpp"
#include "pool/pool_support.hpp"
#include "support/inspect.hpp"

namespace {

using namespace pool_test;

class PoolChaos : public Pools {};
class PoolChaosEvery : public EveryPool {};

std::string grow(const std::string& text, int n) { return text + std::string(static_cast<std::size_t>(n), 'y'); }

/// Kills, and stops and continues, workers at random until it is told to end.
class Killer {
 public:
  Killer(Pool& pool, unsigned seed) : thread_([this, &pool, seed] { run(pool, seed); }) {}
  ~Killer() {
    over_ = true;
    thread_.join();
  }
  [[nodiscard]] int kills() const { return kills_; }

 private:
  void run(Pool& pool, unsigned seed) {
    std::mt19937 random(seed);
    while (!over_) {
      const brood::PoolInsight seen = pool.insight();
      // Those that start are killed, too, but seldom: somebody has to come through, however slow the machine is.
      const auto& workers = seen.workers;
      const std::size_t which = workers.empty() ? 0 : random() % workers.size();
      if (!workers.empty() && (workers[which].state != brood::WorkerInsight::State::starting || random() % 10 == 0)) {
        const auto pid = static_cast<pid_t>(workers[which].pid);
        if (random() % 4 == 0) {
          ::kill(pid, SIGSTOP);
          std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
          ::kill(pid, SIGCONT);
        }
        ::kill(pid, SIGKILL);
        ++kills_;
        // The next one once something was done, as a rule.
        for (int looks = 0; looks < 100 && !over_ && pool.insight().finished == seen.finished; ++looks)
          std::this_thread::sleep_for(1ms);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 4000));
    }
  }
  std::atomic<bool> over_ = false;
  std::atomic<int> kills_ = 0;
  std::thread thread_;
};

struct Tally {
  std::size_t right = 0;
  std::size_t lost = 0;
};
template <class T, class Expected>
void judge(const brood::Outcome<T>& outcome, const Expected& expected, Tally& tally) {
  try {
    EXPECT_EQ(outcome.value(), expected);
    ++tally.right;
  } catch (const brood::WorkerDied&) {
    ++tally.lost;
  }
}

/// How often each task was begun, and gave what. Lies in memory that the master and all workers, old and new ones, share.
constexpr std::size_t kMostTasks = 4096;
using Begun = std::array<std::atomic<std::uint32_t>, kMostTasks>;
/// A worker's state.
struct Witness {
  brood::SharedMemory& memory;
  [[nodiscard]] Begun& begun() const { return *reinterpret_cast<Begun*>(memory.bytes().data()); }
};
Witness witness(brood::SharedMemory& memory) { return {memory}; }

int witnessed_square(Witness& seen, const std::pair<std::size_t, int>& task) {
  ++seen.begun().at(task.first);
  return task.second * task.second;
}
std::string witnessed_grow(Witness& seen, const std::tuple<std::size_t, std::string, int>& task) {
  ++seen.begun().at(std::get<0>(task));
  return grow(std::get<1>(task), std::get<2>(task));
}

/// Seconds for each start method: BROOD_POOL_CHAOS_SECONDS (./dev soak pool SECONDS). Without it, a number of rounds.
class HowLong {
 public:
  [[nodiscard]] bool goes_on(int round) const {
    return seconds_ == 0 ? round < kRounds : std::chrono::steady_clock::now() - begun_ < std::chrono::seconds(seconds_);
  }

 private:
  static constexpr int kRounds = 40;
  static int wanted() {
    const char* const text = std::getenv("BROOD_POOL_CHAOS_SECONDS");
    return text == nullptr ? 0 : std::atoi(text);
  }
  const int seconds_ = wanted();
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

TEST_P(PoolChaosEvery, EachTaskHasItsResultOrIsReportedOnce) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  brood::SharedMemory memory(sizeof(Begun));
  Begun& begun = Witness{memory}.begun();
  brood::PoolOptions options = by(GetParam());
  options.initializer = {witness, memory};
  options.max_idle_deaths = 10'000;
  Pool pool(3, options);
  Tally tally;
  std::size_t all = 0;
  std::size_t retried = 0;
  // What had no second attempt was begun once if it has a result, and at most once if it was lost.
  const auto judge_once = [&](std::size_t task, const auto& outcome, const auto& expected) {
    judge(outcome, expected, tally);
    const std::uint32_t times = begun.at(task).exchange(0);
    if (outcome.has_value()) EXPECT_EQ(times, 1U) << "task " << task << " has a result";
    else EXPECT_LE(times, 1U) << "task " << task << " was lost";
  };
  int kills = 0;
  {
    const HowLong how_long;
    const Killer killer(pool, seed);
    for (int round = 0; how_long.goes_on(round) && !HasFailure(); ++round) {
      std::vector<std::pair<std::size_t, int>> items(random() % 3000 + 1);
      for (std::size_t i = 0; i < items.size(); ++i) items[i] = {i, static_cast<int>(random() % 1000)};
      const auto outcomes =
          pool.map_outcomes(witnessed_square, items, {.chunk_size = static_cast<std::int64_t>(random() % 20)});
      for (std::size_t i = 0; i < items.size(); ++i) judge_once(i, outcomes[i], items[i].second * items[i].second);
      all += items.size();

      std::vector<std::tuple<std::size_t, std::string, int>> texts(random() % 60 + 1);
      for (std::size_t i = 0; i < texts.size(); ++i)
        texts[i] = {i, std::string(random() % 40'000, 'x'), static_cast<int>(random() % 40'000)};
      auto stream = pool.imap(witnessed_grow, texts, {.chunk_size = static_cast<std::int64_t>(random() % 3) + 1});
      for (const auto& [task, text, n] : texts) {
        const auto outcome = stream.next_outcome();
        ASSERT_TRUE(outcome.has_value());
        judge_once(task, *outcome, grow(text, n));
      }
      EXPECT_FALSE(stream.next_outcome().has_value());
      all += texts.size();

      // Those that are tried again: at least once, and all together not more often than the pool says that it did.
      std::vector<brood::Future<int>> futures;
      const std::uint64_t before = pool.insight().retried;
      for (int i = 0; i < 100; ++i)
        futures.push_back(
            pool.submit({.retry = {.times = 1000}}, witnessed_square, std::pair(std::size_t(i), round + i)));
      std::uint32_t begun_again = 0;
      for (int i = 0; i < 100; ++i) {
        EXPECT_EQ(futures[static_cast<std::size_t>(i)].get(), (round + i) * (round + i));
        const std::uint32_t times = begun.at(static_cast<std::size_t>(i)).exchange(0);
        EXPECT_GE(times, 1U);
        begun_again += times - 1;
      }
      EXPECT_LE(begun_again, pool.insight().retried - before);
      retried += futures.size();
    }
    kills = killer.kills();
  }
  EXPECT_EQ(tally.right + tally.lost, all);
  EXPECT_EQ(pool.insight().lost, tally.lost);
  EXPECT_LE(tally.lost, static_cast<std::size_t>(kills));  // a kill costs one item at most
  EXPECT_EQ(pool.map(square, {5}), std::vector{25});
  std::printf("%zu tasks done once, %zu with retries, %d kills, %llu workers died, %zu tasks lost\n", all, retried,
              kills, static_cast<unsigned long long>(pool.insight().deaths), tally.lost);
}

#if SUPPORT_SANITIZED
// A sanitizer's allocator may hang in a child that is forked while other threads allocate, which the killer does.
INSTANTIATE_TEST_SUITE_P(Methods, PoolChaosEvery, ::testing::Values(StartMethod::spawn, StartMethod::forkserver),
                         process_test::method_name);
#else
INSTANTIATE_FOR_EVERY_METHOD(PoolChaosEvery);
#endif

TEST_F(PoolChaos, TheEndMayComeAtAnyMoment) {
  const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 25; ++round) {
    brood::PoolOptions options;
    options.max_idle_deaths = 10'000;
    std::vector<brood::Future<std::vector<int>>> open;
    Pool pool(2, options);
    {
      const Killer killer(pool, seed + static_cast<unsigned>(round));
      for (int i = 0; i < 5; ++i) open.push_back(pool.map_async(square, std::vector(2000, 3), {.chunk_size = 1}));
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 5000));
      if (round % 2 == 0) pool.terminate();
      else pool.close();
      pool.join();
    }
    for (const auto& one : open) EXPECT_TRUE(one.done());
  }
}

/// A program with a Pool, which is killed or ends in its own way.
TEST_F(PoolChaos, WhenTheMasterIsKilledNothingIsLeft) {
  for (const std::string& method : kMethodsInThreads) {
    for (const std::string state : {"idle", "busy", "initializing", "streaming"}) {
      SCOPED_TRACE(method + " " + state);
      const auto ran = process_test::run_program(process_test::test_program("pool_cases"), {method, "killed", state});
      EXPECT_EQ(ran.code, -SIGKILL);
      // Its workers said who they are.
      std::istringstream said(ran.out);
      std::size_t workers = 0;
      for (pid_t pid = 0; said >> pid; ++workers) {
        // A zombie has ended; who reaps it is not our business.
        const brood::base::UniqueFd worker(brood::os::pidfd_open(pid));
        ASSERT_TRUE(!worker || brood::os::wait_ended(worker.get(), brood::Deadline::never()));
      }
      EXPECT_GE(workers, 2U);
    }
  }
}

TEST_F(PoolChaos, AProgramMayLeaveItsPoolsToTheEnd) {
  for (const std::string& method : kMethodsInThreads) {
    for (const std::string what : {"static", "leaked", "exit", "in action", "exit in action"}) {
      SCOPED_TRACE(method + " " + what);
      const auto ran = process_test::run_program(process_test::test_program("pool_cases"), {method, what});
      EXPECT_EQ(ran.code, what.starts_with("exit") ? 3 : 0) << ran.err;
      EXPECT_EQ(ran.out, "49\n");
      EXPECT_EQ(ran.err, "");
    }
  }
}

}  // namespace
