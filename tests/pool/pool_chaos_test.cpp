// Random kills amid thousands of tasks; masters that are killed; pools that are left to the end of a program.
#include <algorithm>
#include <atomic>
#include <random>
#include <sstream>

#include "base/unique_fd.hpp"
#include "brood/domain.hpp"
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

TEST_P(PoolChaosEvery, EachTaskHasItsResultOrIsReportedOnce) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  brood::PoolOptions options = by(GetParam());
  options.max_idle_deaths = 10'000;
  Pool pool(3, options);
  Tally tally;
  std::size_t all = 0;
  int kills = 0;
  {
    const Killer killer(pool, seed);
    for (int round = 0; round < 40; ++round) {
      std::vector<int> items(random() % 3000 + 1);
      for (int& item : items) item = static_cast<int>(random() % 1000);
      const auto outcomes = pool.map_outcomes(square, items, {.chunk_size = static_cast<std::int64_t>(random() % 20)});
      for (std::size_t i = 0; i < items.size(); ++i) judge(outcomes[i], items[i] * items[i], tally);
      all += items.size();

      std::vector<std::pair<std::string, int>> texts(random() % 60 + 1);
      for (auto& [text, n] : texts) {
        text = std::string(random() % 40'000, 'x');
        n = static_cast<int>(random() % 40'000);
      }
      auto stream = pool.imap([](const std::pair<std::string, int>& in) { return grow(in.first, in.second); }, texts,
                              {.chunk_size = static_cast<std::int64_t>(random() % 3) + 1});
      for (const auto& [text, n] : texts) {
        const auto outcome = stream.next_outcome();
        ASSERT_TRUE(outcome.has_value());
        judge(*outcome, grow(text, n), tally);
      }
      EXPECT_FALSE(stream.next_outcome().has_value());
      all += texts.size();

      std::vector<brood::Future<int>> futures;
      for (int i = 0; i < 100; ++i) futures.push_back(pool.submit({.retry = {.times = 1000}}, add, i, round));
      for (int i = 0; i < 100; ++i) EXPECT_EQ(futures[static_cast<std::size_t>(i)].get(), i + round);
    }
    kills = killer.kills();
  }
  EXPECT_EQ(tally.right + tally.lost, all);
  EXPECT_EQ(pool.insight().lost, tally.lost);
  EXPECT_LE(tally.lost, static_cast<std::size_t>(kills));  // a kill costs one item at most
  EXPECT_EQ(pool.map(square, {5}), std::vector{25});
  std::printf("%zu items, %d kills, %zu lost, %llu workers died\n", all, kills, tally.lost,
              static_cast<unsigned long long>(pool.insight().deaths));
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
  for (const std::string& method : kMethods) {
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
  for (const std::string& method : kMethods) {
    for (const std::string what : {"static", "leaked", "exit"}) {
      SCOPED_TRACE(method + " " + what);
      const auto ran = process_test::run_program(process_test::test_program("pool_cases"), {method, what});
      EXPECT_EQ(ran.code, what == "exit" ? 3 : 0) << ran.err;
      EXPECT_EQ(ran.out, "49\n");
      EXPECT_EQ(ran.err, "");
    }
  }
}

}  // namespace
