// Semaphore, BoundedSemaphore, Permit: no unit is lost but what a dead process had acquired for good, none is doubled,
// and nobody sleeps while there is one.
#include <algorithm>
#include <chrono>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "brood/error.hpp"
#include "brood/semaphore.hpp"
#include "fault/parts.hpp"
#include "fault/scene.hpp"
#include "fault/warm.hpp"
#include "registry/registry.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;
using brood::BoundedSemaphore;
using brood::Permit;
using brood::Semaphore;

/// Three ways to hold a unit. `kReturns`: it comes back when its holder dies.
class Plain {
 public:
  using Object = Semaphore;
  static constexpr bool kReturns = false;
  explicit Plain(Object& object) : object_(object) {}
  void take() { object_.acquire(); }
  bool take_for(std::chrono::milliseconds timeout) { return object_.try_acquire_for(timeout); }
  bool try_take() { return object_.try_acquire(); }
  void give() { object_.release(); }

 private:
  Object& object_;
};

class Bounded {
 public:
  using Object = BoundedSemaphore;
  static constexpr bool kReturns = true;
  explicit Bounded(Object& object) : object_(object) {}
  void take() { object_.acquire(); }
  bool take_for(std::chrono::milliseconds timeout) { return object_.try_acquire_for(timeout); }
  bool try_take() { return object_.try_acquire(); }
  void give() { object_.release(); }

 private:
  Object& object_;
};

class Guarded {
 public:
  using Object = Semaphore;
  static constexpr bool kReturns = true;
  explicit Guarded(Object& object) : object_(object) {}
  void take() { permits_.push_back(object_.permit()); }
  bool take_for(std::chrono::milliseconds timeout) { return keep(object_.try_permit_for(timeout)); }
  bool try_take() { return keep(object_.try_permit()); }
  void give() { permits_.pop_back(); }

 private:
  bool keep(std::optional<Permit> permit) {
    if (!permit) return false;
    permits_.push_back(std::move(*permit));
    return true;
  }
  Object& object_;
  std::vector<Permit> permits_;
};

/// There are exactly so many units. Those of the dead come back as soon as the death is known, and not before.
template <class S>
void must_hold_exactly(S& semaphore, std::int64_t units) {
  (void)Findings::settles([&] { return semaphore.get_value() >= units; }, 1500ms);
  const std::int64_t value = semaphore.get_value();
  must(value == units, std::to_string(value) + " units are free instead of " + std::to_string(units));
  for (std::int64_t i = 0; i < units; ++i) must(semaphore.try_acquire(), "a free unit cannot be taken");
  must(!semaphore.try_acquire(), "more units can be taken than there are");
  for (std::int64_t i = 0; i < units; ++i) semaphore.release();
  must(semaphore.get_value() == units, "units taken and given back do not add up");
}
void must_be_full(BoundedSemaphore& semaphore) {
  try {
    semaphore.release();
  } catch (const brood::ReleasedTooOften&) {
    return;
  }
  must(false, "a bounded semaphore took a unit above its bound");
}

template <class Way>
struct SemaphoreScene : Scene {
  using Object = typename Way::Object;
  explicit SemaphoreScene(std::int64_t units) : units_(units), semaphore(units) {}
  std::int64_t units_;
  Object semaphore;
  Way way{semaphore};
  Progress progress;

