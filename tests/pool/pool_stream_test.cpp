// imap, imap_unordered: results as they come, of inputs that need not end.
#include <algorithm>
#include <list>
#include <memory>
#include <set>

#include "brood/futures.hpp"
#include "pool/pool_support.hpp"

namespace {

using namespace pool_test;

/// 0, 1, 2 … without end; counts how far it was read, and throws when it is told.
class Endless {
 public:
  Endless(int* read, int throws_at = -1) : read_(read), throws_at_(throws_at) {}
  class Iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = int;
    using difference_type = std::ptrdiff_t;
    Iterator(int* read, int throws_at) : read_(read), throws_at_(throws_at) { check(); }
    int operator*() const { return now_; }
    Iterator& operator++() {
      ++now_;
      check();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& /*it*/, std::default_sentinel_t /*end*/) { return false; }

   private:
    void check() const {
      if (now_ == throws_at_) throw std::domain_error("no more input");
      *read_ = now_ + 1;
    }
    int* read_;
    int throws_at_;
    int now_ = 0;
  };
  [[nodiscard]] Iterator begin() const { return {read_, throws_at_}; }
  [[nodiscard]] std::default_sentinel_t end() const { return {}; }

 private:
  int* read_;
  int throws_at_;
};

int odd_fails(int x) {
  if (x % 2 != 0) throw std::out_of_range("odd " + std::to_string(x));
  return x;
}
int third_dies(int x) {
  if (x == 3) die(Death::kill);
  return x;
}

class PoolStream : public Pools {};

TEST_F(PoolStream, KeepsTheOrder) {
  Pool pool(2);
  for (const std::int64_t chunk : {1, 3, 100}) {
    int expected = 0;
    for (const int n : pool.imap(square, std::vector{0, 1, 2, 3, 4, 5, 6}, {.chunk_size = chunk})) {
      EXPECT_EQ(n, expected * expected);
      ++expected;
    }
    EXPECT_EQ(expected, 7);
  }
  for (const int n : pool.imap(square, std::list<int>{})) FAIL() << n;
  auto stream = pool.imap<&square>(std::vector{3});
  EXPECT_EQ(stream.next(), 9);
  EXPECT_EQ(stream.next(), std::nullopt);
  EXPECT_EQ(stream.next(), std::nullopt);
}

TEST_F(PoolStream, UnorderedGivesEachOnce) {
  Pool pool(3);
  std::multiset<int> all;
  for (const int n : pool.imap_unordered([](int x) { return x; }, std::vector(500, 7), {.chunk_size = 2}))
    all.insert(n);
  EXPECT_EQ(all.size(), 500U);
  EXPECT_EQ(all.count(7), 500U);
}

TEST_F(PoolStream, UnorderedDoesNotWaitForTheFirst) {
  Pool pool(2);
  Pipe gate;
  Pipe said;
  using Item = std::tuple<int, std::string, std::string>;
  const auto f = [](const Item& item) {
    const auto& [x, writer, reader] = item;
    return x == 0 ? gated(x, writer, reader) : x;
  };
  const std::vector<Item> items{{0, said.writer(), gate.reader()}, {1, "", ""}, {2, "", ""}};
  auto stream = pool.imap_unordered(f, items);
  EXPECT_EQ(said.line(), "inside 0");
  EXPECT_EQ(stream.next().value() + stream.next().value(), 3);
  EXPECT_THROW((void)stream.next_for(1ms), brood::TimeoutError);
  gate.let_go();
  EXPECT_EQ(stream.next(), 0);
  EXPECT_EQ(stream.next_for(0s), std::nullopt);
}

TEST_F(PoolStream, ReadsNoFurtherAheadThanItMay) {
  Pool pool(2);
  int read = 0;
  auto stream = pool.imap(square, Endless(&read), {.chunk_size = 2, .look_ahead = 10});
  EXPECT_LE(read, 10);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(stream.next(), i * i);
    ASSERT_LE(read, i + 11);
  }
  int count = 0;
  int read_by_default = 0;
  for (const int n : pool.imap_unordered(square, Endless(&read_by_default))) {
    (void)n;
    if (++count == 500) break;
  }
  EXPECT_EQ(pool.map(square, {2}), std::vector{4});
}

