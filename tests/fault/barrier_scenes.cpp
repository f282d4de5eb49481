// Barrier: a pass ends for all of its parties alike, and a party that dies breaks it at once.
#include <algorithm>
#include <chrono>
#include <sstream>
#include <string>
#include <vector>

#include "brood/barrier.hpp"
#include "brood/error.hpp"
#include "fault/domain_view.hpp"
#include "fault/parts.hpp"
#include "fault/scene.hpp"
#include "fault/warm.hpp"
#include "os/futex.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;
using brood::Barrier;
using brood::BarrierOptions;

/// What the action has to do is found again by every process through these.
std::atomic<int>& g_runs = shared_zero(2);
brood::os::Word& g_may_end = shared<brood::os::Word>();
std::atomic<int>& g_began = shared_zero(4);
void count_runs() { ++g_runs; }
void count_and_linger() {
  ++g_began;
  while (g_may_end == 0) brood::os::futex_wait(g_may_end, 0, brood::Deadline::never());
  ++g_runs;
}
void fail() {
  ++g_runs;
  throw std::runtime_error("the action fails");
}

/// What wait() gave a party: its index, or this.
constexpr std::int64_t kBroken = -1;

/// `parties` in all; the victim is one of them, if it is one.
struct BarrierScene : Scene {
  explicit BarrierScene(int parties, void (*action)() = nullptr) : barrier(parties, {.action = action}) {
    g_runs = g_began = 0;
    g_may_end = 1;
  }
  Barrier barrier;
  Progress progress;
  std::vector<Actor> others;

  void ready() override {
    settle_in();
    Barrier scratch(1, {.action = count_runs});
    (void)scratch.wait();
    scratch.abort();
    scratch.reset();
    (void)scratch.n_waiting();
    g_runs = 0;
  }
  static std::int64_t pass(Barrier& barrier) {
    try {
      return static_cast<std::int64_t>(barrier.wait());
    } catch (const brood::BrokenBarrier&) {
      return kBroken;
    }
  }
  /// A party. It waits in three passes, the second after go 1 and the third after go 2; its values say what it got.
  Actor party() {
    return Actor([this](Self& self) {
      self.mark(1);
      for (int round = 0; round < 3; ++round) {
        self.await_go(round);
        self.set(round, pass(barrier));
        self.mark(2 + round);
      }
    });
  }
  void add_sleeping(int count) {
    for (int i = 0; i < count; ++i) {
      others.push_back(party());
      others.back().await_blocked();
    }
  }
  /// All other parties have come out of their pass number `round`.
  [[nodiscard]] bool have_come_out(int round) const {
    return std::all_of(others.begin(), others.end(), [=](const Actor& a) { return a.has_reached(2 + round); });
  }
  [[nodiscard]] long came_out() const {
    return std::count_if(others.begin(), others.end(), [](const Actor& a) { return a.has_reached(2); });
  }
  [[nodiscard]] bool are_broken(int round) const {
    return std::all_of(others.begin(), others.end(), [=](const Actor& a) { return a.value(round) == kBroken; });
  }
  /// Each index is given once and below the number of parties.
  static bool are_distinct(std::vector<std::int64_t> indexes, std::size_t parties) {
    std::sort(indexes.begin(), indexes.end());
    return std::adjacent_find(indexes.begin(), indexes.end()) == indexes.end() && indexes.front() >= 0 &&
           indexes.back() < static_cast<std::int64_t>(parties);
  }
  [[nodiscard]] std::vector<std::int64_t> indexes(int round) const {
    std::vector<std::int64_t> all;
    for (const Actor& other : others) all.push_back(other.value(round));
    return all;
  }
  /// In a fresh process: it takes the place of the dead one, and all pass.
  void must_pass(Barrier& opened, int round) {
    const int runs = g_runs;
    for (Actor& other : others) other.go(round);
    auto all = indexes(round);
    all.push_back(static_cast<std::int64_t>(opened.wait()));
    must(Findings::settles([&] { return have_come_out(round); }, 1500ms), "a party does not come out of a pass");
    std::copy_n(indexes(round).begin(), others.size(), all.begin());
    must(all.size() == opened.parties() && are_distinct(all, all.size()), "the parties' indexes are wrong");
    must(g_runs == runs || g_runs == runs + 1, "the action has run more than once");
  }
  /// All others came out of the first pass alike, at once. True if they passed.
  bool judge_first(Findings& findings, bool must_pass_now, bool must_break) {
    if (!findings.comes([this] { return have_come_out(0); }, "all come out of the pass")) return false;
    const bool broken = are_broken(0);
    findings.check(broken || are_distinct(indexes(0), barrier.parties()), "some passed, some got BrokenBarrier");
    findings.check(!(broken && must_pass_now), "BrokenBarrier, although the pass had ended");
    findings.check(!(!broken && must_break), "they passed, although a party was missing");
    return !broken;
  }
  /// A party is dead: the others get BrokenBarrier in the next pass, too, until the barrier is reset; then it works.
  void judge_broken_until_reset(Findings& findings) {
    for (Actor& other : others) other.go(1);
    if (!findings.comes([this] { return have_come_out(1); }, "the next pass breaks")) return;
    findings.check(are_broken(1), "a pass without the dead party");
    findings.fresh("a fresh process", [this](Self&) {
      Barrier opened = Barrier::open(barrier.handle());
      must(opened.broken() && opened.n_waiting() == 0, "a broken barrier does not say so");
      opened.reset();
      must(!opened.broken() && opened.n_waiting() == 0, "reset() has not emptied the barrier");
      must_pass(opened, 2);
    });
  }
};

