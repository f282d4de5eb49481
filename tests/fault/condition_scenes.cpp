// Condition: a notification reaches exactly one living waiter, whoever dies on its way, and nobody who was not meant.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

#include "brood/condition.hpp"
#include "brood/error.hpp"
#include "fault/domain_view.hpp"
#include "fault/parts.hpp"
#include "fault/scene.hpp"
#include "fault/warm.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;
using brood::Condition;
using brood::Lock;
using brood::RLock;

/// Takes the lock, recovers it if need be. True if its owner had died.
template <class L>
bool take(L& lock) {
  try {
    lock.lock();
    return false;
  } catch (const brood::OwnerDied&) {
    // Another process may recover it between the report and our turn.
    (void)lock.recover([] {});
  }
  lock.lock();
  return true;
}

/// How many entries of the table wait, as the condition itself says it.
std::int64_t waiting_in(const Condition& condition) {
  std::ostringstream text;
  text << condition;
  const std::string all = text.str();
  const auto at = all.find("waiters=");
  must(at != std::string::npos, "the printed condition does not say how many wait");
  return std::atoll(all.c_str() + at + std::string("waiters=").size());
}

/// What wait() has done in one waiter so far.
std::int64_t returned(const Actor& waiter) { return waiter.value(0); }
std::int64_t threw(const Actor& waiter) { return waiter.value(1); }

template <class L>
struct ConditionScene : Scene {
  L lock;
  Condition condition;
  Progress progress;
  std::vector<Actor> waiters;  ///< in order of arrival

  void ready() override {
    settle_in();
    L scratch_lock;
    Condition scratch;
    std::unique_lock guard(scratch_lock);
    (void)scratch.wait_for(guard, 1ms);
    scratch.notify_one();
    scratch.notify_all();
  }

  /// Waits for ever, again and again, and counts. It holds the lock from the end of one wait to the next, so that who
  /// has the lock knows that every living waiter is in the table, unless it was notified and is on its way back.
  void add_waiter() {
    waiters.emplace_back([this](Self& self) {
      (void)take(lock);
      std::unique_lock guard(lock, std::adopt_lock);
      self.mark(1);
      for (std::int64_t returns = 0, throws = 0;;) {
        try {
          condition.wait(guard);
          self.set(0, ++returns);
        } catch (const brood::OwnerDied&) {
          self.set(1, ++throws);
          (void)take(lock);
          guard = std::unique_lock(lock, std::adopt_lock);
        }
      }
    });
    waiters.back().await_blocked();
  }
  void add_waiters(int count) {
    for (int i = 0; i < count; ++i) add_waiter();
  }
  /// Notifies, without the lock, when told to go.
  Actor notifier(std::int64_t count) {
    Actor actor([this, count](Self& self) {
      self.mark(1);
      self.await_go(1);
      condition.notify(count);
    });
    must(actor.await(1), "the notifier did not get ready");
    return actor;
  }

  /// What the waiters had been told by the time that all was quiet.
  struct Told {
    bool owner_died = false;  ///< the victim died with the lock
    std::vector<std::int64_t> returned;
    std::vector<std::int64_t> threw;
    [[nodiscard]] std::int64_t returns() const { return sum(returned); }
    [[nodiscard]] std::int64_t throws() const { return sum(threw); }
    static std::int64_t sum(const std::vector<std::int64_t>& each) {
      std::int64_t all = 0;
      for (const std::int64_t one : each) all += one;
      return all;
    }
    [[nodiscard]] std::string str() const {
      std::string text;
      for (std::size_t i = 0; i < returned.size(); ++i)
        text += " " + std::to_string(returned[i]) + "+" + std::to_string(threw[i]);
      return "waiters returned+threw:" + text + (owner_died ? " (OwnerDied)" : "");
    }
  };
  /// In a fresh process. Returns with the lock held, when every living waiter is in the table and not notified.
  Told quiet() {
    Told told;
    told.owner_died = take(lock);
    const double until = now_ms() + 1500;
    for (;;) {
      std::unique_lock guard(lock, std::adopt_lock);
      // A wait that is over at once takes the dead out of the table.
      must(condition.wait_for(guard, 0s) == std::cv_status::timeout, "a wait of no length was notified");
      if (waiting_in(condition) == static_cast<std::int64_t>(waiters.size())) {
        guard.release();
        break;
      }
      guard.unlock();
      must(now_ms() < until, "a waiter that was notified does not come back to the lock");
      nap();
      told.owner_died = take(lock) || told.owner_died;
    }
    for (const Actor& waiter : waiters) {
      told.returned.push_back(returned(waiter));
      told.threw.push_back(threw(waiter));
      if (threw(waiter) > 0) told.owner_died = true;
    }
    return told;
  }
  /// A fresh process looks when all is quiet; then everybody is notified, and each comes back exactly once.
  void judge_told(Findings& findings, const std::function<void(const Told&)>& check) {
    // Until the death is known a notification that the victim had is not passed on: that is not quiet yet.
    findings.check(DomainView().await_quiet(), "the victim's death is not noticed");
    findings.fresh("a fresh process", [&](Self&) {
      const Told told = quiet();
      check(told);
      condition.notify_all();
      lock.unlock();
      const auto all_returned = [&] {
        for (std::size_t i = 0; i < waiters.size(); ++i)
          if (returned(waiters[i]) == told.returned[i]) return false;
        return true;
      };
      must(Findings::settles(all_returned, 1500ms), "notify_all() did not reach everybody");
      const Told then = quiet();
      must(then.returns() == told.returns() + static_cast<std::int64_t>(waiters.size()) &&
               then.throws() == told.throws() && !then.owner_died == (then.throws() == 0),
           "after notify_all(): " + then.str() + ", before: " + told.str());
      lock.unlock();
    });
  }
};

