#include "brood/array.hpp"

#include <array>
#include <cmath>
#include <complex>
#include <list>
#include <numeric>
#include <random>
#include <vector>

#include "brood/semaphore.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using brood::Array;
using brood::OwnerDeath;
using brood::RawArray;
using brood::RawValue;
using brood::ReadOnlyArray;
using brood::RLock;

using ArrayLadder = Ladder;
using ArrayCrash = Ladder;

/// 0, 1 … n - 1. (clang 14 cannot read the views of libstdc++ 12.)
std::vector<int> first(int n) {
  std::vector<int> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

struct Point {
  double x = 0;
  std::int16_t tag = 0;  // padding behind it
  friend bool operator==(const Point&, const Point&) = default;
};

TEST_F(ArrayLadder, FromASizeItIsZeroedAlsoWhereMemoryWasUsedBefore) {
  for (int round = 0; round < 4; ++round) {
    Array<int> zeros(1000);
    ASSERT_EQ(zeros.size(), 1000U);
    for (const int element : zeros) ASSERT_EQ(element, 0);
    zeros.fill(-1);
  }
  const Array<Point> none(0);
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.to_vector(), std::vector<Point>());
}

TEST_F(ArrayLadder, FromElementsOfAnyRange) {
  const Array<int> listed{3, 1, 4};
  EXPECT_EQ(listed.to_vector(), (std::vector{3, 1, 4}));
  EXPECT_EQ(Array<long>(std::vector{1, 2}).to_vector(), (std::vector<long>{1, 2}));
  EXPECT_EQ(Array<int>(std::list{5, 6}).to_vector(), (std::vector{5, 6}));
  EXPECT_EQ(Array<int>(first(4)).to_vector(), (std::vector{0, 1, 2, 3}));
  EXPECT_EQ(Array<bool>(std::vector{true, false, true}).to_vector(), (std::vector{true, false, true}));
  EXPECT_EQ(Array<Point>({{1, 2}, {3, 4}}).get(1), (Point{3, 4}));
  EXPECT_EQ(Array<char>("abc").size(), 3U);
  EXPECT_EQ(Array<int>(5).size(), 5U);
  EXPECT_EQ(Array<int>{5}.size(), 1U);
}

TEST_F(ArrayLadder, IndicesCountFromBothEndsAndAreChecked) {
  Array<int> array{10, 11, 12};
  EXPECT_EQ(array.get(-1), 12);
  EXPECT_EQ(array.at(-3), 10);
  array.at(2) = 7;
  array.set(-2, 8);
  array[0] = 9;
  EXPECT_EQ(array.slice(0, 3), (std::vector{9, 8, 7}));
  for (const std::int64_t index : {std::int64_t{3}, std::int64_t{-4}, std::numeric_limits<std::int64_t>::max(),
                                   std::numeric_limits<std::int64_t>::min()}) {
    const std::vector<std::string> words{array.handle().str(), "3 elements", std::to_string(index)};
    expect_error<brood::UsageError>([&] { (void)array.get(index); }, words);
    expect_error<brood::UsageError>([&] { array.set(index, 1); }, words);
    expect_error<brood::UsageError>([&] { (void)array.at(index); }, words);
  }
}

TEST_F(ArrayLadder, SlicesAreClampedAsPythonDoesAndCopies) {
  const Array<int> array(first(10));
  EXPECT_EQ(array.slice(2, 5), (std::vector{2, 3, 4}));
  EXPECT_EQ(array.slice(-3, 100), (std::vector{7, 8, 9}));
  EXPECT_EQ(array.slice(-100, -8), (std::vector{0, 1}));
  EXPECT_EQ(array.slice(5, 2), std::vector<int>());
  EXPECT_EQ(array.slice(20, 30), std::vector<int>());
  EXPECT_EQ(array.slice(std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max()).size(),
            10U);
}

TEST_F(ArrayLadder, AssignmentsOfAnotherLengthAreRefusedAndChangeNothing) {
  Array<int> array(5);
  array.assign(1, {1, 2});
  array.assign(-2, std::list{8, 9});
  EXPECT_EQ(array.to_vector(), (std::vector{0, 1, 2, 8, 9}));
  array.assign(0, 2, {5, 6});
  array.assign(5, std::vector<int>());
  EXPECT_EQ(array.to_vector(), (std::vector{5, 6, 2, 8, 9}));
  expect_error<brood::UsageError>(
      [&] {
        array.assign(3, {1, 2, 3});
      },
      {array.handle().str(), "3 do not fit", "index 3"});
  expect_error<brood::UsageError>([&] { array.assign(6, std::vector<int>()); }, {"5 elements"});
  expect_error<brood::UsageError>([&] { array.assign(0, 2, {1}); }, {"2 elements", "assigned 1", "does not change"});
  EXPECT_EQ(array.to_vector(), (std::vector{5, 6, 2, 8, 9}));
}