  void ready() override {
    settle_in();
    Object scratch(2);
    Way warm(scratch);
    warm.take();
    warm.take();
    (void)warm.try_take();
    (void)warm.take_for(1ms);
    warm.give();
    warm.give();
    std::ostringstream text;
    text << scratch << scratch.get_value();
    if constexpr (std::is_same_v<Way, Bounded>) must_be_full(scratch);
  }
  /// Takes a unit and keeps it.
  Actor keeper() {
    return Actor([this](Self& self) {
      self.mark(1);
      way.take();
    });
  }
  Actor sleeper() {
    Actor actor = keeper();
    actor.await_blocked();
    return actor;
  }
  /// Has `units` of its own until go 1; gives them back then.
  Actor holder(std::int64_t units) {
    Actor actor([this, units](Self& self) {
      for (std::int64_t i = 0; i < units; ++i) way.take();
      self.mark(1);
      self.await_go(1);
      for (std::int64_t i = 0; i < units; ++i) way.give();
    });
    must(actor.await(1), "the holder did not get its units: " + actor.error());
    return actor;
  }
  void judge_free(Findings& findings, std::int64_t units) {
    findings.fresh("a fresh process", [this, units](Self&) {
      Object opened = Object::open(semaphore.handle());
      must_hold_exactly(opened, units);
      if constexpr (std::is_same_v<Way, Bounded>) {
        if (units == units_) must_be_full(opened);
      }
    });
  }
  /// Nothing is free, although the judge looks after the dead as well.
  void judge_none_free(Findings& findings) {
    findings.fresh("a fresh process", [this](Self&) {
      Object opened = Object::open(semaphore.handle());
      must(opened.get_value() == 0 && !opened.try_acquire(), "there is a unit more than there should be");
    });
  }
  static long served(const std::vector<Actor>& sleepers) {
    return std::count_if(sleepers.begin(), sleepers.end(), [](const Actor& actor) { return actor.is_done(); });
  }
  /// `sleepers` want one unit each and keep it. There is one unit that the victim had or gave, and it returns: it serves
  /// one of them at once, then each other one when the one before it dies.
  void judge_one_unit_passes(Findings& findings, std::vector<Actor>& sleepers) {
    while (!sleepers.empty()) {
      if (!findings.comes([&] { return served(sleepers) > 0; }, "a sleeper gets the unit")) return;
      judge_none_free(findings);
      if (!findings.check(served(sleepers) == 1, "two have the one unit")) return;
      sleepers.erase(std::find_if(sleepers.begin(), sleepers.end(), [](const Actor& a) { return a.is_done(); }));
    }
    judge_free(findings, 1);
  }
  /// `sleepers` want one unit each. What is free must go to them; then as many units come as there are sleepers. As
  /// many as the victim gave, or did not take, must be left over.
  void judge_left_over(Findings& findings, const std::vector<Actor>& sleepers, std::int64_t least, std::int64_t most) {
    findings.fresh("a fresh process", [&, least, most](Self&) {
      Object opened = Object::open(semaphore.handle());
      const auto served_before_all = [&] {
        return opened.get_value() == 0 || served(sleepers) == static_cast<long>(sleepers.size());
      };
      must(Findings::settles(served_before_all, 1500ms), "units are free, but a sleeper does not wake up");
      for (std::size_t i = 0; i < sleepers.size(); ++i) opened.release();
      for (const Actor& actor : sleepers) must(actor.await_done(1500ms), "a sleeper is not served");
      const std::int64_t left = opened.get_value();
      must(left >= least && left <= most, std::to_string(left) + " units are left over");
      must_hold_exactly(opened, left);
    });
  }
};

/// Take and give back, with two units and nobody else there.
template <class Way>
struct TakeGive : SemaphoreScene<Way> {
  TakeGive() : SemaphoreScene<Way>(2) {}
  void operate() override {
    this->way.take();
    this->progress.step();
    this->way.give();
    this->progress.step();
  }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || this->progress.steps() == 2, "the victim ended early");
    if (Way::kReturns) {
      this->judge_free(findings, 2);
      return;
    }
    findings.fresh("a fresh process", [this](Self&) {
      Semaphore opened = Semaphore::open(this->semaphore.handle());
      const std::int64_t left = opened.get_value();
      must(this->progress.allows(left, {2, 1, 2}), std::to_string(left) + " units are free");
      must_hold_exactly(opened, left);
    });
  }
};