constexpr std::int64_t kAll = -1;

/// notify(), notify_one(), notify_all() while `waiting` wait, without the lock or with it.
struct Notify : ConditionScene<Lock> {
  Notify(int waiting, std::int64_t count, bool locks) : waiting_(waiting), count_(count), locks_(locks) {}
  int waiting_;
  std::int64_t count_;
  bool locks_;
  void set() override { add_waiters(waiting_); }
  void operate() override {
    if (locks_) lock.lock();
    if (count_ == kAll) condition.notify_all();
    else if (count_ == 1) condition.notify_one();
    else condition.notify(count_);
    progress.step();
    if (locks_) lock.unlock();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const std::int64_t most = count_ == kAll ? waiting_ : std::min<std::int64_t>(count_, waiting_);
    const bool done = progress.steps() == 1;
    judge_told(findings, [&](const Told& told) {
      must(locks_ || !told.owner_died, "OwnerDied, but the victim never took the lock: " + told.str());
      // One who is told of the owner's death hands its notification on: throws do not count against it.
      must(told.returns() <= most, "more were notified than should be: " + told.str());
      must(!done || told.owner_died || told.returns() == most, "fewer were notified than should be: " + told.str());
      must(!done || told.returns() + told.throws() >= most, "a notification has got lost: " + told.str());
      for (std::size_t i = 0; i < told.returned.size(); ++i) {
        must(told.returned[i] <= 1 && told.threw[i] <= 1, "one was notified twice: " + told.str());
        const bool overtakes = i > 0 && told.returned[i] + told.threw[i] > told.returned[i - 1] + told.threw[i - 1];
        must(!overtakes, "not in the order of arrival: " + told.str());
      }
    });
  }
};

/// notify_one() while the one that has waited longest is dead, and the next one does not bury it.
struct NotifyPastDead : ConditionScene<Lock> {
  void set() override { add_waiters(3); }
  void placed() override {
    stop(waiters[1]);
    stop(waiters[2]);
    waiters.erase(waiters.begin());
  }
  void operate() override {
    condition.notify_one();
    progress.step();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    for (const Actor& waiter : waiters) resume(waiter);
    judge_told(findings, [&](const Told& told) {
      must(told.throws() == 0 && told.returned[1] == 0, "the wrong one was notified: " + told.str());
      must(told.returned[0] == 1 || (told.returned[0] == 0 && progress.steps() == 0), told.str());
    });
  }
};

