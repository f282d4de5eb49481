// Workers that die, in every state of a task and in every way: one item pays, the others have their results.
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <numeric>
#include <optional>

#include "brood/atomic.hpp"
#include "brood/value.hpp"
#include "pool/pool_support.hpp"

namespace {

using namespace pool_test;
using brood::RetryOn;

/// Dies in the codec of its type, at the place that it was told, and only in a worker.
struct Mortal {
  enum class At { nowhere, decode, call, encode };
  At at = At::nowhere;
  Death how = Death::kill;
  std::int64_t master = 0;
  template <class Archive>
  void serialize(Archive& ar) {
    ar(at, how, master);
    if (::getpid() == master) return;
    if (at == (Archive::is_loading::value ? At::decode : At::encode)) die(how);
  }
};
Mortal pass_on(Mortal in) {
  if (in.at == Mortal::At::call) die(in.how);
  return in;
}
Mortal mortal(Mortal::At at, Death how) { return {at, how, ::getpid()}; }

int die_if_seven(int x) {
  if (x == 7) die(Death::kill);
  return x;
}
/// Dies as often as the counter says, then has a result.
int die_first(brood::Atomic<int>& left, int result) {
  if (left.fetch_sub(1) > 0) die(Death::kill);
  return result;
}
int throw_first(brood::Atomic<int>& left, int result) {
  if (left.fetch_sub(1) > 0) throw std::runtime_error("not yet");
  return result;
}
[[noreturn]] int stop_oneself(int /*x*/) {
  for (;;) ::raise(SIGSTOP);
}
[[noreturn]] int sleep_for_ever(int /*x*/) {
  for (;;) ::pause();
}
int ends_its_thread(int x) {
  if (x == 0) ::pthread_exit(nullptr);
  return x;
}

class PoolCrash : public Pools {};

constexpr std::array kDeaths = {Death::kill, Death::exit_at_once, Death::exit, Death::segfault, Death::abort};

TEST_F(PoolCrash, EachPlaceAndEachWay) {
  Pool pool(2);
  for (const Mortal::At at : {Mortal::At::decode, Mortal::At::call, Mortal::At::encode}) {
    for (const Death how : kDeaths) {
      SCOPED_TRACE(std::to_string(static_cast<int>(at)) + " " + std::to_string(static_cast<int>(how)));
      std::vector<Mortal> items(9, mortal(Mortal::At::nowhere, how));
      items[4] = mortal(at, how);
      for (const std::int64_t chunk : {1, 9}) {
        auto outcomes = pool.map_outcomes(pass_on, items, {.chunk_size = chunk});
        for (std::size_t i = 0; i < items.size(); ++i) {
          if (i != 4) {
            EXPECT_TRUE(outcomes[i].has_value()) << i;
            continue;
          }
          try {
            (void)outcomes[i].value();
            ADD_FAILURE();
          } catch (const brood::WorkerDied& died) {
            EXPECT_EQ(died.exitcode(), code_of(how));
            EXPECT_EQ(died.signal(), std::max(-code_of(how), 0));
            EXPECT_EQ(died.task(), 4U);
            EXPECT_EQ(died.attempts(), 1U);
            EXPECT_NE(died.pid(), 0);
          }
        }
      }
    }
  }
  EXPECT_EQ(pool.insight().deaths, 3 * kDeaths.size() * 2);
  EXPECT_EQ(pool.insight().lost, 3 * kDeaths.size() * 2);
}

#if !SUPPORT_SANITIZED  // sanitizers forbid cores
TEST_F(PoolCrash, ACoreIsTold) {
  const std::filesystem::path directory =
      std::filesystem::temp_directory_path() / ("brood-core-" + std::to_string(::getpid()));
  std::filesystem::create_directory(directory);
  brood::PoolOptions options;
  options.process.working_directory = directory;
  options.process.limits = {{.resource = RLIMIT_CORE}};
  {
    Pool pool(1, options);
    try {
      (void)pool.apply([](int) -> int { std::abort(); }, 1);
      ADD_FAILURE();
    } catch (const brood::WorkerDied& died) {
      EXPECT_TRUE(died.core_dumped());
      EXPECT_NE(std::string(died.what()).find("core dumped"), std::string::npos) << died.what();
    }
    EXPECT_THROW((void)pool.apply([](int) -> int { std::_Exit(1); }, 1), brood::WorkerDied);
  }
  std::filesystem::remove_all(directory);
}
#endif

TEST_F(PoolCrash, EveryItemMayKillItsWorker) {
  Pool pool(2);
  const auto outcomes = pool.map_outcomes([](int /*x*/) -> int { std::_Exit(9); }, std::vector(40, 1));
  for (const auto& one : outcomes) EXPECT_THROW((void)one.value(), brood::WorkerDied);
  EXPECT_EQ(pool.apply(square, 3), 9);  // nothing is broken by that
}

TEST_F(PoolCrash, ErrorsOfANestedPoolKeepTheirTypes) {
  Pool pool(1);
  const auto nested = [](int n) -> int {
    Pool inner(1);
    if (n == 0) return inner.apply([](int) -> int { std::_Exit(6); }, 1);
    if (n == 1)
      return inner.apply(
          {.hard_limit = 1ms}, [](int) -> int { return ::pause(); }, 1);
    auto left = inner.submit([](int) -> int { return ::pause(); }, 1);
    inner.terminate();
    return left.get();
  };
  try {
    (void)pool.apply(nested, 0);
    ADD_FAILURE();
  } catch (const brood::WorkerDied& died) {
    EXPECT_EQ(died.exitcode(), 6);
    EXPECT_EQ(died.task(), 1U);
    EXPECT_EQ(died.attempts(), 1U);
    EXPECT_NE(dynamic_cast<const brood::RemoteError*>(&died), nullptr);
  }
  EXPECT_THROW((void)pool.apply(nested, 1), brood::TaskTimeout);
  auto cancelled = pool.submit(nested, 2);
  EXPECT_THROW((void)cancelled.get(), brood::PoolTerminated);
  EXPECT_FALSE(cancelled.cancelled());  // it was done, and this is what it threw
}

TEST_F(PoolCrash, MapThrowsTheLostOneOnceTheOthersAreDone) {
  Pool pool(2);
  std::vector<int> items(100);
  std::iota(items.begin(), items.end(), 0);
  EXPECT_THROW((void)pool.map(die_if_seven, items), brood::WorkerDied);
  const std::string text = text_of<brood::WorkerDied>([&] { (void)pool.map(die_if_seven, items); });
  EXPECT_NE(text.find("item 7"), std::string::npos) << text;
  EXPECT_NE(text.find("-SIGKILL"), std::string::npos) << text;
}

TEST_F(PoolCrash, ATaskThatEndsItsThreadEndsItsWorker) {
  Pool pool(1);
  EXPECT_THROW((void)pool.apply(ends_its_thread, 0), brood::WorkerDied);
  EXPECT_EQ(pool.apply(ends_its_thread, 1), 1);
}

TEST_F(PoolCrash, IdleWorkersMayBeKilledAtAnyTime) {
  Pool pool(2);
  for (int round = 0; round < 10; ++round) {
    for (const auto& worker : pool.insight().workers) ::kill(static_cast<pid_t>(worker.pid), SIGKILL);
    EXPECT_EQ(pool.map(square, {1, 2, 3, 4}), (std::vector{1, 4, 9, 16}));
  }
}

class PoolCrashEvery : public EveryPool {};

std::vector<pid_t> pids_of(const Pool& pool) {
  std::vector<pid_t> out;
  for (const auto& worker : pool.insight().workers) out.push_back(static_cast<pid_t>(worker.pid));
  return out;
}

TEST_P(PoolCrashEvery, AllIdleWorkersMayBeKilledAtOnce) {
  constexpr std::size_t kWorkers = 32;
  brood::PoolOptions options = by(GetParam());
  options.max_idle_deaths = 1;  // fewer than rounds, and far fewer than deaths
  Pool pool(kWorkers, options);
  for (int round = 0; round < 3; ++round) {
    // They are idle and have done nothing, nor was anything done since the last round.
    wait_until([&] {
      const auto workers = pool.insight().workers;
      return workers.size() == kWorkers && std::ranges::all_of(workers, [](const auto& worker) {
               return worker.state == brood::WorkerInsight::State::idle;
             });
    });
    for (const pid_t pid : pids_of(pool)) ::kill(pid, SIGKILL);
    wait_until([&] { return pool.insight().deaths == kWorkers * static_cast<std::size_t>(round + 1); });
  }
  std::vector<int> items(200);
  std::iota(items.begin(), items.end(), 0);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(pool.map([](int x) { return x; }, items), items);
    for (const pid_t pid : pids_of(pool)) ::kill(pid, SIGKILL);
  }
  EXPECT_EQ(pool.map([](int x) { return x; }, items), items);
  EXPECT_EQ(pool.insight().lost, 0U);
}

