#include "brood/value.hpp"

#include <array>
#include <numeric>
#include <random>

#include "sync/ladder.hpp"

namespace ladder {
namespace {

using ValueLadder = Ladder;
using ValueCrash = Ladder;

struct Wide {
  std::array<std::int64_t, 300> cells{};
  friend bool operator==(const Wide&, const Wide&) = default;
};

TEST_F(ValueLadder, GetSetWithAndGuard) {
  brood::Value<long> value(5);
  EXPECT_EQ(value.get(), 5);
  *value.lock() += 3;
  EXPECT_EQ(value.get(), 8);
  EXPECT_EQ(value.with([](long& x) { return x *= 2; }), 16);
  value.set(1);
  EXPECT_EQ(value.get(), 1);
  brood::Value<Wide> wide;
  wide.lock()->cells[299] = 7;
  EXPECT_EQ(wide.get().cells[299], 7);
}

TEST_F(ValueLadder, ChangeThatThrowsIsUndone) {
  brood::Value<Wide> value;
  EXPECT_THROW(value.with([](Wide& x) {
    x.cells[0] = 1;
    x.cells[299] = 1;
    throw std::domain_error("no");
  }),
               std::domain_error);
  EXPECT_EQ(value.get(), Wide{});
  EXPECT_FALSE(value.locked());
  {
    auto guard = value.lock();
    guard->cells[5] = 5;
    guard.abandon();
    EXPECT_FALSE(value.locked());
  }
  EXPECT_EQ(value.get(), Wide{});
}

TEST_F(ValueLadder, NestedGuardsOfOneThreadAreOneChange) {
  brood::Value<long> value(1);
  {
    auto outer = value.lock();
    *outer = 2;
    *value.lock() += 10;
    EXPECT_EQ(value.get(), 12);  // the thread sees its own change
    std::thread([&] { EXPECT_FALSE(value.try_lock_for(5ms)); }).join();
    EXPECT_TRUE(value.locked());
  }
  EXPECT_EQ(value.get(), 12);
  EXPECT_FALSE(value.locked());
}

TEST_F(ValueLadder, IncrementsAddUpInThreadsAndProcesses) {
  brood::Value<long> value;
  std::vector<Child> children;
  for (int i = 0; i < 3; ++i) {
    children.emplace_back([&](Line&) {
      for (int round = 0; round < 2000; ++round) *value.lock() += 1;
    });
  }
  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
  in_threads(4, [&](std::size_t) {
    auto mine = brood::Value<long>::open(value.handle());
    for (int round = 0; round < 2000; ++round) mine.with([](long& x) { ++x; });
  });
  EXPECT_EQ(value.get(), 3 * 2000 + 4 * 2000);
}

TEST_F(ValueLadder, ReadersNeverSeeHalfAChange) {
  brood::Value<Wide> value;
  in_threads(4, [&](std::size_t i) {
    for (std::int64_t round = 1; round < 800; ++round) {
      if (i < 2) {
        value.with([&](Wide& x) { x.cells.fill(round); });
      } else {
        const Wide seen = value.get();
        for (const auto cell : seen.cells) ASSERT_EQ(cell, seen.cells[0]);
      }
    }
  });
}

template <class V>
concept Adds = requires(V& value, typename V::value_type by) {
  value.add(by);
};

TEST_F(ValueLadder, AddUpdateExchangeAreOneStep) {
  brood::Value<long> value(5);
  EXPECT_EQ(value.add(3), 8);
  EXPECT_EQ(value.update([](long x) { return x * 2; }), 16);
  EXPECT_EQ(value.exchange(1), 16);
  EXPECT_THROW(value.update([](long) -> long { throw std::domain_error("no"); }), std::domain_error);
  EXPECT_EQ(value.get(), 1);
  brood::Value<short> narrow(32767);
  EXPECT_EQ(narrow.add(1), -32768);  // wraps
  std::vector<Child> children;
  for (int i = 0; i < 4; ++i) {
    children.emplace_back([&](Line&) {
      for (int round = 0; round < 2000; ++round) value.add(1);
    });
  }
  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
  in_threads(4, [&](std::size_t) {
    for (int round = 0; round < 2000; ++round) value.add(1);
  });
  EXPECT_EQ(value.get(), 16001);
  static_assert(!Adds<brood::Value<Wide>> && Adds<brood::Value<double>>);
}

TEST_F(ValueLadder, CopiesAreIndependent) {
  brood::Value<Wide> value;
  auto copy = value.copy();
  copy.lock()->cells[0] = 5;
  EXPECT_EQ(value.get(), Wide{});
  const auto guard = value.lock();
  EXPECT_EQ(copy.get().cells[0], 5);
}

TEST_F(ValueLadder, AForkedCopyOfAGuardCommitsNothing) {
  brood::Value<long> value(1);
  {
    auto guard = value.lock();
    *guard = 2;
    for (const bool abandons : {false, true}) {
      Child child([&](Line&) {
        auto mine = std::move(guard);
        if (abandons) mine.abandon();
      });
      EXPECT_EQ(child.wait(), 0);
      EXPECT_TRUE(value.locked());
    }
    Child other([&](Line&) { require(!value.try_lock_for(1ms), "it is the parent's"); });
    EXPECT_EQ(other.wait(), 0);
    *guard = 4;
  }
  EXPECT_EQ(value.get(), 4);
}

TEST_F(ValueLadder, AnotherTypeIsRefused) {
  const brood::Value<int> value(1);
  expect_error<brood::TypeMismatch>([&] { (void)brood::Value<float>::open(value.handle()); },
                                    {value.handle().str(), "int", "float"});
  (void)brood::Value<Wide>::create("ladder.wide");
  expect_error<brood::TypeMismatch>([] { (void)brood::Value<long>::open_named("ladder.wide"); },
                                    {"ladder.wide", "Wide", "long"});
  EXPECT_TRUE(brood::Value<Wide>::remove("ladder.wide"));
}

TEST_F(ValueLadder, PrintedFormHasTheType) {
  const brood::Value<long> value(3);
  // The compiler chooses the words for a type: "long" or "long int".
  EXPECT_EQ(printed(value).find("<Value " + value.handle().str() + " of long"), 0U) << printed(value);
}

TEST_F(ValueLadder, OpenOrCreateKeepsTheValue) {
  auto made = brood::Value<int>::create("ladder.kept", 7);
  EXPECT_EQ(brood::Value<int>::open_or_create("ladder.kept", 9).get(), 7);
  EXPECT_TRUE(brood::Value<int>::remove("ladder.kept"));
  EXPECT_EQ(made.get(), 7);
}

TEST_F(ValueCrash, KilledInTheMiddleOfAChangeHasChangedNothing) {
  brood::Value<Wide> value;
  value.with([](Wide& x) { x.cells.fill(1); });
  Child changer([&](Line& line) {
    auto guard = value.lock();
    for (std::size_t i = 0; i < 150; ++i) guard->cells[i] = 2;
    line.say('h');
    (void)line.hear();
  });
  changer.line.expect('h');
  EXPECT_TRUE(value.locked());
  std::thread reader([&] {
    const Wide seen = value.get();
    for (const auto cell : seen.cells) ASSERT_EQ(cell, 1);
  });
  await_sleepers(value.handle(), 1);
  changer.shoot();
  reader.join();
  value.with([](Wide& x) { x.cells.fill(3); });
  EXPECT_EQ(value.get().cells[299], 3);
}

TEST_F(ValueCrash, KilledAtAnyMomentTheValueIsTheLastCommitted) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    brood::Value<Wide> value;
    Child changer([&](Line& line) {
      line.say('r');
      for (std::int64_t i = 1;; ++i) value.with([&](Wide& x) { x.cells.fill(i); });
    });
    changer.line.expect('r');
    for (auto i = random() % 3000; i > 0; --i) (void)value.locked();
    changer.kill();
    const Wide seen = value.get();
    for (const auto cell : seen.cells) ASSERT_EQ(cell, seen.cells[0]) << "round " << round;
    EXPECT_FALSE(value.locked());
  }
}

TEST_F(ValueCrash, StoppedChangerIsNotDead) {
  brood::Value<long> value(1);
  Child changer([&](Line& line) {
    auto guard = value.lock();
    *guard = 2;
    line.say('h');
    line.expect();
  });
  changer.line.expect('h');
  changer.stop();
  EXPECT_FALSE(value.try_lock_for(20ms));
  changer.resume();
  changer.line.say();
  EXPECT_EQ(changer.wait(), 0);
  EXPECT_EQ(value.get(), 2);
}

}  // namespace
}  // namespace ladder
