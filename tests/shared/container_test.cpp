#include "brood/shared/container.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <numeric>
#include <string>

#include "base/hex.hpp"
#include "base/unique_fd.hpp"
#include "brood/queue.hpp"
#include "brood/shared/map.hpp"
#include "brood/shared/set.hpp"
#include "brood/shared/string.hpp"
#include "brood/shared/vector.hpp"
#include "os/files.hpp"
#include "support/inspect.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

namespace shared = brood::shared;
using shared::Container;

using ContainerLadder = Ladder;
using Numbers = Container<shared::vector<int>>;
using Words = shared::map<shared::string, shared::vector<shared::string>>;

struct User {
  shared::string name;
  shared::vector<int> scores;
  int age = 0;
};

/// Longer than what a string keeps in itself.
std::string long_text(int number) { return "text number " + std::to_string(number) + std::string(60, 'x'); }

TEST_F(ContainerLadder, WriteCommitsAtTheEndOfItsScope) {
  Numbers numbers;
  {
    auto guard = numbers.write();
    guard->push_back(1);
    guard->push_back(2);
    EXPECT_TRUE(numbers.locked());
  }
  EXPECT_FALSE(numbers.locked());
  EXPECT_EQ(shared::to_std(*numbers.read()), (std::vector<int>{1, 2}));
  EXPECT_EQ(numbers.with([](auto& v) { return v.size(); }), 2U);
  EXPECT_EQ(numbers.look([](const auto& v) { return v.back(); }), 2);
}

TEST_F(ContainerLadder, OthersSeeNothingUntilTheCommit) {
  Numbers numbers;
  auto guard = numbers.write();
  guard->assign(1000, 7);
  std::thread([&] {
    EXPECT_TRUE(numbers.read()->empty());
    EXPECT_FALSE(numbers.try_write());
    EXPECT_FALSE(numbers.try_write_for(5ms));
    EXPECT_FALSE(numbers.try_write_until(std::chrono::system_clock::now() + 2ms));
    EXPECT_TRUE(numbers.try_read());
  }).join();
  EXPECT_EQ(numbers.read()->size(), 1000U) << "the writer's own thread sees what it has done";
  guard.commit();
  EXPECT_EQ(numbers.read()->size(), 1000U);
  expect_error<brood::UsageError>([&] { guard->push_back(1); }, {"ended"});
  expect_error<brood::UsageError>([&] { guard.commit(); }, {"ended"});
}

TEST_F(ContainerLadder, WriteThatThrowsOrIsAbandonedIsUndone) {
  Container<Words> words;
  words.with([](Words& w) { w["a"].push_back("first"); });
  EXPECT_THROW(words.with([](Words& w) {
    w.clear();
    for (int i = 0; i < 3000; ++i) w[long_text(i)].push_back(long_text(i));
    throw std::domain_error("no");
  }),
               std::domain_error);
  EXPECT_FALSE(words.locked());
  EXPECT_EQ(shared::to_std(*words.read()), (std::map<std::string, std::vector<std::string>>{{"a", {"first"}}}));
  auto guard = words.write();
  guard->clear();
  guard.abandon();
  EXPECT_EQ(words.read()->size(), 1U);
  // The memory of what was undone is there for the next.
  const std::size_t reserved = words.reserved_bytes();
  words.with([](Words& w) {
    for (int i = 0; i < 3000; ++i) w[long_text(i)].push_back(long_text(i));
  });
  EXPECT_EQ(words.reserved_bytes(), reserved);
}

TEST_F(ContainerLadder, GuardsOfOneThreadAreOneTransaction) {
  Numbers numbers;
  auto second = Numbers::open(numbers.handle());
  {
    auto outer = numbers.write();
    outer->push_back(1);
    {
      auto inner = second.write();  // another object of the same container
      EXPECT_EQ(inner->size(), 1U);
      inner->push_back(2);
      EXPECT_EQ(second.read()->size(), 2U);
    }
    std::thread([&] { EXPECT_TRUE(numbers.read()->empty()); }).join();
    EXPECT_EQ(outer->size(), 2U);
  }
  EXPECT_EQ(second.read()->size(), 2U);
  {
    auto outer = numbers.write();
    outer->push_back(3);
    second.write().abandon();
    expect_error<brood::UsageError>([&] { outer.commit(); }, {numbers.handle().str(), "abandoned"});
  }
  EXPECT_EQ(numbers.read()->size(), 2U);
}