TEST_P(PoolCrashEvery, AllWorkersMayBeKilledWhileTheyStart) {
  constexpr std::size_t kWorkers = 16;
  brood::PoolOptions options = by(GetParam());
  Pipe gate;
  options.initializer = {[](const std::string& reader) { process_test::await(reader); }, gate.reader()};
  options.max_idle_deaths = 1;
  Pool pool(kWorkers, options);
  for (const pid_t pid : pids_of(pool)) ::kill(pid, SIGKILL);
  wait_until([&] { return pool.insight().deaths == kWorkers; });
  gate.let_go(kWorkers);
  EXPECT_EQ(pool.map(square, {1, 2, 3}), (std::vector{1, 4, 9}));
  wait_until([&] { return pool.insight().workers.size() == kWorkers; });
}

INSTANTIATE_FOR_EVERY_METHOD_IN_THREADS(PoolCrashEvery);

TEST_F(PoolCrash, OfManyWorkersThatCannotGetReadyOneGoesAhead) {
  constexpr unsigned kWorkers = 8;
  brood::PoolOptions options;
  options.initializer = {[] { std::_Exit(5); }};
  options.max_idle_deaths = 4;
  Pool pool(kWorkers, options);
  EXPECT_THROW((void)pool.apply(square, 1), brood::PoolBroken);
  // Two generations of all, in which each may be counted once, then one at a time. One that dies while its own generation is
  // being started begins the next one: so these are bounds.
  EXPECT_GE(pool.insight().deaths, 5U);
  EXPECT_LE(pool.insight().deaths, 2 * kWorkers + 3);
}