/// Give back the only unit while `count` sleep.
template <class Way>
struct GiveToSleepers : SemaphoreScene<Way> {
  explicit GiveToSleepers(int count) : SemaphoreScene<Way>(1), count_(count) {}
  int count_;
  std::vector<Actor> sleepers;
  void ready() override {
    SemaphoreScene<Way>::ready();
    this->way.take();
  }
  void placed() override {
    for (int i = 0; i < count_; ++i) sleepers.push_back(this->sleeper());
  }
  void operate() override { this->way.give(); }
  void judge(Findings& findings, const Arrival& at) override {
    if (Way::kReturns) this->judge_one_unit_passes(findings, sleepers);
    else this->judge_left_over(findings, sleepers, at.ended ? 1 : 0, 1);
  }
};

/// Take a unit that another process gives back, while a third sleeps behind; or two units, and the third sleeps before.
template <class Way>
struct TakeContended : SemaphoreScene<Way> {
  explicit TakeContended(bool third_is_first)
      : SemaphoreScene<Way>(third_is_first ? 2 : 1), third_is_first_(third_is_first) {}
  bool third_is_first_;
  Actor holder;
  std::vector<Actor> third;
  void set() override {
    holder = SemaphoreScene<Way>::holder(this->units_);
    if (third_is_first_) add_third();
  }
  void add_third() { third.push_back(this->sleeper()); }
  void operate() override {
    this->way.take();
    this->progress.step();
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0 && !third_is_first_) add_third();
    holder.go(1);
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& at) override {
    if (third.empty()) add_third();
    holder.go(1);
    if (!findings.finishes(holder, "the holder")) return;
    if (Way::kReturns) {
      // The victim is dead: all units are there for the third one.
      if (!findings.finishes(third.front(), "the third process")) return;
      findings.fresh("a fresh process", [this](Self&) {
        auto opened = Way::Object::open(this->semaphore.handle());
        must_hold_exactly(opened, this->units_ - 1);
      });
      third.clear();
      this->judge_free(findings, this->units_);
      return;
    }
    const bool taken = at.ended || this->progress.steps() == 1;
    this->judge_left_over(findings, third, this->units_ - 1, taken ? this->units_ - 1 : this->units_);
  }
};

/// A timed attempt that fails, or that is given a unit in the moment when its time runs out; another sleeps on.
template <class Way>
struct TimesOut : TakeContended<Way> {
  explicit TimesOut(bool given_then) : TakeContended<Way>(false), given_then_(given_then) {}
  bool given_then_;
  void placed() override { this->add_third(); }
  void operate() override {
    if (this->way.take_for(30ms)) this->progress.step();
  }
  Sleep on_sleep(int /*nth*/) override {
    if (given_then_) this->holder.go(1);
    return Sleep::by_itself;
  }
  void judge(Findings& findings, const Arrival& at) override {
    if (!given_then_) findings.check(this->progress.steps() == 0, "a unit was taken that nobody had given");
    this->holder.go(1);
    if (Way::kReturns) {
      TakeContended<Way>::judge(findings, at);
      return;
    }
    if (!findings.finishes(this->holder, "the holder")) return;
    if (!given_then_ && !findings.finishes(this->third.front(), "the third process")) return;
    // Killed before its call returned it may have taken the unit, but only if that was given by then.
    const bool taken = this->progress.steps() == 1;
    const bool may_be_taken = given_then_ && (taken || !at.ended);
    this->judge_left_over(findings, this->third, may_be_taken ? 0 : 1, taken ? 0 : 1);
  }
};

/// Attempts that fail at once change nothing.
template <class Way>
struct Poll : SemaphoreScene<Way> {
  Poll() : SemaphoreScene<Way>(1) {}
  Actor holder;
  void set() override { holder = SemaphoreScene<Way>::holder(1); }
  void operate() override {
    if (this->way.try_take() || this->way.take_for(0ms)) this->progress.step();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(this->progress.steps() == 0, "an attempt succeeded without a unit");
    this->judge_none_free(findings);
    holder.go(1);
    if (findings.finishes(holder, "the holder")) this->judge_free(findings, 1);
  }
};