TEST_F(ContainerLadder, WritingWhileReadingInOneThreadIsAnError) {
  Numbers numbers;
  {
    const auto reading = numbers.read();
    const auto again = numbers.read();
    expect_error<brood::UsageError>([&] { (void)numbers.write(); },
                                    {numbers.handle().str(), "reads it", "end the read"});
  }
  numbers.write()->push_back(1);
  EXPECT_EQ(numbers.read()->size(), 1U);
}

TEST_F(ContainerLadder, ReadersAreTogetherAndACommitWaitsForThem) {
  Numbers numbers;
  numbers.write()->push_back(1);
  std::optional<Numbers::ReadGuard> reading(numbers.read());
  Child other([&](Line& line) {
    const auto also = numbers.read();
    line.say('r');
    line.expect('g');
    require(also->size() == 1, "the reader saw a commit");
  });
  other.line.expect('r');
  std::atomic<bool> committed = false;
  std::thread writer([&] {
    numbers.write()->push_back(2);
    committed = true;
  });
  await_sleepers(numbers.handle(), 1);  // in its commit
  EXPECT_FALSE(committed);
  EXPECT_EQ((*reading)->size(), 1U);
  reading.reset();
  other.line.say('g');
  EXPECT_EQ(other.wait(), 0);
  writer.join();
  EXPECT_EQ(numbers.read()->size(), 2U);
}

TEST_F(ContainerLadder, MoreReadersThanSlots) {
  Numbers numbers;
  numbers.write()->push_back(5);
  std::vector<Child> readers;
  for (int i = 0; i < 66; ++i) {
    readers.emplace_back([&](Line& line) {
      // Whoever finds no slot has the lock, and the others do not need it.
      const auto reading = numbers.try_read_for(50ms);
      line.say(reading ? 'y' : 'n');
      line.expect('g');
      require(!reading || (*reading)->front() == 5, "wrong contents");
    });
  }
  int reading = 0;
  for (auto& reader : readers) reading += reader.line.hear() == 'y' ? 1 : 0;
  EXPECT_GE(reading, 64);
  for (auto& reader : readers) {
    reader.line.say('g');
    EXPECT_EQ(reader.wait(), 0);
  }
  numbers.write()->push_back(6);
  EXPECT_EQ(numbers.read()->size(), 2U);
}

TEST_F(ContainerLadder, StructsMapsOfVectorsAndVectorsOfStrings) {
  Container<shared::map<shared::string, User>> users;
  users.with([](auto& all) {
    for (int i = 0; i < 500; ++i) {
      User& user = all[long_text(i)];
      user.name = long_text(i + 1);
      user.scores.assign(10, i);
    }
    all.insert_or_assign("temporary", User{long_text(3), {1, 2, 3}, 4});
  });
  auto guard = users.read();
  EXPECT_EQ(guard->size(), 501U);
  const auto found = guard->find(std::string_view("temporary"));
  ASSERT_TRUE(found != guard->end());
  EXPECT_EQ(found->second.name, long_text(3));
  EXPECT_EQ(found->second.scores.size(), 3U);
  EXPECT_EQ(guard->find(long_text(77))->second.scores[9], 77);

  Container<shared::unordered_map<shared::string, shared::vector<shared::string>>> lists;
  lists.with([](auto& all) {
    for (int i = 0; i < 1000; ++i) all[long_text(i % 100)].push_back(long_text(i));
  });
  EXPECT_EQ(shared::to_std(*lists.read()).at(long_text(5)).at(9), long_text(905));

  Container<std::pair<shared::deque<int>, shared::set<shared::string>>> pair;
  pair.with([](auto& both) {
    both.first.push_front(1);
    both.second.insert("x");
  });
  EXPECT_TRUE(pair.read()->second.contains(std::string_view("x")));
}

