// Lock and RLock: whatever the victim was doing, the lock ends up free, or reported as OwnerDied and recoverable.
#include <signal.h>

#include <chrono>
#include <mutex>
#include <optional>

#include "brood/error.hpp"
#include "brood/lock.hpp"
#include "brood/rlock.hpp"
#include "fault/parts.hpp"
#include "fault/scene.hpp"
#include "fault/warm.hpp"
#include "os/futex.hpp"
#include "registry/registry.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;
using brood::Lock;
using brood::LockOptions;
using brood::OwnerDeath;
using brood::RLock;

/// What an actor saw when it took a lock; its value 0.
enum Saw : std::int64_t { kNothing = 0, kGotIt = 1, kOwnerDied = 2 };

template <class L>
Saw take_and_give_back(L& lock) {
  try {
    lock.lock();
  } catch (const brood::OwnerDied&) {
    return kOwnerDied;
  }
  lock.unlock();
  return kGotIt;
}

/// A fresh process opens the lock: it is free, or everybody is told of the death until it is recovered.
template <class L>
void judge_lock(Findings& findings, const brood::Handle& handle, bool heals, std::optional<Saw> others_saw = {}) {
  findings.fresh("a fresh process", [=](Self&) {
    L lock = L::open(handle);
    const Saw saw = take_and_give_back(lock);
    if (heals) must(saw == kGotIt, "a healing lock was reported as OwnerDied");
    if (others_saw) must(saw == *others_saw, "one process was told of the owner's death and another got the lock");
    if (saw == kOwnerDied) {
      must(take_and_give_back(lock) == kOwnerDied, "OwnerDied was told once only");
      int repairs = 0;
      must(lock.recover([&] { ++repairs; }) && repairs == 1, "recover() did not repair");
    }
    must(!lock.recover([] {}), "recover() of a lock in good order says that it repaired");
    must(take_and_give_back(lock) == kGotIt && !lock.locked(), "the lock does not work after recovery");
  });
}

/// Sleeps on the lock, then says what it saw.
template <class L>
Actor sleeper_on(L& lock) {
  return Actor([&lock](Self& self) {
    self.mark(1);
    self.set(0, take_and_give_back(lock));
  });
}
/// Holds the lock until told to go on (go 1), then gives it back.
template <class L>
Actor holder_of(L& lock) {
  Actor holder([&lock](Self& self) {
    lock.lock();
    self.mark(1);
    self.await_go(1);
    lock.unlock();
  });
  must(holder.await(1), "the holder did not get the lock");
  return holder;
}
Saw seen_by(const Actor& actor) { return static_cast<Saw>(actor.value(0)); }

template <class L>
struct LockScene : Scene {
  explicit LockScene(bool heals) : heals_(heals), lock({heals ? OwnerDeath::heal : OwnerDeath::report}) {}
  bool heals_;
  L lock;
  void ready() override {
    settle_in();
    L scratch({OwnerDeath::report});
    (void)take_and_give_back(scratch);
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_lock<L>(findings, lock.handle(), heals_); }
};

/// lock() and unlock(), nobody else there.
template <class L>
struct Pair : LockScene<L> {
  using LockScene<L>::LockScene;
  void operate() override {
    this->lock.lock();
    this->lock.unlock();
  }
};

struct Nested : LockScene<RLock> {
  using LockScene::LockScene;
  void operate() override {
    lock.lock();
    lock.lock();
    lock.unlock();
    lock.unlock();
  }
};

/// unlock() while somebody sleeps on the lock.
template <class L>
struct UnlockWithSleeper : LockScene<L> {
  using LockScene<L>::LockScene;
  Actor sleeper;
  void ready() override {
    LockScene<L>::ready();
    this->lock.lock();
  }
  void placed() override {
    sleeper = sleeper_on(this->lock);
    sleeper.await_blocked();
  }
  void operate() override { this->lock.unlock(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!findings.finishes(sleeper, "the sleeper")) return;
    judge_lock<L>(findings, this->lock.handle(), this->heals_, seen_by(sleeper));
  }
};