TEST_F(ArrayLadder, SizesThatCannotBe) {
  expect_error<brood::UsageError>([] { Array<int> array(-1); }, {"-1", "0 or more"});
  for (const std::int64_t size :
       {std::int64_t{1} << 50, std::int64_t{1} << 61, std::numeric_limits<std::int64_t>::max()}) {
    expect_error<brood::NoSpace>([&] { Array<double> array(size); }, {"array", "bytes are free", "BROOD_DOMAIN"});
    expect_error<brood::NoSpace>([&] { RawArray<double> array(size); }, {"array", "bytes are free"});
  }
}

TEST_F(ArrayLadder, TheGuardHoldsTheLockUntilItsScopeEnds) {
  Array<int> array{1, 2, 3};
  {
    auto guard = array.lock();
    guard[0] = 5;
    EXPECT_TRUE(array.locked());
    EXPECT_EQ(array.get(0), 5);  // recursive
    std::thread([&] {
      EXPECT_FALSE(array.try_lock());
      EXPECT_FALSE(array.try_lock_for(5ms));
    }).join();
  }
  EXPECT_FALSE(array.locked());
  for (int& element : array.lock()) element += 1;
  EXPECT_EQ(array.to_vector(), (std::vector{6, 3, 4}));
  EXPECT_EQ(array.with([](std::span<int> all) { return std::accumulate(all.begin(), all.end(), 0); }), 13);
  EXPECT_THROW(array.with([](std::span<int>) { throw std::domain_error("no"); }), std::domain_error);
  EXPECT_FALSE(array.locked());
  auto timed = array.try_lock_for(1s);
  ASSERT_TRUE(timed);
  timed->unlock();
  EXPECT_EQ(timed->size(), 0U);
  EXPECT_FALSE(array.locked());
}

