// CPython's _TestValue, _TestArray, _TestSharedCTypes, _TestHeap, _TestSharedMemory and TestSharedMemoryNames, and the SHV and
// SHM rows.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <complex>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "brood/array.hpp"
#include "brood/atomic.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "brood/rlock.hpp"
#include "brood/semaphore.hpp"
#include "brood/shareable_list.hpp"
#include "brood/shared_memory.hpp"
#include "brood/shared_memory_manager.hpp"
#include "brood/value.hpp"
#include "conformance/bodies.hpp"
#include "conformance/process_fixture.hpp"
#include "shm/segment.hpp"
#include "support/inspect.hpp"

namespace conformance {
namespace {

using brood::Array;
using brood::Handle;
using brood::RawArray;
using brood::RawValue;
using brood::RLock;
using brood::ShareableList;
using brood::SharedMemory;
using brood::SharedMemoryManager;
using brood::Value;
using Item = ShareableList::Item;

class SharedConformance : public Bodies {};
BROOD_BODIES(SharedConformance);
class SharedConformanceProcess : public EveryMethod {};
BROOD_METHODS(SharedConformanceProcess);
class SharedConformanceOnce : public Once {};

struct Point {
  int x = 0;
  double y = 0;
  friend bool operator==(const Point&, const Point&) = default;
};

// --- Value -----------------------------------------------------------------------------------------------------------

// _TestValue.test_value, SHV-03
TEST_P(SharedConformance, ValuesKeepTheirStartAndShowAChildsChange) {
  Value<int> number(7);
  Value<double> real(3.5);
  Value<char> letter('x');
  Value<std::int64_t> wide(std::int64_t{1} << 40);
  EXPECT_EQ(number.get(), 7);
  EXPECT_EQ(letter.get(), 'x');
  worker(
      [](Value<int>& n, Value<double>& r, Value<char>& l, Value<std::int64_t>& w) {
        require(n.get() == 7 && r.get() == 3.5 && l.get() == 'x' && w.get() == std::int64_t{1} << 40, "the start");
        n.set(23);
        r.set(-3.75);
        l.set('y');
        w.set(std::int64_t{1} << 41);
      },
      number, real, letter, wide)
      .join();
  EXPECT_EQ(number.get(), 23);
  EXPECT_DOUBLE_EQ(real.get(), -3.75);
  EXPECT_EQ(letter.get(), 'y');
  EXPECT_EQ(wide.get(), std::int64_t{1} << 41);
}

// _TestValue.test_rawvalue, SHV-01
TEST_P(SharedConformance, RawValuesToo) {
  RawValue<int> number(7);
  RawValue<Point> point;
  EXPECT_EQ(point.get(), Point{});
  worker(
      [](RawValue<int>& n, RawValue<Point>& p) {
        require(*n == 7, "the start");
        *n = 23;
        p->y = 2.5;
      },
      number, point)
      .join();
  EXPECT_EQ(*number, 23);
  EXPECT_EQ(point.get(), (Point{0, 2.5}));
}

void add_many(Value<int>& counter, Array<int>& cells, brood::Atomic<int>& atomic) {
  for (int i = 0; i < 1000; ++i) {
    counter.add(1);
    *counter.lock() += 1;
    for (int& cell : cells.lock()) ++cell;
    ++atomic;
  }
}

/// SHV-03: in Python, 80,000 increments of a Value with a lock made 41,653.
TEST_P(SharedConformance, IncrementsAreNeverLost) {
  Value<int> counter;
  Array<int> cells(3);
  brood::Atomic<int> atomic;
  for (auto& each : workers(3, add_many, counter, cells, atomic)) each->join();
  EXPECT_EQ(counter.get(), 6000);
  EXPECT_EQ(cells.to_vector(), (std::vector{3000, 3000, 3000}));
  EXPECT_EQ(atomic.load(), 3000);
}

// _TestValue.test_getobj_getlock, SHV-05
TEST_P(SharedConformance, AValueHasItsLockAndARawOneNone) {
  Value<int> value(5);
  {
    const auto guard = value.lock();
    worker([](Value<int>& held) { require(!held.try_lock_for(1ms) && held.locked(), "held by another"); }, value)
        .join();
    EXPECT_EQ(*guard, 5);
  }
  EXPECT_FALSE(value.locked());
  static_assert(!std::is_constructible_v<Value<int>, int, RLock&> &&
                !std::is_constructible_v<Value<int>, brood::Lock&>);
}

template <class V>
concept HasLock = requires(V& v) {
  v.lock();
};

// _TestValue.test_invalid_typecode, _TestArray.test_invalid_typecode, SHV-08: types instead of type codes; what is no plain
// data is refused by the compiler (tests/wire/refusals has the texts).
TEST_F(SharedConformanceOnce, EveryTypeCodeHasItsTypeAndOthersDoNotCompile) {
  const auto round_trip = []<class T>(T most) {
    EXPECT_EQ(Value<T>(most).get(), most);
    EXPECT_EQ(RawValue<T>(most).get(), most);
    EXPECT_EQ(Array<T>({most, T{}}).get(0), most);
  };
  round_trip('c');
  round_trip(L'u');
  round_trip(std::numeric_limits<signed char>::min());
  round_trip(std::numeric_limits<unsigned char>::max());
  round_trip(std::numeric_limits<short>::min());
  round_trip(std::numeric_limits<unsigned short>::max());
  round_trip(std::numeric_limits<int>::min());
  round_trip(std::numeric_limits<unsigned>::max());
  round_trip(std::numeric_limits<long>::min());
  round_trip(std::numeric_limits<unsigned long>::max());
  round_trip(std::numeric_limits<long long>::min());
  round_trip(std::numeric_limits<unsigned long long>::max());
  round_trip(std::numeric_limits<float>::max());
  round_trip(std::numeric_limits<double>::min());
  static_assert(!brood::detail::raw_layout<std::string> && !brood::detail::raw_layout<int*> &&
                !brood::detail::raw_layout<std::vector<int>>);
  static_assert(HasLock<Value<int>> && HasLock<Array<int>> && !HasLock<RawValue<int>> && !HasLock<RawArray<int>>);
}

// --- Array -----------------------------------------------------------------------------------------------------------

template <class A>
void sum_up(A& cells) {
  for (std::int64_t i = 1; i < static_cast<std::int64_t>(cells.size()); ++i)
    cells.set(i, cells.get(i) + cells.get(i - 1));
}
template <class A, class Run>
void check_array(Run run) {
  std::vector<int> expected{680, 626, 934, 821, 150, 233, 548, 982, 714, 831};
  A array(expected);
  EXPECT_EQ(array.size(), 10U);
  EXPECT_EQ(array.get(3), 821);
  EXPECT_EQ(array.slice(2, 7), (std::vector{934, 821, 150, 233, 548}));
  EXPECT_EQ(array.slice(0, 10), expected);
  array.assign(4, 8, {1, 2, 3, 4});
  expected = {680, 626, 934, 821, 1, 2, 3, 4, 714, 831};
  EXPECT_EQ(array.to_vector(), expected);
  std::partial_sum(expected.begin(), expected.end(), expected.begin());
  run(array);
  EXPECT_EQ(array.to_vector(), expected);
}

// _TestArray.test_array, SHV-04
TEST_P(SharedConformance, ArraysHaveLengthIndexAndSlicesAndShowAChildsChange) {
  check_array<Array<int>>([&](Array<int>& array) { worker(sum_up<Array<int>>, array).join(); });
}
// _TestArray.test_rawarray, SHV-02
TEST_P(SharedConformance, RawArraysToo) {
  check_array<RawArray<int>>([&](RawArray<int>& array) { worker(sum_up<RawArray<int>>, array).join(); });
}

// SHV-02, SHV-04
TEST_F(SharedConformanceOnce, SizesIndicesAndSlicesThatCannotBe) {
  EXPECT_THROW(RawArray<int>(-1), brood::UsageError);
  EXPECT_THROW(Array<int>(-1), brood::UsageError);
  EXPECT_EQ(RawArray<int>(0).size(), 0U);
  Array<int> array{1, 2, 3};
  EXPECT_EQ(array.get(-3), 1);
  EXPECT_THROW((void)array.get(3), brood::UsageError);
  EXPECT_THROW((void)array.get(-4), brood::UsageError);
  EXPECT_THROW(array.assign(0, 2, {1, 2, 3}), brood::UsageError);
  EXPECT_EQ(array.to_vector(), (std::vector{1, 2, 3}));
}

// _TestArray.test_array_from_size
TEST_F(SharedConformanceOnce, AnArrayOfASizeIsZeroAlsoInMemoryUsedBefore) {
  for (int round = 0; round < 3; ++round) {
    Array<int> array(10);
    EXPECT_EQ(array.to_vector(), std::vector<int>(10));
    for (int i = 0; i < 10; ++i) array.set(i, i);
    EXPECT_EQ(array.get(9), 9);
  }
}

// _TestArray.test_getobj_getlock_obj
TEST_P(SharedConformance, AnArraysLockIsItsOwnOrGivenOrNone) {
  Array<int> own(5);
  RLock lock;
  Array<int> given(lock, 5);
  const auto is_held = [](Array<int>& array) { require(!array.try_lock() && array.locked(), "held by another"); };
  {
    const auto guard = own.lock();
    worker(is_held, own).join();
  }
  {
    const auto guard = given.lock();
    EXPECT_EQ(lock.depth(), 1U);
    worker(is_held, given).join();
    worker([](RLock& shared) { require(!shared.try_lock(), "the lock that was given"); }, lock).join();
  }
  {
    const std::scoped_lock guard(lock);
    worker(is_held, given).join();
  }
  static_assert(!std::is_constructible_v<Array<int>, brood::Semaphore&, int> &&
                !std::is_constructible_v<Array<int>, int, brood::Semaphore&>);
}

// SHV-06
TEST_P(SharedConformance, ArraysOfCharsAreTexts) {
  Array<char> text(20);
  worker([](Array<char>& out) { out.set_text("hello"); }, text).join();
  EXPECT_EQ(text.text(), "hello");
  text.set(6, 'x');  // behind the NUL
  EXPECT_EQ(text.text(), "hello");
  EXPECT_EQ(text.get(6), 'x');
  text.set_text("hi");
  EXPECT_EQ(text.slice(0, 20), (Array<char>(std::string("hi") + std::string(18, '\0')).to_vector()));
  EXPECT_THROW(text.set_text("more than twenty letters"), brood::UsageError);
  EXPECT_EQ(text.text(), "hi");
}

// --- sharedctypes ----------------------------------------------------------------------------------------------------

template <class A, class T>
void double_all(Value<int>& number, Value<T>& real, Value<Point>& point, A& array, Array<char>& text) {
  number.update([](int x) { return x * 2; });
  real.update([](T x) { return x * 2; });
  point.with([](Point& p) {
    p.x *= 2;
    p.y *= 2;
  });
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(array.size()); ++i) array.set(i, array.get(i) * 2);
  text.set_text(text.text() + text.text());
}
template <class A, class Test>
void check_doubling(Test& test) {
  Value<int> number(7);
  Value<double> real(1.0 / 3);
  Value<Point> point({3, 2});
  A array(10);
  for (int i = 0; i < 10; ++i) array.set(i, i);
  Array<char> text(20);
  text.set_text("hello");
  test(double_all<A, double>, number, real, point, array, text);
  EXPECT_EQ(number.get(), 14);
  EXPECT_DOUBLE_EQ(real.get(), 2.0 / 3);
  EXPECT_EQ(point.get(), (Point{6, 4}));
  for (int i = 0; i < 10; ++i) EXPECT_DOUBLE_EQ(array.get(i), i * 2);
  EXPECT_EQ(text.text(), "hellohello");
}

// _TestSharedCTypes.test_sharedctypes
TEST_P(SharedConformance, AChildDoublesScalarsStructArrayAndText) {
  const auto run = [&](auto f, auto&... args) { worker(f, args...).join(); };
  check_doubling<RawArray<double>>(run);
}
// _TestSharedCTypes.test_synchronize
TEST_P(SharedConformance, TheSameWithLocks) {
  const auto run = [&](auto f, auto&... args) { worker(f, args...).join(); };
  check_doubling<Array<double>>(run);
}

// _TestSharedCTypes.test_copy, SHV-07
TEST_P(SharedConformance, ACopyIsIndependent) {
  Value<Point> point({2, 5.5});
  const auto copy = point.copy();
  Array<int> array{1, 2};
  const auto other = array.copy();
  worker(
      [](Value<Point>& changed, Array<int>& cells) {
        changed.set({0, 0});
        cells.fill(0);
      },
      point, array)
      .join();
  EXPECT_EQ(point.get(), Point{});
  EXPECT_EQ(copy.get(), (Point{2, 5.5}));
  EXPECT_EQ(other.to_vector(), (std::vector{1, 2}));
}

// --- storage ---------------------------------------------------------------------------------------------------------

/// _TestHeap.test_heap, SHV-09: there is no heap that could lose a block. Each object is a segment; so what is looked at is
/// that many of random sizes keep apart and that freeing all leaves nothing (the fixture looks).
TEST_F(SharedConformanceOnce, ManyBlocksKeepApartAndLeaveNothing) {
  std::mt19937 random(1);
  std::vector<RawArray<unsigned char>> blocks;
  for (unsigned i = 0; i < 1000; ++i) {
    const auto size = static_cast<std::int64_t>(random() % 2000);
    blocks.emplace_back(size).fill(static_cast<unsigned char>(i % 251));
    if (blocks.size() > 100) {
      const auto at = random() % blocks.size();
      std::swap(blocks[at], blocks.back());
      blocks.pop_back();
    }
  }
  for (const auto& block : blocks) {
    for (const unsigned char byte : block) ASSERT_EQ(byte, block[0]);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block.span().data()) % 64, 0U);
  }
  EXPECT_THROW(RawArray<char>(-1), brood::UsageError);
  EXPECT_EQ(support::files_below(support::test_domain()).size(), blocks.size() + 1) << "and the registry";
}