/// wait() by the victim, `before` others wait before it, one behind it. As many are notified as to reach the victim.
template <class L>
struct Wait : ConditionScene<L> {
  Wait(int before, bool timed) : before_(before), timed_(timed) {}
  int before_;
  bool timed_;
  bool slept_ = false;
  Actor notifying;
  void set() override {
    this->add_waiters(before_);
    notifying = this->notifier(before_ + 1);
  }
  void operate() override {
    std::unique_lock guard(this->lock);
    if (timed_) {
      const bool notified = this->condition.wait_for(guard, 2s) == std::cv_status::no_timeout;
      if (!notified) return;
    } else {
      this->condition.wait(guard);
    }
    this->progress.step();
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      slept_ = true;
      this->add_waiter();
      notifying.go(1);
    }
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& at) override {
    const bool consumed = this->progress.steps() == 1;
    findings.check(!at.ended || consumed, "wait() ended without having been notified");
    if (!slept_) this->add_waiter();
    notifying.go(1);
    if (!findings.finishes(notifying, "the notifier")) return;
    this->judge_told(findings, [&](const typename ConditionScene<L>::Told& told) {
      for (std::size_t i = 0; i < told.returned.size(); ++i)
        must(told.returned[i] <= 1 && told.threw[i] <= 1, "one was notified twice: " + told.str());
      const std::int64_t given = before_ + 1;
      if (consumed) {
        must(told.returned.back() + told.threw.back() == 0 || told.owner_died,
             "the last one was notified with the victim's notification: " + told.str());
      }
      // The victim had it and was on its way out: nobody else. With the lock in its hands it may have had it or not.
      must(told.returns() <= (consumed ? given - 1 : given), "more were notified than should be: " + told.str());
      if (!told.owner_died)
        must(told.returns() == (consumed ? given - 1 : given), "a notification has got lost: " + told.str());
      else if (!slept_) must(told.returns() + told.throws() >= given, "a notification has got lost: " + told.str());
      else must(told.returns() + told.throws() >= given - 1, "a notification has got lost: " + told.str());
    });
  }
};

/// wait() under an RLock that is held twice.
struct WaitNested : Wait<RLock> {
  WaitNested() : Wait(0, false) {}
  void operate() override {
    std::unique_lock outer(lock);
    std::unique_lock guard(lock);
    condition.wait(guard);
    progress.step();
  }
};

/// wait() with a predicate, wait_for() with one that becomes true.
struct WaitReady : Wait<Lock> {
  explicit WaitReady(bool timed) : Wait(0, timed) {}
  std::atomic<int>& flag = shared_zero(1);
  void operate() override {
    std::unique_lock guard(lock);
    const auto ready = [this] { return flag == 1; };
    if (timed_ && !condition.wait_for(guard, 2s, ready)) return;
    if (!timed_) condition.wait(guard, ready);
    progress.step();
  }
  Sleep on_sleep(int nth) override {
    flag = 1;
    return Wait::on_sleep(nth);
  }
};

/// wait_for() that times out, or is notified when it does; another waits behind.
struct WaitTimesOut : ConditionScene<Lock> {
  explicit WaitTimesOut(bool notified_then) : notified_then_(notified_then) {}
  bool notified_then_;
  bool slept_ = false;
  Actor notifying;
  std::atomic<int>& consumed = shared_zero(1);
  void set() override { notifying = notifier(1); }
  void operate() override {
    std::unique_lock guard(lock);
    if (condition.wait_for(guard, 30ms) == std::cv_status::no_timeout) consumed = 1;
    progress.step();
  }
  Sleep on_sleep(int nth) override {
    if (nth > 0) return Sleep::by_itself;
    slept_ = true;
    add_waiter();
    if (notified_then_) notifying.go(1);
    return Sleep::by_itself;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!slept_) add_waiter();
    notifying.go(1);
    if (!findings.finishes(notifying, "the notifier")) return;
    findings.check(notified_then_ || consumed == 0, "notified, and nobody had done so");
    judge_told(findings, [&](const Told& told) {
      const std::int64_t all = told.returns() + told.throws();
      must(all <= 1, "one was notified twice: " + told.str());
      must(consumed == 0 || all == 0, "a notification was given to two: " + told.str());
      // It may have had the notification if it died with the lock before its call returned.
      const bool may_have_it = consumed == 1 || (notified_then_ && slept_ && told.owner_died && progress.steps() == 0);
      // Between coming back notified and saying so it holds the lock.
      must(all == 1 || may_have_it, "a notification has got lost: " + told.str());
    });
  }
};