/// lock() of a held lock: sleeps, is handed the lock. A third process sleeps as well, before it or behind it.
template <class L>
struct Contended : LockScene<L> {
  Contended(bool heals, bool third_is_first) : LockScene<L>(heals), third_is_first_(third_is_first) {}
  bool third_is_first_;
  Actor holder;
  Actor third;
  void set() override {
    holder = holder_of(this->lock);
    if (third_is_first_) add_third();
  }
  void add_third() {
    third = sleeper_on(this->lock);
    third.await_blocked();
  }
  void operate() override {
    this->lock.lock();
    this->lock.unlock();
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      if (!third_is_first_) add_third();
      holder.go(1);
    }
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (third.pid() < 0) add_third();
    holder.go(1);
    if (!findings.finishes(holder, "the holder") || !findings.finishes(third, "the third process")) return;
    // The third may have been served before the victim got the lock and died with it.
    if (seen_by(third) == kOwnerDied) judge_lock<L>(findings, this->lock.handle(), this->heals_, kOwnerDied);
    else judge_lock<L>(findings, this->lock.handle(), this->heals_);
  }
};

/// try_lock_for() whose time runs out while others sleep: it never owns the lock, and must not swallow a wake-up.
template <class L>
struct TimesOut : LockScene<L> {
  using LockScene<L>::LockScene;
  Actor holder;
  Actor third;
  void set() override { holder = holder_of(this->lock); }
  void placed() override {
    third = sleeper_on(this->lock);
    third.await_blocked();
  }
  void operate() override {
    if (this->lock.try_lock_for(30ms)) this->lock.unlock();
  }
  Sleep on_sleep(int /*nth*/) override { return Sleep::by_itself; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    holder.go(1);
    if (!findings.finishes(holder, "the holder") || !findings.finishes(third, "the third process")) return;
    findings.check(seen_by(third) == kGotIt, "OwnerDied, but the victim never held the lock");
    judge_lock<L>(findings, this->lock.handle(), this->heals_, kGotIt);
  }
};

/// The time runs out in the moment in which the lock is given back.
struct TimesOutAtHandover : TimesOut<Lock> {
  using TimesOut::TimesOut;
  Sleep on_sleep(int /*nth*/) override {
    holder.go(1);
    return Sleep::by_itself;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    holder.go(1);
    if (!findings.finishes(holder, "the holder") || !findings.finishes(third, "the third process")) return;
    judge_lock<Lock>(findings, lock.handle(), heals_);
  }
};

/// A lock whose owner is dead; `repaired` counts the repairs that were begun and finished.
template <class L>
struct Orphaned : LockScene<L> {
  Orphaned() : LockScene<L>(false) {}
  struct Repairs {
    std::atomic<int> begun, ended;
  };
  Repairs& repairs = share_repairs();

  static Repairs& share_repairs() {
    static Repairs& it = shared<Repairs>();
    it.begun = it.ended = 0;
    return it;
  }
  void set() override {
    Actor owner([this](Self&) { this->lock.lock(); });
    must(owner.await_done(), "the first owner did not get the lock");
  }
  void repair() {
    ++repairs.begun;
    ++repairs.ended;
  }
};

/// recover(), with nobody else or with a second repairer who comes meanwhile.
template <class L>
struct Recover : Orphaned<L> {
  void operate() override {
    this->lock.recover([this] { this->repair(); });
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const int ended = this->repairs.ended;
    findings.fresh("a fresh process", [this, ended](Self&) {
      L opened = L::open(this->lock.handle());
      const Saw saw = take_and_give_back(opened);
      must(saw == kOwnerDied || ended > 0, "the lock is free, but nobody has repaired");
      const bool repaired = opened.recover([this] { this->repair(); });
      must(repaired == (saw == kOwnerDied), "recover() and lock() disagree");
      must(take_and_give_back(opened) == kGotIt, "the lock does not work after recovery");
    });
  }
};

/// recover() while a second repairer waits for its turn: if the first dies, the second one repairs.
struct RecoverWithSecond : Recover<Lock> {
  brood::os::Word& stage = share_stage();
  Actor second;
  static brood::os::Word& share_stage() {
    static auto& it = shared<brood::os::Word>();
    it = 0;
    return it;
  }
  void set_stage() {
    stage = 1;
    brood::os::futex_wake_all(stage);
  }
  /// Sleeps in the middle of the repair until the second one is there.
  void operate() override {
    lock.recover([this] {
      while (stage == 0) brood::os::futex_wait(stage, 0, brood::Deadline::never());
      repair();
    });
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      add_second();
      second.await_blocked();  // the victim, in its repair, has the lock
    }
    set_stage();
    return Sleep::woken;
  }
  void add_second() {
    second = Actor([this](Self& self) {
      self.mark(1);
      lock.recover([this] { repair(); });
    });
  }
  void judge(Findings& findings, const Arrival& at) override {
    set_stage();
    if (second.pid() < 0) add_second();
    findings.finishes(second, "the second repairer");
    findings.check(repairs.ended > 0, "nobody has repaired");
    Recover::judge(findings, at);
  }
};

