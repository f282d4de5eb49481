#include "brood/shareable_list.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <random>

#include "brood/shared_memory.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using brood::ShareableList;
using Item = ShareableList::Item;
using Bytes = ShareableList::Bytes;
constexpr std::monostate kNone{};

using ListLadder = Ladder;
using ListCrash = Ladder;

Bytes bytes(std::string_view text) {
  const auto raw = std::as_bytes(std::span(text));
  return {raw.begin(), raw.end()};
}

TEST_F(ListLadder, ItemsOfEveryTypeComeBack) {
  const std::vector<Item> items{kNone,
                                true,
                                false,
                                std::int64_t{-5},
                                std::numeric_limits<std::int64_t>::min(),
                                std::numeric_limits<std::int64_t>::max(),
                                -2.5,
                                std::numeric_limits<double>::infinity(),
                                "",
                                "short",
                                "exactly8",
                                std::string(100, 'x'),
                                std::string("nul\0inside\0\0", 12),
                                "dèjà vu 日本",
                                bytes(""),
                                bytes({"\0\xff\0", 3})};
  const ShareableList list(items);
  ASSERT_EQ(list.size(), items.size());
  EXPECT_EQ(list.items(), items);
  for (std::size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(list.get(static_cast<std::int64_t>(i)), items[i]);
    EXPECT_EQ(list[static_cast<std::int64_t>(i) - static_cast<std::int64_t>(items.size())], items[i]);
  }
  EXPECT_EQ(ShareableList::open(list.handle()).items(), items);
  EXPECT_TRUE(std::isnan(ShareableList({std::nan("")}).get<double>(0)));
  const ShareableList empty(std::vector<Item>{});
  EXPECT_TRUE(empty.empty());
  EXPECT_EQ(empty.begin(), empty.end());
  EXPECT_THROW((void)empty.get(0), brood::UsageError);
}

TEST_F(ListLadder, IndicesAreCheckedAtBothEnds) {
  ShareableList list{1, 2, 3};
  for (const std::int64_t index : {std::int64_t{3}, std::int64_t{-4}, std::numeric_limits<std::int64_t>::min(),
                                   std::numeric_limits<std::int64_t>::max()}) {
    const std::vector<std::string> words{list.handle().str(), "3 items", std::to_string(index)};
    expect_error<brood::UsageError>([&] { (void)list.get(index); }, words);
    expect_error<brood::UsageError>([&] { list.set(index, 1); }, words);
    expect_error<brood::UsageError>([&] { (void)list.capacity(index); }, words);
  }
  list.set(-1, 9);
  EXPECT_EQ(list.get<std::int64_t>(2), 9);
}

TEST_F(ListLadder, TypesChangeInPlaceAndWhatDoesNotFitLeavesTheOldItem) {
  ShareableList list{1, 2.5, "text of 18 letters"};
  list.set(0, "8letters");
  list.set(1, kNone);
  list.set(2, false);
  EXPECT_EQ(list.items(), (std::vector<Item>{"8letters", kNone, false}));
  list.set(2, std::string(24, 'y'));
  list.set(0, bytes("abc"));
  expect_error<brood::UsageError>([&] { list.set(1, "nine char"); },
                                  {list.handle().str(), "slot 1", "8 bytes", "text has 9", "slot_bytes"});
  EXPECT_THROW(list.set(2, bytes(std::string(25, 'z'))), brood::UsageError);
  EXPECT_EQ(list.items(), (std::vector<Item>{bytes("abc"), kNone, std::string(24, 'y')}));
  EXPECT_EQ(list.format(), "bytes(8) none text(24)");
}

