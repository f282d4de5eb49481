// Calls from several threads, one after the other or at the same time.
#include <array>

#include "brood/barrier.hpp"
#include "brood/lock.hpp"
#include "process/methods_in_threads.hpp"
#include "remote/remote_support.hpp"

namespace {

using namespace remote_test;
using brood::Remote;

class RemoteThreads : public EveryHost {};
INSTANTIATE_FOR_EVERY_METHOD(RemoteThreads);

/// Looks whether anybody else is inside.
class Watchful {
 public:
  int next(int thread, int number) {
    if (inside_.exchange(true)) ++faults_;
    if (number != last_.at(static_cast<std::size_t>(thread))++) ++faults_;
    if (std::this_thread::get_id() != first_) ++faults_;
    inside_ = false;
    return ++calls_;
  }
  int faults() const { return faults_; }
  int calls() const { return calls_; }

 private:
  const std::thread::id first_ = std::this_thread::get_id();
  std::array<int, 8> last_{};
  std::atomic<bool> inside_ = false;
  std::atomic<int> faults_ = 0;
  int calls_ = 0;  // not atomic: there is one thread
};

TEST_P(RemoteThreads, OneThreadOfTheHostDoesOneCallAfterTheOther) {
  auto host = make<Watchful>();
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      std::vector<brood::Future<int>> open;
      for (int k = 0; k < 200; ++k) {
        if (k % 3 == 0) open.push_back(host.async<&Watchful::next>(i, k));
        else (void)host.call<&Watchful::next>(i, k);
      }
      for (auto& each : open) each.get();
    });
  }
  threads.clear();
  EXPECT_EQ(host.call<&Watchful::calls>(), 1600);
  EXPECT_EQ(host.call<&Watchful::faults>(), 0);
}

/// Its calls end only when so many are there together.
class Meeting {
 public:
  explicit Meeting(brood::Barrier& barrier) : barrier_(barrier) {}
  int meet() { return static_cast<int>(barrier_.wait()); }
  int add() {
    const std::scoped_lock guard(mutex_);
    return ++sum_;
  }

 private:
  brood::Barrier& barrier_;
  std::mutex mutex_;
  int sum_ = 0;
};

TEST_P(RemoteThreads, SeveralThreadsOfTheHostWorkAtTheSameTime) {
  brood::Barrier four(4);
  auto host = Remote<Meeting>::with(by(GetParam(), 4), four);
  for (int round = 0; round < 20; ++round) {
    std::vector<brood::Future<int>> together;
    for (int i = 0; i < 4; ++i) together.push_back(host.async<&Meeting::meet>());
    int sum = 0;
    for (auto& each : together) sum += each.get();
    EXPECT_EQ(sum, 0 + 1 + 2 + 3);
  }
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 200; ++k) (void)host.call<&Meeting::add>();
    });
  }
  threads.clear();
  EXPECT_EQ(host.call<&Meeting::add>(), 1601);
}

TEST_P(RemoteThreads, CallbacksOfManyThreadsKeepToTheirOwn) {
  auto account = Remote<Account>::with(by(GetParam(), 3), "ada", 5);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      const auto me = std::this_thread::get_id();
      for (int k = 0; k < 100; ++k) {
        EXPECT_EQ(account.call<&Account::call_back>([&](long n) {
          EXPECT_EQ(std::this_thread::get_id(), me);
          return n + i + account.balance();
        }),
                  10 + i);
      }
    });
  }
}

class RemoteStartedInThreads : public EveryHost {};
INSTANTIATE_FOR_EVERY_METHOD_IN_THREADS(RemoteStartedInThreads);

TEST_P(RemoteStartedInThreads, StartsAndStopsAreOneAfterTheOther) {
  Remote<Account> account(brood::not_yet, by(GetParam()));
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 15; ++k) {
        try {
          if (i == 0) account.start("ada", 5);
          else if (i == 1) account.stop();
          else EXPECT_EQ(account.balance(), 5);
        } catch (const brood::UsageError&) {
          continue;  // it runs, or it does not
        } catch (const brood::PeerGone&) {
          continue;  // stopped behind the back of a call
        }
      }
    });
  }
  threads.clear();
  account.stop();
  EXPECT_THROW((void)account.balance(), brood::UsageError);
  account.start("ada", 7);
  EXPECT_EQ(account.balance(), 7);
}

}  // namespace
