#include "brood/shared/container.hpp"

#include <algorithm>
#include <csignal>
#include <random>
#include <string>

#include "brood/process.hpp"
#include "brood/shared/map.hpp"
#include "support/worker.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

namespace shared = brood::shared;
using shared::Container;

/// What stays until the end of the program: the forkserver, and the descriptor of /proc/self/pagemap.
const bool kWarm = support::before_first_baseline([] {
  Container<shared::vector<int>> numbers;
  numbers.write()->push_back(1);
  if (SUPPORT_TSAN) return;
  brood::Process first({.start_method = brood::StartMethod::forkserver}, [] {});
  first.start();
  first.join();
});

using ContainerCrash = Ladder;
using Numbers = Container<shared::vector<int>>;
using Words = shared::map<shared::string, shared::vector<shared::string>>;

std::string text_of(int number) {
  return std::string(static_cast<std::size_t>(number % 90), 'a') + std::to_string(number);
}

TEST_F(ContainerCrash, KilledInsideATransactionHasChangedNothing) {
  Container<Words> words;
  words.with([](Words& w) { w["kept"].push_back("x"); });
  Child writer = victim([&] {
    static auto guard = words.write();  // never ends
    guard->clear();
    for (int i = 0; i < 2000; ++i) (*guard)[text_of(i)].push_back(text_of(i));
  });
  EXPECT_TRUE(words.locked());
  EXPECT_EQ(words.read()->size(), 1U) << "readers do not wait for a writer at work";
  std::thread next([&] { words.with([](Words& w) { w["next"].push_back("y"); }); });
  await_sleepers(words.handle(), 1);
  writer.shoot();
  next.join();
  EXPECT_EQ(shared::to_std(*words.read()),
            (std::map<std::string, std::vector<std::string>>{{"kept", {"x"}}, {"next", {"y"}}}));
}

TEST_F(ContainerCrash, KilledBetweenCommitAndTheEndOfItTheNextOneFinishes) {
  Numbers numbers;
  numbers.write()->assign(50000, 1);
  // A reader keeps the writer between its commit and the copying.
  Child reader = victim([&] { static auto guard = numbers.read(); });
  Child writer([&](Line&) { numbers.write()->assign(50000, 2); });
  await_sleepers(numbers.handle(), 1);
  writer.kill();
  EXPECT_FALSE(numbers.try_read()) << "what is committed and what is read would differ";
  EXPECT_FALSE(numbers.try_write_for(10ms)) << "the dead writer's commit waits for the reader";
  reader.kill();
  const auto now = numbers.read();
  EXPECT_EQ(std::count(now->begin(), now->end(), 2), 50000);
}

TEST_F(ContainerCrash, KilledReaderHoldsUpNobody) {
  Numbers numbers;
  Child reader = victim([&] { static auto guard = numbers.read(); });
  std::thread writer([&] { numbers.write()->push_back(1); });
  await_sleepers(numbers.handle(), 1);
  reader.shoot();
  writer.join();
  EXPECT_EQ(numbers.read()->size(), 1U);
}

TEST_F(ContainerCrash, KilledInPlaceIsDamageUntilItIsRepaired) {
  Numbers numbers;
  numbers.write()->assign(10, 1);
  const auto break_it = [&] {
    Child writer([&](Line&) {
      numbers.change_in_place([](auto& v) {
        v.front() = 2;
        ::raise(SIGKILL);
      });
    });
    EXPECT_EQ(writer.wait(), -SIGKILL);
    return writer.pid();
  };
  const pid_t dead = break_it();
  for (int i = 0; i < 2; ++i) {
    expect_error<brood::ContainerDamaged>([&] { (void)numbers.read(); },
                                          {numbers.handle().str(), "in place", "recover", "reset"});
    expect_error<brood::ContainerDamaged>([&] { (void)numbers.write(); }, {"died"});
    expect_error<brood::ContainerDamaged>([&] { numbers.change_in_place([](auto&) {}); }, {"died"});
  }
  try {
    (void)numbers.read();
  } catch (const brood::ContainerDamaged& damaged) {
    EXPECT_EQ(damaged.dead_pid(), dead);
  }
  EXPECT_FALSE(numbers.locked());
  EXPECT_THROW(numbers.recover([](auto& v) {
    v.clear();
    throw std::domain_error("cannot");
  }),
               std::domain_error);
  EXPECT_THROW((void)numbers.read(), brood::ContainerDamaged);
  EXPECT_TRUE(numbers.recover([](auto& v) {
    EXPECT_EQ(v.front(), 2) << "the repair begins with what the dead left";
    v.front() = 3;
  }));
  EXPECT_EQ(numbers.read()->front(), 3);
  EXPECT_EQ(numbers.read()->size(), 10U);
  EXPECT_FALSE(numbers.recover([](auto&) {}));

  break_it();
  EXPECT_TRUE(numbers.recover([](auto&) {})) << "nothing to repair";
  EXPECT_EQ(numbers.read()->size(), 10U);
  break_it();
  numbers.reset();
  EXPECT_TRUE(numbers.read()->empty());
}

/// Each transaction leaves the same number of words with the same text everywhere; writers are killed at any moment, in
/// the kernel too.
TEST_F(ContainerCrash, WritersKilledAtAnyMomentLeaveWholeTransactions) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  Container<Words> words({.budget_bytes = 8 << 20});
  const auto change = [](Words& w, int i) {
    if (i % 7 == 0) w.clear();
    for (int k = 0; k < 20; ++k) {
      auto& list = w[text_of(k)];
      list.assign(static_cast<std::size_t>(i % 30 + 1), shared::string(text_of(i)));
    }
  };
  const auto check = [](const Words& w) {
    ASSERT_EQ(w.size(), 20U);
    const auto& first = w.begin()->second;
    for (const auto& [key, list] : w) {
      ASSERT_EQ(list, first);
      for (const auto& text : list) ASSERT_EQ(text, first.front());
    }
  };
  words.with([&](Words& w) { change(w, 1); });
  for (int round = 0; round < 60; ++round) {
    Child writer([&](Line& line) {
      line.say('r');
      for (int i = round;; ++i) words.with([&](Words& w) { change(w, i); });
    });
    writer.line.expect('r');
    for (auto i = random() % 300; i > 0; --i) check(*words.read());
    writer.shoot();
    check(*words.read());
    words.with([&](Words& w) {
      check(w);
      change(w, round);
    });
    writer.wait();
    check(*words.read());
  }
}

class ContainerBodies : public Ladder, public ::testing::WithParamInterface<support::Body> {};

void add_words(shared::Map<std::string, std::vector<std::string>>& map, int id) {
  for (int i = 0; i < 100; ++i) {
    map.update("list" + std::to_string(i % 10), [&](auto& list) { list.push_back(std::to_string(id * 1000 + i)); });
  }
}

TEST_P(ContainerBodies, PassedToWorkersAsAnArgument) {
  shared::Map<std::string, std::vector<std::string>> map;
  {
    support::Worker one(GetParam(), add_words, map, 1);
    support::Worker two(GetParam(), add_words, map, 2);
  }
  const auto all = map.snapshot();
  ASSERT_EQ(all.size(), 10U);
  for (const auto& [key, list] : all) EXPECT_EQ(list.size(), 20U) << key;
}

INSTANTIATE_TEST_SUITE_P(, ContainerBodies, ::testing::ValuesIn(support::all_bodies()),
                         [](const auto& of) { return support::to_string(of.param); });

}  // namespace
}  // namespace ladder