TEST_F(ListLadder, CapacitiesAreRoundedAsPythonDoesOrGiven) {
  const ShareableList list{1, "", "1234567", "12345678", "ü234567", kNone};
  const std::array<std::size_t, 6> expected{8, 8, 8, 16, 16, 8};
  for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(list.capacity(static_cast<std::int64_t>(i)), expected[i]) << i;
  ShareableList wide({1, "x"}, {.slot_bytes = 100});
  EXPECT_EQ(wide.capacity(0), 104U);
  wide.set(0, std::string(104, 'l'));
  EXPECT_EQ(wide.get<std::string>(0).size(), 104U);
  EXPECT_THROW((ShareableList({1, 2}, {.slot_bytes = std::size_t{1} << 60})), brood::NoSpace);
  EXPECT_THROW((ShareableList({1, 2}, {.slot_bytes = std::numeric_limits<std::size_t>::max()})), brood::NoSpace);
}

TEST_F(ListLadder, CountIndexFindAndEquality) {
  ShareableList list{1, "a", 1, true, 1.0, kNone};
  EXPECT_EQ(list.count(1), 2U);
  EXPECT_EQ(list.count(true), 1U);
  EXPECT_EQ(list.count("b"), 0U);
  EXPECT_EQ(list.index("a"), 1U);
  EXPECT_EQ(list.find(kNone), 5U);
  EXPECT_EQ(list.find(2), std::nullopt);
  expect_error<brood::UsageError>([&] { (void)list.index("b"); }, {list.handle().str(), "\"b\"", "text", "find()"});
  auto copy = list.copy();
  EXPECT_EQ(copy, list);
  copy.set(0, 2);
  EXPECT_FALSE(copy == list);
  EXPECT_EQ(list.get<std::int64_t>(0), 1);
  std::size_t seen = 0;
  for (const Item& item : list) seen += item == Item(1) ? 1 : 0;
  EXPECT_EQ(seen, 2U);
  expect_error<brood::TypeMismatch>([&] { (void)list.get<double>(0); }, {"index 0", "int", "double"});
}

TEST_F(ListLadder, UpdateIsOneStep) {
  ShareableList list{0, "x"};
  std::vector<Child> children;
  const auto increment = [&](int rounds) {
    for (int round = 0; round < rounds; ++round)
      list.update(0, [](const Item& item) { return std::get<std::int64_t>(item) + 1; });
  };
  for (int i = 0; i < 3; ++i) children.emplace_back([&](Line&) { increment(1000); });
  in_threads(3, [&](std::size_t) { increment(1000); });
  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(list.get<std::int64_t>(0), 6000);
  EXPECT_THROW(list.update(0, [](const Item&) -> Item { throw std::domain_error("no"); }), std::domain_error);
  EXPECT_THROW(list.update(0,
                           [&](const Item& item) {
                             list.set(1, 1);
                             return item;
                           }),
               brood::UsageError);
  EXPECT_THROW(list.update(1, [](const Item&) { return Item(std::string(100, 'x')); }), brood::UsageError);
  EXPECT_EQ(list.items(), (std::vector<Item>{6000, "x"}));
  EXPECT_EQ(list.update(1, [&](const Item&) { return list.get(0); }), Item(6000));
}

TEST_F(ListLadder, ReadersNeverSeeHalfAnItem) {
  ShareableList list({"", ""}, {.slot_bytes = 600});
  std::vector<Child> writers;
  const auto write = [&] {
    std::mt19937 random(std::random_device{}());
    for (int round = 0; round < 3000; ++round) {
      const auto letter = static_cast<char>('a' + random() % 26);
      const std::string text(random() % 600, letter);
      if (random() % 3 == 0) list.set(0, bytes(text));
      else if (random() % 3 == 0) list.set(0, std::int64_t{letter} * 0x0101010101010101);
      else list.set(0, text);
    }
  };
  writers.emplace_back([&](Line&) { write(); });
  in_threads(4, [&](std::size_t i) {
    if (i == 0) {
      write();
      return;
    }
    for (int round = 0; round < 3000; ++round) {
      const Item item = list.get(0);
      std::string text;
      if (const auto* found = std::get_if<std::string>(&item)) text = *found;
      if (const auto* found = std::get_if<Bytes>(&item))
        for (const std::byte byte : *found) text += static_cast<char>(byte);
      if (const auto* found = std::get_if<std::int64_t>(&item)) {
        ASSERT_EQ(*found % 0x0101010101010101, 0);
      }
      for (const char c : text) ASSERT_EQ(c, text[0]);
    }
  });
  EXPECT_EQ(writers[0].wait(), 0);
}