TEST_F(PoolCrash, RetriesCountEachFailureThatTheyAreFor) {
  Pool pool(2);
  brood::Atomic<int> left(2);
  EXPECT_EQ(pool.apply({.retry = {.times = 2}}, die_first, left, 5), 5);
  left.store(3);
  try {
    (void)pool.apply({.retry = {.times = 2}}, die_first, left, 5);
    ADD_FAILURE();
  } catch (const brood::WorkerDied& died) {
    EXPECT_EQ(died.attempts(), 3U);
  }
  left.store(1);
  EXPECT_THROW((void)pool.apply({.retry = {.times = 5}}, throw_first, left, 5), std::runtime_error);
  left.store(2);
  EXPECT_EQ(pool.apply({.retry = {.times = 2, .backoff = 5ms, .on = RetryOn::exception}}, throw_first, left, 6), 6);
  left.store(1);
  EXPECT_THROW((void)pool.apply({.retry = {.times = 5, .on = RetryOn::exception}}, die_first, left, 5),
               brood::WorkerDied);
  EXPECT_EQ(pool.insight().retried, 6U);
  // Of a map: the items that failed, and no others.
  brood::Value<int> runs(0);
  const auto count = [](brood::Value<int>& all, int x) {
    const int now = ++*all.lock();
    if (x == 3 && now <= 10) throw std::runtime_error("early");
    return now;
  };
  auto once = pool.submit({.retry = {.times = 20, .on = RetryOn::exception}}, count, runs, 3);
  EXPECT_EQ(once.get(), 11);
}

