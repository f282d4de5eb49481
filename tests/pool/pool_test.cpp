// What a Pool does as long as nobody dies.
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <sstream>
#include <tuple>

#include "brood/event.hpp"
#include "brood/queue.hpp"
#include "brood/shared_memory.hpp"
#include "brood/value.hpp"
#include "pool/pool_support.hpp"
#include "support/made.hpp"

namespace {

using namespace pool_test;

int negative_fails(int x) {
  if (x < 0) throw std::out_of_range("negative: " + std::to_string(x));
  return x;
}
std::string twice(const std::string& text) { return text + text; }
void nothing(int /*x*/) {}
std::vector<double> many(std::size_t n) { return std::vector<double>(n, 1.5); }
double sum(const std::vector<double>& all) { return std::accumulate(all.begin(), all.end(), 0.0); }
long add_to(brood::Value<long>& total, long n) {
  *total.lock() += n;
  return n;
}
std::int64_t bytes_of(brood::SharedMemory& memory, std::size_t at) {
  memory.bytes()[at] = std::byte{7};
  return static_cast<std::int64_t>(memory.size());
}
int nested_map(int n) {
  Pool inner(2);
  std::vector<int> items(static_cast<std::size_t>(n));
  std::iota(items.begin(), items.end(), 0);
  const std::vector<int> squares = inner.map(square, items);
  return std::accumulate(squares.begin(), squares.end(), 0);
}

TEST_P(EveryPool, MapKeepsTheOrder) {
  Pool pool = make(3);
  EXPECT_EQ(pool.map(square, std::vector{1, 2, 3}), (std::vector{1, 4, 9}));
  EXPECT_EQ(pool.map(square, {4, 5}), (std::vector{16, 25}));
  std::vector<int> items(1000);
  std::iota(items.begin(), items.end(), 0);
  for (const std::int64_t chunk : {0, 1, 7, 1000, 5000}) {
    const std::vector<int> squares = pool.map(square, items, {.chunk_size = chunk});
    ASSERT_EQ(squares.size(), items.size());
    for (std::size_t i = 0; i < items.size(); ++i) ASSERT_EQ(squares[i], items[i] * items[i]);
  }
}

TEST_P(EveryPool, RunsItsTasksInOtherProcessesAndSeveral) {
  Pool pool = make(2);
  Pipe gate;
  Pipe said;
  // Both are inside at the same time, so there are two.
  auto one = pool.submit(gated, 1, said.writer(), gate.reader());
  auto two = pool.submit(gated, 2, said.writer(), gate.reader());
  const std::set<std::string> inside{said.line(), said.line()};
  EXPECT_EQ(inside, (std::set<std::string>{"inside 1", "inside 2"}));
  EXPECT_TRUE(one.running());
  gate.let_go(2);
  EXPECT_EQ(one.get() + two.get(), 3);
  EXPECT_NE(pool.apply(own_pid, 0), ::getpid());
}

TEST_P(EveryPool, ExceptionsComeHomeWithTheirType) {
  Pool pool = make(2);
  EXPECT_THROW((void)pool.apply(negative_fails, -1), std::out_of_range);
  EXPECT_EQ(pool.apply(negative_fails, 5), 5);
  // The first failure in the order of the input, once all have ended.
  EXPECT_EQ(text_of<std::out_of_range>([&] {
              (void)pool.map(negative_fails, {1, -2, 3, -4}, {.chunk_size = 1});
            }),
            "negative: -2");
  try {
    (void)pool.apply(negative_fails, -1);
    ADD_FAILURE();
  } catch (const brood::RemoteError& error) {
    EXPECT_NE(error.pid(), ::getpid());
    EXPECT_EQ(error.process_name().substr(0, 10), "PoolWorker");
  }
  const auto outcomes = pool.map_outcomes(negative_fails, std::vector{1, -2, 3}, {.chunk_size = 3});
  ASSERT_EQ(outcomes.size(), 3U);
  EXPECT_EQ(*outcomes[0], 1);
  EXPECT_FALSE(outcomes[1]);
  EXPECT_THROW((void)outcomes[1].value(), std::out_of_range);
  EXPECT_EQ(outcomes[1].value_or(9), 9);
  EXPECT_EQ(*outcomes[2], 3);
}

TEST_P(EveryPool, TheInitializersObjectIsHandedToTasks) {
  brood::PoolOptions options = by(GetParam());
  options.initializer = {[](const std::string& word, int n) {
                           auto out = std::make_unique<std::vector<std::string>>();
                           out->assign(static_cast<std::size_t>(n), word);
                           return out;
                         },
                         "word", 3};
  Pool pool(2, options);
  const auto count = [](std::unique_ptr<std::vector<std::string>>& state, int more) {
    return static_cast<int>(state->size()) + more;
  };
  EXPECT_EQ(pool.map(count, {10, 20}), (std::vector{13, 23}));
  // The same object each time.
  const auto grow = [](std::unique_ptr<std::vector<std::string>>& state) {
    state->push_back("one more");
    return state->size();
  };
  Pool alone(1, options);
  EXPECT_EQ(alone.apply(grow), 4U);
  EXPECT_EQ(alone.apply(grow), 5U);
  const auto wants_int = [](int& state, int n) { return state + n; };
  EXPECT_THROW((void)pool.apply(wants_int, 1), brood::UsageError);
  EXPECT_THROW((void)make(1).apply(wants_int, 1), brood::UsageError);
}

TEST_P(EveryPool, AFailingInitializerBreaksThePoolWithItsCause) {
  brood::PoolOptions options = by(GetParam());
  options.initializer = {[](int n) -> int { throw std::out_of_range("no model " + std::to_string(n)); }, 7};
  Pool pool(2, options);
  try {
    // Submitted before anybody knows, or after.
    for (;;) (void)pool.apply(square, 1);
  } catch (const brood::PoolBroken& error) {
    EXPECT_NE(std::string(error.what()).find("no model 7"), std::string::npos) << error.what();
    EXPECT_THROW(std::rethrow_if_nested(error), std::out_of_range);
  }
  EXPECT_THROW((void)pool.submit(square, 1), brood::PoolBroken);
  EXPECT_THROW((void)pool.map(square, {1}), brood::PoolBroken);
  EXPECT_THROW(pool.join(), brood::UsageError);
  EXPECT_LE(pool.insight().deaths, 2U);  // nobody tries again and again
}

TEST_P(EveryPool, ATaskMayMakeAPool) {
  Pool pool = make(2);
  EXPECT_EQ(pool.map(nested_map, {3, 4}, {.chunk_size = 1}), (std::vector{5, 14}));
}

INSTANTIATE_FOR_EVERY_METHOD_IN_THREADS(EveryPool);

TEST_F(Pools, TakesAnyInputRangeAndAnyFunction) {
  Pool pool(2);
  EXPECT_EQ(pool.map<&square>(std::list{1, 2}), (std::vector{1, 4}));
  EXPECT_EQ(pool.map([](int x) { return x + 1; }, std::deque{1, 2}), (std::vector{2, 3}));
  EXPECT_EQ(pool.map([](auto x) { return x + 1; }, std::array{1.5, 2.5}), (std::vector{2.5, 3.5}));
  EXPECT_EQ(pool.map([](int x) { return x > 1; }, std::vector{1, 2}), (std::vector{false, true}));
  EXPECT_EQ(pool.map(square, support::numbers_from(5, 8)), (std::vector{25, 36, 49}));  // single-pass
  EXPECT_EQ(pool.map(twice, std::vector<const char*>{"a", "b"}), (std::vector<std::string>{"aa", "bb"}));
  pool.map(nothing, {1, 2, 3});
  EXPECT_EQ(pool.starmap(add, std::map<int, int>{{1, 2}, {3, 4}}), (std::vector{3, 7}));
  EXPECT_EQ(pool.starmap(add, std::vector{std::tuple(1, short{2})}), std::vector{3});
  EXPECT_EQ(pool.starmap<&add>(std::vector{std::array{1, 2}}), std::vector{3});
  EXPECT_EQ(pool.starmap_async(add, std::vector{std::pair(5, 6)}).get(), std::vector{11});
  EXPECT_EQ(pool.apply_async(add, 1, 2).get(), 3);
  EXPECT_EQ(pool.submit<&add>(1, 2).get(), 3);
  EXPECT_EQ(pool.apply({.priority = 3}, add, 1, 2), 3);
  pool.apply(nothing, 1);
}

TEST_F(Pools, AnEmptyInputIsDoneAtOnce) {
  Pool pool(1);
  EXPECT_TRUE(pool.map(square, std::vector<int>{}).empty());
  EXPECT_TRUE(pool.map_async(square, std::vector<int>{}).done());
  EXPECT_TRUE(pool.map_outcomes(square, std::vector<int>{}).empty());
  pool.map(nothing, std::vector<int>{});
  pool.close();
  EXPECT_THROW((void)pool.map(square, std::vector<int>{}), brood::UsageError);
}

TEST_F(Pools, MisuseIsSaid) {
  EXPECT_THROW(Pool(0), brood::UsageError);
  EXPECT_THROW(Pool(-1), brood::UsageError);
  EXPECT_THROW(Pool(1, {.tasks_per_child = 0}), brood::UsageError);
  EXPECT_THROW(Pool(1, {.tasks_per_child = -5}), brood::UsageError);
  Pool pool(1);
  EXPECT_THROW((void)pool.map(square, {1}, {.chunk_size = -1}), brood::UsageError);
  EXPECT_THROW((void)pool.imap(square, std::vector{1}, {.chunk_size = 0}), brood::UsageError);
  EXPECT_THROW((void)pool.imap(square, std::vector{1}, {.look_ahead = -1}), brood::UsageError);
  int (*const none)(int) = nullptr;
  EXPECT_THROW((void)pool.submit(none, 1), brood::UsageError);
  EXPECT_THROW(pool.join(), brood::UsageError);
  EXPECT_THROW(pool.resize(0), brood::UsageError);
  Pool moved = std::move(pool);
  EXPECT_THROW((void)pool.submit(square, 1), brood::UsageError);
  EXPECT_EQ(moved.apply(square, 3), 9);
  EXPECT_EQ((std::ostringstream() << pool).str(), "<Pool moved from>");
  EXPECT_EQ((std::ostringstream() << moved).str(), "<Pool running workers=1 queued=0>");
}

TEST_F(Pools, CloseLetsWhatIsThereBeDone) {
  Pool pool(2);
  auto all = pool.map_async(square, std::vector(500, 3), {.chunk_size = 1});
  pool.close();
  pool.close();
  EXPECT_THROW((void)pool.submit(square, 1), brood::UsageError);
  EXPECT_THROW((void)pool.imap(square, std::vector{1}), brood::UsageError);
  pool.join();
  pool.join();
  EXPECT_TRUE(all.done());
  EXPECT_EQ(all.get(), std::vector(500, 9));
  EXPECT_TRUE(pool.insight().workers.empty());
  pool.terminate();
}

TEST_F(Pools, TerminateFailsWhatIsThere) {
  Pipe gate;
  Pipe said;
  Pool pool(1);
  auto inside = pool.submit(gated, 1, said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "inside 1");
  auto queued = pool.submit(square, 2);
  auto mapped = pool.map_async(square, std::vector{3, 4});
  pool.terminate();
  EXPECT_THROW((void)inside.get(), brood::PoolTerminated);
  EXPECT_THROW((void)queued.get(), brood::CancelledError);
  EXPECT_TRUE(queued.cancelled());
  EXPECT_THROW((void)mapped.get(), brood::PoolTerminated);
  EXPECT_THROW((void)pool.submit(square, 1), brood::UsageError);
  pool.terminate();
  pool.join();
  pool.join();
}

TEST_F(Pools, TheEndOfTheScopeEndsEverything) {
  brood::Future<int> left;
  {
    Pipe said;
    Pipe gate;
    Pool pool(2);
    left = pool.submit(gated, 1, said.writer(), gate.reader());
    EXPECT_EQ(said.line(), "inside 1");
  }
  EXPECT_THROW((void)left.get(), brood::PoolTerminated);
}

TEST_F(Pools, AForkedCopyIsNobodys) {
  Pool pool(1);
  auto open = pool.submit(square, 5);
  const pid_t child = ::fork();
  if (child == 0) {
    int code = 0;
    try {
      (void)pool.submit(square, 1);
      code = 1;
    } catch (const brood::UsageError&) {
      code = 0;
    }
    {
      Pool moved = std::move(pool);  // its destructor does nothing
    }
#if !SUPPORT_TSAN  // as for INSTANTIATE_FOR_EVERY_METHOD_IN_THREADS
    // A pool of its own is fine.
    Pool own(1, by(StartMethod::fork));
    if (own.apply(square, 3) != 9) code = 2;
    own.terminate();
    own.join();
#endif
    std::_Exit(code);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(open.get(), 25);
}

TEST_F(Pools, SharedObjectsAreArguments) {
  Pool pool(2);
  brood::Value<long> total(0);
  std::vector<brood::Future<long>> open;
  for (long n = 1; n <= 100; ++n) open.push_back(pool.submit(add_to, total, n));
  long expected = 0;
  for (const auto& one : open) expected += one.get();
  EXPECT_EQ(*total.lock(), expected);
  brood::SharedMemory memory(1 << 20);
  EXPECT_EQ(pool.apply(bytes_of, memory, 12345), 1 << 20);
  EXPECT_EQ(memory.bytes()[12345], std::byte{7});
}

TEST_F(Pools, LargeArgumentsAndResultsTravel) {
  Pool pool(2);
  for (const std::size_t n : {100UL, 1023UL, 1025UL, 9000UL, 300'000UL, 3'000'000UL}) {
    const std::vector<double> out = pool.apply(many, n);
    ASSERT_EQ(out.size(), n);
    EXPECT_DOUBLE_EQ(pool.apply(sum, out), 1.5 * static_cast<double>(n));
  }
  const std::vector<std::vector<double>> inputs(20, std::vector<double>(200'000, 2.0));
  EXPECT_EQ(pool.map(sum, inputs, {.chunk_size = 3}), std::vector(20, 400'000.0));
  const auto texts = pool.map(twice, std::vector(300, std::string(5000, 'x')), {.chunk_size = 1});
  for (const std::string& text : texts) ASSERT_EQ(text.size(), 10'000U);
}

TEST_F(Pools, ActionsOfFuturesMayUseThePool) {
  Pool pool(2);
  std::atomic<int> nested = 0;
  std::atomic<int> called = 0;
  std::vector<brood::Future<int>> all;
  for (int i = 0; i < 50; ++i) {
    all.push_back(pool.submit(square, i));
    all.back().on_done([&](const brood::Future<int>& done) {
      nested += pool.apply(add, done.get(), 1);
      ++called;
    });
  }
  for (const auto& one : all) one.wait();
  wait_until([&] { return called == 50; });
  int expected = 0;
  for (int i = 0; i < 50; ++i) expected += i * i + 1;
  EXPECT_EQ(nested, expected);
  EXPECT_EQ(pool.submit(square, 3).then([](int n) { return n + 1; }).get(), 10);
}

TEST_F(Pools, ManyThreadsWaitAtTheSameTime) {
  Pool pool(2);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < 500; ++i) {
        if (i % 3 == 0) EXPECT_EQ(pool.apply(add, t, i), t + i);
        else if (i % 3 == 1) EXPECT_EQ(pool.map(square, {i, t}), (std::vector{i * i, t * t}));
        else EXPECT_EQ(pool.submit(add, i, 1).then([](int n) { return n * 2; }).get(), 2 * (i + 1));
      }
    });
  }
}

TEST_F(Pools, NobodyNeedWaitForResultsToCome) {
  Pool pool(2);
  std::atomic<int> done = 0;
  for (int i = 0; i < 200; ++i) pool.submit(square, i).on_done([&](const auto&) { ++done; });
  wait_until([&] { return done == 200; });
}

TEST_F(Pools, AWaitThatIsTooShortLosesNothing) {
  Pipe gate;
  Pipe said;
  Pool pool(1);
  auto inside = pool.submit(gated, 5, said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "inside 5");
  EXPECT_FALSE(inside.wait_for(0s));
  EXPECT_FALSE(inside.wait_for(20ms));
  EXPECT_THROW((void)inside.get_for(1ms), brood::TimeoutError);
  gate.let_go();
  EXPECT_EQ(inside.get(), 5);
  EXPECT_EQ(inside.get(), 5);
}

}  // namespace
