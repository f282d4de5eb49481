// Pools that a manager keeps: tasks go to workers of the server's, and results come home.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <list>
#include <numeric>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "brood/pool_algorithms.hpp"
#include "manager/manager_support.hpp"
#include "manager/pool_order.hpp"
#include "manager/strangers.hpp"
#include "process/methods_in_threads.hpp"
#include "support/sanitizers.hpp"

namespace {

using namespace manager_test;
using namespace process_test;
using brood::Future;
using brood::PoolProxy;

int square(int x) { return x * x; }
int multiply(int a, int b) { return a * b; }
std::int64_t worker_pid() { return ::getpid(); }
std::int64_t parent_of(int /*item*/) { return ::getppid(); }
int three_fails(int x) {
  if (x == 3) throw std::domain_error("three");
  return x;
}
int gated(int x, const std::string& writer, const std::string& reader) {
  tell(writer, "inside");
  await(reader);
  return x;
}
int die(int signal) {
  std::signal(signal, SIG_DFL);
  ::raise(signal);
  return 0;
}
std::vector<int> numbers(int count) {
  std::vector<int> out(static_cast<std::size_t>(count));
  std::iota(out.begin(), out.end(), 0);
  return out;
}
std::vector<int> squares(int count) {
  std::vector<int> out = numbers(count);
  for (int& x : out) x *= x;
  return out;
}
template <class Stream>
auto all_of(Stream stream) {
  std::vector<typename Stream::value_type> out;
  for (auto& one : stream) out.push_back(std::move(one));
  return out;
}
std::vector<std::int64_t> workers_of(const PoolProxy& pool) {
  std::vector<std::int64_t> out;
  for (const auto& worker : pool.insight().workers) out.push_back(worker.pid);
  return out;
}
/// Runs: who has ended may wait for its reaper still, which is not us.
bool is_there(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const std::size_t name_ends = text.rfind(')');
  return name_ends != std::string::npos && text[name_ends + 2] != 'Z' && text[name_ends + 2] != 'X';
}
void expect_ends(const std::vector<std::int64_t>& pids) {
  until([&] { return std::ranges::none_of(pids, is_there); });
}

class ManagedPool : public Managed {
 protected:
  [[nodiscard]] PoolProxy make_pool(std::int64_t workers, brood::ManagedPoolOptions options = {}) {
    options.start_method = GetParam();
    return manager.pool(workers, options);
  }
};
INSTANTIATE_FOR_EVERY_METHOD_IN_THREADS(ManagedPool);
class ManagedPoolOnce : public ManagedOnce {};

// --- the same as Pool ----------------------------------------------------------------------------------------------------

TEST_P(ManagedPool, DoesTasksInAllForms) {
  const PoolProxy pool = make_pool(2);
  EXPECT_EQ(pool.size(), 2U);
  EXPECT_EQ(pool.apply(square, 5), 25);
  EXPECT_EQ(pool.apply(multiply, 3, 4), 12);
  EXPECT_EQ(pool.submit({.priority = 3}, multiply, 5, 6).get(), 30);
  EXPECT_EQ(pool.submit<&square>(7).get(), 49);
  EXPECT_EQ(pool.map(square, numbers(1000)), squares(1000));
  EXPECT_EQ(pool.map<&square>(numbers(3), {.chunk_size = 2}), squares(3));
  EXPECT_EQ(pool.map([](int x) { return x + 1; }, std::list{1, 2}), (std::vector{2, 3}));
  EXPECT_EQ(pool.starmap(multiply, std::vector{std::pair(2, 3), std::pair(4, 5)}), (std::vector{6, 20}));
  EXPECT_EQ(all_of(pool.imap(square, numbers(300))), squares(300));
  std::vector<int> any = all_of(pool.imap_unordered(square, numbers(300), {.chunk_size = 7}));
  std::ranges::sort(any);
  EXPECT_EQ(any, squares(300));
  const auto outcomes = pool.map_outcomes(three_fails, numbers(5), {.chunk_size = 5});
  EXPECT_EQ(outcomes.size(), 5U);
  EXPECT_FALSE(outcomes[3]);
  EXPECT_EQ(*outcomes[4], 4);
  pool.submit([] {}).get();
  brood::for_each(pool, numbers(10), [](int) {});
  EXPECT_EQ(brood::transform_reduce(pool, numbers(10), 0, std::plus<>{}, [](int x) { return x * x; }), 285);
  const auto parents = pool.map(parent_of, numbers(4), {.chunk_size = 1});
  if (GetParam() == StartMethod::forkserver) return;  // whose children they are
  EXPECT_EQ(parents, std::vector<std::int64_t>(4, *manager.pid()));
}

TEST_P(ManagedPool, AnInitializerMakesTheWorkersState) {
  const auto load = [](int start) { return start; };
  const PoolProxy pool = make_pool(2, {.initializer = {load, 5}, .tasks_per_child = 3, .name = "adder"});
  const auto add = [](int& state, int x) { return state + x; };
  EXPECT_EQ(pool.map(add, numbers(10), {.chunk_size = 1}), [] {
    std::vector<int> expected(10);
    std::iota(expected.begin(), expected.end(), 5);
    return expected;
  }());
  until([&] { return pool.insight().recycled >= 3; });
  const auto other = [](std::string& state, int) { return state; };
  EXPECT_THROW((void)pool.submit(other, 1), brood::UsageError);
  const PoolProxy without = make_pool(1);
  EXPECT_THROW((void)without.submit(add, 1), brood::UsageError);
  const auto fail = [](int) -> int { throw std::domain_error("no license"); };
  const PoolProxy broken = make_pool(1, {.initializer = {fail, 1}});
  try {
    for (;;) (void)broken.apply(square, 1);
  } catch (const brood::PoolBroken& error) {
    EXPECT_NE(std::string(error.what()).find("no license"), std::string::npos) << error.what();
  }
}

TEST_P(ManagedPool, ExceptionsComeHomeWithTypeAndPlace) {
  const PoolProxy pool = make_pool(1);
  try {
    (void)pool.apply(three_fails, 3);
    FAIL();
  } catch (const std::domain_error& error) {
    EXPECT_STREQ(error.what(), "three");
    const auto* const remote = dynamic_cast<const brood::RemoteError*>(&error);
    ASSERT_NE(remote, nullptr);
    EXPECT_EQ(remote->pid(), pool.apply(worker_pid));
    EXPECT_NE(remote->stack().find("three_fails"), std::string::npos) << remote->stack();
  }
  EXPECT_THROW((void)pool.map(three_fails, numbers(5)), std::domain_error);
  auto stream = pool.imap(three_fails, numbers(5));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(stream.next(), i);
  EXPECT_THROW((void)stream.next(), std::domain_error);
  EXPECT_EQ(stream.next(), 4);
  EXPECT_EQ(stream.next(), std::nullopt);
}

TEST_P(ManagedPool, AWorkerThatDiesCostsOneTask) {
  const PoolProxy pool = make_pool(1);
  Future<int> behind;
  try {
    const Future<int> victim = pool.submit(die, SIGKILL);
    behind = pool.submit(square, 3);
    (void)victim.get();
    FAIL();
  } catch (const brood::WorkerDied& died) {
    EXPECT_EQ(died.exitcode(), -SIGKILL);
    EXPECT_GT(died.pid(), 0);
    EXPECT_EQ(died.task(), 1U);
    EXPECT_EQ(died.attempts(), 1U);
  }
  EXPECT_EQ(behind.get(), 9);
  const auto outcomes = pool.map_outcomes([](int x) { return x == 2 ? die(SIGKILL) : x; }, numbers(5),
                                          {.chunk_size = 5, .retry = {.times = 1}});
  try {
    (void)outcomes[2].value();
    FAIL();
  } catch (const brood::WorkerDied& died) {
    EXPECT_EQ(died.task(), 2U);
    EXPECT_EQ(died.attempts(), 2U);
  }
  EXPECT_EQ(*outcomes[4], 4);
  const auto pids = workers_of(pool);
  for (const std::int64_t pid : pids) ::kill(static_cast<pid_t>(pid), SIGKILL);
  EXPECT_EQ(pool.map(square, numbers(50)), squares(50));
}

TEST_P(ManagedPool, LimitsAndCancellation) {
  const PoolProxy pool = make_pool(1);
  const auto for_ever = [] {
    for (;;) ::pause();
  };
  EXPECT_THROW(pool.submit({.hard_limit = 20ms}, for_ever).get(), brood::TaskTimeout);
  const auto asked = [](const std::string& writer) {
    tell(writer, "inside");
    while (!brood::this_task().stop_requested()) std::this_thread::sleep_for(1ms);
    return 1;
  };
  Pipe said;
  Future<int> runs = pool.submit(asked, said.writer());
  Future<int> waits = pool.submit(square, 2);
  EXPECT_EQ(said.line(), "inside");
  EXPECT_TRUE(runs.running());
  EXPECT_FALSE(waits.running());
  EXPECT_FALSE(runs.cancel());
  EXPECT_TRUE(waits.cancel());
  EXPECT_TRUE(waits.cancelled());
  EXPECT_THROW((void)waits.get(), brood::CancelledError);
  EXPECT_TRUE(pool.cancel(runs, {.kill = false}));
  EXPECT_EQ(runs.get(), 1);
  EXPECT_FALSE(pool.cancel(runs));
  const auto deaf = [](const std::string& writer) -> int {
    tell(writer, "inside");
    for (;;) ::pause();
  };
  const Future<int> killed = pool.submit(deaf, said.writer());
  EXPECT_EQ(said.line(), "inside");
  EXPECT_TRUE(pool.cancel(killed));
  EXPECT_THROW((void)killed.get(), brood::CancelledError);
  EXPECT_TRUE(killed.cancelled());
  EXPECT_FALSE(Future<int>(killed).cancel());
}

TEST_P(ManagedPool, ActionsRunHereAndMayAskForMore) {
  const PoolProxy pool = make_pool(2);
  std::promise<std::pair<std::int64_t, int>> seen;
  pool.map_async(square, numbers(3)).on_done([&](const auto& done) {
    int sum = 0;
    for (const int x : done.get()) sum += x;
    // The thread that brings results runs this, and others bring those of these.
    sum += pool.apply(square, 10);
    for (const int x : all_of(pool.imap(square, numbers(3)))) sum += x;
    seen.set_value({::getpid(), sum});
  });
  EXPECT_EQ(seen.get_future().get(), std::pair(static_cast<std::int64_t>(::getpid()), 110));
  EXPECT_EQ(pool.submit(square, 3).then([&](int x) { return pool.apply(square, x); }).get(), 81);
  std::atomic<std::size_t> last = 0;
  const auto note = [&](const brood::ProgressReport& report) {
    if (report.is_last) last = report.done;
  };
  EXPECT_EQ(pool.map(square, numbers(40), {.progress = note}), squares(40));
  EXPECT_EQ(last, 40U);
}

TEST_P(ManagedPool, SharedAndManagedObjectsAndLargeValuesTravel) {
  const PoolProxy pool = make_pool(2);
  brood::Atomic<int> sum(0);
  const auto add = [](int x, brood::Atomic<int>& all) {
    all.fetch_add(x);
    return x;
  };
  std::vector<Future<int>> some;
  for (int i = 0; i < 10; ++i) some.push_back(pool.submit(add, i, sum));
  for (auto& one : some) (void)one.get();
  EXPECT_EQ(sum.load(), 45);
  auto dict = manager.dict<int, int>();
  const auto enter = [](int x, const brood::DictProxy<int, int>& there) { there.set(x, x * x); };
  for (int i = 0; i < 4; ++i) pool.submit(enter, i, dict).get();
  EXPECT_EQ(dict.size(), 4U);
  // Made in the worker, and kept by what is under way until it is here.
  const auto make = [](const brood::DictProxy<int, int>& there) { return there; };
  EXPECT_EQ(pool.apply(make, dict), dict);
  const std::string large(8U << 20, 'x');
  EXPECT_EQ(pool.map([](const std::string& in) { return in + "y"; }, std::vector(3, large)),
            std::vector(3, large + "y"));
}

// --- shared by processes -------------------------------------------------------------------------------------------------

void use_it(const PoolProxy& pool, int from) {
  for (int i = from; i < from + 100; ++i) SCENARIO_CHECK(pool.apply(square, i) == i * i);
  SCENARIO_CHECK(pool.map(square, numbers(500), {.chunk_size = 3}) == squares(500));
}

TEST_P(ManagedPool, IsForAllWhoHaveAProxyAndEachHasItsResults) {
  const PoolProxy pool = make_pool(2);
  std::vector<std::unique_ptr<brood::Process>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<brood::Process>(make(use_it, pool, 1000 * i)));
    clients.back()->start();
  }
  std::thread here([&] { use_it(pool, 5000); });
  use_it(pool, 7000);
  here.join();
  for (auto& client : clients) {
    client->join();
    EXPECT_EQ(client->exitcode(), 0);
  }
  EXPECT_EQ(pool.insight().finished, 5U * 600U);
  auto pools = manager.dict<std::string, PoolProxy>();
  pools.set("one", pool);
  EXPECT_EQ(pools.at("one"), pool);
  EXPECT_EQ(pools.at("one").apply(square, 4), 16);
  manager.publish("pool", pool);
  brood::ManagerClient client(manager.address());
  EXPECT_EQ(client.find<PoolProxy>("pool")->apply(square, 5), 25);
  manager.unpublish("pool");
}

