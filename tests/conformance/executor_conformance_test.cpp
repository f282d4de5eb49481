// FUT rows, and the tests of Python's ProcessPoolExecutor and of its futures.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <future>
#include <ranges>
#include <set>
#include <tuple>

#include "brood/futures.hpp"
#include "brood/lock.hpp"
#include "brood/relatives.hpp"
#include "conformance/pool_fixture.hpp"
#include "support/made.hpp"

namespace {

using namespace conformance;

class ExecutorConformance : public EveryPool {};
BROOD_METHODS(ExecutorConformance);
class FutureConformance : public Once {};

// --- submit and map --------------------------------------------------------------------------------------------------

TEST_P(ExecutorConformance, SubmitGivesAFutureOfTheResult) {
  Pool pool = make(2);
  const Future<int> future = pool.submit(multiply, 2, 8);
  EXPECT_EQ(future.get(), 16);
  EXPECT_EQ(pool.submit<&multiply>(3, 3).get(), 9);
}

template <class P>
concept SubmitsNothing = requires(P pool) {
  pool.submit();
};
template <class P>
concept MapsNothing = requires(P pool) {
  pool.imap(square);
};

TEST_P(ExecutorConformance, ACallWithoutAFunctionDoesNotCompile) {
  static_assert(!SubmitsNothing<Pool>);
  static_assert(!MapsNothing<Pool>);
  Pool pool = make(1);
  int (*const nothing)(int) = nullptr;
  EXPECT_THROW((void)pool.submit(nothing, 1), brood::UsageError);
}

TEST_P(ExecutorConformance, ParallelMapOverSeveralRangesIsTheSequentialOne) {
  Pool pool = make(3);
  const auto pair_up = [](int i) { return std::pair(i, 2 * i); };
  const auto zipped = support::made(pair_up, 0, 60);
  std::vector<int> expected;
  for (int i = 0; i < 60; ++i) expected.push_back(i * 2 * i);
  for (const std::int64_t chunk : {0, 1, 6, 40, 50}) {
    EXPECT_EQ(pool.starmap(multiply, zipped, {.chunk_size = chunk}), expected);
    EXPECT_EQ(pool.map(square, numbers(60), {.chunk_size = chunk}), squares(60));
  }
  EXPECT_THROW((void)pool.map(square, numbers(3), {.chunk_size = -1}), brood::UsageError);
}

TEST_P(ExecutorConformance, ATimeoutThrownByTheTaskIsNotThatOfTheWait) {
  Pool pool = make(1);
  const auto late = [](int) -> int { throw brood::TimeoutError("the task's own"); };
  auto stream = pool.imap(late, numbers(1));
  try {
    (void)stream.next_for(1h);
    FAIL();
  } catch (const brood::TimeoutError& error) {
    EXPECT_STREQ(error.what(), "the task's own");
    EXPECT_NE(dynamic_cast<const brood::RemoteError*>(&error), nullptr);
  }
  EXPECT_EQ(stream.next_for(1h), std::nullopt);
}

TEST_P(ExecutorConformance, ATimeoutOfTheWaitComesBehindTheResultsSoFar) {
  Pool pool = make(1);
  Pipe said;
  Pipe gate;
  const auto second_waits = [](const std::tuple<int, std::string, std::string>& item) {
    const auto& [x, writer, reader] = item;
    return x == 1 ? gated(x, writer, reader) : x;
  };
  std::vector<std::tuple<int, std::string, std::string>> items;
  for (int i = 0; i < 3; ++i) items.emplace_back(i, said.writer(), gate.reader());
  auto stream = pool.imap(second_waits, items);
  EXPECT_EQ(stream.next_for(1h), 0);
  EXPECT_EQ(said.line(), "inside");
  EXPECT_THROW((void)stream.next_for(10ms), brood::TimeoutError);
  gate.let_go();
  EXPECT_EQ(stream.next_for(1h), 1);
  EXPECT_EQ(stream.next_for(1h), 2);
}

TEST_P(ExecutorConformance, DestroyingTheResultsCancelsTheRest) {
  Pool pool = make(1);
  Pipe said;
  Pipe gate;
  const std::string writer = said.writer();
  const std::string reader = gate.reader();
  {
    const auto wait = [](const std::pair<std::string, std::string>& ends) { return gated(1, ends.first, ends.second); };
    auto stream = pool.imap(wait, std::vector(20, std::pair(writer, reader)));
    EXPECT_EQ(said.line(), "inside");
  }
  // Only what had begun goes on: nobody else says that it is inside.
  gate.let_go();
  EXPECT_EQ(pool.apply(square, 3), 9);
  EXPECT_EQ(pool.insight().queued, 0U);
  said.write("the end\n");
  EXPECT_EQ(said.line(), "the end");
}

// --- bounded look-ahead ----------------------------------------------------------------------------------------------

TEST_P(ExecutorConformance, LookAheadMustBePositive) {
  static_assert(!std::is_constructible_v<decltype(brood::ImapOptions::look_ahead), const char*>);
  Pool pool = make(1);
  EXPECT_THROW((void)pool.imap(square, numbers(3), {.look_ahead = -1}), brood::UsageError);
  EXPECT_THROW((void)pool.imap_unordered(square, numbers(3), {.look_ahead = -5}), brood::UsageError);
}

TEST_P(ExecutorConformance, ABoundedMapGivesAllResults) {
  Pool pool = make(2);
  for (const std::int64_t look_ahead : {1, 2, 5, 1000}) {
    EXPECT_EQ(all_of(pool.imap(square, numbers(100), {.look_ahead = look_ahead})), squares(100));
    EXPECT_TRUE(all_of(pool.imap(square, numbers(0), {.look_ahead = look_ahead})).empty());
    auto unordered = all_of(pool.imap_unordered(square, numbers(100), {.chunk_size = 3, .look_ahead = look_ahead}));
    std::ranges::sort(unordered);
    EXPECT_EQ(unordered, squares(100));
  }
}

TEST_P(ExecutorConformance, ABoundedMapTakesEndlessInputsAndZips) {
  Pool pool = make(2);
  auto endless = pool.imap(square, support::numbers_from(0), {.look_ahead = 4});
  for (int i = 0; i < 50; ++i) EXPECT_EQ(endless.next(), i * i);
  const auto pair_up = [](int i) { return std::pair(i, i + 1); };
  const auto apart = [](const std::pair<int, int>& both) { return multiply(both.first, both.second); };
  EXPECT_EQ(all_of(pool.imap(apart, support::made(pair_up, 0, 4), {.look_ahead = 2})), (std::vector{0, 2, 6, 12}));
  auto zipped = pool.imap(apart, support::made(pair_up, 0), {.look_ahead = 2});
  for (int i = 0; i < 50; ++i) EXPECT_EQ(zipped.next(), i * (i + 1));
}

TEST_P(ExecutorConformance, NoMoreIsReadThanTheLookAhead) {
  Pool pool = make(2);
  int read = 0;
  const auto count = [&](int i) {
    ++read;
    return i;
  };
  auto inputs = support::made(count, 0);
  auto stream = pool.imap(square, inputs, {.look_ahead = 5});
  EXPECT_EQ(read, 5);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(stream.next(), i * i);
    EXPECT_LE(read, i + 6);
  }
  // Chunks are whole: at most one beyond.
  read = 0;
  auto in_chunks = pool.imap_unordered(square, inputs, {.chunk_size = 4, .look_ahead = 6});
  EXPECT_EQ(read, 8);
}