/// A dead process held the unit or two, and nobody has noticed: whoever comes first brings them back. With a sleeper
/// that was stopped meanwhile: it is served all the same.
template <class Way>
struct BringBack : SemaphoreScene<Way> {
  BringBack(bool takes, bool with_sleeper)
      : SemaphoreScene<Way>(with_sleeper ? 1 : 2), takes_(takes), with_sleeper_(with_sleeper) {}
  bool takes_;
  bool with_sleeper_;
  Actor owner;
  std::vector<Actor> sleepers;
  void set() override {
    owner = SemaphoreScene<Way>::holder(this->units_);
    if (with_sleeper_) sleepers.push_back(this->sleeper());
  }
  void placed() override {
    for (const Actor& actor : sleepers) stop(actor);
    owner.kill();
  }
  void operate() override {
    if (takes_) this->progress.step();
    if (takes_) (void)this->way.try_take();
    else (void)this->semaphore.get_value();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    for (const Actor& actor : sleepers) resume(actor);
    if (with_sleeper_) this->judge_one_unit_passes(findings, sleepers);
    else this->judge_free(findings, 2);
  }
};

/// Move a permit, replace it by another one, give it back by hand.
struct PermitMoves : SemaphoreScene<Guarded> {
  PermitMoves() : SemaphoreScene(2) {}
  void operate() override {
    Permit first(semaphore);
    Permit second(std::move(first));
    first = semaphore.permit();
    second = std::move(first);
    second.release();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_free(findings, 2); }
};

/// release() at the ceiling of every semaphore.
struct ReleaseAtCeiling : SemaphoreScene<Plain> {
  ReleaseAtCeiling() : SemaphoreScene(Semaphore::kMaxValue) {}
  void operate() override {
    try {
      semaphore.release();
    } catch (const brood::ReleasedTooOften&) {
      progress.step();
    }
  }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || progress.steps() == 1, "release() above the ceiling has succeeded");
    findings.fresh("a fresh process", [this](Self&) {
      Semaphore opened = Semaphore::open(semaphore.handle());
      must(opened.get_value() == Semaphore::kMaxValue && opened.try_acquire(), "the count is not at the ceiling");
      opened.release();
      must(opened.get_value() == Semaphore::kMaxValue, "the ceiling cannot be reached any more");
    });
  }
};

/// release() of a bounded semaphore whose units are all in.
struct ReleaseTooOften : SemaphoreScene<Bounded> {
  ReleaseTooOften() : SemaphoreScene(1) {}
  void operate() override {
    try {
      semaphore.release();
    } catch (const brood::ReleasedTooOften&) {
      progress.step();
    }
  }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || progress.steps() == 1, "release() above the bound has succeeded");
    judge_free(findings, 1);
  }
};

/// release() of a unit that another process holds, while a third sleeps: free and held always add up.
struct ReleaseOfAnother : SemaphoreScene<Bounded> {
  explicit ReleaseOfAnother(bool with_sleeper) : SemaphoreScene(1), with_sleeper_(with_sleeper) {}
  bool with_sleeper_;
  Actor owner;
  std::vector<Actor> sleepers;
  void set() override {
    owner = keeper();
    must(owner.await_done(), "the owner did not get the unit");
    if (with_sleeper_) sleepers.push_back(sleeper());
  }
  void operate() override { semaphore.release(); }
  void judge(Findings& findings, const Arrival& at) override {
    if (with_sleeper_) {
      if (at.ended && !findings.finishes(sleepers.front(), "the sleeper")) return;
      // Released, and so the sleeper's; or not, and so still the owner's. Its death must not bring back another one.
      judge_none_free_yet(findings);
      owner.kill();
      judge_one_unit_passes(findings, sleepers);
      return;
    }
    findings.fresh("a fresh process", [this, &at](Self&) {
      BoundedSemaphore opened = BoundedSemaphore::open(semaphore.handle());
      const std::int64_t value = opened.get_value();
      must(value == 1 || (value == 0 && !at.ended), "release() was not done, or more than once");
    });
    owner.kill();
    judge_free(findings, 1);
  }
  /// A released unit is on its way to the sleeper for a moment.
  void judge_none_free_yet(Findings& findings) {
    findings.fresh("a fresh process", [this](Self&) {
      BoundedSemaphore opened = BoundedSemaphore::open(semaphore.handle());
      must(Findings::settles([&] { return opened.get_value() == 0; }, 1500ms), "a unit is free and nobody takes it");
    });
  }
};