TEST_P(ManagedPool, ACallThatWaitsHoldsUpNobody) {
  const PoolProxy pool = make_pool(1);
  auto list = manager.list<int>();
  Pipe said;
  Pipe gate;
  const Future<int> runs = pool.submit(gated, 1, said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "inside");
  pool.close();
  std::thread joins([&] { pool.join(); });
  EXPECT_FALSE(pool.join_for(5ms));
  list.append(1);
  EXPECT_EQ(list.size(), 1U);
  const PoolProxy other = make_pool(1);
  EXPECT_EQ(other.apply(square, 3), 9);
  EXPECT_FALSE(runs.wait_for(5ms));
  gate.let_go();
  joins.join();
  EXPECT_TRUE(runs.done());
  EXPECT_EQ(runs.get(), 1);
}

TEST_P(ManagedPool, ACopyThatForkMadeIsAClientOfItsOwn) {
  const PoolProxy pool = make_pool(2);
  Pipe said;
  Pipe gate;
  const Future<int> runs = pool.submit(gated, 1, said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "inside");
  const pid_t child = ::fork();
  if (child == 0) {
    bool refused = false;
    try {
      (void)runs.get();
    } catch (const brood::UsageError&) {
      refused = true;
    }
    const bool works = pool.map(square, numbers(100)) == squares(100);
    std::_Exit(refused && works && !runs.done() ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  gate.let_go();
  EXPECT_EQ(runs.get(), 1);
}

// --- ends ------------------------------------------------------------------------------------------------------------------

TEST_P(ManagedPool, CloseFinishesAndTerminateDrops) {
  const PoolProxy pool = make_pool(2);
  auto all = pool.map_async(square, numbers(200), {.chunk_size = 1});
  pool.close();
  pool.close();
  EXPECT_THROW((void)pool.submit(square, 1), brood::UsageError);
  EXPECT_THROW((void)pool.map(square, numbers(0)), brood::UsageError);
  EXPECT_THROW((void)pool.imap(square, numbers(2)), brood::UsageError);
  pool.join();
  EXPECT_TRUE(all.done());
  EXPECT_EQ(all.get(), squares(200));
  const PoolProxy other = make_pool(2);
  auto never = other.map_async(
      [](int) {
        for (;;) ::pause();
      },
      numbers(1000), {.chunk_size = 1});
  EXPECT_THROW(other.join(), brood::UsageError);
  other.terminate();
  other.join();
  EXPECT_TRUE(never.done());
  EXPECT_THROW(never.get(), brood::PoolTerminated);
  EXPECT_TRUE(other.insight().workers.empty());
}

TEST_P(ManagedPool, EndsWithItsLastProxy) {
  std::vector<std::int64_t> workers;
  Future<void> left;
  {
    const PoolProxy pool = make_pool(2);
    EXPECT_EQ(pool.apply(square, 3), 9);
    workers = workers_of(pool);
    left = pool.submit([] {
      for (;;) ::pause();
    });
  }
  EXPECT_THROW(left.get(), brood::PoolTerminated);
  expect_ends(workers);
  until([&] { return manager.object_count() == 0; });
}

TEST_P(ManagedPool, WhatAProxyHadOpenEndsWithItAndThePoolGoesOnForOthers) {
  const PoolProxy pool = make_pool(1);
  Pipe said;
  Pipe gate;
  brood::Atomic<int> begun(0);
  const auto count = [](brood::Atomic<int>& all) { all.fetch_add(1); };
  Future<int> runs;
  std::vector<Future<void>> behind;
  {
    const PoolProxy other = *manager.find<PoolProxy>([&] {
      manager.publish("p", pool);
      return "p";
    }());
    EXPECT_EQ(other, pool);
    runs = other.submit(gated, 1, said.writer(), gate.reader());
    EXPECT_EQ(said.line(), "inside");
    for (int i = 0; i < 20; ++i) behind.push_back(other.submit(count, begun));
    manager.unpublish("p");
  }
  EXPECT_THROW((void)runs.get(), brood::PoolTerminated);
  for (const auto& one : behind) EXPECT_THROW(one.get(), brood::PoolTerminated);
  EXPECT_EQ(pool.insight().queued, 0U);
  const Future<int> mine = pool.submit(square, 6);
  gate.let_go();
  EXPECT_EQ(mine.get(), 36);
  EXPECT_EQ(begun.load(), 0);
}

// --- deaths ----------------------------------------------------------------------------------------------------------------

void leave_tasks_behind(const PoolProxy& pool, brood::Atomic<int>& begun, const std::string& writer,
                        const std::string& reader) {
  const auto first = pool.submit(gated, 1, writer, reader);
  const auto count = [](brood::Atomic<int>& all) { all.fetch_add(1); };
  std::vector<Future<void>> behind;
  for (int i = 0; i < 50; ++i) behind.push_back(pool.submit(count, begun));
  tell(writer, "sent");
  for (;;) ::pause();
}

TEST_P(ManagedPool, AClientThatIsKilledLosesItsTasksAndTheOthersGoOn) {
  const PoolProxy pool = make_pool(1);
  Pipe said;
  Pipe gate;
  brood::Atomic<int> begun(0);
  auto client = make(leave_tasks_behind, pool, begun, said.writer(), gate.reader());
  client.start();
  const std::set<std::string> heard{said.line(), said.line()};
  EXPECT_EQ(heard, (std::set<std::string>{"inside", "sent"}));
  EXPECT_EQ(pool.insight().queued, 50U);
  const Future<int> mine = pool.submit(square, 6);
  client.kill();
  client.join();
  until([&] { return pool.insight().queued == 1; });
  EXPECT_FALSE(mine.done());
  gate.let_go();
  EXPECT_EQ(mine.get(), 36);
  EXPECT_EQ(begun.load(), 0);
}

TEST_P(ManagedPool, AClientThatIsKilledWithTheLastProxyEndsThePool) {
  std::vector<std::int64_t> workers;
  Pipe said;
  Pipe gate;
  brood::Atomic<int> begun(0);
  auto client = [&] {
    const PoolProxy pool = make_pool(1);
    workers = workers_of(pool);
    auto it = make(leave_tasks_behind, pool, begun, said.writer(), gate.reader());
    it.start();
    (void)said.line();
    (void)said.line();
    return it;
  }();
  EXPECT_TRUE(is_there(workers[0]));
  client.kill();
  client.join();
  expect_ends(workers);
  EXPECT_EQ(make_pool(1).apply(square, 2), 4);
}

TEST_P(ManagedPool, WhenTheServerIsKilledEveryCallAndEveryFutureSaysSo) {
  const PoolProxy pool = make_pool(2);
  Pipe said;
  Pipe gate;
  const Future<int> one = pool.submit(gated, 1, said.writer(), gate.reader());
  const Future<int> other = pool.submit(gated, 2, said.writer(), gate.reader());
  auto all = pool.map_async(square, numbers(100), {.chunk_size = 1});
  std::atomic<int> told = 0;
  other.on_done([&](const auto& done) { told = done.exception() ? 1 : 2; });
  auto stream = pool.imap(square, numbers(100));
  EXPECT_EQ(said.line(), "inside");
  EXPECT_EQ(said.line(), "inside");
  const auto workers = workers_of(pool);
  pool.close();
  std::thread joins([&] { EXPECT_THROW(pool.join(), brood::ManagerDied); });
  ::kill(static_cast<pid_t>(*manager.pid()), SIGKILL);
  EXPECT_THROW((void)one.get(), brood::ManagerDied);
  EXPECT_THROW((void)other.get(), brood::ManagerDied);
  EXPECT_THROW((void)all.get(), brood::ManagerDied);
  EXPECT_THROW((void)stream.next(), brood::ManagerDied);
  joins.join();
  until([&] { return told == 1; });
  EXPECT_THROW((void)pool.submit(square, 1), brood::ManagerDied);
  EXPECT_THROW((void)pool.map(square, numbers(3)), brood::ManagerDied);
  EXPECT_THROW((void)pool.insight(), brood::ManagerDied);
  EXPECT_THROW(pool.terminate(), brood::ManagerDied);
  manager.join();
  expect_ends(workers);
}

TEST_P(ManagedPool, ShutdownWithTasksUnderWayHangsNobody) {
  const PoolProxy pool = make_pool(2);
  const auto stubborn = [](const std::string& writer) {
    std::signal(SIGTERM, SIG_IGN);
    tell(writer, "inside");
    for (;;) ::pause();
  };
  Pipe said;
  const Future<void> runs = pool.submit(stubborn, said.writer());
  EXPECT_EQ(said.line(), "inside");
  auto all = pool.map_async(square, numbers(100));
  const auto workers = workers_of(pool);
  manager.shutdown();
  EXPECT_THROW(runs.get(), brood::Error);
  EXPECT_THROW((void)pool.submit(square, 1), brood::ManagerDied);
  expect_ends(workers);
}

// --- chaos -----------------------------------------------------------------------------------------------------------------

int may_die(int x) {
  if (x % 50 == 49) die(SIGKILL);
  return x * x;
}
/// Every item of every map has its result, or died as it was told to, or was hit.
void live(const PoolProxy& pool, const brood::EventProxy& end, unsigned seed) {
  std::mt19937 random(seed);
  try {
    while (!end.is_set()) {
      const int count = static_cast<int>(random() % 120);
      switch (random() % 3) {
        case 0: {
          const auto outcomes = pool.map_outcomes(may_die, numbers(count), {.chunk_size = 7});
          for (int i = 0; i < count; ++i) {
            const auto& one = outcomes[static_cast<std::size_t>(i)];
            if (one) SCENARIO_CHECK(*one == i * i && i % 50 != 49);
            else SCENARIO_CHECK(brood::detail::exception_matches<brood::WorkerDied>(one.error()));
          }
          break;
        }
        case 1: {
          auto stream = pool.imap(square, numbers(count), {.look_ahead = 20, .retry = {.times = 1000}});
          for (int i = 0; i < count / 2; ++i) SCENARIO_CHECK(stream.next() == i * i);
          break;  // and the rest is left
        }
        default: {
          Future<int> one = pool.submit({.retry = {.times = 1000}}, square, count);
          Future<int> other = pool.submit({.retry = {.times = 1000}}, square, 3);
          if (!other.cancel()) SCENARIO_CHECK(other.get() == 9);
          SCENARIO_CHECK(one.get() == count * count);
        }
      }
    }
  } catch (const brood::ManagerDied&) {
    return;
  }
}

class ManagedPoolChaos : public ManagedPoolOnce {
 protected:
  ~ManagedPoolChaos() override { end.set(); }
  std::unique_ptr<brood::Process> client() {
    auto made = std::make_unique<brood::Process>(live, pool, end, static_cast<unsigned>(random()));
    made->start();
    return made;
  }
  const unsigned seed = std::random_device()();
  std::mt19937 random{seed};
  PoolProxy pool = manager.pool(3, {.max_idle_deaths = 1'000'000});
  brood::EventProxy end = manager.event();
  std::vector<std::unique_ptr<brood::Process>> clients;
};

TEST_F(ManagedPoolChaos, ClientsAndWorkersAreKilledWhereverTheyAre) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  constexpr int kKills = SUPPORT_SANITIZED ? 20 : 80;
  for (int i = 0; i < 4; ++i) clients.push_back(client());
  for (int kill = 0; kill < kKills; ++kill) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 15'000));
    const auto workers = workers_of(pool);
    if (random() % 2 == 0 && !workers.empty()) {
      ::kill(static_cast<pid_t>(workers[random() % workers.size()]), SIGKILL);
      continue;
    }
    auto& victim = clients[random() % clients.size()];
    victim->kill();
    victim->join();
    ASSERT_EQ(victim->exitcode(), -SIGKILL) << "it had ended before";
    victim = client();
  }
  end.set();
  for (auto& it : clients) {
    it->join();
    EXPECT_EQ(it->exitcode(), 0);
  }
  until([&] { return pool.insight().queued == 0; });
  EXPECT_EQ(pool.map(square, numbers(100), {.retry = {.times = 1000}}), squares(100));
  pool.close();
  pool.join();
}