/// A waiter died with a notification that it could not act on, two were stopped meanwhile: the victim, who comes
/// later, passes it on. One of the two gets it, and only one.
struct PassOn : ConditionScene<Lock> {
  Actor holder;
  void set() override {
    add_waiters(3);
    holder = Actor([this](Self& self) {
      lock.lock();
      condition.notify_one();
      self.mark(1);
      self.await_go(1);
      lock.unlock();
    });
    must(holder.await(1), "the holder did not get the lock");
  }
  void placed() override {
    stop(waiters[1]);
    stop(waiters[2]);
    // It cannot have got the lock.
    waiters.erase(waiters.begin());
    holder.go(1);
    must(holder.await_done(), "the holder did not end");
  }
  void operate() override {
    std::unique_lock guard(lock);
    condition.wait(guard);
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    for (const Actor& waiter : waiters) resume(waiter);
    judge_told(findings, [](const Told& told) {
      if (told.owner_died) {
        must(told.returns() <= 1 && told.returns() + told.throws() >= 1 && told.throws() <= 2, told.str());
        return;
      }
      must(told.returns() == 1, "one notification: " + told.str());
    });
  }
};

/// wait() whose lock's owner has died when it comes back: it throws, and hands its notification on.
struct WaitOwnerDied : ConditionScene<Lock> {
  bool slept_ = false;
  Actor holder;
  void set() override {
    holder = Actor([this](Self& self) {
      self.mark(1);
      self.await_go(1);
      lock.lock();
      condition.notify_one();
    });
  }
  void operate() override {
    std::unique_lock guard(lock);
    try {
      condition.wait(guard);
    } catch (const brood::OwnerDied&) {
      if (!guard.owns_lock()) progress.step();
    }
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      slept_ = true;
      add_waiters(2);
      holder.go(1);
      must(holder.await_done(), "the holder did not get the lock");
      holder.kill();
    }
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || progress.steps() == 1, "wait() did not throw OwnerDied, or owned the lock after it");
    if (!slept_) add_waiters(2);
    judge_told(findings, [&](const Told& told) {
      must(told.returns() <= 1, "one notification: " + told.str());
      must(!slept_ || told.returns() + told.throws() >= 1, "the notification has got lost: " + told.str());
      must(slept_ || told.returns() + told.throws() == 0, "nobody has notified: " + told.str());
      must(told.owner_died || told.returns() + told.throws() == 0, "the owner's death was told to nobody");
    });
  }
};

/// Printing it, with two who wait.
struct Print : ConditionScene<Lock> {
  void set() override { add_waiters(2); }
  void ready() override {
    ConditionScene::ready();
    (void)waiting_in(condition);
  }
  void operate() override { (void)waiting_in(condition); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    judge_told(findings, [](const Told& told) { must(told.returns() + told.throws() == 0, told.str()); });
  }
};

}  // namespace

void add_condition_operations(Operations& all) {
  add<Notify>(all, "Condition: notify_one; nobody waits", 0, 1, false);
  add<Notify>(all, "Condition: notify_one; one waits", 1, 1, false);
  add<Notify>(all, "Condition: notify_one; two wait", 2, 1, false);
  add<Notify>(all, "Condition: notify(2); three wait", 3, 2, false);
  add<Notify>(all, "Condition: notify_all; two wait", 2, kAll, false);
  add<Notify>(all, "Condition: notify_one under the lock; one waits", 1, 1, true);
  add<Notify>(all, "Condition: notify_one under the lock; two wait", 2, 1, true);
  add<NotifyPastDead>(all, "Condition: notify_one; the first of three is dead");
  add<Wait<Lock>>(all, "Condition: wait, notified; another waits behind", 0, false);
  add_every<Wait<Lock>>(all, 3, "Condition: wait, notified; others wait before and behind", 1, false);
  add_every<Wait<RLock>>(all, 5, "Condition: wait_for with an RLock, notified; another waits behind", 0, true);
  add_every<WaitNested>(all, 3, "Condition: wait with an RLock held twice, notified; another waits behind");
  add_every<WaitReady>(all, 5, "Condition: wait with a predicate, notified; another waits behind", false);
  add_every<WaitReady>(all, 5, "Condition: wait_for with a predicate, notified; another waits behind", true);
  add_every<WaitTimesOut>(all, 3, "Condition: wait_for times out; another waits behind", false);
  add_every<WaitTimesOut>(all, 3, "Condition: wait_for times out when notified; another waits behind", true);
  add<PassOn>(all, "Condition: wait, passing on what a dead waiter was told; two wait");
  add_long<WaitOwnerDied>(all, "Condition: wait, whose lock's owner died; two wait behind");
  add_long<Print>(all, "Condition: <<; two wait");
}

}  // namespace fault