/// release() by one who holds a unit while another holds one: its own is taken, and the other's stays the other's.
struct ReleaseOfOwn : SemaphoreScene<Bounded> {
  ReleaseOfOwn() : SemaphoreScene(3) {}
  Actor other;
  void set() override { other = holder(1); }
  void ready() override {
    SemaphoreScene::ready();
    semaphore.acquire();
  }
  void operate() override { semaphore.release(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.fresh("a fresh process", [this](Self&) {
      BoundedSemaphore opened = BoundedSemaphore::open(semaphore.handle());
      must_hold_exactly(opened, 2);
    });
    other.go(1);
    if (findings.finishes(other, "the other holder")) judge_free(findings, 3);
  }
};

template <class Way>
struct Look : SemaphoreScene<Way> {
  Look() : SemaphoreScene<Way>(2) {}
  void operate() override {
    (void)this->semaphore.get_value();
    std::ostringstream text;
    text << this->semaphore;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { this->judge_free(findings, 2); }
};

template <class Way>
void add_way(Operations& all, const std::string& name, long stride = 1) {
  add<TakeGive<Way>>(all, name + ": acquire, release; nobody waits");
  add<GiveToSleepers<Way>>(all, name + ": release; one sleeps", 1);
  add<GiveToSleepers<Way>>(all, name + ": release; two sleep", 2);
  add_every<TakeContended<Way>>(all, stride, name + ": acquire, given by another; a third sleeps behind", false);
  add_every<TakeContended<Way>>(all, 3 * stride, name + ": acquire, given by another; a third sleeps before", true);
  add_every<TimesOut<Way>>(all, 3 * stride, name + ": try_acquire_for times out; another sleeps", false);
  add_every<TimesOut<Way>>(all, stride, name + ": try_acquire_for times out when a unit comes; another sleeps", true);
  add_every<Poll<Way>>(all, stride, name + ": try_acquire, try_acquire_for(0); none free");
}

template <class Way>
void add_returning_way(Operations& all, const std::string& name, long stride = 1) {
  add_every<BringBack<Way>>(all, stride, name + ": try_acquire of what a dead process held", true, false);
  add<BringBack<Way>>(all, name + ": get_value of what a dead process held", false, false);
  add<BringBack<Way>>(all, name + ": get_value of what a dead process held; one sleeps", false, true);
}

}  // namespace

void add_semaphore_operations(Operations& all) {
  add_way<Plain>(all, "Semaphore");
  add_long<Look<Plain>>(all, "Semaphore: get_value, <<");
  add_long<ReleaseAtCeiling>(all, "Semaphore: release at the ceiling");
  add_way<Bounded>(all, "BoundedSemaphore", 3);
  add_returning_way<Bounded>(all, "BoundedSemaphore");
  add_long<Look<Bounded>>(all, "BoundedSemaphore: get_value, <<");
  add_long<ReleaseTooOften>(all, "BoundedSemaphore: release, all units in");
  add<ReleaseOfOwn>(all, "BoundedSemaphore: release, another holds one too");
  add<ReleaseOfAnother>(all, "BoundedSemaphore: release of another's unit; nobody waits", false);
  add<ReleaseOfAnother>(all, "BoundedSemaphore: release of another's unit; one sleeps", true);
  add_way<Guarded>(all, "Permit", 5);  // the same code as BoundedSemaphore's
  add_returning_way<Guarded>(all, "Permit", 5);
  add_every<PermitMoves>(all, 3, "Permit: constructed, moved, replaced, released by hand");
}

}  // namespace fault