TEST_F(ManagedPoolChaos, TheServerIsKilledAtAnyMomentAndEveryFutureIsTold) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  for (int round = 0; round < (SUPPORT_SANITIZED ? 5 : 30); ++round) {
    brood::Manager victim;
    const PoolProxy many = victim.pool(2);
    std::vector<Future<int>> open;
    std::vector<Future<std::vector<int>>> maps;
    std::atomic<bool> is_over = false;
    std::thread other([&] {
      try {
        for (;;) SCENARIO_CHECK(many.apply(square, 4) == 16);
      } catch (const brood::ManagerDied&) {
        is_over = true;
      }
    });
    const auto when = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 20'000);
    std::thread killer([&] {
      std::this_thread::sleep_until(when);
      ::kill(static_cast<pid_t>(*victim.pid()), SIGKILL);
    });
    try {
      for (;;) {
        open.push_back(many.submit(square, 5));
        maps.push_back(many.map_async(square, numbers(50)));
      }
    } catch (const brood::ManagerDied&) {
      other.join();
    }
    killer.join();
    for (const auto& one : open) {
      if (const auto error = one.exception()) {
        EXPECT_TRUE(brood::detail::exception_matches<brood::ManagerDied>(error));
      } else {
        EXPECT_EQ(one.get(), 25);
      }
    }
    for (const auto& one : maps) {
      if (one.exception()) continue;
      EXPECT_EQ(one.get(), squares(50));
    }
    EXPECT_TRUE(is_over);
    victim.join();
  }
  end.set();
}