// --- SharedMemory ----------------------------------------------------------------------------------------------------

// _TestSharedMemory.test_shared_memory_name_with_embedded_null
TEST_F(SharedConformanceOnce, NamesWithANulAreRefused) {
  const std::string name("na\0me", 5);
  EXPECT_THROW((void)SharedMemory::create(name, 10), brood::UsageError);
  EXPECT_THROW((void)SharedMemory::open_named(name), brood::UsageError);
  EXPECT_THROW((void)SharedMemory::remove(name), brood::UsageError);
}

// TestSharedMemoryNames.test_that_shared_memory_name_with_colons_has_no_resource_tracker_errors: such names are refused here
// (a handle is a text with colons), without a trace; those that remain are made and cleaned up in silence.
TEST_F(SharedConformanceOnce, NamesThatAreRefusedLeaveNothingAndOthersAreSilent) {
  const Ran ran = run_program(test_program("conformance_cases"), {"spawn", "memory-names"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(ran.out, "main runs\nrefused\nrefused\nmade and removed\n");
}

// _TestSharedMemory.test_shared_memory_basics, SHM-01, SHM-02, SHM-03, SHM-04, SHM-05
TEST_F(SharedConformanceOnce, MemoryHasItsBytesNameAndSizeAndIsRemovedOnce) {
  auto memory = SharedMemory::create("conformance.memory", 512);
  EXPECT_EQ(memory.size(), 512U);
  EXPECT_EQ(memory.bytes().size(), 512U);
  memory.bytes()[0] = std::byte{42};
  EXPECT_NE(printed(memory).find("conformance.memory"), std::string::npos);
  auto also = SharedMemory::open_named("conformance.memory");  // its size is not asked for
  EXPECT_EQ(also.size(), 512U);
  EXPECT_EQ(also.bytes()[0], std::byte{42});
  also.bytes()[0] = std::byte{22};
  EXPECT_EQ(memory.bytes()[0], std::byte{22});
  EXPECT_THROW((void)SharedMemory::create("conformance.memory", 512), brood::AlreadyExists);
  EXPECT_THROW((void)SharedMemory::open_named("conformance.other"), brood::HandleError);
  EXPECT_THROW((void)SharedMemory::open_named(""), brood::UsageError);
  EXPECT_THROW((void)SharedMemory::open_named("with/slash"), brood::UsageError);
  also.close();
  also.close();
  EXPECT_EQ(also.name(), "conformance.memory");
  EXPECT_EQ(also.size(), 512U);
  EXPECT_THROW((void)also.bytes(), brood::UsageError);
  {
    const auto view = memory.view();
    EXPECT_THROW(memory.close(), brood::UsageError);
    EXPECT_EQ(view.bytes()[0], std::byte{22}) << "all or nothing";
  }
  EXPECT_TRUE(SharedMemory::remove("conformance.memory"));
  EXPECT_FALSE(SharedMemory::remove("conformance.memory"));
  EXPECT_EQ(memory.bytes()[0], std::byte{22}) << "valid after the removal";
  EXPECT_THROW((void)SharedMemory::open_named("conformance.memory"), brood::HandleError);
}

// _TestSharedMemory.test_shared_memory_recreate
TEST_F(SharedConformanceOnce, AnIdentityThatIsTakenIsDrawnAnew) {
  static std::atomic<int> draws;
  draws = 0;
  brood::shm::set_draw_identity([] { return std::uint64_t{draws++ < 3 ? 5U : 7U}; });
  const SharedMemory first(1);
  const SharedMemory second(1);
  brood::shm::set_draw_identity(nullptr);
  EXPECT_EQ(first.handle().id(), 5U);
  EXPECT_EQ(second.handle().id(), 7U);
  EXPECT_EQ(draws, 4);
}

// _TestSharedMemory.test_invalid_shared_memory_creation, test_invalid_shared_memory_cration, SHM-01
TEST_F(SharedConformanceOnce, SizesOfZeroAndLessAndOfTooMuchAreRefused) {
  EXPECT_THROW(SharedMemory(-1), brood::UsageError);
  EXPECT_THROW(SharedMemory(0), brood::UsageError);
  EXPECT_THROW((void)SharedMemory::create("conformance.memory", 0), brood::UsageError);
  EXPECT_THROW(SharedMemory(std::int64_t{1} << 50), brood::NoSpace);
  static_assert(!std::is_default_constructible_v<SharedMemory>);
}

// _TestSharedMemory.test_shared_memory_pickle_unpickle, test_shared_memory_pickle_unpickle_dead_object, SHM-06
TEST_F(SharedConformanceOnce, AHandleReopensTheSameMemoryAsLongAsThereIsOne) {
  std::string text;
  {
    SharedMemory memory(512);
    text = memory.handle().str();
    auto again = SharedMemory::open(text);
    again.bytes()[5] = std::byte{9};
    EXPECT_EQ(memory.bytes()[5], std::byte{9});
    memory.bytes()[6] = std::byte{8};
    EXPECT_EQ(again.bytes()[6], std::byte{8});
    EXPECT_EQ(again.handle().str(), text);
  }
  EXPECT_THROW((void)SharedMemory::open(text), brood::HandleError);
  const std::string named = SharedMemory::create("conformance.memory", 5).handle().str();
  EXPECT_EQ(SharedMemory::open(named).size(), 5U);
  EXPECT_TRUE(SharedMemory::remove("conformance.memory"));
  EXPECT_THROW((void)SharedMemory::open(named), brood::HandleError);
}

// SHM-06: through a queue, while nobody has it open.
TEST_P(SharedConformance, MemoryTravelsInMessages) {
  brood::Queue<SharedMemory> there;
  brood::Queue<SharedMemory> back;
  {
    SharedMemory memory(100);
    memory.bytes()[1] = std::byte{1};
    there.put(memory);
  }
  worker(
      [](brood::Queue<SharedMemory>& in, brood::Queue<SharedMemory>& out) {
        const auto memory = in.get();
        require(memory.bytes()[1] == std::byte{1}, "what was written");
        memory.bytes()[2] = std::byte{2};
        out.put(memory);
      },
      there, back)
      .join();
  EXPECT_EQ(back.get().bytes()[2], std::byte{2});
}

// _TestSharedMemory.test_shared_memory_across_processes
TEST_P(SharedConformance, AChildWritesByObjectAndByName) {
  SharedMemory memory = SharedMemory::create("conformance.memory", 512);
  const std::string name = memory.name();
  worker([](SharedMemory& passed) { std::memcpy(passed.bytes().data(), "howdy", 5); }, memory).join();
  EXPECT_EQ(std::memcmp(memory.bytes().data(), "howdy", 5), 0);
  worker([](const std::string& known) { std::memcpy(SharedMemory::open_named(known).bytes().data(), "HELLO", 5); },
         name)
      .join();
  EXPECT_EQ(std::memcmp(memory.bytes().data(), "HELLO", 5), 0);
  worker([](brood::ReadOnlyMemory& reader) { require(reader.bytes()[0] == std::byte{'H'}, "read"); },
         *std::make_unique<brood::ReadOnlyMemory>(SharedMemory::open_read_only(memory.handle())))
      .join();
  EXPECT_TRUE(SharedMemory::remove(name));
}

void make_memory_and_sleep(brood::Queue<std::string>& out) {
  const SharedMemory memory(10);
  const ShareableList list{1};
  out.put(memory.handle().str());
  for (;;) ::pause();
}

// _TestSharedMemory.test_shared_memory_cleaned_after_process_termination, SHM-07
TEST_P(SharedConformanceProcess, WhatAKilledMakerLeavesIsReportedAndFreed) {
  brood::Queue<std::string> out;
  brood::Process p(with(), make_memory_and_sleep, out);
  p.start();
  const std::string handle = out.get();
  EXPECT_EQ(SharedMemory::open(handle).size(), 10U);
  p.kill();
  p.join();
  EXPECT_EQ(brood::gc().objects, 2U) << "the report of the leak";
  EXPECT_THROW((void)SharedMemory::open(handle), brood::HandleError);
}

// _TestSharedMemory.test_shared_memory_untracking, test_shared_memory_tracking, SHM-07: another program's end takes nothing
// away, whether in good order or killed.
TEST_F(SharedConformanceOnce, AnotherProgramThatAttachesNeverDestroys) {
  SharedMemory unnamed(10);
  SharedMemory named = SharedMemory::create("conformance.memory", 10);
  for (const char* how : {"ends", "dies"}) {
    for (const std::string& handle : {unnamed.handle().str(), named.handle().str()}) {
      const Ran ran = run_program(test_program("conformance_cases"), {"spawn", "attach", handle, how});
      EXPECT_EQ(ran.code, std::string(how) == "ends" ? 0 : -SIGKILL) << ran.err;
      EXPECT_EQ(ran.out, "main runs\nattached\n") << ran.err;
    }
    (void)brood::gc();
    EXPECT_EQ(SharedMemory::open(unnamed.handle()).bytes()[0], std::byte{1}) << "written by the other program";
    EXPECT_EQ(SharedMemory::open_named("conformance.memory").bytes()[0], std::byte{1});
  }
  EXPECT_TRUE(SharedMemory::remove("conformance.memory"));
}

// --- SharedMemoryManager ---------------------------------------------------------------------------------------------

/// There is no server that SIGINT could end: the signal goes where the application says, and the manager works on.
void outlive_sigint() {
  static std::atomic<int> handled;
  struct sigaction action {};
  action.sa_handler = [](int) { ++handled; };
  SCENARIO_CHECK(::sigaction(SIGINT, &action, nullptr) == 0);
  SharedMemoryManager manager;
  manager.start();
  SCENARIO_CHECK(::kill(0, SIGINT) == 0);
  support::await([] { return handled == 1; });
  const auto list = manager.shareable_list({1, 2, 3});
  const auto memory = manager.shared_memory(10);
  SCENARIO_CHECK(ShareableList::open(list.handle()).size() == 3);
  struct sigaction now {};
  SCENARIO_CHECK(::sigaction(SIGINT, nullptr, &now) == 0);
  SCENARIO_CHECK(now.sa_handler == action.sa_handler);
  manager.shutdown();
  SCENARIO_CHECK(handled == 1);
}

// _TestSharedMemory.test_shared_memory_SharedMemoryServer_ignores_sigint, SHM-13
TEST_F(SharedConformanceOnce, AManagerOutlivesSigintAndLeavesItsHandlingAlone) {
  brood::Process p({.name = "scenario", .start_method = StartMethod::spawn, .new_session = true}, outlive_sigint);
  p.start();
  p.join();
  EXPECT_EQ(p.exitcode(), 0);
}

// _TestSharedMemory.test_shared_memory_SharedMemoryManager_reuses_resource_tracker
TEST_P(SharedConformanceProcess, AManagerThatWasUsedCleanlyIsSilentAndLeavesNothing) {
  const Ran ran = run_program(test_program("conformance_cases"), {std::string(to_string(method())), "manager"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(ran.out, "main runs\n3 items\nexitcode 0\n");
  EXPECT_EQ(brood::gc().objects, 0U);
}

void make_by_manager(SharedMemoryManager& manager, brood::Queue<std::string>& out) {
  const auto list = manager.shareable_list({5});
  out.put(list.handle().str());
}

// _TestSharedMemory.test_shared_memory_SharedMemoryManager_basics, SHM-13
TEST_P(SharedConformance, AManagersShutdownTakesAllItsObjectsAway) {
  SharedMemoryManager manager;
  EXPECT_THROW((void)manager.shared_memory(10), brood::NotStarted);
  EXPECT_THROW((void)manager.shareable_list({1}), brood::NotStarted);
  manager.start();
  brood::Queue<std::string> out;
  worker(make_by_manager, manager, out).join();
  std::vector<std::string> handles{out.get(),
                                   manager.shareable_list(std::vector<Item>(10, Item("text"))).handle().str()};
  EXPECT_EQ(ShareableList::open(handles[0]).get(0), Item(5)) << "its maker is gone";
  EXPECT_EQ(ShareableList::open(handles[1]).get(9), Item("text"));
  const auto memory = manager.shared_memory(32);
  EXPECT_EQ(memory.size(), 32U);
  manager.shutdown();
  for (const std::string& handle : handles) EXPECT_THROW((void)ShareableList::open(handle), brood::HandleError);
  EXPECT_THROW((void)SharedMemory::open(memory.handle()), brood::HandleError);
  memory.bytes()[31] = std::byte{1};
  EXPECT_THROW((void)manager.shared_memory(32), brood::UsageError);
  Handle last;
  {
    auto scoped = SharedMemoryManager::started();
    last = scoped.shared_memory(8).handle();
    (void)SharedMemory::open(last);
  }
  EXPECT_THROW((void)SharedMemory::open(last), brood::HandleError);
}

// --- ShareableList ---------------------------------------------------------------------------------------------------

// _TestSharedMemory.test_shared_memory_ShareableList_basics, SHM-08, SHM-09, SHM-10
TEST_P(SharedConformance, ListsAreEditedInPlaceAndKeepTheirLength) {
  ShareableList list{"howdy", std::string("HoWdY"), -273.154, 100, std::monostate{}, true, 42};
  EXPECT_EQ(list.size(), 7U);
  EXPECT_EQ(list.format(), "text(8) text(8) double int none bool int");
  EXPECT_EQ(list.get(-7), Item("howdy"));
  EXPECT_THROW((void)list.get(7), brood::UsageError);
  EXPECT_THROW((void)list.get(-8), brood::UsageError);
  EXPECT_THROW(list.set(7, 1), brood::UsageError);
  list.set(3, 42);
  EXPECT_EQ(list.count(42), 2U);
  EXPECT_EQ(list.index(42), 3U);
  EXPECT_THROW((void)list.index(100), brood::UsageError);
  list.set(4, "some");  // another type, which fits
  EXPECT_THROW(list.set(4, "far too much"), brood::UsageError);
  EXPECT_EQ(list.get(4), Item("some"));
  worker(
      [](ShareableList& same) {
        require(same.get<double>(2) == -273.154, "what was made");
        same.set(0, "hello");
        same.set(5, std::monostate{});
      },
      list)
      .join();
  EXPECT_EQ(list.items(), (std::vector<Item>{"hello", "HoWdY", -273.154, 42, "some", std::monostate{}, 42}));
  const auto copy = list.copy();
  EXPECT_EQ(copy, list);
  EXPECT_NE(copy.handle(), list.handle());
  EXPECT_NE(printed(list).find("[\"hello\", \"HoWdY\", -273.154, 42, \"some\", none, 42]"), std::string::npos);
  EXPECT_TRUE(ShareableList(std::vector<Item>{}).empty());
  static_assert(!std::is_constructible_v<Item, std::complex<double>> && !std::is_constructible_v<Item, unsigned long>);
}

// SHM-11
TEST_P(SharedConformance, TrailingNulsAndTextThatIsNotAsciiStay) {
  ShareableList list{std::string("?\0\0", 3), "naïve 日本", ShareableList::Bytes{std::byte{3}, std::byte{0}}};
  worker(
      [](ShareableList& same) {
        require(same.get<std::string>(0) == std::string("?\0\0", 3), "NULs");
        require(same.get<std::string>(1) == "naïve 日本", "text");
        same.set(0, std::string("\0", 1));
      },
      list)
      .join();
  EXPECT_EQ(list.get<std::string>(0), std::string("\0", 1));
  EXPECT_EQ(list.get<ShareableList::Bytes>(2), (ShareableList::Bytes{std::byte{3}, std::byte{0}}));
}

void flip(ShareableList& list, brood::Event& stop) {
  while (!stop.is_set()) {
    list.set(0, std::string(200, 'a'));
    list.set(0, std::int64_t{7});
    list.set(0, ShareableList::Bytes(150, std::byte{'b'}));
  }
}

// SHM-12
TEST_P(SharedConformance, ReadersOfAListSeeWholeItemsWhileTypesChange) {
  ShareableList list({7}, {.slot_bytes = 200});
  brood::Event stop;
  Worker writer = worker(flip, list, stop);
  for (int round = 0; round < 2000; ++round) {
    const Item item = list.get(0);
    ASSERT_TRUE(item == Item(7) || item == Item(std::string(200, 'a')) ||
                item == Item(ShareableList::Bytes(150, std::byte{'b'})));
  }
  stop.set();
  writer.join();
}

// _TestSharedMemory.test_shared_memory_ShareableList_pickling, test_shared_memory_ShareableList_pickling_dead_object
TEST_F(SharedConformanceOnce, AListsHandleAliasesItAndIsShort) {
  std::string text;
  {
    ShareableList list(std::vector<Item>(5, Item(1)));
    text = list.handle().str();
    auto again = ShareableList::open(text);
    again.set(0, 9);
    EXPECT_EQ(list.get(0), Item(9));
    const ShareableList large(std::vector<Item>(5000, Item("text")));
    EXPECT_EQ(large.handle().str().size(), text.size());
  }
  EXPECT_THROW((void)ShareableList::open(text), brood::HandleError);
}

}  // namespace
}  // namespace conformance
