// The workers: one function template for each object, the same code in every process, however that was made.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "matrix/objects.hpp"

namespace matrix {

/// Lock: holds it, lets go on command, is refused and then waits for it, counts under it.
inline void work_with(brood::Lock& lock, const Aids& aids) {
  lock.lock();
  aids.line.say(kHeld);
  aids.line.expect(kGo);
  lock.unlock();

  aids.line.expect(kHeld);
  require(lock.locked(), "worker: the lock that the test holds is locked");
  require(!lock.try_lock(), "worker: try_lock fails while the test holds the lock");
  require(!lock.try_lock_for(kBriefly), "worker: try_lock_for fails while the test holds the lock");
  aids.line.say(kRefused);
  lock.lock();
  lock.unlock();
  aids.line.say(kGot);

  count_up(
      aids.tally, [&] { lock.lock(); }, [&] { lock.unlock(); });
}

/// RLock: the same, nested; only the owner may release.
inline void work_with(brood::RLock& lock, const Aids& aids) {
  lock.lock();
  lock.lock();
  require(lock.try_lock(), "worker: the owner may take the lock again");
  require(lock.depth() == 3, "worker: three levels");
  aids.line.say(kHeld);
  aids.line.expect(kGo);
  lock.unlock();
  lock.unlock();
  require(lock.depth() == 1, "worker: one level left");
  aids.line.say(kHeld);
  aids.line.expect(kGo);
  lock.unlock();

  aids.line.expect(kHeld);
  require(lock.locked() && lock.depth() == 0, "worker: the test holds the lock, we do not");
  require(!lock.try_lock(), "worker: try_lock fails while the test holds the lock");
  require_throws<brood::NotOwner>([&] { lock.unlock(); }, "worker: releasing the test's lock throws NotOwner");
  aids.line.say(kRefused);
  lock.lock();
  lock.unlock();
  aids.line.say(kGot);

  const auto enter = [&] { lock.lock(), lock.lock(); };
  const auto leave = [&] { lock.unlock(), lock.unlock(); };
  count_up(aids.tally, enter, leave);
}

/// Semaphore, 0 at first: takes three units of the test, gives two, holds one as a Permit, counts with one between
/// them.
inline void work_with(brood::Semaphore& semaphore, const Aids& aids) {
  for (int i = 0; i < 3; ++i) semaphore.acquire();
  require(semaphore.get_value() == 0, "worker: three units came and are taken");
  require(!semaphore.try_acquire(), "worker: a fourth one did not come");
  aids.line.say(kGot);
  aids.line.expect(kGo);
  semaphore.release();
  semaphore.release();
  aids.line.expect(kGo);  // the test has both

  std::optional<brood::Permit> permit(semaphore.permit());
  aids.line.say(kHeld);
  aids.line.expect(kGo);
  permit.reset();
  aids.line.expect(kGo);
  count_up(
      aids.tally, [&] { semaphore.acquire(); }, [&] { semaphore.release(); });
}

/// BoundedSemaphore of 2: takes both, gives one back, the test gives back the other; then the other way round.
inline void work_with(brood::BoundedSemaphore& semaphore, const Aids& aids) {
  semaphore.acquire();
  semaphore.acquire();
  aids.line.say(kHeld);
  aids.line.expect(kGo);
  semaphore.release();

  aids.line.expect(kHeld);
  require(semaphore.get_value() == 0, "worker: the test holds both units");
  require(!semaphore.try_acquire() && !semaphore.try_acquire_for(kBriefly),
          "worker: no unit while the test holds both");
  aids.line.say(kRefused);
  semaphore.acquire();
  semaphore.release();
  aids.line.say(kGot);
  aids.line.expect(kGo);
  require(semaphore.get_value() == 2, "worker: both units are in");
  require_throws<brood::ReleasedTooOften>([&] { semaphore.release(); }, "worker: a third unit is refused");
  aids.line.say(kRefused);
  aids.line.expect(kGo);  // the test keeps one unit, the other is a lock
  count_up(
      aids.tally, [&] { semaphore.acquire(); }, [&] { semaphore.release(); });
}

/// Event: waits for the test's set, clears it, sets it itself.
inline void work_with(brood::Event& event, const Aids& aids) {
  require(!event.is_set() && !event.wait_for(kBriefly), "worker: not set yet");
  aids.line.say(kRefused);
  event.wait();
  require(event.is_set(), "worker: set by the test");
  event.clear();
  aids.line.say(kGot);
  aids.line.expect(kGo);
  event.set();
}

/// Condition: the tally is whose turn it is, odd for the worker; one notifies, then the other.
inline void work_with(brood::Condition& condition, const Aids& aids) {
  std::unique_lock held(aids.guard);
  condition.wait(held, [&] { return aids.tally.get() == 1; });
  held.unlock();
  aids.line.say(kGot);
  aids.line.expect(kGo);
  held.lock();
  aids.tally.set(2);
  condition.notify_one();
  for (std::int64_t turn = 3; turn < 3 + 2 * kConversations; turn += 2) {
    condition.wait(held, [&] { return aids.tally.get() == turn; });
    aids.tally.set(turn + 1);
    if (turn % 4 == 1) condition.notify_one();
    else condition.notify_all();
  }
}

/// Barrier of two: passes it, once as the first, once as the last, once as it comes.
inline void work_with(brood::Barrier& barrier, const Aids& aids) {
  require(barrier.parties() == 2, "worker: two parties");
  for (int pass = 0; pass < kPasses; ++pass) {
    aids.line.expect(kGo);
    const std::size_t index = barrier.wait();
    aids.line.say(static_cast<char>('0' + index));
  }
}

/// Queue of eight places: takes all letters in order, then sends as many.
inline void work_with(Letters& queue, const Aids& aids) {
  require(queue.capacity() == kCapacity, "worker: the queue has the test's capacity");
  for (std::int64_t i = 0; i < kLetters; ++i)
    require(queue.get() == Letter::numbered(i), "worker: letter " + std::to_string(i));
  require(!queue.try_get(), "worker: no letter was doubled");
  aids.line.say(kGot);
  aids.line.expect(kGo);
  for (std::int64_t i = 0; i < kLetters; ++i) queue.put(Letter::numbered(kLetters + i));
}

/// WorkQueue: does all jobs but the last, which it still holds when it ends.
inline void work_with(Jobs& queue, const Aids& aids) {
  for (std::int64_t i = 0; i < kLetters; ++i) {
    brood::Task<Letter> job = queue.get();
    require(*job == Letter::numbered(i) && job.deliveries() == 1, "worker: job " + std::to_string(i));
    job.done();
  }
  static std::optional<brood::Task<Letter>> last;
  last = queue.get();
  require(**last == Letter::numbered(kLetters), "worker: the last job");
  aids.line.say(kGot);
  aids.line.expect(kGo);
}

/// Broadcast: reads all letters, more than fit at once; publishes as many; ends with a subscription that is in the way.
inline void work_with(News& news, const Aids& aids) {
  auto mine = news.subscribe();
  aids.line.say(kGot);
  for (std::int64_t i = 0; i < kLetters; ++i)
    require(mine.get() == Letter::numbered(i), "worker: letter " + std::to_string(i));
  require(!mine.try_get() && mine.missed() == 0, "worker: no letter was doubled or lost");
  mine.close();
  static std::optional<brood::Subscription<Letter>> in_the_way;
  aids.line.say(kGot);
  aids.line.expect(kGo);
  for (std::int64_t i = 0; i < kLetters; ++i) news.publish(Letter::numbered(kLetters + i));
  in_the_way = news.subscribe();
}

/// Connection: takes all letters in order, then sends as many and one long one, sees the end, and is told that nobody
/// listens.
inline void work_with(Wire& end, const Aids& aids) {
  require(end.readable() && end.writable(), "worker: both ways");
  for (std::int64_t i = 0; i < kLetters; ++i)
    require(end.recv() == Letter::numbered(i), "worker: letter " + std::to_string(i));
  require(!end.poll() && !end.try_recv(), "worker: no letter was doubled");
  aids.line.say(kGot);
  aids.line.expect(kGo);
  for (std::int64_t i = 0; i < kLetters; ++i) end.send(Letter::numbered(kLetters + i));
  end.send(Letter{.text = std::string(kLongText, 'l'), .number = 0});
  aids.line.expect(kGo);  // the test has closed its end
  require(end.poll(), "worker: the end of file can be polled");
  require_throws<brood::EndOfFile>([&] { (void)end.recv(); }, "worker: end of file");
  require_throws<brood::BrokenPipe>([&] { end.send(Letter{}); }, "worker: nobody listens");
}

/// Value: holds it while the test is refused; a change that throws is undone; both deposit.
inline void work_with(Account& account, const Aids& aids) {
  {
    const auto guard = account.lock();
    guard->sum = 1000;
    guard->same_sum = 1000;
    aids.line.say(kHeld);
    aids.line.expect(kGo);
  }
  aids.line.expect(kGo);
  struct Regret {};
  const auto ruin = [&] {
    account.with([](Balance& balance) {
      balance.sum = -1;
      throw Regret{};
    });
  };
  require_throws<Regret>(ruin, "worker: the exception comes out");
  for (int i = 1; i <= kDeposits; ++i) {
    account.with([&](Balance& balance) {
      require(static_cast<double>(balance.sum) == balance.same_sum, "worker: both sums are the same");
      balance.sum += i;
      balance.same_sum += i;
      ++balance.changes;
    });
  }
}

/// What runs in the worker: as the target of a Process, which hands over the objects, or after opening their handles.
template <class Object>
void worker(Object& object, brood::Lock& guard, Tally& tally, const std::string& address) {
  const Line line = call(address);
  line.say(kHere);
  work_with(object, Aids{guard, tally, line});
  line.say(kDone);
}

}  // namespace matrix