TEST_F(ContainerLadder, SharedValuesBelongToTheContainerThatIsWritten) {
  expect_error<brood::UsageError>([] { (void)shared::string("a text outside of a transaction"); },
                                  {"outside of a transaction", "write()"});
  Container<shared::vector<shared::string>> one;
  Container<shared::vector<shared::string>> two;
  one.with([](auto& v) { v.push_back(long_text(1)); });
  auto to = two.write();
  {
    auto from = one.write();
    expect_error<brood::UsageError>([&] { const shared::string text(long_text(2)); }, {"several", "memory()"});
    to->push_back(shared::string(long_text(2), to.memory()));
    to->push_back(std::move(from->front()));  // copied, since the memory is another
    from->clear();
    *to = std::move(*to);
  }
  to.commit();
  EXPECT_EQ(shared::to_std(*two.read()), (std::vector<std::string>{long_text(2), long_text(1)}));
  EXPECT_TRUE(one.read()->empty());
  expect_error<brood::UsageError>([&] { const shared::string copy = two.read()->front(); }, {"to_std"});
}

TEST_F(ContainerLadder, GrowsToItsBudgetThenNoSpace) {
  constexpr std::size_t kBudget = std::size_t{2} << 20;
  Container<shared::deque<shared::string>> texts({.budget_bytes = kBudget});
  const std::size_t first = texts.reserved_bytes();
  std::size_t before = 0;
  expect_error<brood::NoSpace>(
      [&] {
        for (;;) {
          texts.with([&](auto& all) {
            for (int i = 0; i < 100; ++i) all.push_back(long_text(i));
          });
          before = texts.read()->size();
        }
      },
      {texts.handle().str(), std::to_string(kBudget), "budget", "free", "budget_bytes"});
  EXPECT_GT(texts.reserved_bytes(), first);
  EXPECT_LE(texts.reserved_bytes(), kBudget);
  EXPECT_EQ(texts.read()->size(), before) << "the transaction that found no room is undone";
  EXPECT_GT(before * 100, kBudget / 2);
  texts.with([](auto& all) { all.resize(10); });
  texts.with([&](auto& all) {
    for (std::size_t i = 10; i < before; ++i) all.push_back(long_text(1));
  });
  expect_error<brood::NoSpace>([&] { texts.with([](auto& all) { all.front().resize(kBudget); }); }, {"no room for"});
  EXPECT_EQ(texts.read()->size(), before);
}

TEST_F(ContainerLadder, TransactionsOfHundredsOfPages) {
  Numbers numbers;
  constexpr int kCount = 1 << 20;  // 4 MiB
  for (int round = 1; round < 6; ++round) {
    numbers.with([&](auto& v) { v.assign(kCount, round); });
    const auto now = numbers.read();
    ASSERT_EQ(std::count(now->begin(), now->end(), round), kCount);
  }
  // Pages here and there.
  numbers.with([](auto& v) {
    for (std::size_t i = 0; i < v.size(); i += 5000) v[i] = 100;
  });
  const auto now = numbers.read();
  for (std::size_t i = 0; i < now->size(); ++i) ASSERT_EQ((*now)[i], i % 5000 == 0 ? 100 : 5) << i;
}

TEST_F(ContainerLadder, NamesHandlesAndTypes) {
  auto made = Numbers::create("ladder.numbers", {.budget_bytes = 1 << 20});
  expect_error<brood::AlreadyExists>([] { (void)Numbers::create("ladder.numbers"); }, {"ladder.numbers"});
  made.write()->push_back(4);
  EXPECT_EQ(Numbers::open_named("ladder.numbers").read()->front(), 4);
  EXPECT_EQ(Numbers::open_or_create("ladder.numbers").budget_bytes(), std::size_t{1} << 20);
  expect_error<brood::TypeMismatch>([] { (void)Container<shared::vector<long>>::open_named("ladder.numbers"); },
                                    {"ladder.numbers", "vector", "int", "long"});
  expect_error<brood::TypeMismatch>([&] { (void)Container<shared::vector<unsigned>>::open(made.handle()); },
                                    {"ladder.numbers"});
  expect_error<brood::TypeMismatch>([&] { (void)Container<shared::deque<int>>::open(made.handle()); }, {"deque"});
  EXPECT_TRUE(Numbers::remove("ladder.numbers"));
  EXPECT_FALSE(Numbers::remove("ladder.numbers"));
  made.write()->push_back(5);  // its users keep it
  EXPECT_EQ(made.read()->size(), 2U);
  EXPECT_EQ(printed(made).find("<Container " + made.handle().str()), 0U) << printed(made);
  expect_error<brood::UsageError>([] { (void)Numbers({.budget_bytes = std::size_t{1} << 50}); }, {"1 TiB"});
  Numbers moved = std::move(made);
  expect_error<brood::UsageError>([&] { (void)made.write(); }, {"moved from"});  // NOLINT(bugprone-use-after-move)
}