TEST_F(ListLadder, NamesHandlesAndPrintedForm) {
  const auto made = ShareableList::create("ladder.list", {1, 2.5, true, "a\"b\n", bytes({"\0A", 2}), kNone});
  EXPECT_EQ(ShareableList::open_named("ladder.list"), made);
  EXPECT_EQ(ShareableList::open_or_create("ladder.list", std::vector<Item>(6)).get(0), Item(1));
  expect_error<brood::TypeMismatch>([] { (void)ShareableList::open_or_create("ladder.list", {1}); },
                                    {"ladder.list", "6 items", "1 were"});
  EXPECT_THROW((void)ShareableList::create("ladder.list", {1}), brood::AlreadyExists);
  EXPECT_EQ(printed(made),
            "<ShareableList " + made.handle().str() + " [1, 2.5, true, \"a\\\"b\\n\", b\"\\x00A\", none]>");
  EXPECT_TRUE(ShareableList::remove("ladder.list"));
  EXPECT_FALSE(ShareableList::remove("ladder.list"));
  EXPECT_THROW((void)ShareableList::open_named("ladder.list"), brood::HandleError);
  EXPECT_EQ(made.get(0), Item(1));
  // A handle's size has nothing to do with the list's.
  const ShareableList small{1};
  const ShareableList large(std::vector<Item>(10'000, "text"));
  EXPECT_EQ(small.handle().str().size(), large.handle().str().size());
}

TEST_F(ListLadder, MovedFromAndSwapped) {
  ShareableList first{1};
  ShareableList second{2, 2};
  std::swap(first, second);
  EXPECT_EQ(first.size(), 2U);
  const ShareableList third(std::move(first));
  const std::vector<std::function<void()>> uses{[&] { (void)first.size(); },   [&] { (void)first.get(0); },
                                                [&] { first.set(0, 1); },      [&] { (void)first.items(); },
                                                [&] { (void)first.handle(); }, [&] { (void)printed(first); },
                                                [&] { (void)first.format(); }};
  for (const auto& use : uses) EXPECT_THROW(use(), brood::UsageError);
  EXPECT_EQ(third.get(1), Item(2));
  static_assert(!std::is_copy_constructible_v<ShareableList>);
}

TEST_F(ListCrash, AStoppedOrDeadWriterHoldsUpNoReader) {
  ShareableList list{1, 2};
  Child writer([&](Line& line) {
    list.update(0, [&](const Item&) {
      line.say('h');
      (void)line.hear();
      return Item(5);
    });
  });
  writer.line.expect('h');
  writer.stop();
  EXPECT_EQ(list.items(), (std::vector<Item>{1, 2}));
  std::thread other([&] { list.set(1, 3); });
  await_sleepers(list.handle(), 1);
  writer.kill();
  other.join();
  EXPECT_EQ(list.items(), (std::vector<Item>{1, 3}));
}

TEST_F(ListCrash, KilledAtAnyMomentEachItemIsTheOldOrTheNew) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  std::mt19937 random(seed);
  for (int round = 0; round < 40; ++round) {
    ShareableList list({"", 0}, {.slot_bytes = 200});
    Child writer([&](Line& line) {
      line.say('r');
      for (std::int64_t i = 0;; ++i) {
        list.set(0, std::string(static_cast<std::size_t>(i % 200), static_cast<char>('a' + i % 26)));
        if (i % 2 == 0) list.set(1, i);
        else list.set(1, std::to_string(i % 10'000'000));
      }
    });
    writer.line.expect('r');
    for (auto i = random() % 3000; i > 0; --i) (void)list.get(1);
    writer.kill();
    const auto text = list.get<std::string>(0);
    for (const char c : text) ASSERT_EQ(c, text[0]);
    (void)list.get(1);
    list.set(0, "next");
    ASSERT_EQ(list.get(0), Item("next"));
  }
}

}  // namespace
}  // namespace ladder
