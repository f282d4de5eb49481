// One text, two bodies: what locks, queues and their kin do is the same for those in shared memory and for those that a manager
// keeps (CPython's TestSyncManagerTypes, and its tests of synchronisation under WithManager).
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "brood/brood.hpp"
#include "brood/manager.hpp"
#include "conformance/bodies.hpp"

namespace conformance {
namespace {

/// In shared memory.
struct Direct {
  [[nodiscard]] brood::Lock lock() const { return brood::Lock(); }
  [[nodiscard]] brood::RLock rlock() const { return brood::RLock(); }
  [[nodiscard]] brood::Semaphore semaphore(std::int64_t value) const { return brood::Semaphore(value); }
  [[nodiscard]] brood::BoundedSemaphore bounded_semaphore(std::int64_t value) const {
    return brood::BoundedSemaphore(value);
  }
  [[nodiscard]] brood::Event event() const { return brood::Event(); }
  [[nodiscard]] brood::Barrier barrier(std::uint32_t parties) const { return brood::Barrier(parties); }
  [[nodiscard]] brood::Queue<int> queue(std::size_t capacity = 100) const { return brood::Queue<int>(capacity); }
  [[nodiscard]] brood::JoinableQueue<int> joinable_queue() const { return brood::JoinableQueue<int>(); }
  [[nodiscard]] brood::Value<long> value(long initial) const { return brood::Value<long>(initial); }
};
/// In a server.
struct Managed {
  brood::Manager manager;
  [[nodiscard]] auto lock() { return manager.lock(); }
  [[nodiscard]] auto rlock() { return manager.rlock(); }
  [[nodiscard]] auto semaphore(std::int64_t value) { return manager.semaphore(value); }
  [[nodiscard]] auto bounded_semaphore(std::int64_t value) { return manager.bounded_semaphore(value); }
  [[nodiscard]] auto event() { return manager.event(); }
  [[nodiscard]] auto barrier(std::uint32_t parties) { return manager.barrier(parties); }
  [[nodiscard]] auto queue(std::size_t capacity = 100) { return manager.queue<int>(capacity); }
  [[nodiscard]] auto joinable_queue() { return manager.joinable_queue<int>(); }
  [[nodiscard]] auto value(long initial) { return manager.value<long>(initial); }
};

/// How a worker takes one: shared objects by reference, proxies as values.
template <class T>
using In = std::conditional_t<brood::detail::IsProxy<T>, const T&, T&>;

class DirectConformance : public Bodies {
 public:
  using Bodies::body;
  using Bodies::worker;
  using Bodies::workers;
};
class ManagedConformance : public DirectConformance {};
BROOD_BODIES(DirectConformance);
BROOD_BODIES(ManagedConformance);

#define BROOD_BOTH(Name)                                       \
  template <class Kind>                                        \
  void text_##Name(const DirectConformance& test, Kind& make); \
  TEST_P(DirectConformance, Name) {                            \
    Direct make;                                               \
    text_##Name(*this, make);                                  \
  }                                                            \
  TEST_P(ManagedConformance, Name) {                           \
    Managed make;                                              \
    text_##Name(*this, make);                                  \
  }                                                            \
  template <class Kind>                                        \
  void text_##Name([[maybe_unused]] const DirectConformance& test, Kind& make)

// --- locks: LCK, MGR-13, TestSyncManagerTypes.test_lock, test_rlock ---------------------------------------------------------

template <class L>
void find_it_taken(In<L> lock) {
  require(lock.locked(), "locked() is true elsewhere than in the holder");
  require(!lock.try_lock(), "a held lock is not taken");
  const Stopwatch watch;
  require(!lock.try_lock_for(20ms), "a timed attempt fails");
  require(watch.elapsed() >= 20ms, "a timed attempt lasts its whole timeout");
  require(!lock.try_lock_for(-5s), "a negative timeout polls");
}
template <class L>
void hold_until(In<L> lock, brood::Event& held, brood::Event& let_go) {
  const std::scoped_lock guard(lock);
  held.set();
  let_go.wait();
}
template <class L>
void use_by_scope(In<L> lock, brood::Value<long>& counter) {
  std::unique_lock guard(lock);
  require(lock.locked(), "the lock is taken inside the scope");
  *counter.lock() += 1;
}
template <class L>
void take_only(In<L> lock) {
  lock.lock();
}
template <class L>
void release_only(In<L> lock) {
  lock.unlock();
}

BROOD_BOTH(ALockExcludesItselfAndOverReleaseThrows) {
  auto lock = make.lock();
  using L = decltype(lock);
  EXPECT_FALSE(lock.locked());
  lock.lock();
  EXPECT_TRUE(lock.locked());
  EXPECT_FALSE(lock.try_lock());
  EXPECT_FALSE(lock.try_lock_for(0s));
  EXPECT_FALSE(lock.try_lock_until(std::chrono::system_clock::now() - 1s));
  test.worker(find_it_taken<L>, lock).join();
  lock.unlock();
  EXPECT_THROW(lock.unlock(), brood::ReleasedTooOften);
  EXPECT_TRUE(lock.try_lock_for(std::chrono::hours::max())) << "huge: never overflows";
  lock.unlock();
}

BROOD_BOTH(ALockIsReleasedByAnybody) {
  auto lock = make.lock();
  using L = decltype(lock);
  lock.lock();
  test.worker(release_only<L>, lock).join();
  EXPECT_FALSE(lock.locked());
  brood::Event held;
  brood::Event let_go;
  auto holder = test.worker(hold_until<L>, lock, held, let_go);
  held.wait();
  EXPECT_TRUE(lock.locked());
  EXPECT_FALSE(lock.try_lock());
  brood::Value<long> counter;
  auto waiters = test.workers(3, use_by_scope<L>, lock, counter);
  let_go.set();
  holder.join();
  for (auto& waiter : waiters) waiter->join();
  EXPECT_EQ(counter.get(), 3);
  EXPECT_FALSE(lock.locked());
}

template <class L>
void not_the_owner(In<L> lock) {
  require(lock.depth() == 0, "another's");
  try {
    lock.unlock();
  } catch (const brood::NotOwner&) {
    return;
  }
  require(false, "releasing another's RLock throws NotOwner");
}

BROOD_BOTH(AnRLockIsTakenThreeTimesByItsOwnerAndByNobodyElse) {
  auto lock = make.rlock();
  using L = decltype(lock);
  for (std::uint32_t depth = 1; depth <= 3; ++depth) {
    EXPECT_TRUE(lock.try_lock());
    EXPECT_EQ(lock.depth(), depth);
    test.worker(find_it_taken<L>, lock).join();
    test.worker(not_the_owner<L>, lock).join();
  }
  for (std::uint32_t depth = 3; depth >= 1; --depth) {
    EXPECT_TRUE(lock.locked());
    lock.unlock();
    EXPECT_EQ(lock.depth(), depth - 1);
  }
  EXPECT_FALSE(lock.locked());
  EXPECT_THROW(lock.unlock(), brood::NotOwner);
  brood::Value<long> counter;
  test.worker(use_by_scope<L>, lock, counter).join();
  EXPECT_EQ(counter.get(), 1);
}

// --- semaphores: SEM, MGR-14 -----------------------------------------------------------------------------------------------

template <class S>
void step_down_and_up(In<S> semaphore) {
  require(semaphore.get_value() == 2, "two");
  semaphore.acquire();
  require(semaphore.try_acquire(), "the second unit");
  require(semaphore.get_value() == 0, "none");
  require(!semaphore.try_acquire(), "no third unit");
  const Stopwatch watch;
  require(!semaphore.try_acquire_for(20ms), "nor in time");
  require(watch.elapsed() >= 20ms, "a timed attempt lasts its whole timeout");
  semaphore.release();
  semaphore.release();
  require(semaphore.get_value() == 2, "two again");
}

BROOD_BOTH(ASemaphoreCountsDownAndMayExceedItsInitialValue) {
  auto semaphore = make.semaphore(2);
  using S = decltype(semaphore);
  test.worker(step_down_and_up<S>, semaphore).join();
  step_down_and_up<S>(semaphore);
  semaphore.release();
  EXPECT_EQ(semaphore.get_value(), 3);
  EXPECT_THROW((void)make.semaphore(-1), brood::UsageError);
  EXPECT_THROW((void)make.semaphore(brood::Semaphore::kMaxValue + 1), brood::UsageError);
  auto full = make.semaphore(brood::Semaphore::kMaxValue);
  EXPECT_THROW(full.release(), brood::ReleasedTooOften);
}

BROOD_BOTH(ABoundedSemaphoreDoesNot) {
  auto semaphore = make.bounded_semaphore(2);
  using S = decltype(semaphore);
  test.worker(step_down_and_up<S>, semaphore).join();
  EXPECT_THROW(semaphore.release(), brood::ReleasedTooOften);
  EXPECT_EQ(semaphore.get_value(), 2);
  auto none = make.bounded_semaphore(0);
  EXPECT_FALSE(none.try_acquire());
  EXPECT_THROW(none.release(), brood::ReleasedTooOften);
}

// --- events: EVT -------------------------------------------------------------------------------------------------------------

template <class E>
void wait_forms_of_an_unset(In<E> event) {
  require(!event.is_set(), "a new event is unset");
  require(!event.wait_for(0s), "zero polls");
  require(!event.wait_for(-1s), "negative polls");
  const Stopwatch watch;
  require(!event.wait_for(30ms), "a timed wait of an unset event is false");
  require(watch.elapsed() >= 30ms, "a timed wait lasts its whole timeout");
}

BROOD_BOTH(AnEventTimesOutWakesAndRearms) {
  auto event = make.event();
  using E = decltype(event);
  test.worker(wait_forms_of_an_unset<E>, event).join();
  auto setter = test.worker([](In<E> one) { one.set(); }, event);
  event.wait();
  setter.join();
  EXPECT_TRUE(event.is_set());
  EXPECT_TRUE(event.wait_for(std::chrono::hours::max()));
  event.set();
  test.worker([](In<E> one) { one.clear(); }, event).join();
  wait_forms_of_an_unset<E>(event);
}

// --- barriers: BAR, MGR-16 -----------------------------------------------------------------------------------------------------

struct Steps {
  std::array<std::int32_t, 6> passed{};
  std::array<std::int32_t, 3> indices{};
};
template <class B>
void lockstep(In<B> barrier, brood::Value<Steps>& steps) {
  for (std::size_t pass = 0; pass < 3; ++pass) {
    steps.with([&](Steps& all) { ++all.passed[2 * pass]; });
    const auto index = static_cast<std::size_t>(barrier.wait());
    require(index < 3, "the index is below the number of parties");
    require(steps.get().passed[2 * pass] == 3, "everybody is here before anybody leaves");
    steps.with([&](Steps& all) {
      ++all.passed[2 * pass + 1];
      ++all.indices[index];
    });
    (void)barrier.wait();
    require(steps.get().passed[2 * pass + 1] == 3, "and again");
  }
  barrier.leave();
}
template <class B>
void expect_broken(In<B> barrier) {
  try {
    (void)barrier.wait();
  } catch (const brood::BrokenBarrier&) {
    return;
  }
  require(false, "a broken barrier lets nobody through");
}

BROOD_BOTH(ABarrierIsPassedInLockstepWithDifferentIndices) {
  auto barrier = make.barrier(3);
  using B = decltype(barrier);
  EXPECT_EQ(barrier.parties(), 3U);
  brood::Value<Steps> steps;
  auto others = test.workers(2, lockstep<B>, barrier, steps);
  lockstep<B>(barrier, steps);
  for (auto& other : others) other->join();
  EXPECT_EQ(steps.get().indices, (std::array<std::int32_t, 3>{3, 3, 3}));
  EXPECT_EQ(barrier.n_waiting(), 0U);
  EXPECT_FALSE(barrier.broken());
  EXPECT_THROW((void)make.barrier(0), brood::UsageError);
}

BROOD_BOTH(AnAbortedBarrierIsBrokenUntilItIsReset) {
  auto barrier = make.barrier(2);
  using B = decltype(barrier);
  auto other = test.worker(expect_broken<B>, barrier);
  support::await([&] { return barrier.n_waiting() == 1; });
  barrier.abort();
  other.join();
  EXPECT_TRUE(barrier.broken());
  expect_broken<B>(barrier);
  barrier.reset();
  EXPECT_FALSE(barrier.broken());
  EXPECT_THROW((void)barrier.wait_for(10ms), brood::BrokenBarrier);
  EXPECT_TRUE(barrier.broken());
}

// --- queues: QUE, MGR-17 -------------------------------------------------------------------------------------------------------

BROOD_BOTH(ABoundedQueueIsFullInAllForms) {
  auto queue = make.queue(4);
  using Q = decltype(queue);
  EXPECT_TRUE(queue.empty());
  EXPECT_FALSE(queue.full());
  queue.put(1);
  EXPECT_TRUE(queue.try_put_for(2, 1h));
  EXPECT_TRUE(queue.try_put(3));
  queue.put_nowait(4);
  EXPECT_FALSE(queue.empty());
  EXPECT_TRUE(queue.full());
  EXPECT_EQ(queue.qsize(), 4U);
  EXPECT_FALSE(queue.try_put(7));
  EXPECT_FALSE(queue.try_put_for(7, -1s));
  EXPECT_FALSE(queue.try_put_until(7, std::chrono::steady_clock::now()));
  const Stopwatch watch;
  EXPECT_FALSE(queue.try_put_for(7, 30ms));
  EXPECT_GE(watch.elapsed(), 30ms);
  EXPECT_THROW(queue.put_nowait(7), brood::Full);
  test.worker(
          [](In<Q> in) {
            for (int i = 1; i <= 4; ++i) require(in.get() == i, "in order");
          },
          queue)
      .join();
  EXPECT_TRUE(queue.empty());
}

BROOD_BOTH(AQueueIsEmptyInAllForms) {
  auto queue = make.queue();
  using Q = decltype(queue);
  auto feeder = test.worker(
      [](In<Q> out) {
        for (int i = 2; i <= 5; ++i) out.put(i);
      },
      queue);
  EXPECT_EQ(queue.get(), 2);
  EXPECT_EQ(queue.try_get_for(1h), 3);
  feeder.join();  // no hidden thread: what was put is there
  EXPECT_EQ(queue.try_get(), 4);
  EXPECT_EQ(queue.get_nowait(), 5);
  EXPECT_EQ(queue.try_get(), std::nullopt);
  EXPECT_EQ(queue.try_get_for(-1s), std::nullopt);
  const Stopwatch watch;
  EXPECT_EQ(queue.try_get_for(30ms), std::nullopt);
  EXPECT_GE(watch.elapsed(), 30ms);
  EXPECT_THROW((void)queue.get_nowait(), brood::Empty);
  EXPECT_EQ(queue.qsize(), 0U);
}

BROOD_BOTH(AQueueThatWasShutDownIsDrainedAndThenClosed) {
  auto queue = make.queue();
  using Q = decltype(queue);
  for (int i = 0; i < 3; ++i) queue.put(i);
  test.worker([](In<Q> one) { one.shutdown(); }, queue).join();
  EXPECT_THROW(queue.put(4), brood::QueueClosed);
  std::vector<int> all;
  for (const int item : queue) all.push_back(item);
  EXPECT_EQ(all, (std::vector{0, 1, 2}));
  EXPECT_THROW((void)queue.get(), brood::QueueClosed);
  auto other = make.queue();
  other.put(1);
  other.shutdown(true);
  EXPECT_THROW((void)other.get(), brood::QueueClosed);
}

template <class Q>
void finish_all(In<Q> queue, brood::Value<int>& sum) {
  for (const int number : queue) {
    sum.with([&](int& s) { s += number; });
    queue.task_done();
  }
}

BROOD_BOTH(JoinReturnsWhenEveryItemIsDone) {
  auto queue = make.joinable_queue();
  using Q = decltype(queue);
  queue.join();
  EXPECT_TRUE(queue.join_for(-1s));
  EXPECT_THROW(queue.task_done(), brood::ReleasedTooOften);
  queue.put(0);
  EXPECT_FALSE(queue.join_for(0s));
  EXPECT_THROW(queue.task_done(), brood::ReleasedTooOften) << "it was not taken";
  brood::Value<int> sum(0);
  auto helpers = test.workers(3, finish_all<Q>, queue, sum);
  for (int i = 0; i < 10; ++i) queue.put(i);
  queue.join();
  EXPECT_EQ(sum.get(), 45);
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.try_join());
  queue.shutdown();
  for (auto& helper : helpers) helper->join();
}

// --- values: SHV, MGR-18 -------------------------------------------------------------------------------------------------------

BROOD_BOTH(AValueIsReadAndSetFromBothSides) {
  auto value = make.value(5);
  using V = decltype(value);
  test.worker(
          [](In<V> one) {
            require(one.get() == 5, "what the parent gave it");
            one.set(6);
            require(one.exchange(7) == 6, "the value before");
          },
          value)
      .join();
  EXPECT_EQ(value.get(), 7);
}

}  // namespace
}  // namespace conformance