TEST_F(ContainerLadder, TravelsThroughAQueue) {
  brood::Queue<Numbers> queue;
  {
    Numbers numbers;
    numbers.write()->assign(3, 9);
    queue.put(numbers);
  }
  auto got = queue.get();
  EXPECT_EQ(got.read()->size(), 3U);
}

TEST_F(ContainerLadder, EverydayCalls) {
  shared::Vector<std::string> names;
  names.push_back("ada");
  names.append(std::vector<std::string>{"bob", "eve"});
  names.set(1, long_text(1));
  EXPECT_EQ(names.at(1), long_text(1));
  EXPECT_THROW((void)names.at(3), std::out_of_range);
  names.erase(0);
  EXPECT_EQ(names.pop_back(), "eve");
  EXPECT_EQ(names.snapshot(), std::vector<std::string>{long_text(1)});
  names.assign({"x", "y"});
  EXPECT_EQ(names.update(0, [](shared::string& s) { return (s += "!").size(); }), 2U);
  std::string all;
  names.for_each([&](const shared::string& s) { all += std::string_view(s); });
  EXPECT_EQ(all, "x!y");
  names.clear();
  EXPECT_TRUE(names.empty());
  EXPECT_EQ(names.pop_back(), std::nullopt);

  shared::Map<std::string, std::vector<int>> lists;
  EXPECT_TRUE(lists.insert_or_assign("a", {1, 2}));
  EXPECT_FALSE(lists.insert_or_assign("a", {3}));
  EXPECT_FALSE(lists.insert("a", {4}));
  EXPECT_EQ(lists.find("a"), std::vector<int>{3});
  EXPECT_EQ(lists.find("b"), std::nullopt);
  EXPECT_THROW((void)lists.at("b"), std::out_of_range);
  lists.update("b", [](shared::vector<int>& v) { v.push_back(8); });
  EXPECT_EQ(lists.snapshot(), (std::map<std::string, std::vector<int>>{{"a", {3}}, {"b", {8}}}));
  EXPECT_EQ(lists.take("b"), std::vector<int>{8});
  EXPECT_TRUE(lists.erase("a"));
  EXPECT_FALSE(lists.erase("a"));
  EXPECT_FALSE(lists.contains("a"));

  shared::UnorderedMap<int, double> halves;
  for (int i = 0; i < 100; ++i) halves.insert(i, i / 2.0);
  EXPECT_EQ(halves.at(99), 49.5);
  EXPECT_EQ(halves.size(), 100U);
  shared::UnorderedMap<std::string, std::string> words;
  words.insert_or_assign("k", long_text(4));
  const auto same = decltype(words)::open(words.handle());
  EXPECT_EQ(same.at("k"), long_text(4));

  shared::Set<std::string> set;
  EXPECT_TRUE(set.insert("a"));
  EXPECT_FALSE(set.insert("a"));
  EXPECT_TRUE(set.contains("a"));
  EXPECT_TRUE(set.erase("a"));

  shared::Deque<int> deque;
  deque.push_back(1);
  deque.push_front(0);
  EXPECT_EQ(deque.pop_front(), 0);

  shared::String text;
  text.set("abc");
  text.append(long_text(1));
  EXPECT_EQ(text.get(), "abc" + long_text(1));
  EXPECT_EQ(text.size(), 3 + long_text(1).size());
  EXPECT_EQ(printed(text).find("<Container "), 0U);
}