/// wait() by the party that arrives last; `others` wait already.
struct Last : BarrierScene {
  Last(int others_count, void (*action)()) : BarrierScene(others_count + 1, action), count_(others_count) {}
  int count_;
  void set() override { add_sleeping(count_); }
  void ready() override {
    BarrierScene::ready();
    barrier.enrol();
  }
  void operate() override {
    if (pass(barrier) != kBroken) progress.step();
  }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || progress.steps() == 1, "the last party did not pass");
    const int runs = g_runs;
    const bool passed = judge_first(findings, progress.steps() == 1, false);
    findings.check(runs <= 1, "the action has run twice");
    if (passed && has_action_) findings.check(runs == 1, "they passed without the action");
    if (!findings.is_wrong()) judge_broken_until_reset(findings);
  }
  bool has_action_ = false;
};
struct LastWithAction : Last {
  explicit LastWithAction(int others_count) : Last(others_count, count_runs) { has_action_ = true; }
};

/// The action throws: the last party gets that, the others BrokenBarrier.
struct ActionFails : BarrierScene {
  ActionFails() : BarrierScene(2, fail) {}
  void set() override { add_sleeping(1); }
  void ready() override {
    BarrierScene::ready();
    barrier.enrol();
    Barrier scratch(1, {.action = fail});
    try {
      (void)scratch.wait();
    } catch (const std::runtime_error&) {
      g_runs = 0;
    }
  }
  void operate() override {
    try {
      (void)barrier.wait();
    } catch (const std::runtime_error& error) {
      if (std::string(error.what()) == "the action fails") progress.step();
    }
  }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || progress.steps() == 1, "the last party did not get what the action threw");
    (void)judge_first(findings, false, true);
    findings.check(g_runs <= 1, "the action has run twice");
    for (Actor& other : others) other.go(1);
    if (!findings.comes([this] { return have_come_out(1); }, "the next pass breaks")) return;
    findings.check(are_broken(1), "a pass after the action has failed");
  }
};

/// wait() by the first party or one in the middle: `before` wait already; the last one comes when the victim sleeps.
struct Middle : BarrierScene {
  explicit Middle(int before) : BarrierScene(before + 2), before_(before) {}
  int before_;
  bool slept_ = false;
  void set() override { add_sleeping(before_); }
  void ready() override {
    BarrierScene::ready();
    barrier.enrol();
  }
  void operate() override {
    if (pass(barrier) != kBroken) progress.step();
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      slept_ = true;
      others.push_back(party());
      must(others.back().await(2), "the last party did not come out");
    }
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || progress.steps() == 1, "the victim did not pass");
    if (!slept_) {
      // A party that had arrived may be passed with until its death is known; afterwards it must not.
      const Actor witness([](Self&) {});
      findings.check(witness.await_done() && DomainView().await_quiet(), "the victim's death is not noticed");
      others.push_back(party());
    }
    // The last party came while all were alive; or the victim was known to be dead before it came.
    (void)judge_first(findings, slept_, !slept_);
    if (!findings.is_wrong()) judge_broken_until_reset(findings);
  }
};

