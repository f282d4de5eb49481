// Calls and answers between two ends, callbacks, and who reads for whom.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <numeric>
#include <random>
#include <set>

#include "brood/queue.hpp"
#include "call/line_pair.hpp"
#include "registry/registry.hpp"

namespace {

using namespace std::chrono_literals;
using namespace call_test;
using brood::Callback;

const bool kWarm = support::before_first_baseline([] { brood::registry::self(); });

class CallLine : public support::NoLeaks {};

TEST_F(CallLine, ArgumentsGoThereAndResultsBack) {
  Pair pair;
  EXPECT_EQ(pair.call<&Thing::add>(2, 3), 5);
  pair.call<&Thing::note>(8);
  EXPECT_EQ(pair.call<&Thing::size>(), 1);
  EXPECT_EQ(pair.call<&Thing::number>(), 7);
  EXPECT_EQ((pair.call<[](Thing& it, int n) { return it.number * n; }>(6)), 42);
  const std::string large(1'000'000, 'x');
  EXPECT_EQ(pair.call<&Thing::echo>(large), large);
}

TEST_F(CallLine, WhatIsThrownThereIsThrownHere) {
  Pair pair;
  try {
    pair.call<&Thing::fail>("row 7");
    ADD_FAILURE();
  } catch (const std::out_of_range& error) {
    EXPECT_STREQ(error.what(), "row 7");
    const auto* remote = dynamic_cast<const brood::RemoteError*>(&error);
    ASSERT_NE(remote, nullptr);
    EXPECT_EQ(remote->pid(), ::getpid());
    EXPECT_NE(remote->stack().find("Thing::fail"), std::string::npos) << remote->stack();
  }
  EXPECT_EQ(pair.call<&Thing::add>(2, 3), 5);
}

/// So many different methods.
template <int N>
int nth(Thing& /*thing*/, int n) {
  return N * 1000 + n;
}
template <int... N>
auto all_methods(std::integer_sequence<int, N...> /*numbers*/) {
  return std::array<int (*)(Pair&, int), sizeof...(N)>{[](Pair& pair, int n) { return pair.call<&nth<N>>(n); }...};
}

TEST_F(CallLine, ManyThreadsAnnounceMethodsAtOnce) {
  const auto methods = all_methods(std::make_integer_sequence<int, 16>{});
  for (int round = 0; round < 20; ++round) {
    Pair pair(4);
    in_threads(8, [&](int i) {
      for (std::size_t k = 0; k < 200; ++k) {
        const std::size_t which = (k * 7 + static_cast<std::size_t>(i) * 3) % methods.size();
        EXPECT_EQ(methods[which](pair, i), static_cast<int>(which) * 1000 + i);
      }
    });
  }
}

TEST_F(CallLine, OneThatServesDoesTheCallsOfAThreadInOrder) {
  Pair pair;
  std::vector<brood::Future<void>> done;
  for (int i = 0; i < 2000; ++i) done.push_back(pair.async<&Thing::note>(i));
  EXPECT_EQ(pair.call<&Thing::size>(), 2000);
  std::vector<int> wanted(2000);
  std::iota(wanted.begin(), wanted.end(), 0);
  EXPECT_EQ(pair.thing.notes(), wanted);
}

TEST_F(CallLine, SeveralThatServeDoSoAtTheSameTime) {
  Pair pair(4);
  // Each holds a thread of the other end until all four are there.
  static std::atomic<std::latch*> together = nullptr;
  std::latch four(4);
  together = &four;
  in_threads(4, [&](int) { pair.call<[](Thing&) { together.load()->arrive_and_wait(); }>(); });
}

// --- callbacks -------------------------------------------------------------------------------------------------------

TEST_F(CallLine, ACallbackRunsInTheThreadThatCalled) {
  Pair pair;
  in_threads(4, [&](int i) {
    for (int k = 0; k < 50; ++k) {
      const auto me = std::this_thread::get_id();
      EXPECT_EQ(pair.call<&Thing::apply>(k,
                                         [&](int n) {
                                           EXPECT_EQ(std::this_thread::get_id(), me);
                                           return n + i;
                                         }),
                k + i);
    }
  });
}

TEST_F(CallLine, CallbacksNest) {
  Pair pair;
  // Call, callback, call from in there, callback of that …
  std::function<int(int)> down = [&](int n) { return n == 0 ? 0 : 1 + pair.call<&Thing::apply>(n - 1, down); };
  EXPECT_EQ(down(60), 60);
  in_threads(4, [&](int) { EXPECT_EQ(down(20), 20); });
}

TEST_F(CallLine, ACallInsideOfACallbackIsDoneAlthoughTheOnlyThreadIsBusy) {
  Pair pair;
  EXPECT_EQ(pair.call<&Thing::apply>(1, [&](int n) { return pair.call<&Thing::add>(n, 1); }), 2);
  EXPECT_EQ(pair.call<&Thing::apply>(1, [&](int n) { return pair.async<&Thing::add>(n, 1).get(); }), 2);
}

TEST_F(CallLine, WhatACallbackThrowsPassesThroughTheCall) {
  Pair pair;
  try {
    pair.call<&Thing::apply>(1, [](int) -> int { throw std::domain_error("no"); });
    ADD_FAILURE();
  } catch (const std::domain_error& error) {
    EXPECT_STREQ(error.what(), "no");
    EXPECT_EQ(dynamic_cast<const brood::RemoteError&>(error).type_name(), "std::domain_error");
  }
  // And can be caught there.
  EXPECT_EQ((pair.call<[](Thing&, Callback<void()> f) {
              try {
                f();
              } catch (const std::domain_error& error) {
                return std::string("caught ") + error.what();
              }
              return std::string("nothing");
            }>([] { throw std::domain_error("it"); })),
            "caught it");
}

TEST_F(CallLine, AKeptCallbackIsCalledWhileNobodyWaits) {
  Pair pair;
  std::mutex mutex;
  std::condition_variable changed;
  int sum = 0;
  const Callback<void(int)> add([&](int n) {
    const std::lock_guard lock(mutex);
    sum += n;
    changed.notify_all();
  });
  pair.call<&Thing::keep>(add);
  std::thread later([&] {
    for (int n = 1; n <= 100; ++n) pair.thing.kept_one()(n);
  });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return sum == 5050; });
  }
  later.join();
  EXPECT_EQ(pair.call<&Thing::add>(1, 2), 3);
}