TEST_F(ArrayLadder, AForkedCopyOfAGuardIsNotTheParents) {
  Array<int> array{1, 2};
  auto guard = array.lock();
  Child child([&](Line&) {
    guard.unlock();
    require(!array.try_lock(), "it is the parent's");
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(array.locked());
  std::thread([moved = std::move(guard)]() mutable { moved.unlock(); }).join();  // but of any thread of it
  EXPECT_FALSE(array.locked());
}

TEST_F(ArrayLadder, IncrementsAddUpInThreadsAndProcesses) {
  Array<long> array(4);
  std::vector<Child> children;
  for (int i = 0; i < 3; ++i) {
    children.emplace_back([&](Line&) {
      for (int round = 0; round < 1000; ++round) {
        for (long& element : array.lock()) ++element;
      }
    });
  }
  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
  in_threads(4, [&](std::size_t) {
    auto mine = Array<long>::open(array.handle());
    for (int round = 0; round < 1000; ++round) {
      const auto guard = mine.lock();
      for (std::size_t i = 0; i < guard.size(); ++i) ++guard[i];
    }
  });
  EXPECT_EQ(array.to_vector(), (std::vector<long>(4, 7000)));
}

TEST_F(ArrayLadder, OneLockForSeveralArrays) {
  RLock lock;
  Array<int> numbers(lock, 3);
  Array<double> weights(lock, {1.0, 2.0});
  {
    const auto guard = numbers.lock();
    EXPECT_TRUE(lock.locked());
    EXPECT_EQ(lock.depth(), 1U);
    EXPECT_DOUBLE_EQ(weights.get(0), 1.0);  // the same lock, taken once more
    std::thread([&] { EXPECT_FALSE(weights.try_lock()); }).join();
  }
  {
    const std::scoped_lock guard(lock);
    std::thread([&] { EXPECT_FALSE(numbers.try_lock()); }).join();
  }
  EXPECT_TRUE(numbers.try_lock());
  EXPECT_NE(printed(numbers).find("owner=none"), std::string::npos) << printed(numbers);
}

TEST_F(ArrayLadder, AGivenLockLivesAndTravelsWithTheArray) {
  std::optional<RLock> lock(std::in_place);
  const brood::Handle lock_handle = lock->handle();
  std::optional<Array<int>> array(std::in_place, *lock, 3);
  lock.reset();
  Child child([handle = array->handle()](Line& line) {
    auto opened = Array<int>::open(handle);
    line.say('o');
    line.expect('w');
    opened.set(0, 5);
    const auto guard = opened.lock();
    line.say('h');
    line.expect('e');
  });
  child.line.expect('o');
  child.line.say('w');
  child.line.expect('h');
  EXPECT_FALSE(array->try_lock());
  RLock again = RLock::open(lock_handle);
  EXPECT_TRUE(again.locked());
  child.line.say('e');
  EXPECT_EQ(child.wait(), 0);
  EXPECT_EQ(array->get(0), 5);
  array.reset();
  (void)RLock::open(lock_handle);  // still ours
}

TEST_F(ArrayLadder, NamedArraysWantNamedLocks) {
  const RLock unnamed;
  expect_error<brood::UsageError>([&] { (void)Array<int>::create("ladder.array", unnamed, 3); },
                                  {"name", unnamed.handle().str(), "RLock::create"});
  {
    const RLock named = RLock::create("ladder.lock");
    (void)Array<int>::create("ladder.array", named, 3);
  }
  auto opened = Array<int>::open_named("ladder.array");
  opened.set(1, 4);
  EXPECT_TRUE(RLock::remove("ladder.lock"));
  EXPECT_EQ(opened.get(1), 4);
  expect_error<brood::HandleError>([] { (void)Array<int>::open_named("ladder.array"); },
                                   {"ladder.array", "ladder.lock"});
  EXPECT_TRUE(Array<int>::remove("ladder.array"));
  EXPECT_FALSE(Array<int>::remove("ladder.array"));
}

TEST_F(ArrayLadder, NamesAndSizes) {
  auto made = Array<int>::create("ladder.array", std::vector{1, 2});
  EXPECT_EQ(Array<int>::open_or_create("ladder.array", 2).get(1), 2);
  EXPECT_THROW((void)Array<int>::create("ladder.array", 2), brood::AlreadyExists);
  expect_error<brood::TypeMismatch>([] { (void)Array<int>::open_or_create("ladder.array", 3); },
                                    {"ladder.array", "2 elements", "3 were expected"});
  EXPECT_TRUE(Array<int>::remove("ladder.array"));
  expect_error<brood::HandleError>([] { (void)Array<int>::open_named("ladder.array"); }, {"ladder.array"});
  EXPECT_EQ(made.get(0), 1);
}

TEST_F(ArrayLadder, AnotherTypeOrUseIsRefused) {
  const Array<int> array(3);
  expect_error<brood::TypeMismatch>([&] { (void)Array<float>::open(array.handle()); },
                                    {array.handle().str(), "int", "float"});
  expect_error<brood::TypeMismatch>([&] { (void)RawArray<int>::open(array.handle()); }, {"has a lock", "Array"});
  const RawArray<int> raw(3);
  expect_error<brood::TypeMismatch>([&] { (void)Array<int>::open(raw.handle()); }, {"without a lock", "RawArray"});
  expect_error<brood::TypeMismatch>([&] { (void)RawValue<int>::open(raw.handle()); }, {"3 elements", "RawArray"});
  expect_error<brood::TypeMismatch>([&] { (void)RLock::open(array.handle()); }, {"array", "rlock"});
}

TEST_F(ArrayLadder, RawArraysAndValuesAliasTheSameMemory) {
  RawArray<double> raw{1.5, 2.5};
  auto other = RawArray<double>::open(raw.handle());
  other[1] = 7;
  EXPECT_DOUBLE_EQ(raw.get(-1), 7);
  raw.assign(0, {1.0, 2.0});
  EXPECT_EQ(other.to_vector(), (std::vector{1.0, 2.0}));
  auto copied = raw.copy();
  copied[0] = 9;
  EXPECT_DOUBLE_EQ(raw[0], 1);

  RawValue<Point> value({1, 2});
  auto opened = RawValue<Point>::open(value.handle());
  opened->x = 5;
  EXPECT_EQ(value.get(), (Point{5, 2}));
  EXPECT_EQ((*value.copy()).tag, 2);
  EXPECT_EQ(RawArray<Point>::open(value.handle()).size(), 1U);
  EXPECT_NE(printed(value).find("<RawValue brood:array:"), std::string::npos);
  (void)RawValue<int>::create("ladder.raw", 5);
  EXPECT_EQ(RawValue<int>::open_named("ladder.raw").get(), 5);
  EXPECT_TRUE(RawValue<int>::remove("ladder.raw"));
}

TEST_F(ArrayLadder, CopiesAreIndependent) {
  Array<int> array{1, 2};
  auto copy = array.copy();
  copy.set(0, 9);
  EXPECT_EQ(array.get(0), 1);
  const auto guard = array.lock();
  std::thread([&] { EXPECT_TRUE(copy.try_lock()); }).join();
}

TEST_F(ArrayLadder, ViewsOfSeveralDimensions) {
  Array<int> array(first(24));
  auto block = array.view(2, 3, 4);
  EXPECT_EQ(block(1, 2, 3), 23);
  EXPECT_EQ(block.at(-1, 0, -4), 12);
  EXPECT_EQ(block.row(1)(2, 0), 20);
  EXPECT_EQ(block.row(-1).row(-1).span()[3], 23);
  EXPECT_EQ(block.extent(2), 4U);
  EXPECT_EQ(block.size(), 24U);
  auto matrix = array.view(4, 6);
  matrix(0, 5) = 100;
  EXPECT_EQ(array.get(5), 100);
  for (int& element : matrix.row(0)) element = 1;
  EXPECT_EQ(array.slice(4, 7), (std::vector{1, 1, 6}));
  EXPECT_EQ(array.lock().view(12, 2)(3, 0), 6);
  const auto& constant = array;
  EXPECT_EQ(constant.view(24)(6), 6);
  static_assert(std::is_same_v<decltype(constant.view(24)(0)), const int&>);
  expect_error<brood::UsageError>([&] { (void)array.view(5, 5); }, {"5 x 5", "24"});
  expect_error<brood::UsageError>([&] { (void)array.view(std::size_t{1} << 63, 4); }, {"24"});
  expect_error<brood::UsageError>([&] { (void)matrix.at(4, 0); }, {"dimension 0", "4 places", "index 4"});
  expect_error<brood::UsageError>([&] { (void)matrix.at(0, -7); }, {"dimension 1", "index -7"});
  expect_error<brood::UsageError>([&] { (void)block.row(2); }, {"dimension 0"});
}

TEST_F(ArrayLadder, TextOfChars) {
  Array<char> array("hello world");
  EXPECT_EQ(array.text(), "hello world");
  array.set_text("hi");
  EXPECT_EQ(array.text(), "hi");
  EXPECT_EQ(array.get(2), '\0');
  EXPECT_EQ(array.get(5), '\0');  // Python would have left " world" there
  array.set(3, 'x');
  EXPECT_EQ(array.text(), "hi");
  EXPECT_EQ(array.slice(0, 4), (std::vector{'h', 'i', '\0', 'x'}));
  expect_error<brood::UsageError>([&] { array.set_text("far too long a text"); }, {"11 characters", "19"});
  EXPECT_EQ(array.text(), "hi");
  array.set_text("");
  EXPECT_EQ(array.text(), "");
  RawArray<char> raw(3);
  raw.set_text("abc");
  EXPECT_EQ(raw.text(), "abc");
}

TEST_F(ArrayLadder, ReadOnlyCannotBeWritten) {
  Array<int> array{1, 2, 3};
  const auto reader = ReadOnlyArray<int>::open(array.handle());
  static_assert(std::is_same_v<decltype(std::declval<ReadOnlyArray<int>&>()[0]), const int&>);
  EXPECT_EQ(reader[2], 3);
  EXPECT_EQ(reader.at(-3), 1);
  array.set(0, 9);
  EXPECT_EQ(reader.span()[0], 9);
  EXPECT_EQ(std::accumulate(reader.begin(), reader.end(), 0), 14);
  EXPECT_NE(printed(reader).find("<ReadOnlyArray"), std::string::npos);
  Child writer(
      [&](Line&) {
        ::signal(SIGSEGV, SIG_DFL);
        *const_cast<volatile int*>(&reader[0]) = 5;
      },
      Ending::quick);
  EXPECT_NE(writer.wait(), 0);
  EXPECT_EQ(array.get(0), 9);
}

TEST_F(ArrayLadder, MovedFromAndSwapped) {
  Array<int> first{1};
  Array<int> second{2, 2};
  std::swap(first, second);
  EXPECT_EQ(first.size(), 2U);
  EXPECT_EQ(second.get(0), 1);
  {
    auto guard = first.lock();
    Array<int> third(std::move(first));
    guard[0] = 7;  // the guard's memory has not moved
    guard.unlock();
    EXPECT_EQ(third.get(0), 7);
  }
  const std::vector<std::function<void()>> uses{
      [&] { (void)first.size(); },   [&] { (void)first[0]; },       [&] { (void)first.at(0); },
      [&] { (void)first.get(0); },   [&] { first.set(0, 1); },      [&] { (void)first.lock(); },
      [&] { (void)first.span(); },   [&] { (void)first.handle(); }, [&] { (void)printed(first); },
      [&] { (void)first.locked(); }, [&] { (void)first.copy(); },   [&] { (void)first.recover([](std::span<int>) {}); },
  };
  for (const auto& use : uses) EXPECT_THROW(use(), brood::UsageError);
  static_assert(!std::is_copy_constructible_v<Array<int>> &&
                !std::is_constructible_v<Array<int>, brood::Semaphore&, int>);
}

TEST_F(ArrayLadder, EveryPlainTypeOfElement) {
  const auto round_trip = []<class T>(T value) {
    Array<T> array(3);
    array.set(1, value);
    EXPECT_EQ(Array<T>::open(array.handle()).get(1), value);
  };
  round_trip('c');
  round_trip(static_cast<signed char>(-5));
  round_trip(static_cast<unsigned char>(200));
  round_trip(static_cast<short>(-30000));
  round_trip(static_cast<unsigned short>(60000));
  round_trip(-5);
  round_trip(4000000000U);
  round_trip(-5L);
  round_trip(5UL);
  round_trip(-5LL);
  round_trip(5ULL);
  round_trip(1.5F);
  round_trip(-2.5);
  round_trip(true);
  round_trip(L'x');
  round_trip(std::byte{7});
  round_trip(std::array{1, 2, 3});
  round_trip(std::complex{1.0, 2.0});
  round_trip(Point{1, 2});
  round_trip(5ms);
}

TEST_F(ArrayCrash, OwnerDiesAndEverybodyIsToldUntilOneRepairs) {
  Array<int> array(100);
  Child owner = victim([&] {
    auto* guard = new auto(array.lock());
    for (std::size_t i = 0; i < 50; ++i) (*guard)[i] = 1;
  });
  EXPECT_FALSE(array.try_lock_for(1ms));
  std::thread waiter([&] { EXPECT_THROW((void)array.lock(), brood::OwnerDied); });
  await_sleepers(array.handle(), 1);
  owner.kill();
  waiter.join();
  expect_error<brood::OwnerDied>([&] { (void)array.get(0); },
                                 {array.handle().str(), std::to_string(owner.pid()), "recover()"});
  EXPECT_THROW(array.set(0, 1), brood::OwnerDied);
  EXPECT_FALSE(array.locked());
  EXPECT_EQ(array[10], 1);  // direct access always works
  EXPECT_THROW(array.recover([](std::span<int>) { throw std::domain_error("no"); }), std::domain_error);
  EXPECT_THROW((void)array.get(0), brood::OwnerDied);
  EXPECT_TRUE(array.recover([](std::span<int> all) { std::fill(all.begin(), all.end(), 3); }));
  EXPECT_EQ(array.to_vector(), (std::vector(100, 3)));
  EXPECT_FALSE(array.recover([](std::span<int>) {}));
}

TEST_F(ArrayCrash, HealHandsOver) {
  Array<int> array(2, {.on_owner_death = OwnerDeath::heal});
  Child owner = victim([&] {
    auto* guard = new auto(array.lock());
    (*guard)[0] = 1;
  });
  owner.kill();
  EXPECT_EQ(array.get(0), 1);
}

TEST_F(ArrayCrash, OwnerOfAGivenLockDies) {
  RLock lock;
  Array<int> first(lock, 2);
  Array<int> second(lock, 2);
  Child owner = victim([&] { (void)new auto(first.lock()); });
  owner.kill();
  EXPECT_THROW((void)second.get(0), brood::OwnerDied);
  EXPECT_THROW(lock.lock(), brood::OwnerDied);
  EXPECT_TRUE(second.recover([](std::span<int>) {}));
  EXPECT_EQ(first.get(0), 0);
}

}  // namespace
}  // namespace ladder
