// Hosts killed at random moments amid the calls of several threads: each call ends, with its answer or with PeerGone, and
// nothing is left.
#include <algorithm>
#include <random>

#include "brood/domain.hpp"
#include "brood/value.hpp"
#include "remote/remote_support.hpp"
#include "support/inspect.hpp"

namespace {

using namespace remote_test;
using brood::Callback;
using brood::Remote;

class RemoteKill : public process_test::Processes {};

/// Counts in shared memory what it has done, so that the survivors can be asked.
class Counter {
 public:
  explicit Counter(brood::Value<long>& total) : total_(total) {}
  long add(long n) {
    *total_.lock() += n;
    return n;
  }
  std::string echo(const std::string& text) { return text; }
  long ask(const Callback<long(long)>& f, long n) { return f(n); }

 private:
  brood::Value<long>& total_;
};

struct Tally {
  std::atomic<long> answered = 0;
  std::atomic<long> lost = 0;
  std::atomic<long> added = 0;
  std::atomic<long> maybe_added = 0;
};

void call_until_gone(Remote<Counter>& host, unsigned seed, Tally& tally) {
  std::mt19937 random(seed);
  const Callback<long(long)> f([&](long n) { return n + 1; });
  std::vector<std::pair<brood::Future<long>, long>> open;
  try {
    for (long k = 1;; ++k) {
      switch (random() % 5) {
        case 0:
          tally.maybe_added += k;
          EXPECT_EQ(host.call<&Counter::add>(k), k);
          tally.added += k;
          break;
        case 1: {
          const std::string text(random() % 200'000, 'x');
          EXPECT_EQ(host.call<&Counter::echo>(text), text);
          break;
        }
        case 2: EXPECT_EQ(host.call<&Counter::ask>(f, k), k + 1); break;
        case 3:
          tally.maybe_added += k;
          open.emplace_back(host.async<&Counter::add>(k), k);
          break;
        case 4: try { EXPECT_EQ(host.call_for<&Counter::ask>(std::chrono::microseconds(random() % 500), f, k), k + 1);
          } catch (const brood::TimeoutError&) {
            break;  // may be
          }
          break;
      }
      ++tally.answered;
    }
  } catch (const brood::PeerGone& gone) {
    EXPECT_EQ(gone.exitcode(), -SIGKILL) << gone.what();
    ++tally.lost;
  }
  for (auto& [future, n] : open) {
    try {
      EXPECT_EQ(future.get(), n);
      tally.added += n;
    } catch (const brood::PeerGone&) {
      ++tally.lost;
    }
  }
}

TEST_F(RemoteKill, EveryCallEndsAndNothingIsLeft) {
  std::random_device seeds;
  const unsigned seed = seeds();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::minstd_rand random(seed);
  const auto before = support::files_below(support::test_domain());
  long answered = 0;
  long lost = 0;
  for (int round = 0; round < 300; ++round) {
    brood::Value<long> total(0);
    Tally tally;
    const auto method = round % 3 == 0 ? StartMethod::fork : StartMethod::forkserver;
    auto host = Remote<Counter>::with(by(method, 1 + static_cast<unsigned>(random() % 3)), total);
    std::vector<std::jthread> callers;
    for (int i = 0; i < 3; ++i)
      callers.emplace_back(call_until_gone, std::ref(host), static_cast<unsigned>(random()), std::ref(tally));
    // A moment that is told by their progress, and a little more or less.
    const auto enough = static_cast<long>(random() % 60);
    while (tally.answered < enough) std::this_thread::yield();
    for (auto spin = random() % 20'000; spin > 0; --spin) asm volatile("");
    host.kill();
    callers.clear();
    host.stop();
    EXPECT_EQ(host.exitcode(), -SIGKILL);
    // What was answered was done; what was not may have been.
    EXPECT_GE(total.get(), tally.added.load());
    EXPECT_LE(total.get(), tally.maybe_added.load());
    answered += tally.answered;
    lost += tally.lost;
  }
  (void)brood::gc();
  EXPECT_EQ(support::files_below(support::test_domain()), before);
  RecordProperty("answered", std::to_string(answered));
  RecordProperty("lost", std::to_string(lost));
  std::printf("%ld answered, %ld lost\n", answered, lost);
}

}  // namespace