/// lock() by the first who finds the owner dead: it marks the lock, and nobody may ever just get it.
struct Report : Orphaned<Lock> {
  void operate() override { (void)take_and_give_back(lock); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    judge_lock<Lock>(findings, lock.handle(), false, kOwnerDied);
  }
};

/// locked() by the first who looks after the owner's death: it is no living process's lock, and whoever takes it next is told.
struct Look : Orphaned<Lock> {
  void operate() override {
    if (lock.locked()) ++repairs.begun;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(repairs.begun == 0, "locked() says that the dead hold the lock");
    judge_lock<Lock>(findings, lock.handle(), false, kOwnerDied);
  }
};

/// unlock() of a lock that another process holds, while a third sleeps on it.
struct ForeignUnlock : LockScene<Lock> {
  using LockScene::LockScene;
  Actor holder;
  Actor sleeper;
  void set() override {
    holder = Actor([this](Self& self) {
      lock.lock();
      self.mark(1);
      self.await_go(1);
      try {
        lock.unlock();
      } catch (const brood::ReleasedTooOften&) {
        self.set(0, 1);
      }
    });
    must(holder.await(1), "the holder did not get the lock");
    sleeper = sleeper_on(lock);
    sleeper.await_blocked();
  }
  void operate() override { lock.unlock(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const bool free = Findings::settles([this] { return sleeper.is_done(); });
    if (!free)
      findings.fresh("locked()", [this](Self& self) {
        self.set(0, lock.locked() ? 1 : 0);
        must(lock.locked(), "the lock was released, but its sleeper was not woken");
      });
    holder.go(1);
    if (!findings.finishes(holder, "the holder") || !findings.finishes(sleeper, "the sleeper")) return;
    judge_lock<Lock>(findings, lock.handle(), false, kGotIt);
  }
};

}  // namespace

void add_lock_operations(Operations& all) {
  add<Pair<Lock>>(all, "Lock: lock, unlock; nobody waits", false);
  add<Pair<Lock>>(all, "Lock (heal): lock, unlock; nobody waits", true);
  add<UnlockWithSleeper<Lock>>(all, "Lock: unlock; one sleeps", false);
  add<UnlockWithSleeper<Lock>>(all, "Lock (heal): unlock; one sleeps", true);
  add<Contended<Lock>>(all, "Lock: lock contended, handed over; a third sleeps behind", false, false);
  add_every<Contended<Lock>>(all, 3, "Lock: lock contended, handed over; a third sleeps before", false, true);
  add_every<Contended<Lock>>(all, 3, "Lock (heal): lock contended, handed over; a third sleeps behind", true, false);
  add_every<TimesOut<Lock>>(all, 3, "Lock: try_lock_for times out; another sleeps", false);
  add<TimesOutAtHandover>(all, "Lock: try_lock_for handed over; another sleeps", false);
  add<Report>(all, "Lock: lock, whose owner is dead");
  all.back().random_points = 50;  // nearly all of its 50,000 instructions throw the exception
  add<Look>(all, "Lock: locked, whose owner is dead");
  add<Recover<Lock>>(all, "Lock: recover");
  add<RecoverWithSecond>(all, "Lock: recover; a second repairer waits");
  add<ForeignUnlock>(all, "Lock: unlock by another process; one sleeps", false);
  add<Nested>(all, "RLock: lock twice, unlock twice", false);
  add<UnlockWithSleeper<RLock>>(all, "RLock: unlock; one sleeps", false);
  add_every<Contended<RLock>>(all, 3, "RLock: lock contended, handed over; a third sleeps behind", false, false);
  add_every<TimesOut<RLock>>(all, 3, "RLock: try_lock_for times out; another sleeps", false);
  add<Recover<RLock>>(all, "RLock: recover");
}

}  // namespace fault