// --- wrong use -------------------------------------------------------------------------------------------------------------

TEST_F(ManagedPoolOnce, WrongUseIsRefusedAndThePoolGoesOn) {
  EXPECT_THROW((void)manager.pool(0), brood::UsageError);
  EXPECT_THROW((void)manager.pool(-1), brood::UsageError);
  EXPECT_THROW((void)manager.pool(1, {.tasks_per_child = 0}), brood::UsageError);
  PoolProxy pool = manager.pool(1);
  EXPECT_THROW((void)pool.map(square, numbers(2), {.chunk_size = -1}), brood::UsageError);
  EXPECT_THROW((void)pool.imap(square, numbers(2), {.chunk_size = 0}), brood::UsageError);
  EXPECT_THROW((void)pool.imap(square, numbers(2), {.look_ahead = -1}), brood::UsageError);
  EXPECT_THROW((void)pool.submit(static_cast<int (*)(int)>(nullptr), 1), brood::UsageError);
  EXPECT_THROW(pool.resize(0), brood::UsageError);
  const PoolProxy other = manager.pool(1);
  const auto theirs = other.submit(square, 1);
  EXPECT_THROW((void)pool.cancel(theirs), brood::UsageError);
  EXPECT_THROW((void)pool.cancel(brood::Promise<int>().future()), brood::UsageError);
  EXPECT_EQ(pool.apply(square, 3), 9);
  pool.resize(3);
  EXPECT_EQ(pool.size(), 3U);
  std::ostringstream text;
  text << pool;
  EXPECT_EQ(text.str().find("<Pool number "), 0U) << text.str();
  const PoolProxy moved = std::move(pool);
  EXPECT_THROW((void)pool.submit(square, 1), brood::UsageError);  // NOLINT(bugprone-use-after-move): what it says then
  EXPECT_EQ(moved.apply(square, 4), 16);
  EXPECT_EQ(theirs.get(), 1);
}