/// The first wait() of a process that was no party before: until it is one, its death breaks nothing.
struct Newcomer : BarrierScene {
  explicit Newcomer(bool only_enrols) : BarrierScene(2), only_enrols_(only_enrols) {}
  bool only_enrols_;
  void set() override { add_sleeping(1); }
  void operate() override {
    if (only_enrols_) barrier.enrol();
    else if (pass(barrier) == kBroken) return;
    progress.step();
  }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || progress.steps() == 1, "the victim did not pass");
    const bool counted = Findings::settles([this] { return have_come_out(0); }) || progress.steps() == 1;
    if (counted) {
      (void)judge_first(findings, !only_enrols_ && progress.steps() == 1, only_enrols_);
      if (!findings.is_wrong()) judge_broken_until_reset(findings);
      return;
    }
    findings.fresh("the party in its place", [this](Self&) {
      Barrier opened = Barrier::open(barrier.handle());
      must(!opened.broken() && opened.n_waiting() == 1, "it is broken, or counts the dead one");
      must_pass(opened, 0);
      must_pass(opened, 1);
    });
  }
};

/// leave(): once it is done the death of the process breaks nothing.
struct Leave : BarrierScene {
  Leave() : BarrierScene(2) {}
  void set() override { add_sleeping(1); }
  void ready() override {
    BarrierScene::ready();
    {
      Barrier scratch(2);
      scratch.enrol();
      scratch.leave();
    }
    barrier.enrol();
  }
  void operate() override {
    barrier.leave();
    progress.step();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (Findings::settles([this] { return have_come_out(0); })) {
      findings.check(progress.steps() == 0, "it broke, although the process had left");
      (void)judge_first(findings, false, true);
      if (!findings.is_wrong()) judge_broken_until_reset(findings);
      return;
    }
    findings.fresh("the party in its place", [this](Self&) {
      Barrier opened = Barrier::open(barrier.handle());
      must(!opened.broken() && opened.n_waiting() == 1, "it is broken, or counts the dead one");
      must_pass(opened, 0);
      must_pass(opened, 1);
    });
  }
};

/// wait_for() whose time runs out: it breaks for the other one, too.
struct WaitTimesOut : BarrierScene {
  WaitTimesOut() : BarrierScene(3) {}
  void set() override { add_sleeping(1); }
  void ready() override {
    BarrierScene::ready();
    Barrier scratch(2);
    wait_for(scratch, 1ms);
    barrier.enrol();
  }
  bool wait_for(Barrier& which, std::chrono::milliseconds timeout) {
    try {
      (void)which.wait_for(timeout);
    } catch (const brood::BrokenBarrier&) {
      return false;
    }
    return true;
  }
  void operate() override {
    if (!wait_for(barrier, 30ms)) progress.step();
  }
  Sleep on_sleep(int /*nth*/) override { return Sleep::by_itself; }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || progress.steps() == 1, "wait_for() has passed alone");
    (void)judge_first(findings, false, true);
    if (findings.is_wrong()) return;
    others.push_back(party());
    if (!findings.comes([this] { return have_come_out(0); }, "a later party is told")) return;
    findings.check(are_broken(0), "a later party passed");
    judge_broken_until_reset(findings);
  }
};

/// abort() or reset() by a process that is no party, while two of three wait.
struct EndBy : BarrierScene {
  explicit EndBy(bool aborts) : BarrierScene(3), aborts_(aborts) {}
  bool aborts_;
  void set() override { add_sleeping(2); }
  void operate() override {
    if (aborts_) barrier.abort();
    else barrier.reset();
    progress.step();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    // Who is told must be told without anybody else who looks at the barrier.
    const bool told = Findings::settles([this] { return came_out() > 0; }) || progress.steps() == 1;
    if (told) (void)judge_first(findings, false, true);
    findings.fresh("a third party", [this, told](Self&) {
      Barrier opened = Barrier::open(barrier.handle());
      must(opened.broken() == (told && aborts_), "broken() is wrong");
      must(opened.n_waiting() == (told ? 0U : 2U), "n_waiting() is wrong");
      if (told && aborts_) {
        must(pass(opened) == kBroken, "a pass through a broken barrier");
        opened.reset();
      }
      if (!told) must_pass(opened, 0);
      must_pass(opened, 1);
    });
  }
};

/// reset() of a barrier that a dead party has broken, or abort() of one where nobody waits.
struct ResetBroken : BarrierScene {
  ResetBroken() : BarrierScene(2) {}
  void set() override {
    add_sleeping(1);
    Actor dead([this](Self&) { barrier.enrol(); });
    must(dead.await_done(), "a party did not enrol");
    dead.kill();
    must(others.front().await(2) && are_broken(0), "the barrier is not broken");
  }
  void operate() override {
    barrier.reset();
    progress.step();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.fresh("a fresh process", [this](Self&) {
      Barrier opened = Barrier::open(barrier.handle());
      const bool broken = opened.broken();
      must(!broken || progress.steps() == 0, "reset() was not done");
      if (broken) {
        must(pass(opened) == kBroken, "a pass through a broken barrier");
        opened.reset();
      }
      must_pass(opened, 1);
      must_pass(opened, 2);
    });
  }
};