TEST_F(CallLine, ADroppedCallbackCannotBeCalled) {
  Pair pair;
  pair.call<&Thing::keep>([](int) {});
  EXPECT_THROW((pair.call<[](Thing& it) { it.kept_one()(1); }>()), brood::HandleError);
}

TEST_F(CallLine, ACallbackOfAConversationThatIsOverCannotBeCalled) {
  Pair pair;
  pair.call<&Thing::keep>([](int) {});
  const Callback<void(int)> left = pair.thing.kept_one();
  pair.stop();
  EXPECT_THROW(left(1), brood::PeerGone);
}

TEST_F(CallLine, ACallbackTravelsInCallsOnly) {
  const Callback<int(int)> here([](int n) { return n + 1; });
  EXPECT_EQ(here(1), 2);
  brood::Queue<Callback<int(int)>> queue;
  EXPECT_THROW(queue.put(here), brood::UsageError);
  Pair pair;
  // Passing on what another process lent would need a third one to find the way.
  EXPECT_THROW((pair.call<[](Thing& it, Callback<void(int)> f) {
                 it.keep(f);
                 return f;
               }>([](int) {})),
               brood::UsageError);
  // One that calls it can be passed on.
  EXPECT_EQ((pair.call<[](Thing&, Callback<int(int)> f) { return f(f(1)); }>(here)), 3);
}

TEST_F(CallLine, AResultMayBeAFunctionToCall) {
  Pair pair;
  std::atomic<int> sum = 0;
  pair.thing.keep([&](int n) { sum += n; });
  const auto theirs = pair.call<&Thing::kept_one>();
  theirs(21);
  theirs(21);
  EXPECT_EQ(sum, 42);
  pair.call<&Thing::drop_kept>();
  EXPECT_THROW(theirs(21), brood::HandleError);
}