// --- shutdown --------------------------------------------------------------------------------------------------------

TEST_P(ExecutorConformance, CloseRightBehindMoreTasksThanWorkersEndsAll) {
  Pool pool = make(2);
  std::vector<Future<int>> all;
  for (int i = 0; i < 50; ++i) all.push_back(pool.submit(square, i));
  pool.close();
  EXPECT_THROW((void)pool.submit(square, 1), brood::UsageError);
  pool.join();
  for (int i = 0; i < 50; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get_for(0s), i * i);
}

TEST_P(ExecutorConformance, CloseWithoutJoinStillDoesTheWork) {
  Pool pool = make(2);
  std::vector<Future<int>> all;
  for (int i = 0; i < 20; ++i) all.push_back(pool.submit(square, i));
  pool.close();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i * i);
  pool.join();
}

TEST_P(ExecutorConformance, CancelledFuturesAreDroppedAndRunningOnesFinish) {
  Pool pool = make(1);
  Pipe said;
  Pipe gate;
  std::vector<Future<int>> all;
  for (int i = 0; i < 50; ++i) all.push_back(pool.submit(gated, i, said.writer(), gate.reader()));
  EXPECT_EQ(said.line(), "inside");
  int cancelled = 0;
  for (auto& one : all) cancelled += one.cancel() ? 1 : 0;
  EXPECT_EQ(cancelled, 49);
  pool.close();
  gate.let_go();
  pool.join();
  EXPECT_EQ(all[0].get(), 0);
  for (std::size_t i = 1; i < all.size(); ++i) EXPECT_TRUE(all[i].cancelled());
}

TEST_P(ExecutorConformance, CloseBehindAQuicklyCancelledTaskDoesNotHang) {
  Pool pool = make(1);
  auto future = pool.submit(square, 3);
  const bool cancelled = future.cancel();
  pool.close();
  pool.join();
  EXPECT_EQ(future.cancelled(), cancelled);
  EXPECT_TRUE(future.done());
}

TEST_P(ExecutorConformance, AFailingTaskBeforeTheEndOfThePoolHarmsNothing) {
  for (const std::int64_t workers : {1, 4}) {
    Pool pool = make(workers);
    auto fails = pool.submit(three_fails, 3);
    auto works = pool.submit(square, 3);
    pool.close();
    EXPECT_THROW((void)fails.get(), std::domain_error);
    EXPECT_EQ(works.get(), 9);
    pool.join();
  }
}