TEST_F(ManagedPoolOnce, TheServerMayBeADaemonOrThisProcess) {
  brood::Manager daemon({.process = {.daemon = true}});
  EXPECT_EQ(daemon.pool(2).map(square, numbers(10)), squares(10));
  brood::ManagerServer here;
  std::thread serving([&] { here.serve_forever(); });
  {
    brood::ManagerClient client(here.address());
    const PoolProxy pool = client.pool(2);
    EXPECT_EQ(pool.map(square, numbers(10)), squares(10));
    EXPECT_NE(pool.apply(worker_pid), ::getpid());
  }
  here.stop();
  serving.join();
}

TEST_F(ManagedPoolOnce, WhatIsTooLongIsRefusedAndTheRestComes) {
  brood::Manager narrow({.max_message = 100'000});
  const PoolProxy pool = narrow.pool(1);
  EXPECT_THROW((void)pool.submit([](const std::string& in) { return in.size(); }, std::string(200'000, 'x')),
               brood::NoSpace);
  const auto large = [](int size) { return std::string(static_cast<std::size_t>(size), 'x'); };
  const auto outcomes = pool.map_outcomes(large, std::vector{10, 200'000, 90'000, 99'000, 20}, {.chunk_size = 1});
  EXPECT_EQ(outcomes[0]->size(), 10U);
  EXPECT_THROW((void)outcomes[1].value(), brood::NoSpace);
  for (const std::size_t i : {2U, 3U, 4U}) EXPECT_TRUE(outcomes[i]) << i;
}

TEST_F(ManagedPoolOnce, AnotherProgramsFunctionsAreNotFound) {
  brood::Manager open({.address = brood::TcpAddress{"127.0.0.1", 0}, .authkey = "secret"});
  const PoolProxy pool = open.pool(2);
  open.publish("pool", pool);
  const auto elsewhere =
      run_program(test_program("elsewhere"), {open.address().str()},
                  {.environment = {"BROOD_DOMAIN=/dev/shm/brood-test-elsewhere-" + std::to_string(::getpid())}});
  EXPECT_EQ(elsewhere.code, 0) << elsewhere.err;
  EXPECT_EQ(pool.apply(square, 3), 9);
}

TEST_F(ManagedPoolOnce, RequestsThatMakeNoSenseAreRefused) {
  brood::Manager open({.authkey = "secret"});
  const PoolProxy pool = open.pool(1);
  const std::uint64_t number = pool.core().object();
  Stranger stranger(open.address(), "secret", true);
  std::uint64_t id = 0;
  const auto ask = [&](std::string_view method, auto arguments) {
    stranger.say(Stranger::request(++id, number, method, arguments));
    stranger.hear_answer();
  };
  EXPECT_THROW(ask("apply", nothing), brood::UsageError);
  EXPECT_THROW(ask("submit", nothing), brood::DecodeError);
  const auto submit = [&](std::vector<std::uint64_t> ends, std::vector<std::uint64_t> handle_ends) {
    ask("submit", [&](brood::Encoder& out) {
      out.array_header(3);
      brood::manager::PoolTask task{.box = 1, .number = 1};
      task.ends = std::move(ends);
      task.handle_ends = std::move(handle_ends);
      brood::detail::encode(out, task);
      out.bin(std::vector<std::byte>(10));
      out.array_header(0);
    });
  };
  EXPECT_THROW(submit({}, {}), brood::DecodeError);
  EXPECT_THROW(submit({11}, {}), brood::DecodeError);
  EXPECT_THROW(submit({8, 4, 10}, {}), brood::DecodeError);
  EXPECT_THROW(submit({10}, {1}), brood::DecodeError);
  EXPECT_THROW(submit({4, 10}, {0}), brood::DecodeError);
  EXPECT_THROW(submit({10}, {}), brood::StartError) << "no such function";
  const auto one = [](brood::Encoder& out) {
    out.array_header(1);
    out.uint(7);
  };
  ask("results", one);  // at once: there is nothing to wait for
  ask("leave", one);
  EXPECT_EQ(pool.apply(square, 3), 9);
}

// --- the journal -----------------------------------------------------------------------------------------------------------

class ManagedPoolJournal : public Processes, public ::testing::WithParamInterface<std::uint64_t> {
 protected:
  ManagedPoolJournal() { std::filesystem::create_directory(directory_); }
  ~ManagedPoolJournal() override { std::filesystem::remove_all(directory_); }
  [[nodiscard]] brood::ManagerOptions options() const {
    return {.journal = directory_ / "journal", .journal_spare_bytes = GetParam()};
  }
  const std::filesystem::path directory_ =
      std::filesystem::temp_directory_path() / ("brood-pool-journal-" + std::to_string(::getpid()));
};
/// As it was written; and after it was written anew.
INSTANTIATE_TEST_SUITE_P(Spare, ManagedPoolJournal, ::testing::Values(1000, 1U << 20));

TEST_P(ManagedPoolJournal, ARestartedServerHasThePoolWithoutItsTasks) {
  brood::Manager first(options());
  const auto add = [](int& state, int x) { return state + x; };
  const PoolProxy pool = first.pool(2, {.initializer = {[](int start) { return start; }, 5}});
  const PoolProxy closed = first.pool(1);
  const PoolProxy ended = first.pool(1);
  EXPECT_EQ(pool.apply(add, 1), 6);
  closed.close();
  ended.terminate();
  pool.resize(3);
  EXPECT_THROW(pool.resize(-5), brood::UsageError);
  auto busy = first.value<int>(0);
  for (int i = 0; i < 200; ++i) busy.set(i);
  Pipe said;
  Pipe gate;
  const auto wait = [](int&, const std::string& writer, const std::string& reader) { return gated(1, writer, reader); };
  const Future<int> runs = pool.submit(wait, said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "inside");
  ::kill(static_cast<pid_t>(*first.pid()), SIGKILL);
  first.join();
  EXPECT_THROW((void)runs.get(), brood::ManagerDied);
  brood::Manager second(options());
  EXPECT_EQ(pool.size(), 3U);
  EXPECT_EQ(pool.insight().finished, 0U);
  EXPECT_EQ(pool.map(add, numbers(3)), (std::vector{5, 6, 7}));
  EXPECT_THROW((void)closed.submit(square, 1), brood::UsageError);
  closed.join();
  EXPECT_THROW((void)ended.submit(square, 1), brood::UsageError);
  ended.join();
}

}  // namespace