TEST_F(CallLine, AResultMayBeASharedObjectThatNobodyElseHolds) {
  Pair pair;
  auto queue = pair.call<[](Thing&) {
    brood::Queue<int> made;
    made.put(5);
    return made;
  }>();
  EXPECT_EQ(queue.get(), 5);
  auto later = pair.async<[](Thing&) {
                     brood::Queue<int> made;
                     made.put(6);
                     return made;
                   }>()
                   .get();
  EXPECT_EQ(later.get(), 6);
}

struct Deep {
  std::unique_ptr<Deep> next;
};

TEST_F(CallLine, AResultThatCannotBeSentIsAFailureOfTheCall) {
  Pair pair;
  const auto deep = [](int depth) {
    std::unique_ptr<Deep> top;
    for (int i = 0; i < depth; ++i) {
      auto next = std::make_unique<Deep>();
      next->next = std::move(top);
      top = std::move(next);
    }
    return top;
  };
  EXPECT_THROW((pair.call<[](Thing&) {
                 std::unique_ptr<Deep> top;
                 for (int i = 0; i < 10'000; ++i) {
                   auto next = std::make_unique<Deep>();
                   next->next = std::move(top);
                   top = std::move(next);
                 }
                 return top;
               }>()),
               brood::UsageError);
  EXPECT_THROW((pair.call<[](Thing&, std::unique_ptr<Deep>) {}>(deep(10'000))), brood::UsageError);
  EXPECT_EQ(pair.call<&Thing::add>(1, 2), 3);
}

// --- timeouts --------------------------------------------------------------------------------------------------------

TEST_F(CallLine, ATimeoutEndsTheWaitAndNotTheCall) {
  Pair pair(2);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THROW((void)pair.call_for<&Thing::wait_then>(20ms, 1), brood::TimeoutError);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms);
  EXPECT_THROW((void)pair.call_for<&Thing::wait_then>(0ms, 1), brood::TimeoutError);
  std::thread opener([&] { pair.thing.gate.open(); });
  // Answers of the first two come when nobody wants them any more; each gets its own.
  for (int i = 0; i < 100; ++i) EXPECT_EQ(pair.call<&Thing::wait_then>(i), i);
  opener.join();
  EXPECT_EQ(pair.call_for<&Thing::add>(1h, 1, 2), 3);
}

TEST_F(CallLine, WhoLeavesByTimeoutLetsAnotherRead) {
  for (int round = 0; round < 20; ++round) {
    Pair pair(4);
    // All but one leave; the last one's answer comes after that.
    std::latch left(3);
    std::vector<std::jthread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        EXPECT_THROW((void)pair.call_for<&Thing::wait_then>(5ms, 1), brood::TimeoutError);
        left.count_down();
      });
    }
    threads.emplace_back([&] { EXPECT_EQ(pair.call<&Thing::wait_then>(7), 7); });
    left.wait();
    pair.thing.gate.open();
  }
}

TEST_F(CallLine, ALongAnswerThatNobodyWantsBlocksNobody) {
  Pair pair;
  EXPECT_THROW((void)pair.call_for<&Thing::wait_then_make>(1ms, 1'000'000), brood::TimeoutError);
  pair.thing.gate.open();
  // Both ways are full: the other end writes what nobody waits for, and we write something long.
  const std::string large(1'000'000, 'y');
  EXPECT_EQ(pair.call<&Thing::echo>(large), large);
}

TEST_F(CallLine, CallbacksOfACallThatNobodyWaitsForAreDone) {
  Pair pair;
  std::latch called(1);
  const Callback<int(int)> f([&](int n) {
    called.count_down();
    return n;
  });
  EXPECT_THROW((void)pair.call_for<[](Thing& it, Callback<int(int)> back) {
    it.gate.pass();
    it.number = back(11);
  }>(1ms, f),
               brood::TimeoutError);
  pair.thing.gate.open();
  called.wait();
  EXPECT_EQ(pair.call<&Thing::number>(), 11);
}

// --- futures ---------------------------------------------------------------------------------------------------------