TEST_F(PoolCrash, ABackoffMayBeAsLongAsItLikes) {
  Pool pool(1);
  const auto fail = [] { throw std::runtime_error("again"); };
  const auto failing = pool.submit(
      {.retry = {.times = 70, .backoff = std::chrono::milliseconds::max(), .on = RetryOn::exception}}, fail);
  wait_until([&] { return pool.insight().retried != 0; });
  EXPECT_FALSE(failing.wait_for(50ms));
  EXPECT_EQ(pool.insight().retried, 1U);
}

TEST_F(PoolCrash, RetriesWaitAtLeastTheirBackoff) {
  Pool pool(1);
  brood::Atomic<int> left(3);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(pool.apply({.retry = {.times = 3, .backoff = 10ms, .on = RetryOn::exception}}, throw_first, left, 1), 1);
  EXPECT_GE(std::chrono::steady_clock::now() - begun, 70ms);  // 10 + 20 + 40
}

TEST_F(PoolCrash, AHardLimitKillsAlsoWhoIsStopped) {
  Pool pool(2);
  for (const auto& task : {sleep_for_ever, stop_oneself}) {
    const auto begun = std::chrono::steady_clock::now();
    EXPECT_THROW((void)pool.apply({.hard_limit = 30ms}, task, 1), brood::TaskTimeout);
    EXPECT_GE(std::chrono::steady_clock::now() - begun, 30ms);
  }
  EXPECT_THROW((void)pool.apply({.hard_limit = 10ms, .retry = {.times = 2, .on = RetryOn::timeout}}, sleep_for_ever, 1),
               brood::TimeoutError);
  EXPECT_EQ(pool.insight().timeouts, 5U);
  // In a map it is the limit of each item, and only the late one pays.
  const auto nap = [](int ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    return ms;
  };
  const auto outcomes = pool.map_outcomes(nap, std::vector{1, 2, 100'000, 3, 1}, {.chunk_size = 5, .hard_limit = 2s});
  for (const std::size_t i : {0UL, 1UL, 3UL, 4UL}) EXPECT_TRUE(outcomes[i].has_value()) << i;
  EXPECT_THROW((void)outcomes[2].value(), brood::TaskTimeout);
}

TEST_F(PoolCrash, AStoppedIdleWorkerHoldsUpNobody) {
  Pool pool(2);
  EXPECT_EQ(pool.map(square, {1, 2}), (std::vector{1, 4}));
  wait_until([&] {
    const auto workers = pool.insight().workers;
    return std::ranges::all_of(workers, [](const auto& w) { return w.state == brood::WorkerInsight::State::idle; });
  });
  const auto stopped = static_cast<pid_t>(pool.insight().workers.front().pid);
  ASSERT_EQ(::kill(stopped, SIGSTOP), 0);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(pool.apply(square, i), i * i);
  std::vector<int> items(1000, 2);
  EXPECT_EQ(pool.map(square, items, {.chunk_size = 1}), std::vector(1000, 4));
  const std::vector<double> large(400'000, 1.0);
  EXPECT_EQ(pool.apply([](const std::vector<double>& v) { return v.size(); }, large), large.size());
  ASSERT_EQ(::kill(stopped, SIGCONT), 0);
  EXPECT_EQ(pool.map(square, items, {.chunk_size = 1}), std::vector(1000, 4));
}

TEST_F(PoolCrash, ALongTaskHoldsUpNothingThatWasSentBehindIt) {
  Pool pool(2);
  Pipe gate;
  Pipe said;
  // So that short tasks are known to be short and sent ahead.
  EXPECT_EQ(pool.map(square, std::vector(1000, 3), {.chunk_size = 1}), std::vector(1000, 9));
  const std::string writer = said.writer();
  const std::string reader = gate.reader();
  using Item = std::tuple<int, std::string, std::string>;
  const auto maybe_gated = [](int x, const std::string& w, const std::string& r) {
    return x == 0 ? gated(x, w, r) : x;
  };
  std::vector<Item> warm(200, Item{1, writer, reader});
  (void)pool.starmap(maybe_gated, warm, {.chunk_size = 1});
  std::vector<Item> items(200, Item{2, writer, reader});
  items[3] = Item{0, writer, reader};
  auto long_ones = pool.starmap_async(maybe_gated, items, {.chunk_size = 1});
  EXPECT_EQ(said.line(), "inside 0");
  // All others end although the one does not.
  wait_until([&] { return pool.insight().finished >= 1000 + 200 + 199; });
  EXPECT_FALSE(long_ones.done());
  gate.let_go();
  EXPECT_EQ(long_ones.get().size(), 200U);
}

// What is taken back from a worker for an idle one lies behind a result that nobody was told of.
TEST_F(PoolCrash, NoResultIsLeftLyingBehindWhatWasTakenBack) {
  Pool pool(2);
  const auto spin = [](int us) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(us);
    while (std::chrono::steady_clock::now() < until) {}
    return us;
  };
  for (int round = 0; round < 300; ++round) {
    std::vector<int> items(300, round % 3);
    items[static_cast<std::size_t>(round) % items.size()] = 1500;
    ASSERT_EQ(pool.map(spin, items, {.chunk_size = 1}), items);
  }
}

TEST_F(PoolCrash, WorkersThatDieBeforeTheyDoAnythingBreakThePool) {
  brood::PoolOptions options;
  options.initializer = {[] { std::_Exit(5); }};
  options.max_idle_deaths = 3;
  Pool pool(1, options);
  try {
    for (;;) (void)pool.apply(square, 1);
  } catch (const brood::PoolBroken& error) {
    EXPECT_THROW(std::rethrow_if_nested(error), brood::WorkerDied);
  }
  EXPECT_EQ(pool.insight().deaths, 4U);
}

TEST_F(PoolCrash, DeathsInBetweenDoNotBreakThePool) {
  brood::PoolOptions options;
  options.max_idle_deaths = 1;
  Pool pool(1, options);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(pool.apply(square, i), i * i);
    ::kill(static_cast<pid_t>(pool.apply(own_pid, 0)), SIGKILL);
  }
  EXPECT_EQ(pool.apply(square, 6), 36);
}

TEST_F(PoolCrash, CancelTakesBackWhatHasNotBegunAndStopsWhatHas) {
  Pipe gate;
  Pipe said;
  Pool pool(1);
  auto inside = pool.submit(gated, 1, said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "inside 1");
  auto queued = pool.submit(square, 2);
  EXPECT_FALSE(inside.cancel());
  EXPECT_TRUE(inside.running());
  EXPECT_FALSE(queued.running());
  EXPECT_TRUE(queued.cancel());
  EXPECT_TRUE(queued.cancelled());
  EXPECT_THROW((void)queued.get(), brood::CancelledError);
  EXPECT_FALSE(queued.cancel());
  auto mapped = pool.map_async(square, std::vector{1, 2, 3});
  EXPECT_TRUE(mapped.cancel());
  EXPECT_THROW((void)mapped.get(), brood::CancelledError);
  EXPECT_TRUE(pool.cancel(inside));
  EXPECT_THROW((void)inside.get(), brood::CancelledError);
  EXPECT_TRUE(inside.cancelled());
  EXPECT_FALSE(pool.cancel(inside));
  EXPECT_EQ(pool.apply(square, 3), 9);
  Pool other(1);
  auto others = other.submit(square, 1);
  EXPECT_THROW((void)pool.cancel(others), brood::UsageError);
}

TEST_F(PoolCrash, CancelOfAMapStopsWhatRunsAndDropsTheRest) {
  Pipe said;
  Pool pool(1);
  const auto say_and_stay = [](const std::string& writer) {
    process_test::tell(writer, "in it");
    for (;;) ::pause();
  };
  for (const std::int64_t chunk_size : {1, 5}) {
    auto all = pool.map_async(say_and_stay, std::vector(5, said.writer()), {.chunk_size = chunk_size});
    EXPECT_EQ(said.line(), "in it");
    EXPECT_TRUE(pool.cancel(all));
    EXPECT_THROW(all.get(), brood::CancelledError);
    EXPECT_EQ(pool.apply(square, 3), 9);
  }
  EXPECT_EQ(pool.insight().deaths, 2U) << "a further item was run";
}

/// A copy of the worker that would go on as if it were the worker.
int come_back_twice(bool by_exception) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (by_exception) throw std::runtime_error("of the copy");
    return 0;
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WEXITSTATUS(status);
}
TEST_F(PoolCrash, AForkedCopyThatComesBackFromTheTaskEnds) {
  Pool pool(1);
  for (const bool by_exception : {false, true}) EXPECT_EQ(pool.apply(come_back_twice, by_exception), 1);
  EXPECT_EQ(pool.insight().deaths, 0U);
}

