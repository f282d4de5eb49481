#include "matrix/test_side.hpp"

#include <optional>
#include <thread>
#include <utility>

#include "support/child.hpp"
#include "support/sleepers.hpp"

namespace matrix {
namespace {

/// Says kGo as soon as somebody sleeps on the object: the one who made this, in its next call.
class GoOnceAsleep {
 public:
  GoOnceAsleep(const brood::Handle& object, const Line& line)
      : thread_([object, &line](const std::stop_token& over) {
          support::await([&] { return over.stop_requested() || support::sleepers_on(object) == 1; });
          // Over before it slept: its call has thrown, or did not wait where it had to. Then the worker hears nothing.
          if (!over.stop_requested()) line.say(kGo);
        }) {}

 private:
  std::jthread thread_;
};

/// Sleeps in `wait` until the worker, told so once we sleep, ends that.
template <class Object, class Wait>
void sleep_until_let_go(Object& object, const Line& line, Wait wait) {
  const brood::Handle handle = object.handle();
  const GoOnceAsleep go(handle, line);
  wait();
}

}  // namespace

void play(brood::Lock& lock, const Aids& aids) {
  aids.line.expect(kHeld);
  require(lock.locked(), "test: the lock that the worker holds is locked");
  require(!lock.try_lock(), "test: try_lock fails while the worker holds the lock");
  require(!lock.try_lock_for(kBriefly), "test: try_lock_for fails while the worker holds the lock");
  sleep_until_let_go(lock, aids.line, [&] { lock.lock(); });

  aids.line.say(kHeld);
  aids.line.expect(kRefused);
  support::await_sleepers(lock.handle(), 1);
  lock.unlock();
  aids.line.expect(kGot);

  count_up(
      aids.tally, [&] { lock.lock(); }, [&] { lock.unlock(); });
}

void play(brood::RLock& lock, const Aids& aids) {
  aids.line.expect(kHeld);
  require(lock.locked() && lock.depth() == 0, "test: the worker holds the lock, we do not");
  require(!lock.try_lock(), "test: try_lock fails while the worker holds the lock");
  require_throws<brood::NotOwner>([&] { lock.unlock(); }, "test: releasing the worker's lock throws NotOwner");
  aids.line.say(kGo);
  aids.line.expect(kHeld);
  require(!lock.try_lock(), "test: two of three levels less are not enough");
  sleep_until_let_go(lock, aids.line, [&] { lock.lock(); });

  lock.lock();
  require(lock.depth() == 2, "test: two levels");
  aids.line.say(kHeld);
  aids.line.expect(kRefused);
  support::await_sleepers(lock.handle(), 1);
  lock.unlock();
  require(lock.locked() && lock.depth() == 1, "test: one level is still held");
  lock.unlock();
  aids.line.expect(kGot);

  const auto enter = [&] { lock.lock(), lock.lock(); };
  const auto leave = [&] { lock.unlock(), lock.unlock(); };
  count_up(aids.tally, enter, leave);
}

void play(brood::Semaphore& semaphore, const Aids& aids) {
  support::await_sleepers(semaphore.handle(), 1);
  for (int i = 0; i < 3; ++i) semaphore.release();
  aids.line.expect(kGot);
  require(semaphore.get_value() == 0 && !semaphore.try_acquire(), "test: the worker took all three units");
  sleep_until_let_go(semaphore, aids.line, [&] { semaphore.acquire(); });
  semaphore.acquire();
  require(semaphore.get_value() == 0, "test: the worker gave two units");

  semaphore.release();
  aids.line.say(kGo);
  aids.line.expect(kHeld);
  require(!semaphore.try_acquire() && !semaphore.try_acquire_for(kBriefly), "test: the worker's Permit holds the unit");
  sleep_until_let_go(semaphore, aids.line, [&] { semaphore.acquire(); });
  require(semaphore.get_value() == 0, "test: the Permit gave its unit back once");

  semaphore.release();
  aids.line.say(kGo);
  count_up(
      aids.tally, [&] { semaphore.acquire(); }, [&] { semaphore.release(); });
}

void play(brood::BoundedSemaphore& semaphore, const Aids& aids) {
  aids.line.expect(kHeld);
  require(semaphore.get_value() == 0 && !semaphore.try_acquire(), "test: the worker holds both units");
  sleep_until_let_go(semaphore, aids.line, [&] { semaphore.acquire(); });
  semaphore.release();
  semaphore.release();  // the unit that the worker still held: anybody may release
  require(semaphore.get_value() == 2, "test: both units are in");
  require_throws<brood::ReleasedTooOften>([&] { semaphore.release(); }, "test: a third unit is refused");

  semaphore.acquire();
  semaphore.acquire();
  aids.line.say(kHeld);
  aids.line.expect(kRefused);
  support::await_sleepers(semaphore.handle(), 1);
  semaphore.release();
  aids.line.expect(kGot);
  semaphore.release();
  aids.line.say(kGo);
  aids.line.expect(kRefused);
  semaphore.acquire();
  aids.line.say(kGo);
  count_up(
      aids.tally, [&] { semaphore.acquire(); }, [&] { semaphore.release(); });
  semaphore.release();
}

void play(brood::Event& event, const Aids& aids) {
  aids.line.expect(kRefused);
  support::await_sleepers(event.handle(), 1);
  event.set();
  aids.line.expect(kGot);
  require(!event.is_set() && !event.wait_for(kBriefly), "test: the worker cleared it");
  sleep_until_let_go(event, aids.line, [&] { event.wait(); });
  require(event.is_set(), "test: set by the worker");
}

void play(brood::Condition& condition, const Aids& aids) {
  support::await_sleepers(condition.handle(), 1);
  {
    const std::scoped_lock held(aids.guard);
    aids.tally.set(1);
    condition.notify_one();
  }
  aids.line.expect(kGot);
  std::unique_lock held(aids.guard);
  require(condition.wait_for(held, kBriefly) == std::cv_status::timeout, "test: nobody has notified");
  sleep_until_let_go(condition, aids.line, [&] { condition.wait(held, [&] { return aids.tally.get() == 2; }); });
  for (std::int64_t turn = 3; turn < 3 + 2 * kConversations; turn += 2) {
    aids.tally.set(turn);
    if (turn % 4 == 3) condition.notify_one();
    else condition.notify_all();
    condition.wait(held, [&] { return aids.tally.get() == turn + 1; });
  }
}

void play(brood::Barrier& barrier, const Aids& aids) {
  const auto pass = [&](std::size_t ours) {
    const auto theirs = static_cast<std::size_t>(aids.line.hear() - '0');
    require(ours + theirs == 1,
            "test: one is 0 and the other 1, not " + std::to_string(ours) + " and " + std::to_string(theirs));
  };
  aids.line.say(kGo);
  support::await_sleepers(barrier.handle(), 1);
  require(barrier.n_waiting() == 1, "test: the worker waits");
  const std::size_t last = barrier.wait();
  pass(last);
  require(last == 1, "test: who comes last is number 1");

  std::size_t first = 9;
  sleep_until_let_go(barrier, aids.line, [&] { first = barrier.wait(); });
  pass(first);
  require(first == 0, "test: who comes first is number 0");

  aids.line.say(kGo);
  pass(barrier.wait());
  static_assert(kPasses == 3);
}

void play(Letters& queue, const Aids& aids) {
  support::await_sleepers(queue.handle(), 1);
  for (std::int64_t i = 0; i < kLetters; ++i) queue.put(Letter::numbered(i));
  aids.line.expect(kGot);
  require(queue.empty() && !queue.try_get(), "test: the worker took all letters");
  Letter first;
  sleep_until_let_go(queue, aids.line, [&] { first = queue.get(); });
  require(first == Letter::numbered(kLetters), "test: the worker's first letter");
  for (std::int64_t i = 1; i < kLetters; ++i) {
    require(queue.get() == Letter::numbered(kLetters + i), "test: the worker's letter " + std::to_string(i));
  }
}

void play(Jobs& queue, const Aids& aids) {
  support::await_sleepers(queue.handle(), 1);
  for (std::int64_t i = 0; i <= kLetters; ++i) queue.put(Letter::numbered(i));
  aids.line.expect(kGot);
  require(queue.leased() == 1 && queue.empty(), "test: the worker holds the last job");
  require(!queue.try_join(), "test: the last job is not done");
  aids.line.say(kGo);
}

void play(News& news, const Aids& aids) {
  aids.line.expect(kGot);
  require(news.readers() == 1, "test: the worker reads");
  support::await_sleepers(news.handle(), 1);
  for (std::int64_t i = 0; i < kLetters; ++i) news.publish(Letter::numbered(i));
  aids.line.expect(kGot);
  auto mine = news.subscribe();
  Letter first;
  sleep_until_let_go(news, aids.line, [&] { first = mine.get(); });
  require(first == Letter::numbered(kLetters), "test: the worker's first letter");
  for (std::int64_t i = 1; i < kLetters; ++i) {
    require(mine.get() == Letter::numbered(kLetters + i), "test: the worker's letter " + std::to_string(i));
  }
}

namespace {
std::optional<Wire>& other_end() {
  static std::optional<Wire> it;
  return it;
}
}  // namespace

template <>
Wire make() {
  auto [ours, theirs] = brood::pipe<Letter>();
  other_end() = std::move(ours);
  return std::move(theirs);
}

void play(Wire& theirs, const Aids& aids) {
  Wire ours = *std::exchange(other_end(), std::nullopt);
  support::await_sleepers(theirs.handle(), 1);
  for (std::int64_t i = 0; i < kLetters; ++i) ours.send(Letter::numbered(i));
  aids.line.expect(kGot);
  // From here on the worker's end is the worker's alone.
  theirs.close();
  Letter first;
  sleep_until_let_go(ours, aids.line, [&] { first = ours.recv(); });
  require(first == Letter::numbered(kLetters), "test: the worker's first letter");
  for (std::int64_t i = 1; i < kLetters; ++i)
    require(ours.recv() == Letter::numbered(kLetters + i), "test: the worker's letter " + std::to_string(i));
  require(ours.recv().text == std::string(kLongText, 'l'), "test: the worker's long letter");
  ours.close();
  aids.line.say(kGo);
}

void play(Account& account, const Aids& aids) {
  aids.line.expect(kHeld);
  require(account.locked() && !account.try_lock_for(kBriefly), "test: the worker holds the value");
  sleep_until_let_go(account, aids.line, [&] {
    const auto guard = account.lock();
    require(guard->sum == 1000 && guard->same_sum == 1000, "test: the worker's change has come");
  });
  aids.line.say(kGo);
  for (int i = 1; i <= kDeposits; ++i) {
    account.with([&](Balance& balance) {
      require(static_cast<double>(balance.sum) == balance.same_sum, "test: both sums are the same");
      balance.sum += i;
      balance.same_sum += i;
      ++balance.changes;
    });
  }
}

namespace {

void judge_count(Tally& tally) {
  require(tally.get() == 2 * kIncrements, "no increment was lost: " + std::to_string(tally.get()));
}

}  // namespace

void judge(brood::Lock& lock, Tally& tally) {
  judge_count(tally);
  require(!lock.locked() && lock.try_lock(), "the lock is free");
  lock.unlock();
}

void judge(brood::RLock& lock, Tally& tally) {
  judge_count(tally);
  require(!lock.locked() && lock.depth() == 0 && lock.try_lock(), "the lock is free");
  lock.unlock();
}

void judge(brood::Semaphore& semaphore, Tally& tally) {
  judge_count(tally);
  require(semaphore.get_value() == 1, "one unit is free");
}

void judge(brood::BoundedSemaphore& semaphore, Tally& tally) {
  judge_count(tally);
  require(semaphore.get_value() == 2, "both units are free");
}

void judge(brood::Event& event, Tally& /*tally*/) { require(event.is_set(), "it stays set without the worker"); }

void judge(brood::Condition& /*condition*/, Tally& tally) {
  require(tally.get() == 2 + 2 * kConversations, "every turn was taken once");
}

void judge(brood::Barrier& barrier, Tally& /*tally*/) {
  require(!barrier.broken() && barrier.n_waiting() == 0, "a worker that ended in good order broke nothing");
}

void judge(Letters& queue, Tally& /*tally*/) { require(queue.empty() && !queue.try_get(), "no letter was doubled"); }

void judge(Jobs& queue, Tally& /*tally*/) {
  brood::Task<Letter> job = queue.get();
  require(*job == Letter::numbered(kLetters) && job.deliveries() == 2, "the worker's end gave its last job back");
  job.done();
  require(queue.try_join(), "every job is done");
}

void judge(News& news, Tally& /*tally*/) {
  require(news.readers() == 0, "the worker's subscription ended with it");
  for (std::int64_t i = 0; i < 4 * kLetters; ++i)
    require(news.try_publish(Letter::numbered(i)), "nobody is in the way of letter " + std::to_string(i));
}
void judge(Wire& theirs, Tally& /*tally*/) { require(theirs.closed(), "the test gave its copy up"); }

void judge(Account& account, Tally& /*tally*/) {
  const Balance end = account.get();
  const std::int64_t sum = 1000 + std::int64_t{kDeposits} * (kDeposits + 1);
  require(end.sum == sum && end.same_sum == static_cast<double>(sum),
          "every deposit counts once: " + std::to_string(end.sum));
  require(end.changes == 2 * kDeposits, "every change was made once");
}

}  // namespace matrix