TEST_P(ExecutorConformance, AllWorkersEndWithThePool) {
  Pool pool = make(3);
  std::vector<Future<int>> all;
  for (int i = 0; i < 9; ++i) all.push_back(pool.submit(multiply, i, 6));
  std::vector<std::int64_t> pids;
  for (const auto& worker : pool.insight().workers) pids.push_back(worker.pid);
  EXPECT_EQ(pids.size(), 3U);
  pool.close();
  pool.join();
  for (const std::int64_t pid : pids) EXPECT_NE(::kill(static_cast<pid_t>(pid), 0), 0);
  EXPECT_TRUE(pool.insight().workers.empty());
  for (int i = 0; i < 9; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), 6 * i);
}

/// Exit with work that was submitted, and submissions in exit handlers.
TEST_P(ExecutorConformance, ExitHandlersMayFinishWhatWasSubmitted) {
  const Ran ran = run_program(test_program("conformance_cases"), {std::string(to_string(method())), "pool-at-exit"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "main runs\nmain ends\ndone: 49\nrefused\n");
  EXPECT_EQ(ran.err, "");
}
TEST_P(ExecutorConformance, ExitWithAClosedPoolAtWorkDoesNotHang) {
  const Ran ran = run_program(test_program("conformance_cases"), {std::string(to_string(method())), "closed-pool"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "main runs\nmain ends\n");
  EXPECT_EQ(ran.err, "");
}

/// Says so when it is asked to end.
std::string g_writer;
int says_terminated(const std::string& writer) {
  g_writer = writer;
  std::signal(SIGTERM, [](int) {
    tell(g_writer, "asked");
    std::_Exit(0);
  });
  tell(writer, "inside");
  for (;;) ::pause();
}
int ignores_terminate(const std::string& writer) {
  std::signal(SIGTERM, SIG_IGN);
  tell(writer, "inside");
  for (;;) ::pause();
}

TEST_P(ExecutorConformance, TerminateSendsSigtermFirst) {
  Pipe said;
  Pool pool = make(1);
  auto task = pool.submit(says_terminated, said.writer());
  EXPECT_EQ(said.line(), "inside");
  pool.terminate();
  EXPECT_EQ(said.line(), "asked");
  EXPECT_THROW((void)task.get(), brood::PoolTerminated);
  pool.join();
}

TEST_P(ExecutorConformance, WhoDoesNotListenIsKilled) {
  Pipe said;
  Pool pool = make(2);
  auto cancelled = pool.submit(ignores_terminate, said.writer());
  EXPECT_EQ(said.line(), "inside");
  EXPECT_TRUE(pool.cancel(cancelled));
  EXPECT_THROW((void)cancelled.get(), brood::CancelledError);
  auto task = pool.submit(ignores_terminate, said.writer());
  EXPECT_EQ(said.line(), "inside");
  const Stopwatch watch;
  pool.terminate();
  pool.join();
  EXPECT_GE(watch.elapsed(), 900ms);  // the grace
  EXPECT_THROW((void)task.get(), brood::PoolTerminated);
}

TEST_P(ExecutorConformance, ATerminatedTaskNeverFinishes) {
  Pipe said;
  Pipe gate;
  std::vector<std::int64_t> pids;
  Pool pool = make(1);
  for (const auto& worker : pool.insight().workers) pids.push_back(worker.pid);
  const auto tells_its_end = [](const std::string& writer, const std::string& reader) {
    tell(writer, "inside");
    await(reader);
    tell(writer, "finished");
    return 1;
  };
  auto task = pool.submit(tells_its_end, said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "inside");
  pool.terminate();
  pool.join();
  gate.let_go();
  said.write("the end\n");
  EXPECT_EQ(said.line(), "the end");
  EXPECT_THROW((void)task.get(), brood::PoolTerminated);
  EXPECT_THROW((void)pool.submit(square, 1), brood::UsageError);
  for (const std::int64_t pid : pids) EXPECT_NE(::kill(static_cast<pid_t>(pid), 0), 0);
}

TEST_P(ExecutorConformance, TerminateBeforeTheWorkersAreReady) {
  Pipe gate;
  const auto wait = [](const std::string& reader) { await(reader); };
  Pool pool(2, options({.initializer = {wait, gate.reader()}}));
  auto task = pool.submit(square, 3);
  pool.terminate();
  pool.join();
  EXPECT_THROW((void)task.get(), brood::PoolTerminated);
}

TEST_P(ExecutorConformance, TerminateOfABrokenPool) {
  Pool pool(1, options({.initializer = {[]() -> int { throw std::domain_error("broken"); }}}));
  EXPECT_THROW(
      {
        for (;;) (void)pool.apply(square, 1);
      },
      brood::PoolBroken);
  pool.terminate();
  pool.terminate();
  pool.join();
}

// --- workers ---------------------------------------------------------------------------------------------------------

TEST_P(ExecutorConformance, ManyBlockedTasksHaveNoMoreWorkersThanWereAskedFor) {
  Pool pool = make(3);
  Pipe said;
  Pipe gate;
  std::vector<Future<int>> all;
  for (int i = 0; i < 45; ++i) all.push_back(pool.submit(gated, i, said.writer(), gate.reader()));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(said.line(), "inside");
  EXPECT_EQ(pool.insight().workers.size(), 3U);
  gate.let_go(45);
  for (int i = 0; i < 45; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i);
  EXPECT_EQ(pool.insight().workers.size(), 3U);
}

TEST_P(ExecutorConformance, WorkersAreReused) {
  Pool one = make(1);
  const std::int64_t pid = one.apply(worker_pid);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(one.apply(worker_pid), pid);
  // All there are from the start; nobody is added for more tasks.
  Pool pool = make(3);
  std::set<std::int64_t> all;
  for (const auto& worker : pool.insight().workers) all.insert(worker.pid);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(all.contains(pool.apply(worker_pid)));
  EXPECT_EQ(pool.insight().workers.size(), 3U);
}

TEST_P(ExecutorConformance, ATaskLimitWorksUnderEveryStartMethod) {
  Pool pool(1, options({.tasks_per_child = 3}));
  std::vector<std::int64_t> pids;
  for (int i = 0; i < 7; ++i) pids.push_back(pool.apply(worker_pid));
  EXPECT_EQ(pids[0], pids[2]);
  EXPECT_NE(pids[2], pids[3]);
  EXPECT_EQ(pids[3], pids[5]);
  EXPECT_NE(pids[5], pids[6]);
}

TEST_F(FutureConformance, ATaskLimitNeedsNoStartMethodToBeChosen) {
  Pool pool(1, {.tasks_per_child = 1});
  EXPECT_NE(pool.apply(worker_pid), pool.apply(worker_pid));
}

TEST_P(ExecutorConformance, ABacklogIsDoneWhileWorkersReachTheirLimit) {
  Pool pool(2, options({.tasks_per_child = 2}));
  std::vector<Future<int>> all;
  for (int i = 0; i < 40; ++i) all.push_back(pool.submit(square, i));
  for (int i = 0; i < 40; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i * i);
}

TEST_P(ExecutorConformance, AClosedPoolStillReplacesWorkersThatReachedTheirLimit) {
  Pool pool(1, options({.tasks_per_child = 1}));
  std::vector<Future<int>> all;
  for (int i = 0; i < 10; ++i) all.push_back(pool.submit(square, i));
  pool.close();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i * i);
  pool.join();
}

TEST_P(ExecutorConformance, ADestroyedPoolFailsItsFuturesAlsoWhenAWorkerIsLeaving) {
  Pipe said;
  Pipe gate;
  std::vector<Future<int>> all;
  {
    Pool pool(1, options({.tasks_per_child = 1}));
    for (int i = 0; i < 3; ++i) all.push_back(pool.submit(gated, i, said.writer(), gate.reader()));
    EXPECT_EQ(said.line(), "inside");
    gate.let_go();
    EXPECT_EQ(all[0].get(), 0);  // its worker leaves now
  }
  EXPECT_THROW((void)all[1].get(), brood::PoolTerminated);
  EXPECT_THROW((void)all[2].get(), brood::PoolTerminated);
}

TEST_P(ExecutorConformance, TerminateStartsNoReplacementForAWorkerThatReachedItsLimit) {
  Pipe said;
  Pipe gate;
  Pool pool(1, options({.tasks_per_child = 1}));
  auto first = pool.submit(gated, 1, said.writer(), gate.reader());
  auto second = pool.submit(gated, 2, said.writer(), gate.reader());
  EXPECT_EQ(said.line(), "inside");
  gate.let_go();
  EXPECT_EQ(first.get(), 1);
  pool.terminate();
  EXPECT_THROW((void)second.get(), brood::PoolTerminated);
  pool.join();
  EXPECT_TRUE(pool.insight().workers.empty());
}

TEST_P(ExecutorConformance, ReplacementsThatCannotStartBreakThePool) {
  // Workers start in a directory that is gone when the first one is to be replaced.
  std::string directory = (std::filesystem::temp_directory_path() / "brood-pool-XXXXXX").string();
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  brood::PoolOptions given = options({.tasks_per_child = 1, .max_idle_deaths = 2});
  given.process.working_directory = directory;
  Pool pool(1, given);
  EXPECT_EQ(pool.submit(square, 3).get(), 9);
  // Somebody may have been started in time; nobody from now on.
  std::filesystem::remove_all(directory);
  EXPECT_THROW(
      {
        for (;;) (void)pool.apply(square, 1);
      },
      brood::PoolBroken);
  EXPECT_THROW((void)pool.submit(square, 1), brood::PoolBroken);
}

// --- what the kernel refuses -----------------------------------------------------------------------------------------

/// From now on `number` fails in this process and its children: with `flag` only if its first argument has that bit.
void refuse(long number, int error, std::uint32_t flag = 0) {
  const auto nr = static_cast<std::uint32_t>(number);
  const auto fail = SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error);
  std::vector<sock_filter> code = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, static_cast<std::uint8_t>(flag == 0 ? 1 : 3)),
  };
  if (flag != 0) {
    code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])));
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flag, 0, 1));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, fail));
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  SCENARIO_CHECK(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  SCENARIO_CHECK(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

void sandboxed(const std::string& /*nothing*/) {
  refuse(SYS_sched_getaffinity, EPERM);
  cpu_set_t cpus;
  SCENARIO_CHECK(::sched_getaffinity(0, sizeof cpus, &cpus) != 0);
  Pool pool;
  SCENARIO_CHECK(pool.size() >= 1);
  SCENARIO_CHECK(pool.apply(square, 3) == 9);
}
TEST_F(FutureConformance, ASandboxThatRefusesToCountProcessorsDoesNotMatter) { expect_scenario(sandboxed); }

void without_threads(const std::string& method) {
  const brood::Lock lock;  // makes the thread that every process has
  brood::PoolOptions options;
  for (const auto one : brood::get_all_start_methods()) {
    if (to_string(one) == method) options.process.start_method = one;
  }
  {
    brood::Process first({.start_method = options.process.start_method}, [] {});
    first.start();
    first.join();
  }
  const auto before = brood::active_children().size();
  refuse(SYS_clone3, ENOSYS);  // the C library then takes clone, whose flags a filter can see
  refuse(SYS_clone, EAGAIN, CLONE_THREAD);
  bool refused = false;
  try {
    std::thread([] {}).join();
  } catch (const std::system_error&) {
    refused = true;
  }
  SCENARIO_CHECK(refused);
  refused = false;
  try {
    Pool pool(2, options);
    (void)pool.apply(square, 3);
  } catch (const std::exception&) {
    refused = true;
  }
  SCENARIO_CHECK(refused);
  SCENARIO_CHECK(brood::active_children().size() == before);
}
TEST_P(ExecutorConformance, WithoutThreadsThereIsAnErrorAndNobodyHangs) {
  expect_scenario(without_threads, std::string(to_string(method())));
}

// --- deaths and codecs -------------------------------------------------------------------------------------------------

TEST_P(ExecutorConformance, EachFailedFutureHasAnExceptionOfItsOwn) {
  Pool pool = make(1);
  auto one = pool.submit(pass_bad, Bad{.at = Bad::At::call, .deed = Bad::Deed::kill});
  auto two = pool.submit(pass_bad, Bad{.at = Bad::At::call, .deed = Bad::Deed::kill});
  EXPECT_NE(one.exception(), two.exception());
  Pipe gate;
  const auto fail_later = [](const std::string& reader) -> int {
    await(reader);
    throw std::domain_error("broken");
  };
  Pool breaks(1, options({.initializer = {fail_later, gate.reader()}}));
  auto first = breaks.submit(square, 1);
  auto second = breaks.submit(square, 2);
  gate.let_go();
  EXPECT_THROW((void)first.get(), brood::PoolBroken);
  EXPECT_THROW((void)second.get(), brood::PoolBroken);
  EXPECT_NE(first.exception(), second.exception());
}

TEST_P(ExecutorConformance, TheErrorNamesHowTheWorkerEnded) {
  Pool pool = make(1);
  for (const auto& [deed, code] : {std::pair(Bad::Deed::kill, -SIGSEGV), std::pair(Bad::Deed::exits, 7)}) {
    try {
      (void)pool.apply(pass_bad, Bad{.at = Bad::At::call, .deed = deed});
      FAIL();
    } catch (const brood::WorkerDied& died) {
      EXPECT_EQ(died.exitcode(), code);
      EXPECT_TRUE(contains(died.what(), std::to_string(died.pid()))) << died.what();
      EXPECT_TRUE(contains(died.what(), code < 0 ? "SIGSEGV" : "7")) << died.what();
    }
  }
}

TEST_P(ExecutorConformance, ACodecThatFailsCostsItsTaskOnly) {
  Pool pool = make(2);
  using At = Bad::At;
  using Deed = Bad::Deed;
  for (const auto& [at, deed] :
       {std::pair(At::receive, Deed::throws), std::pair(At::answer, Deed::throws), std::pair(At::take, Deed::throws)}) {
    auto bad = pool.submit(pass_bad, Bad{.at = at, .deed = deed});
    auto good = pool.submit(pass_bad, Bad{});
    EXPECT_THROW((void)bad.get(), std::exception) << static_cast<int>(at);
    EXPECT_EQ(good.get().at, At::nowhere);
  }
  EXPECT_EQ(pool.insight().deaths, 0U);
  std::uint64_t deaths = 0;
  for (const At at : {At::receive, At::call, At::answer}) {
    for (const Deed deed : {Deed::kill, Deed::exits}) {
      auto bad = pool.submit(pass_bad, Bad{.at = at, .deed = deed});
      auto good = pool.submit(pass_bad, Bad{});
      EXPECT_THROW((void)bad.get(), brood::WorkerDied) << static_cast<int>(at);
      EXPECT_EQ(good.get().at, At::nowhere);
      EXPECT_EQ(pool.insight().deaths, ++deaths);
    }
  }
  EXPECT_EQ(pool.apply(square, 4), 16);
}

TEST_P(ExecutorConformance, AWorkerThatCrashesDuringTheEndDoesNotHang) {
  for (const bool terminate : {false, true}) {
    Pool pool = make(2);
    auto bad = pool.submit(pass_bad, Bad{.at = Bad::At::call, .deed = Bad::Deed::kill});
    auto good = pool.submit(square, 3);
    if (terminate) pool.terminate();
    else pool.close();
    pool.join();
    EXPECT_THROW((void)bad.get(), brood::Error);
    EXPECT_TRUE(good.done());
    if (!terminate) {
      EXPECT_EQ(good.get(), 9);
    }
  }
}

TEST_P(ExecutorConformance, AnArgumentThatCannotBeEncodedBeforeTheEndDoesNotHang) {
  Pool pool = make(2);
  EXPECT_THROW((void)pool.submit(pass_bad, Bad{.at = Bad::At::send}), std::domain_error);
  pool.close();
  pool.join();
}

TEST_P(ExecutorConformance, ACrashWhileLargeDataIsSentIsAnError) {
  Pool pool = make(2);
  const auto dies = [](const std::vector<char>& data) {
    ::raise(SIGKILL);
    return data.size();
  };
  const std::vector<char> data(32U << 20U, 'x');
  std::vector<Future<std::size_t>> all;
  for (int i = 0; i < 3; ++i) all.push_back(pool.submit(dies, data));
  for (const auto& one : all) EXPECT_THROW((void)one.get(), brood::WorkerDied);
  EXPECT_EQ(pool.apply([](const std::vector<char>& in) { return in.size(); }, data), data.size());
}

TEST_P(ExecutorConformance, SubmittersAreNotHeldUpByWorkersThatDoNotListen) {
  Pool pool = make(1);
  EXPECT_EQ(pool.apply(square, 2), 4);
  const auto pid = static_cast<pid_t>(pool.insight().workers.front().pid);
  ASSERT_EQ(::kill(pid, SIGSTOP), 0);
  std::vector<Future<int>> all;
  for (int i = 0; i < 20'000; ++i) all.push_back(pool.submit(square, i % 1000));
  ASSERT_EQ(::kill(pid, SIGCONT), 0);
  for (int i = 0; i < 20'000; ++i) ASSERT_EQ(all[static_cast<std::size_t>(i)].get(), (i % 1000) * (i % 1000));
}

TEST_P(ExecutorConformance, NothingIsKeptOfArgumentsAndResults) {
  const int before = Counted::alive;
  Pool pool = make(1);
  {
    auto stream = pool.imap(pass_counted, std::vector<Counted>(4), {.look_ahead = 4});
    int left = 4;
    while (auto one = stream.next()) {
      one.reset();
      --left;
      EXPECT_LE(Counted::alive - before, 4 + left);  // the input, and the results that have come
    }
  }
  EXPECT_EQ(Counted::alive, before);
  // In the worker: freed when the task has ended.
  const int in_worker = method() == StartMethod::fork ? before : 0;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pool.submit(pass_counted, Counted(i)).get().value, i);
    EXPECT_EQ(pool.apply(counted_alive), in_worker);
  }
}

TEST_P(ExecutorConformance, ProcessesOfThreadsAndOfTasksEndWell) {
  const auto start_one = [] {
    brood::Process p([] {});
    p.start();
    p.join();
    return p.exitcode().value_or(-999);
  };
  EXPECT_EQ(std::async(std::launch::async, start_one).get(), 0);
  Pool pool = make(1);
  EXPECT_EQ(pool.apply(start_one), 0);
}

TEST_P(ExecutorConformance, AFailingInitializerLeavesNothingBehind) {
  const auto make_and_fail = [](int) -> int {
    const brood::Lock lock;
    throw std::domain_error("made a lock and failed");
  };
  Pool pool(2, options({.initializer = {make_and_fail, 1}}));
  EXPECT_TRUE(contains(text_of<brood::PoolBroken>([&] {
                         for (;;) (void)pool.apply(square, 1);
                       }),
                       "made a lock and failed"));
}

// --- futures -----------------------------------------------------------------------------------------------------------

/// A worker that is held up, and futures of each state.
class FutureStates : public Once {
 protected:
  Future<int> running() {
    Future<int> out = pool_.submit(gated, 1, said_.writer(), gate_.reader());
    EXPECT_EQ(said_.line(), "inside");
    return out;
  }
  Future<int> pending() { return pool_.submit(square, 4); }
  Future<int> succeeded() {
    Future<int> out = other_.submit(square, 5);
    out.wait();
    return out;
  }
  Future<int> failed() {
    Future<int> out = other_.submit(three_fails, 3);
    out.wait();
    return out;
  }
  Future<int> cancelled() {
    Future<int> out = pending();
    EXPECT_TRUE(out.cancel());
    return out;
  }
  void let_go() { gate_.let_go(); }

 private:
  Pipe said_;
  Pipe gate_;
  Pool pool_{1};
  Pool other_{1};
};

TEST_F(FutureStates, AreWhatTheirQuestionsSay) {
  auto running_one = running();
  auto pending_one = pending();
  auto cancelled_one = cancelled();
  auto succeeded_one = succeeded();
  auto failed_one = failed();
  struct Expected {
    const Future<int>& future;
    bool done, cancelled, running;
  };
  for (const Expected& one : {Expected{running_one, false, false, true}, Expected{pending_one, false, false, false},
                              Expected{cancelled_one, true, true, false}, Expected{succeeded_one, true, false, false},
                              Expected{failed_one, true, false, false}}) {
    EXPECT_EQ(one.future.done(), one.done);
    EXPECT_EQ(one.future.cancelled(), one.cancelled);
    EXPECT_EQ(one.future.running(), one.running);
  }
  // Only what has not begun can be cancelled; nothing else changes.
  EXPECT_FALSE(running_one.cancel());
  EXPECT_TRUE(running_one.running());
  EXPECT_TRUE(pending_one.cancel());
  EXPECT_TRUE(pending_one.cancelled());
  EXPECT_TRUE(cancelled_one.cancelled());
  EXPECT_FALSE(succeeded_one.cancel());
  EXPECT_EQ(succeeded_one.get(), 25);
  EXPECT_FALSE(failed_one.cancel());
  EXPECT_FALSE(failed_one.cancelled());
  let_go();
  EXPECT_EQ(running_one.get(), 1);
}

TEST_F(FutureStates, TimedQuestionsThrowTimeoutCancelledOrTheError) {
  auto running_one = running();
  EXPECT_THROW((void)running_one.get_for(0s), brood::TimeoutError);
  EXPECT_THROW((void)pending().get_for(0s), brood::TimeoutError);
  EXPECT_THROW((void)cancelled().get_for(0s), brood::CancelledError);
  EXPECT_EQ(succeeded().get_for(0s), 25);
  EXPECT_THROW((void)failed().get_for(0s), std::domain_error);
  EXPECT_FALSE(running_one.wait_for(0s));
  EXPECT_EQ(succeeded().exception(), nullptr);
  EXPECT_THROW(std::rethrow_exception(failed().exception()), std::domain_error);
  EXPECT_THROW(std::rethrow_exception(cancelled().exception()), brood::CancelledError);
  let_go();
}

TEST_F(FutureStates, AWaitingGetWakesOnResultErrorAndCancel) {
  auto running_one = running();
  auto pending_one = pending();
  auto result = std::async(std::launch::async, [one = running_one] { return one.get(); });
  auto cancelled_get = std::async(std::launch::async, [one = pending_one] { return one.get(); });
  auto exception = std::async(std::launch::async, [one = pending_one] { return one.exception(); });
  EXPECT_TRUE(pending_one.cancel());
  EXPECT_THROW((void)cancelled_get.get(), brood::CancelledError);
  EXPECT_NE(exception.get(), nullptr);
  let_go();
  EXPECT_EQ(result.get(), 1);
}

TEST_F(FutureStates, CallbacksRunWithTheFinishedFuture) {
  auto running_one = running();
  auto pending_one = pending();
  std::promise<int> result;
  running_one.on_done([&](const Future<int>& done) { result.set_value(done.get()); });
  std::promise<bool> was_cancelled;
  pending_one.on_done([&](const Future<int>& done) { was_cancelled.set_value(done.cancelled()); });
  EXPECT_TRUE(pending_one.cancel());
  EXPECT_TRUE(was_cancelled.get_future().get());
  let_go();
  EXPECT_EQ(result.get_future().get(), 1);
}

TEST_F(FutureStates, LateCallbacksRunAtOnceInTheirOrder) {
  auto running_one = running();
  int called = 0;
  const auto count = [&](const Future<int>& done) {
    EXPECT_TRUE(done.done());
    ++called;
  };
  for (const Future<int>& one : {succeeded(), failed(), cancelled()}) one.on_done(count);
  EXPECT_EQ(called, 3);
  succeeded().on_done([](const auto& /*done*/) { throw std::runtime_error("(thrown on purpose)"); });
  let_go();
}

TEST_F(FutureStates, ThrowingCallbacksDoNotStopLaterOnes) {
  auto running_one = running();
  std::promise<std::string> order;
  std::string so_far;
  running_one.on_done([&](const auto& /*done*/) { so_far += "first "; });
  running_one.on_done([&](const auto& /*done*/) {
    so_far += "throws ";
    throw std::runtime_error("(thrown on purpose)");
  });
  running_one.on_done([&](const auto& /*done*/) { order.set_value(so_far + "last"); });
  let_go();
  EXPECT_EQ(order.get_future().get(), "first throws last");
}

TEST_F(FutureStates, KeptOnceTheirPromiseCannotBeKeptAgain) {
  brood::Promise<std::string> promise;
  const Future<std::string> future = promise.future();
  EXPECT_FALSE(future.done());
  EXPECT_TRUE(promise.begin());
  EXPECT_TRUE(future.running());
  promise.set_result("kept");
  EXPECT_THROW(promise.set_result("again"), brood::InvalidState);
  EXPECT_THROW(promise.set_exception(std::domain_error("again")), brood::InvalidState);
  EXPECT_EQ(future.get(), "kept");
  brood::Promise<int> fails;
  fails.set_exception(std::domain_error("failed"));
  EXPECT_THROW(fails.set_exception(std::range_error("again")), brood::InvalidState);
  EXPECT_THROW(fails.set_result(3), brood::InvalidState);
  EXPECT_THROW((void)fails.future().get(), std::domain_error);
}

// --- several futures -----------------------------------------------------------------------------------------------------

using brood::ReturnWhen;

TEST_F(FutureStates, WaitForAny) {
  auto running_one = running();
  auto pending_one = pending();
  // One that is settled already …
  auto found = brood::wait(std::vector{running_one, cancelled(), succeeded(), pending_one}, ReturnWhen::any);
  EXPECT_EQ(found.done.size(), 2U);
  EXPECT_EQ(found.not_done.size(), 2U);
  // … or one that will be.
  auto waits = std::async(std::launch::async, [=] {
    return brood::wait(std::vector{running_one, pending_one}, ReturnWhen::any);
  });
  EXPECT_TRUE(pending_one.cancel());
  found = waits.get();
  ASSERT_EQ(found.done.size(), 1U);
  EXPECT_TRUE(found.done[0].cancelled());
  ASSERT_EQ(found.not_done.size(), 1U);
  EXPECT_TRUE(found.not_done[0].running());
  let_go();
}

TEST_F(FutureStates, WaitForTheFirstException) {
  auto running_one = running();
  brood::Promise<int> promise;
  auto waits = std::async(std::launch::async, [=, this, future = promise.future()] {
    return brood::wait(std::vector{succeeded(), future, running_one}, ReturnWhen::first_exception);
  });
  promise.set_exception(std::domain_error("failed"));
  auto found = waits.get();
  EXPECT_EQ(found.done.size(), 2U);
  ASSERT_EQ(found.not_done.size(), 1U);
  EXPECT_TRUE(found.not_done[0].running());
  // One that has failed already.
  found = brood::wait(std::vector{running_one, failed()}, ReturnWhen::first_exception);
  EXPECT_EQ(found.done.size(), 1U);
  // A cancelled one is no exception to wait for.
  found = brood::wait(std::vector{succeeded(), cancelled(), running_one}, ReturnWhen::first_exception, 10ms);
  EXPECT_EQ(found.done.size(), 2U);
  EXPECT_EQ(found.not_done.size(), 1U);
  let_go();
}

TEST_F(FutureStates, WaitForAllAndDuplicatesOnce) {
  auto running_one = running();
  const std::vector all{running_one, failed(), cancelled()};
  const Stopwatch watch;
  auto found = brood::wait(all, ReturnWhen::all, 20ms);
  EXPECT_GE(watch.elapsed(), 20ms);
  EXPECT_EQ(found.done.size(), 2U);
  EXPECT_EQ(found.not_done.size(), 1U);
  let_go();
  found = brood::wait(all);
  EXPECT_EQ(found.done.size(), 3U);
  EXPECT_TRUE(found.not_done.empty());
  found = brood::wait(std::vector{running_one, running_one, running_one});
  EXPECT_EQ(found.done.size(), 1U);
  EXPECT_THROW((void)brood::wait(std::vector{running_one}, static_cast<ReturnWhen>(9)), brood::UsageError);
}

TEST_F(FutureStates, AsCompletedGivesThemAsTheyEnd) {
  auto running_one = running();
  brood::Promise<int> promise;
  auto completed = brood::as_completed(std::vector{running_one, promise.future(), cancelled(), succeeded()});
  EXPECT_TRUE(completed.next()->cancelled());
  EXPECT_EQ(completed.next()->get(), 25);
  promise.set_result(7);
  EXPECT_EQ(completed.next()->get(), 7);
  let_go();
  EXPECT_EQ(completed.next()->get(), 1);
  EXPECT_FALSE(completed.next().has_value());
  int count = 0;
  for (const Future<int>& one : brood::as_completed(std::vector{running_one, running_one, failed()})) {
    EXPECT_TRUE(one.done());
    ++count;
  }
  EXPECT_EQ(count, 2);
}

TEST_F(FutureStates, AsCompletedThrowsAfterItsTimeoutAndCountsWhatIsLeft) {
  auto running_one = running();
  for (const auto timeout : {0ms, 20ms}) {
    auto completed = brood::as_completed(std::vector{running_one, pending(), succeeded(), failed()}, timeout);
    EXPECT_TRUE(completed.next()->done());
    EXPECT_TRUE(completed.next()->done());
    const std::string text = text_of<brood::TimeoutError>([&] { (void)completed.next(); });
    EXPECT_TRUE(contains(text, "2 (of 4)")) << text;
  }
  let_go();
}

TEST_F(FutureStates, AsCompletedKeepsNoFutureItGave) {
  const int before = Counted::alive;
  std::vector<brood::Promise<Counted>> promises(3);
  std::vector<Future<Counted>> futures;
  for (auto& one : promises) futures.push_back(one.future());
  auto completed = brood::as_completed(std::exchange(futures, {}));
  for (auto& one : promises) one.set_result(Counted(1));
  promises.clear();
  for (int left = 3; left > 0; --left) {
    EXPECT_EQ(Counted::alive, before + left);
    EXPECT_TRUE(completed.next()->done());
  }
  EXPECT_EQ(Counted::alive, before);
}

}  // namespace
