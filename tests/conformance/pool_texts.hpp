// What a pool does, for the tests of Pool and of PoolProxy: one text, two bodies.
#pragma once

#include <algorithm>
#include <atomic>
#include <future>
#include <list>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "brood/atomic.hpp"
#include "brood/futures.hpp"
#include "conformance/pool_fixture.hpp"
#include "support/made.hpp"

namespace conformance {

class Unlucky : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
inline const brood::RegisterException<Unlucky> kUnlucky;
inline int unlucky(int x) { throw Unlucky("number " + std::to_string(x)); }

/// `Kind` has make(workers, options).
namespace pool_texts {

template <class Kind>
void ZeroOrNegativeWorkersAreRefusedAndAValidNumberIsMade(Kind& kind) {
  EXPECT_THROW((void)kind.make(0), brood::UsageError);
  EXPECT_THROW((void)kind.make(-1), brood::UsageError);
  auto pool = kind.make(4);
  EXPECT_EQ(pool.insight().workers.size(), 4U);
}

template <class Kind>
void TaskLimitMustBePositive(Kind& kind) {
  EXPECT_THROW((void)kind.make(3, {.tasks_per_child = 0}), brood::UsageError);
  EXPECT_THROW((void)kind.make(3, {.tasks_per_child = -1}), brood::UsageError);
  static_assert(!std::is_constructible_v<decltype(brood::PoolOptions::tasks_per_child), const char*>);
}

template <class Kind>
void InitializerRunsOncePerWorkerBeforeItsTasks(Kind& kind) {
  brood::Atomic<int> runs(0);
  const auto begin = [](brood::Atomic<int>& all, int start) {
    all.fetch_add(1);
    return start;
  };
  auto pool = kind.make(2, {.initializer = {begin, runs, 5}});
  const auto add = [](int& state, int x) { return state + x; };
  EXPECT_EQ(pool.map(add, numbers(10), {.chunk_size = 1}), [] {
    std::vector<int> expected(10);
    std::iota(expected.begin(), expected.end(), 5);
    return expected;
  }());
  pool.close();
  pool.join();
  EXPECT_EQ(runs.load(), 2);
  static_assert(
      !std::is_convertible_v<int, void (*)()>);  // what cannot be called is no Initializer: it does not compile
}

template <class Kind>
void AFailingInitializerBreaksThePoolWithItsCause(Kind& kind) {
  brood::Atomic<int> runs(0);
  const auto fail = [](brood::Atomic<int>& all) -> int {
    all.fetch_add(1);
    throw std::domain_error("no license");
  };
  auto pool = kind.make(2, {.initializer = {fail, runs}});
  const std::string text = text_of<brood::PoolBroken>([&] {
    for (;;) (void)pool.apply(square, 1);
  });
  EXPECT_TRUE(contains(text, "no license")) << text;
  EXPECT_THROW((void)pool.map(square, {1}), brood::PoolBroken);
  pool.terminate();
  pool.join();
  EXPECT_LE(runs.load(), 2);  // nobody was started again
}

template <class Kind>
void ApplyReturnsTheResult(Kind& kind) {
  auto pool = kind.make(2);
  EXPECT_EQ(pool.apply(square, 5), 25);
  EXPECT_EQ(pool.apply(multiply, 3, 4), 12);
  EXPECT_NE(pool.apply(worker_pid), ::getpid());
  EXPECT_EQ(pool.apply_async(multiply, 5, 6).get(), 30);
  pool.close();
  EXPECT_THROW((void)pool.apply(square, 5), brood::UsageError);
  EXPECT_THROW((void)pool.apply_async(square, 5), brood::UsageError);
}

template <class Kind>
void GetWaitsAsLongAsTheTaskTakes(Kind& kind) {
  auto pool = kind.make(2);
  const Stopwatch watch;
  const auto nap = [](int x) {
    std::this_thread::sleep_for(50ms);
    return x * x;
  };
  const Future<int> result = pool.apply_async(nap, 7);
  EXPECT_EQ(result.get(), 49);
  EXPECT_GE(watch.elapsed(), 50ms);
}

template <class Kind>
void TimedGetThrowsWhileTheTaskRunsOn(Kind& kind) {
  auto pool = kind.make(2);
  Pipe said;
  Pipe gate;
  const Future<int> result = pool.apply_async(gated, 6, said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "inside");
  const Stopwatch watch;
  EXPECT_THROW((void)result.get_for(20ms), brood::TimeoutError);
  EXPECT_GE(watch.elapsed(), 20ms);
  EXPECT_THROW((void)result.get_for(-1ms), brood::TimeoutError);
  EXPECT_FALSE(result.done());
  gate.let_go();
  EXPECT_EQ(result.get(), 6);
  EXPECT_EQ(result.get(), 6);
}

template <class Kind>
void WaitReadyAndSuccessfulOfAResult(Kind& kind) {
  auto pool = kind.make(1);
  Pipe said;
  Pipe gate;
  const Future<int> good = pool.submit(gated, 6, said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "inside");
  EXPECT_FALSE(good.done());
  EXPECT_FALSE(good.wait_for(1ms));
  gate.let_go();
  good.wait();
  EXPECT_TRUE(good.done());
  EXPECT_EQ(good.exception(), nullptr);
  const Future<int> bad = pool.submit(three_fails, 3);
  bad.wait();
  EXPECT_TRUE(bad.done());
  EXPECT_NE(bad.exception(), nullptr);
}

template <class Kind>
void CallbacksGetTheResultOrTheError(Kind& kind) {
  auto pool = kind.make(2);
  std::atomic<int> sum = 0;
  std::atomic<int> failures = 0;
  std::atomic<int> called = 0;
  const auto look = [&](const auto& done) {
    if (done.exception()) {
      ++failures;
    } else if constexpr (std::is_same_v<decltype(done.get()), int>) {
      sum += done.get();
    } else {
      for (const int x : done.get()) sum += x;
    }
    ++called;
  };
  pool.map_async(square, numbers(4)).on_done(look);
  pool.map_async(three_fails, numbers(5)).on_done(look);
  pool.apply_async(square, 10).on_done(look);
  pool.apply_async(three_fails, 3).on_done(look);
  wait_until([&] { return called == 4; });
  EXPECT_EQ(sum, 0 + 1 + 4 + 9 + 100);
  EXPECT_EQ(failures, 2);
}

template <class Kind>
void AThrowingCallbackHarmsNobody(Kind& kind) {
  auto pool = kind.make(2);
  std::atomic<int> called = 0;
  for (int i = 0; i < 10; ++i) {
    pool.submit(square, i).on_done([&](const auto& /*done*/) {
      ++called;
      throw std::runtime_error("(thrown on purpose)");
    });
  }
  wait_until([&] { return called == 10; });
  EXPECT_EQ(pool.apply(square, 9), 81);
  pool.terminate();
  pool.join();
}

template <class Kind>
void TaskErrorsReachTheFutureAndItsCallback(Kind& kind) {
  auto pool = kind.make(2);
  Future<int> result = pool.submit(three_fails, 3);
  std::promise<std::exception_ptr> seen;
  result.on_done([&](const Future<int>& done) { seen.set_value(done.exception()); });
  EXPECT_THROW((void)result.get(), std::domain_error);
  EXPECT_THROW(std::rethrow_exception(seen.get_future().get()), std::domain_error);
}

template <class Kind>
void TaskErrorsKeepTypeTextAndTheWorkersTrace(Kind& kind) {
  auto pool = kind.make(1);
  EXPECT_EQ(text_of<std::domain_error>([&] { (void)pool.apply(three_fails, 3); }), "three");
  try {
    (void)pool.apply(three_fails, 3);
    FAIL();
  } catch (const brood::RemoteError& remote) {
    EXPECT_NE(remote.pid(), ::getpid());
    EXPECT_EQ(remote.pid(), pool.apply(worker_pid));
    EXPECT_EQ(remote.type_name(), "std::domain_error");
    EXPECT_TRUE(contains(remote.stack(), "three_fails")) << remote.stack();
    EXPECT_TRUE(contains(remote.report(), "three")) << remote.report();
  }
  try {
    (void)pool.map(three_fails, numbers(10));
    FAIL();
  } catch (const brood::RemoteError& remote) {
    EXPECT_TRUE(contains(remote.stack(), "three_fails")) << remote.stack();
  }
}

template <class Kind>
void RegisteredTypesComeHomeAsThemselves(Kind& kind) {
  auto pool = kind.make(1);
  EXPECT_EQ(text_of<Unlucky>([&] { (void)pool.apply(unlucky, 13); }), "number 13");
  EXPECT_EQ(text_of<Unlucky>([&] { (void)pool.map(unlucky, {13, 14}); }), "number 13");
  EXPECT_EQ(text_of<Unlucky>([&] { (void)pool.imap(unlucky, std::vector{13}).next(); }), "number 13");
}

template <class Kind>
void WhatCannotBeEncodedIsThrownByTheSender(Kind& kind) {
  auto pool = kind.make(2);
  const Bad bad{.at = Bad::At::send};
  EXPECT_THROW((void)pool.apply(pass_bad, bad), std::domain_error);
  EXPECT_THROW((void)pool.map(pass_bad, std::vector{Bad{}, bad}), std::domain_error);
  EXPECT_THROW((void)pool.map_async(pass_bad, std::vector(10, bad)), std::domain_error);
  EXPECT_EQ(pool.apply(square, 3), 9);
}

template <class Kind>
void AResultThatCannotBeEncodedFailsItsTaskTwentyTimes(Kind& kind) {
  auto pool = kind.make(2);
  const Bad bad{.at = Bad::At::answer};
  for (int i = 0; i < 20; ++i) {
    const auto outcomes = pool.map_outcomes(pass_bad, std::vector{Bad{}, bad, Bad{}}, {.chunk_size = 3});
    EXPECT_TRUE(outcomes[0]);
    EXPECT_THROW((void)outcomes[1].value(), std::exception);
    EXPECT_TRUE(outcomes[2]);
  }
  EXPECT_EQ(pool.insight().deaths, 0U);
}

template <class Kind>
void ATaskThatExitsFailsWithWorkerDied(Kind& kind) {
  auto pool = kind.make(2);
  const auto leave = [](int code) -> int { std::exit(code); };
  try {
    (void)pool.apply(leave, 5);
    FAIL();
  } catch (const brood::WorkerDied& died) {
    EXPECT_EQ(died.exitcode(), 5);
  }
  EXPECT_EQ(pool.map(square, numbers(10)), squares(10));
}

template <class Kind>
void AKilledWorkerCostsOneTask(Kind& kind) {
  auto pool = kind.make(2);
  Pipe said;
  Pipe gate;
  const Future<int> victim = pool.submit(gated, 1, said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "inside");
  for (const auto& worker : pool.insight().workers) ::kill(static_cast<pid_t>(worker.pid), SIGKILL);
  EXPECT_THROW((void)victim.get(), brood::WorkerDied);
  EXPECT_EQ(pool.map(square, numbers(100)), squares(100));
  EXPECT_EQ(pool.size(), 2U);
}

template <class Kind>
void MapIsTheSequentialMap(Kind& kind) {
  auto pool = kind.make(4);
  EXPECT_EQ(pool.map(square, numbers(10)), squares(10));
  EXPECT_EQ(pool.map(square, numbers(100), {.chunk_size = 20}), squares(100));
  EXPECT_EQ(pool.map(square, std::list{1, 2}), (std::vector{1, 4}));
  EXPECT_EQ(pool.map(square, support::numbers_from(0, 30)), squares(30));
  EXPECT_EQ(pool.map_async(square, numbers(100)).get(), squares(100));
  EXPECT_THROW((void)pool.map(square, numbers(3), {.chunk_size = -1}), brood::UsageError);
  EXPECT_EQ(pool.map(square, numbers(3), {.chunk_size = 0}), squares(3));  // 0 is: choose one
}

template <class Kind>
void StarmapTakesTuplesApart(Kind& kind) {
  auto pool = kind.make(4);
  std::vector<std::pair<int, int>> pairs;
  std::vector<int> expected;
  for (int i = 0; i < 100; ++i) {
    pairs.emplace_back(i, i + 1);
    expected.push_back(i * (i + 1));
  }
  EXPECT_EQ(pool.starmap(multiply, pairs), expected);
  EXPECT_EQ(pool.starmap(multiply, pairs, {.chunk_size = 20}), expected);
  EXPECT_EQ(pool.starmap(multiply, std::vector{std::tuple(2, 3)}), std::vector{6});
  EXPECT_EQ(pool.starmap_async(multiply, pairs).get(), expected);
}

template <class Kind>
void EmptyInputsGiveEmptyResultsAtOnce(Kind& kind) {
  auto pool = kind.make(1);
  const std::vector<int> none;
  const std::vector<std::pair<int, int>> no_pairs;
  EXPECT_TRUE(pool.map(square, none).empty());
  EXPECT_TRUE(pool.map(square, none, {.chunk_size = 5}).empty());
  EXPECT_TRUE(pool.starmap(multiply, no_pairs).empty());
  EXPECT_TRUE(pool.map_async(square, none).done());
  EXPECT_TRUE(pool.starmap_async(multiply, no_pairs).done());
  EXPECT_TRUE(all_of(pool.imap(square, none)).empty());
  EXPECT_TRUE(all_of(pool.imap_unordered(square, none)).empty());
  EXPECT_TRUE(pool.map_outcomes(square, none).empty());
}

template <class Kind>
void AFailureOfTheInputIsThrownAndThePoolStaysUsable(Kind& kind) {
  auto pool = kind.make(2);
  for (const int good : {0, 1, 10}) {
    EXPECT_THROW((void)pool.map(square, FailingInput(good)), std::range_error);
    EXPECT_THROW((void)pool.map(square, FailingInput(good), {.chunk_size = 1}), std::range_error);
  }
  EXPECT_EQ(pool.map(square, numbers(5)), squares(5));
}

template <class Kind>
void MapThrowsOnceAllTasksHaveEnded(Kind& kind) {
  auto pool = kind.make(2);
  brood::Atomic<int> ended(0);
  const auto count = [](brood::Atomic<int>*& all, int x) {
    if (x == 0) throw std::domain_error("the first one");
    std::this_thread::sleep_for(1ms);
    all->fetch_add(1);
    return x;
  };
  const auto open = [](const std::string& handle) {
    static brood::Atomic<int> all = brood::Atomic<int>::open(brood::Handle(handle));
    return &all;
  };
  auto with_state = kind.make(2, {.initializer = {open, ended.handle().str()}});
  EXPECT_THROW((void)with_state.map(count, numbers(50), {.chunk_size = 1}), std::domain_error);
  EXPECT_EQ(ended.load(), 49);
  with_state.close();
  with_state.join();
  EXPECT_THROW((void)pool.map(three_fails, numbers(5)), std::domain_error);
  pool.close();
  pool.join();
}

template <class Kind>
void ImapIsOrderedAndEnds(Kind& kind) {
  auto pool = kind.make(4);
  EXPECT_EQ(all_of(pool.imap(square, numbers(1000))), squares(1000));
  EXPECT_EQ(all_of(pool.imap(square, numbers(1000), {.chunk_size = 100})), squares(1000));
  auto stream = pool.imap(square, numbers(10));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(stream.next(), i * i);
  EXPECT_EQ(stream.next(), std::nullopt);
  EXPECT_EQ(stream.next(), std::nullopt);
  EXPECT_THROW((void)pool.imap(square, numbers(2), {.chunk_size = 0}), brood::UsageError);
  EXPECT_THROW((void)pool.imap_unordered(square, numbers(2), {.chunk_size = -1}), brood::UsageError);
}

template <class Kind>
void ImapThrowsAtItsPlaceAndGoesOn(Kind& kind) {
  auto pool = kind.make(2);
  for (const std::int64_t chunk : {1, 3}) {
    auto stream = pool.imap(three_fails, numbers(6), {.chunk_size = chunk});
    for (int i = 0; i < 3; ++i) EXPECT_EQ(stream.next(), i);
    EXPECT_THROW((void)stream.next(), std::domain_error);
    EXPECT_EQ(stream.next(), 4);
    EXPECT_EQ(stream.next(), 5);
    EXPECT_EQ(stream.next(), std::nullopt);
  }
}

template <class Kind>
void AFailureOfTheInputComesBehindTheResultsBefore(Kind& kind) {
  auto pool = kind.make(2);
  for (const std::int64_t chunk : {1, 4}) {
    auto stream = pool.imap(square, FailingInput(10), {.chunk_size = chunk});
    for (int i = 0; i < 10; ++i) EXPECT_EQ(stream.next(), i * i);
    EXPECT_THROW((void)stream.next(), std::range_error);
    EXPECT_EQ(stream.next(), std::nullopt);
  }
  auto at_once = pool.imap(square, FailingInput(0));
  EXPECT_THROW((void)at_once.next(), std::range_error);
  EXPECT_EQ(pool.apply(square, 3), 9);
}

template <class Kind>
void ImapUnorderedGivesAllResults(Kind& kind) {
  auto pool = kind.make(4);
  for (const std::int64_t chunk : {1, 53}) {
    std::vector<int> all = all_of(pool.imap_unordered(square, numbers(500), {.chunk_size = chunk}));
    std::ranges::sort(all);
    EXPECT_EQ(all, squares(500));
  }
}

template <class Kind>
void AFailureOfTheInputComesAmongUnorderedResultsToo(Kind& kind) {
  auto pool = kind.make(2);
  for (const std::int64_t chunk : {1, 4}) {
    auto stream = pool.imap_unordered(square, FailingInput(10), {.chunk_size = chunk});
    std::vector<int> all;
    EXPECT_THROW(
        {
          for (;;) {
            const auto one = stream.next();
            if (!one) break;
            all.push_back(*one);
          }
        },
        std::range_error);
    std::ranges::sort(all);
    EXPECT_EQ(all, squares(10));
  }
}

template <class Kind>
void NextWithATimeoutCanBeRetried(Kind& kind) {
  auto pool = kind.make(1);
  Pipe said;
  Pipe gate;
  const auto wait = [](const std::tuple<int, std::string, std::string>& item) {
    return gated(std::get<0>(item), std::get<1>(item), std::get<2>(item));
  };
  const std::vector items{std::tuple(1, said.writer(), gate.reader()), std::tuple(2, said.writer(), gate.reader())};
  auto stream = pool.imap(wait, items);
  EXPECT_EQ(said.line(), "inside");
  EXPECT_THROW((void)stream.next_for(5ms), brood::TimeoutError);
  EXPECT_THROW((void)stream.next_for(0ms), brood::TimeoutError);
  gate.let_go(2);
  EXPECT_EQ(stream.next_for(1h), 1);
  EXPECT_EQ(stream.next_for(1h), 2);
  EXPECT_EQ(stream.next_for(1h), std::nullopt);
}

template <class Kind>
void CloseTakesNoMoreAndFinishesWhatIsThere(Kind& kind) {
  auto pool = kind.make(2);
  auto all = pool.map_async(square, numbers(200), {.chunk_size = 1});
  pool.close();
  pool.close();
  EXPECT_THROW((void)pool.map(square, numbers(2)), brood::UsageError);
  EXPECT_THROW((void)pool.imap(square, numbers(2)), brood::UsageError);
  pool.join();
  EXPECT_TRUE(all.done());
  EXPECT_EQ(all.get(), squares(200));
}

template <class Kind>
void TerminateDropsTenThousandQueuedTasks(Kind& kind) {
  auto pool = kind.make(2);
  const auto slow = [](int x) {
    std::this_thread::sleep_for(1h);
    return x;
  };
  auto all = pool.map_async(slow, numbers(10'000), {.chunk_size = 1});
  pool.terminate();
  pool.terminate();
  pool.join();
  EXPECT_TRUE(all.done());
  EXPECT_THROW((void)all.get(), brood::PoolTerminated);
}

template <class Kind>
void JoinNeedsAnEndAndMayBeRepeated(Kind& kind) {
  auto pool = kind.make(1);
  EXPECT_THROW(pool.join(), brood::UsageError);
  EXPECT_FALSE([&] {
    try {
      return pool.join_for(0s);
    } catch (const brood::UsageError&) {
      return false;
    }
  }());
  pool.close();
  pool.join();
  pool.join();
  EXPECT_TRUE(pool.join_for(0s));
  EXPECT_TRUE(pool.insight().workers.empty());
}

template <class Kind>
void LeavingTheScopeTerminatesAndNothingCanBeSubmittedAfterAnEnd(Kind& kind) {
  Future<void> left;
  {
    auto pool = kind.make(2);
    EXPECT_EQ(pool.map(square, numbers(3)), squares(3));
    left = pool.submit(sleep_for_ever);
  }
  EXPECT_THROW(left.get(), brood::PoolTerminated);
  auto pool = kind.make(1);
  pool.terminate();
  EXPECT_THROW((void)pool.submit(square, 1), brood::UsageError);
  EXPECT_THROW((void)pool.map_async(square, numbers(1)), brood::UsageError);
  EXPECT_THROW((void)pool.imap_unordered(square, numbers(1)), brood::UsageError);
  pool.join();
  EXPECT_THROW((void)pool.submit(square, 1), brood::UsageError);
}

template <class Kind>
void ATaskLimitReplacesWorkersAndLosesNothing(Kind& kind) {
  auto pool = kind.make(3, {.tasks_per_child = 10});
  std::vector<std::int64_t> before;
  for (const auto& worker : pool.insight().workers) before.push_back(worker.pid);
  std::vector<Future<int>> all;
  for (int i = 0; i < 100; ++i) all.push_back(pool.submit(square, i));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i * i);
  // A hundred tasks are nine that left, at least seven of them replaced already or about to be.
  wait_until([&] {
    const auto workers = pool.insight().workers;
    return workers.size() == 3 && std::ranges::none_of(workers, [&](const auto& worker) {
             return std::ranges::find(before, worker.pid) != before.end();
           });
  });
  EXPECT_GE(pool.insight().recycled, 7U);
  EXPECT_EQ(pool.insight().deaths, 0U);
}

template <class Kind>
void AChunkIsOneTaskForTheLimit(Kind& kind) {
  auto pool = kind.make(1, {.tasks_per_child = 1});
  const auto pids = pool.map(pid_of, numbers(10), {.chunk_size = 5});
  EXPECT_EQ(std::set<std::int64_t>(pids.begin(), pids.begin() + 5).size(), 1U);
  EXPECT_EQ(std::set<std::int64_t>(pids.begin(), pids.end()).size(), 2U);
}

template <class Kind>
void CloseAndJoinFinishAllWithOneTaskWorkers(Kind& kind) {
  auto pool = kind.make(3, {.tasks_per_child = 1});
  std::vector<Future<int>> all;
  for (int i = 0; i < 12; ++i) all.push_back(pool.submit(square, i));
  pool.close();
  pool.join();
  for (int i = 0; i < 12; ++i) {
    EXPECT_TRUE(all[static_cast<std::size_t>(i)].done());
    EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i * i);
  }
}

}  // namespace pool_texts

/// X(name) for each of them.
#define BROOD_POOL_TEXTS(X)                                      \
  X(ZeroOrNegativeWorkersAreRefusedAndAValidNumberIsMade)        \
  X(TaskLimitMustBePositive)                                     \
  X(InitializerRunsOncePerWorkerBeforeItsTasks)                  \
  X(AFailingInitializerBreaksThePoolWithItsCause)                \
  X(ApplyReturnsTheResult)                                       \
  X(GetWaitsAsLongAsTheTaskTakes)                                \
  X(TimedGetThrowsWhileTheTaskRunsOn)                            \
  X(WaitReadyAndSuccessfulOfAResult)                             \
  X(CallbacksGetTheResultOrTheError)                             \
  X(AThrowingCallbackHarmsNobody)                                \
  X(TaskErrorsReachTheFutureAndItsCallback)                      \
  X(TaskErrorsKeepTypeTextAndTheWorkersTrace)                    \
  X(RegisteredTypesComeHomeAsThemselves)                         \
  X(WhatCannotBeEncodedIsThrownByTheSender)                      \
  X(AResultThatCannotBeEncodedFailsItsTaskTwentyTimes)           \
  X(ATaskThatExitsFailsWithWorkerDied)                           \
  X(AKilledWorkerCostsOneTask)                                   \
  X(MapIsTheSequentialMap)                                       \
  X(StarmapTakesTuplesApart)                                     \
  X(EmptyInputsGiveEmptyResultsAtOnce)                           \
  X(AFailureOfTheInputIsThrownAndThePoolStaysUsable)             \
  X(MapThrowsOnceAllTasksHaveEnded)                              \
  X(ImapIsOrderedAndEnds)                                        \
  X(ImapThrowsAtItsPlaceAndGoesOn)                               \
  X(AFailureOfTheInputComesBehindTheResultsBefore)               \
  X(ImapUnorderedGivesAllResults)                                \
  X(AFailureOfTheInputComesAmongUnorderedResultsToo)             \
  X(NextWithATimeoutCanBeRetried)                                \
  X(CloseTakesNoMoreAndFinishesWhatIsThere)                      \
  X(TerminateDropsTenThousandQueuedTasks)                        \
  X(JoinNeedsAnEndAndMayBeRepeated)                              \
  X(LeavingTheScopeTerminatesAndNothingCanBeSubmittedAfterAnEnd) \
  X(ATaskLimitReplacesWorkersAndLosesNothing)                    \
  X(AChunkIsOneTaskForTheLimit)                                  \
  X(CloseAndJoinFinishAllWithOneTaskWorkers)

}  // namespace conformance