TEST_F(PoolStream, AFailureIsThrownInItsPlaceAndTheRestFollows) {
  Pool pool(2);
  for (const std::int64_t chunk : {1, 4}) {
    auto stream = pool.imap(odd_fails, std::vector{0, 1, 2, 3, 4}, {.chunk_size = chunk});
    for (int i = 0; i < 5; ++i) {
      if (i % 2 == 0) EXPECT_EQ(stream.next(), i);
      else EXPECT_THROW((void)stream.next(), std::out_of_range);
    }
    EXPECT_EQ(stream.next(), std::nullopt);
  }
  auto stream = pool.imap(third_dies, std::vector{1, 2, 3, 4}, {.chunk_size = 4});
  EXPECT_EQ(stream.next(), 1);
  EXPECT_EQ(stream.next(), 2);
  EXPECT_THROW((void)stream.next(), brood::WorkerDied);
  EXPECT_EQ(stream.next(), 4);
  EXPECT_EQ(stream.next(), std::nullopt);
}

TEST_F(PoolStream, WhatTheInputThrowsComesAfterTheResultsBefore) {
  Pool pool(2);
  int read = 0;
  auto stream = pool.imap(square, Endless(&read, 5), {.chunk_size = 3});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(stream.next(), i * i);
  EXPECT_THROW((void)stream.next(), std::domain_error);
  EXPECT_EQ(stream.next(), std::nullopt);
}

TEST_F(PoolStream, DroppingItDropsWhatHasNotBegun) {
  Pool pool(1);
  Pipe gate;
  Pipe said;
  using Item = std::tuple<int, std::string, std::string>;
  const auto f = [](const Item& item) {
    const auto& [x, writer, reader] = item;
    return gated(x, writer, reader);
  };
  std::vector<Item> items;
  for (int i = 0; i < 20; ++i) items.emplace_back(i, said.writer(), gate.reader());
  {
    auto stream = pool.imap(f, items);
    EXPECT_EQ(said.line(), "inside 0");
  }
  gate.let_go();
  EXPECT_EQ(pool.apply(square, 3), 9);  // behind them, had they been there
  EXPECT_EQ(pool.insight().workers.at(0).tasks, 2U);
}

TEST_F(PoolStream, OutlivesItsPoolWithErrors) {
  auto pool = std::make_unique<Pool>(1);
  Pipe gate;
  Pipe said;
  auto stream = pool->imap([](const std::pair<std::string, std::string>& p) { return gated(1, p.first, p.second); },
                           std::vector{std::pair(said.writer(), gate.reader())});
  EXPECT_EQ(said.line(), "inside 1");
  pool.reset();
  EXPECT_THROW((void)stream.next(), brood::PoolTerminated);
  EXPECT_EQ(stream.next(), std::nullopt);
}

TEST_F(PoolStream, AClosedPoolTakesNoMoreOfTheInput) {
  Pool pool(2);
  int read = 0;
  auto stream = pool.imap(square, Endless(&read), {.look_ahead = 6});
  EXPECT_EQ(stream.next(), 0);
  pool.close();
  for (int i = 1; i < 6; ++i) EXPECT_EQ(stream.next(), i * i);
  EXPECT_THROW((void)stream.next(), brood::UsageError);
  EXPECT_EQ(stream.next(), std::nullopt);
  pool.join();
}

TEST_F(PoolStream, MovesAndHoldsItsInput) {
  Pool pool(2);
  auto one = pool.imap(square, std::vector<int>(300, 2));
  EXPECT_EQ(one.next(), 4);
  auto other = std::move(one);
  EXPECT_THROW((void)one.next(), brood::UsageError);
  int count = 1;
  while (other.next()) ++count;
  EXPECT_EQ(count, 300);
  other = pool.imap(square, std::vector<int>{5});
  EXPECT_EQ(other.next(), 25);
}

TEST_F(PoolStream, FuturesOfThePoolAreWaitedForTogether) {
  Pool pool(2);
  std::vector<brood::Future<int>> all;
  for (int i = 0; i < 30; ++i) all.push_back(pool.submit(square, i));
  int sum = 0;
  for (const auto& one : brood::as_completed(all)) sum += one.get();
  EXPECT_EQ(sum, 8555);
  Pipe gate;
  Pipe said;
  auto inside = pool.submit(gated, 1, said.writer(), gate.reader());
  auto quick = pool.submit(square, 2);
  const auto found = brood::wait(std::vector{inside, quick}, brood::ReturnWhen::any);
  ASSERT_EQ(found.done.size(), 1U);
  EXPECT_EQ(found.done[0].get(), 4);
  EXPECT_EQ(brood::wait(std::vector{inside, quick}, brood::ReturnWhen::all, 1ms).not_done.size(), 1U);
  gate.let_go();
  EXPECT_EQ(brood::wait(std::vector{inside, quick}).done.size(), 2U);
}

}  // namespace