TEST_F(ContainerLadder, ThreadsAndProcessesAddUp) {
  shared::Map<std::string, long> counts;
  const auto work = [](shared::Map<std::string, long>& map, int rounds) {
    for (int i = 0; i < rounds; ++i) map.update("key" + std::to_string(i % 5), [](long& n) { ++n; });
  };
  std::vector<Child> children;
  for (int i = 0; i < 3; ++i) children.emplace_back([&](Line&) { work(counts, 500); });
  in_threads(4, [&](std::size_t i) {
    if (i % 2 == 0) {
      work(counts, 500);
    } else {
      auto mine = shared::Map<std::string, long>::open(counts.handle());
      work(mine, 500);
    }
  });
  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
  const auto all = counts.snapshot();
  EXPECT_EQ(std::accumulate(all.begin(), all.end(), 0L, [](long sum, const auto& one) { return sum + one.second; }),
            7 * 500);
}

TEST_F(ContainerLadder, ReadersNeverSeeHalfATransaction) {
  Container<std::pair<shared::vector<int>, shared::vector<int>>> twins;
  const auto write = [](auto& both, int i) {
    both.first.assign(static_cast<std::size_t>(500 + i), i);
    both.second.assign(static_cast<std::size_t>(500 + i), i);
  };
  Child other([&](Line&) {
    for (int i = 0; i < 400; ++i) twins.with([&](auto& both) { write(both, i); });
  });
  in_threads(3, [&](std::size_t thread) {
    for (int i = 0; i < 400; ++i) {
      if (thread == 0) {
        twins.with([&](auto& both) { write(both, i); });
        continue;
      }
      const auto seen = twins.read();
      ASSERT_EQ(seen->first, seen->second);
      for (const int n : seen->first) ASSERT_EQ(n, seen->first.front());
    }
  });
  EXPECT_EQ(other.wait(), 0);
}

TEST_F(ContainerLadder, ForkInTheMiddleOfATransaction) {
  Numbers numbers;
  numbers.write()->assign(3000, 1);
  {
    auto guard = numbers.write();
    guard->assign(3000, 2);
    Child child([&](Line& line) {
      // It has its parent's private pages, its guard and its list of guards, but not the lock.
      expect_error<brood::UsageError>([&] { guard->resize(100000); }, {"outside of its transaction"});
      guard.abandon();
      require(numbers.read()->front() == 1, "a forked child reads what is not committed");
      require(!numbers.try_write(), "a forked child has its parent's lock");
      line.say('r');
      line.expect('g');
      require(numbers.read()->front() == 3, "a forked child reads old pages");
      numbers.with([](auto& v) {
        require(v.front() == 3 && v.back() == 3, "a forked child works on its parent's pages");
        v.back() = 4;
      });
    });
    child.line.expect('r');
    guard->assign(3000, 3);
    guard.commit();
    child.line.say('g');
    EXPECT_EQ(child.wait(), 0);
  }
  EXPECT_EQ(numbers.read()->front(), 3);
  EXPECT_EQ(numbers.read()->back(), 4);
}

TEST_F(ContainerLadder, PagesKeptFromACommitAreDroppedWhenOthersCommit) {
  Numbers numbers;
  auto other = Numbers::open(numbers.handle());  // private pages of its own
  numbers.write()->assign(5000, 0);
  for (int i = 0; i < 200; ++i) {
    auto& writer = i % 3 == 0 ? numbers : other;
    writer.with([&](auto& v) {
      const auto at = static_cast<std::size_t>(i * 7 % 5000);
      ASSERT_EQ(v[at], 0);
      for (int k = 0; k < i; ++k) ASSERT_EQ(v[static_cast<std::size_t>(k * 7 % 5000)], k + 1);
      v[at] = i + 1;
    });
  }
}

TEST_F(ContainerLadder, LargeTransactionsOfSeveralObjectsInTurn) {
  Numbers numbers;
  auto other = Numbers::open(numbers.handle());
  constexpr std::size_t kCount = std::size_t{2} << 20;  // 2048 pages
  numbers.write()->resize(kCount);
  for (int round = 1; round < 6; ++round) {
    (round % 2 == 0 ? numbers : other).with([&](auto& v) {
      for (std::size_t i = 0; i < kCount; i += 512) ASSERT_EQ(std::exchange(v[i], round), round - 1) << i;
    });
  }
}