/// abort() and reset() of a barrier where nobody waits.
struct AbortReset : BarrierScene {
  AbortReset() : BarrierScene(1) {}
  void operate() override {
    barrier.abort();
    progress.step();
    barrier.reset();
    progress.step();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.fresh("a fresh process", [this](Self&) {
      Barrier opened = Barrier::open(barrier.handle());
      const bool broken = opened.broken();
      must(progress.allows(broken ? 1 : 0, {0, 1, 0}), broken ? "it is broken" : "it is not broken");
      must((pass(opened) == kBroken) == broken, "wait() and broken() disagree");
      opened.reset();
      must(opened.wait() == 0 && opened.wait() == 0, "it does not work after reset()");
    });
  }
};

/// The last party dies in the action, while one waits for the pass to end and another one for the next pass to begin.
struct ActionWithNewcomer : BarrierScene {
  ActionWithNewcomer() : BarrierScene(2, count_and_linger) { g_may_end = 0; }
  Actor newcomer;
  bool slept_ = false;
  static void let_end() {
    g_may_end = 1;
    brood::os::futex_wake_all(g_may_end);
  }
  void set() override { add_sleeping(1); }
  void ready() override {
    BarrierScene::ready();
    barrier.enrol();
  }
  void operate() override {
    if (pass(barrier) != kBroken) progress.step();
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      slept_ = true;
      newcomer = party();
      newcomer.await_blocked();
    }
    let_end();
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || progress.steps() == 1, "the last party did not pass");
    let_end();
    const bool passed = judge_first(findings, progress.steps() == 1, g_runs == 0);
    findings.check(g_began <= 1, "the action has run twice");
    findings.check(!passed || g_runs == 1, "they passed without the action");
    if (!slept_) newcomer = party();
    findings.comes([this] { return newcomer.has_reached(2); }, "the newcomer comes out");
    findings.check(newcomer.value(0) == kBroken, "the newcomer passed without a second party");
    if (!findings.is_wrong()) judge_broken_until_reset(findings);
  }
};

/// Those that only look: one of two waits.
struct Look : BarrierScene {
  Look() : BarrierScene(2) {}
  void set() override { add_sleeping(1); }
  void ready() override {
    BarrierScene::ready();
    look();
  }
  void look() {
    if (barrier.n_waiting() == 1 && !barrier.broken() && barrier.parties() == 2) progress.step();
    std::ostringstream text;
    text << barrier;
  }
  void operate() override { look(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(progress.steps() >= 1, "n_waiting(), broken() or parties() is wrong");
    findings.fresh("the second party", [this](Self&) {
      Barrier opened = Barrier::open(barrier.handle());
      must(!opened.broken() && opened.n_waiting() == 1, "looking at it has changed it");
      must_pass(opened, 0);
    });
  }
};

}  // namespace

void add_barrier_operations(Operations& all) {
  add<Last>(all, "Barrier: wait by the last of two", 1, nullptr);
  add_every<Last>(all, 3, "Barrier: wait by the last of three", 2, nullptr);
  add_every<LastWithAction>(all, 3, "Barrier: wait by the last of two, with an action", 1);
  add_long<ActionFails>(all, "Barrier: wait by the last of two, whose action throws");
  add_every<ActionWithNewcomer>(all, 3,
                                "Barrier: wait by the last of two, with an action; a third waits for the next pass");
  add<Middle>(all, "Barrier: wait by the first of two", 0);
  add_every<Middle>(all, 3, "Barrier: wait by the middle of three", 1);
  add_every<Newcomer>(all, 3, "Barrier: first wait of a new process, the last of two", false);
  add<Newcomer>(all, "Barrier: enrol; one waits", true);
  add<Leave>(all, "Barrier: leave; one waits");
  add_long<WaitTimesOut>(all, "Barrier: wait_for times out; one of three waits");
  add<EndBy>(all, "Barrier: abort; two of three wait", true);
  add<EndBy>(all, "Barrier: reset; two of three wait", false);
  add<ResetBroken>(all, "Barrier: reset, broken by a dead party");
  add<AbortReset>(all, "Barrier: abort, reset; nobody waits");
  add_long<Look>(all, "Barrier: n_waiting, broken, parties, <<; one waits");
}

}  // namespace fault