TEST_F(PoolCrash, AnActionOfTheEndMayWaitForTheWorkers) {
  Pipe gate;
  Pipe said;
  Pool pool(1);
  auto inside = pool.submit(gated, 1, said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "inside 1");
  bool has_joined = false;
  inside.on_done([&](const brood::Future<int>&) { has_joined = pool.join_for(1h); });
  pool.terminate();
  EXPECT_TRUE(has_joined);
}

// Either nothing of it is done, or all of it is: nobody is told "no" and finds it cancelled.
TEST_F(PoolCrash, CancellingAMapTakesAllOfItOrNothing) {
  Pool pool(2);
  int taken_back = 0;
  int too_late = 0;
  for (int round = 0; round < 30000; ++round) {
    const std::vector<int> items(4, round % 1000);
    const auto until = std::chrono::steady_clock::now() + std::chrono::nanoseconds(round % 300 * 200);
    auto all = pool.map_async(square, items, {.chunk_size = 1});
    // More and less time for the workers to wake up and begin something.
    while (std::chrono::steady_clock::now() < until) {}
    if (all.cancel()) {
      ++taken_back;
      ASSERT_TRUE(all.cancelled());
      ASSERT_THROW((void)all.get(), brood::CancelledError);
    } else {
      ++too_late;
      ASSERT_EQ(all.get(), std::vector(4, items[0] * items[0]));
    }
  }
  std::printf("%d taken back, %d too late\n", taken_back, too_late);
  EXPECT_NE(too_late, 0);
}