TEST_F(CallLine, FuturesOfManyCalls) {
  Pair pair(2);
  std::vector<brood::Future<int>> sums;
  for (int i = 0; i < 1000; ++i) sums.push_back(pair.async<&Thing::add>(i, 1));
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(sums[static_cast<std::size_t>(i)].get(), i + 1);
  auto failed = pair.async<&Thing::fail>("later");
  EXPECT_THROW(failed.get(), std::out_of_range);
  EXPECT_FALSE(failed.cancel());
}

TEST_F(CallLine, AnActionMayWaitForAnotherFuture) {
  Pair pair;
  // In the thread that brings the answers: another one must bring these meanwhile.
  std::latch done(1);
  std::atomic<int> sum = 0;
  auto first = pair.async<&Thing::wait_then>(1);
  first.on_done([&](brood::Future<int> one) {
    sum += one.get();
    sum += pair.async<&Thing::add>(10, 20).get();
    sum += pair.call<&Thing::add>(100, 200);
    pair.async<&Thing::add>(1000, 2000).on_done([&](brood::Future<int> inner) {
      sum += inner.get() + pair.async<&Thing::add>(0, 1).get();
      done.count_down();
    });
  });
  pair.thing.gate.open();
  done.wait();
  EXPECT_EQ(sum, 1 + 30 + 300 + 3000 + 1);
}

TEST_F(CallLine, ACallbackOfAnAsyncCallMayWaitForAFuture) {
  Pair pair(2);
  const Callback<int(int)> f([&](int n) { return pair.async<&Thing::add>(n, 1).get(); });
  std::vector<brood::Future<int>> all;
  for (int i = 0; i < 20; ++i) all.push_back(pair.async<&Thing::apply>(i, f));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(all[static_cast<std::size_t>(i)].get(), i + 1);
}

TEST_F(CallLine, AChainRunsWhereTheAnswersCome) {
  Pair pair;
  auto text = pair.async<&Thing::add>(1, 2).then([&](int n) { return pair.call<&Thing::add>(n, 10); }).then([](int n) {
    return std::to_string(n);
  });
  EXPECT_EQ(text.get(), "13");
}

// --- all together ----------------------------------------------------------------------------------------------------

TEST_F(CallLine, EverythingAtOnce) {
  std::random_device seeds;
  const unsigned seed = seeds();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Pair pair(3);
  pair.thing.gate.open();
  std::atomic<int> kept_calls = 0;
  const Callback<void(int)> count([&](int n) { kept_calls += n; });
  in_threads(8, [&](int i) {
    std::mt19937 random(seed + static_cast<unsigned>(i));
    const Callback<int(int)> again([&](int n) { return pair.call<&Thing::add>(n, 1); });
    std::vector<brood::Future<int>> open;
    for (int k = 0; k < 300; ++k) {
      switch (random() % 8) {
        case 0: EXPECT_EQ(pair.call<&Thing::add>(k, i), k + i); break;
        case 1: EXPECT_EQ(pair.call<&Thing::apply>(k, again), k + 1); break;
        case 2: open.push_back(pair.async<&Thing::add>(k, 0)); break;
        case 3: open.push_back(pair.async<&Thing::apply>(k, [](int n) { return n; })); break;
        case 4: EXPECT_THROW(pair.call<&Thing::fail>("x"), std::out_of_range); break;
        case 5: {
          const std::string text(random() % 100'000, 'z');
          EXPECT_EQ(pair.call<&Thing::echo>(text), text);
          break;
        }
        case 6: try { EXPECT_EQ(pair.call_for<&Thing::add>(std::chrono::milliseconds(random() % 2), k, 1), k + 1);
          } catch (const brood::TimeoutError&) {
            break;  // may be
          }
          break;
        case 7: pair.call<[](Thing&, Callback<void(int)> f) { f(1); }>(count); break;
      }
    }
    for (auto& future : open) {
      try {
        EXPECT_GE(future.get(), 0);
      } catch (const brood::HandleError&) {
        continue;  // the function of case 3 is gone by then, often
      }
    }
  });
}

}  // namespace