TEST_F(ContainerLadder, AllMemoryLocked) {
  if (::mlockall(MCL_CURRENT | MCL_ONFAULT) != 0) GTEST_SKIP() << "may not lock memory";
  ::munlockall();
  Child child([](Line&) {
    Numbers numbers({.budget_bytes = 1 << 20});
    auto other = Numbers::open(numbers.handle());
    numbers.write()->assign(3000, 1);
    require(::mlockall(MCL_CURRENT | MCL_FUTURE) == 0, "mlockall");  // copies every private page
    other.write()->assign(3000, 2);
    numbers.with([](auto& v) {
      require(v.front() == 2 && v.back() == 2, "locked pages of an earlier time");
      v.front() = 3;
    });
    require(other.read()->front() == 3 && other.read()->back() == 2, "locked pages were committed");
    Numbers later({.budget_bytes = 1 << 20});
    later.write()->assign(3000, 1);
    later.write()->push_back(2);
    require(later.read()->size() == 3001, "made with locked memory");
  });
  EXPECT_EQ(child.wait(), 0);
}

#ifndef NDEBUG
TEST_F(ContainerLadder, WriteThroughAReferenceThatOutlivedItsGuardIsReported) {
  Numbers numbers;
  numbers.write()->assign(3000, 1);
  int& stray = numbers.write()->front();
  stray = 77;
  expect_error<brood::UsageError>([&] { (void)numbers.write(); }, {numbers.handle().str(), "outlived its guard"});
  numbers.write()->back() = 2;
  EXPECT_EQ(numbers.read()->front(), 1);
}
#endif

TEST_F(ContainerLadder, ResetMakesItEmpty) {
  Container<Words> words;
  words.with([](Words& w) { w[long_text(1)].push_back(long_text(2)); });
  words.reset();
  EXPECT_TRUE(words.read()->empty());
  words.with([](Words& w) { w[long_text(1)].push_back(long_text(2)); });
  EXPECT_EQ(words.read()->size(), 1U);
  const auto guard = words.write();
  expect_error<brood::UsageError>([&] { words.reset(); }, {words.handle().str(), "end that first"});
}

TEST_F(ContainerLadder, ChangeInPlaceIsSeenAtOnceAndStays) {
  Numbers numbers;
  EXPECT_EQ(numbers.change_in_place([&](auto& v) {
    v.assign(100000, 3);
    std::thread([&] { EXPECT_FALSE(numbers.try_read()); }).join();
    EXPECT_EQ(numbers.read()->size(), 100000U);
    return 5;
  }),
            5);
  EXPECT_EQ(numbers.read()->size(), 100000U);
  EXPECT_THROW(numbers.change_in_place([](auto& v) {
    v.front() = 4;
    throw std::domain_error("no");
  }),
               std::domain_error);
  EXPECT_EQ(numbers.read()->front(), 4);
  numbers.write()->front() = 5;  // and transactions go on from there
  EXPECT_EQ(numbers.read()->front(), 5);
  EXPECT_FALSE(numbers.recover([](auto&) { FAIL(); }));
}

TEST_F(ContainerLadder, DamagedSegmentsAreRefused) {
  const auto damage = [](const Numbers& numbers, std::size_t at, std::uint64_t value) {
    const std::string path = (support::test_domain() / brood::base::hex16(numbers.handle().id())).string();
    const brood::base::UniqueFd fd(brood::os::open_file(path.c_str(), true));
    ASSERT_EQ(::pwrite(fd.get(), &value, sizeof value, static_cast<off_t>(at)), 8);
  };
  // Behind the segment's header and the lock: mark, reserved, commits, readers, budget, root, page (container_body.hpp).
  constexpr std::size_t kMark = 192 + 64;
  for (const std::size_t at : {kMark + 8, kMark + 32, kMark + 40, kMark + 48}) {
    const Numbers numbers;
    damage(numbers, at, std::uint64_t{1} << 60);
    expect_error<brood::TypeMismatch>([&] { (void)Numbers::open(numbers.handle()); },
                                      {numbers.handle().str(), "damaged"});
  }
  for (const std::uint64_t mark : {std::uint64_t{1} << 56 | 0xffffffff, std::uint64_t{77} << 56}) {
    Numbers numbers;
    damage(numbers, kMark, mark);
    expect_error<brood::TypeMismatch>([&] { (void)numbers.read(); }, {"damaged"});
    expect_error<brood::TypeMismatch>([&] { (void)numbers.write(); }, {"damaged"});
    EXPECT_FALSE(numbers.locked());
  }
}

}  // namespace
}  // namespace ladder