int until_asked(const std::string& writer) {
  process_test::tell(writer, "inside");
  while (!brood::this_task().stop_requested()) std::this_thread::yield();
  return 77;
}
int until_token(const std::string& writer) {
  process_test::tell(writer, "inside");
  std::mutex mutex;
  std::condition_variable_any asked;
  std::unique_lock lock(mutex);
  (void)asked.wait(lock, brood::this_task().stop_token(), [] { return false; });
  return 78;
}

TEST_F(PoolCrash, ATaskThatIsAskedToStopHasItsResult) {
  Pipe said;
  Pool pool(1);
  for (int round = 0; round < 3; ++round) {
    auto polite = pool.submit(until_asked, said.writer());
    EXPECT_EQ(said.line(), "inside");
    EXPECT_TRUE(pool.cancel(polite, {.kill = false}));
    EXPECT_EQ(polite.get(), 77);
    auto waits = pool.submit(until_token, said.writer());
    EXPECT_EQ(said.line(), "inside");
    EXPECT_TRUE(pool.cancel(waits, {.grace = 1h}));
    EXPECT_EQ(waits.get(), 78);
    // The soft limit says the same.
    EXPECT_EQ(pool.apply({.soft_limit = 10ms}, until_asked, said.writer()), 77);
    EXPECT_EQ(pool.apply({.soft_limit = 10ms}, until_token, said.writer()), 78);
    EXPECT_EQ(said.line(), "inside");
    EXPECT_EQ(said.line(), "inside");
  }
  EXPECT_EQ(pool.insight().deaths, 0U);
  EXPECT_FALSE(brood::this_task().exists());
  EXPECT_FALSE(brood::this_task().stop_requested());
  EXPECT_THROW((void)brood::this_task().number(), brood::UsageError);
}

}  // namespace
