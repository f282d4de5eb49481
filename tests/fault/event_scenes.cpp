// Event: a set() that was killed has set it or not; if it has, everybody who waited comes through.
#include <chrono>
#include <sstream>
#include <vector>

#include "brood/event.hpp"
#include "fault/parts.hpp"
#include "fault/scene.hpp"
#include "fault/warm.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;
using brood::Event;

struct EventScene : Scene {
  Event event;
  Progress progress;
  /// 1 once the judge is about to set the event itself.
  std::atomic<int>& judging = shared_zero(1);

  void ready() override {
    settle_in();
    Event scratch;
    (void)scratch.wait_for(1ms);
    scratch.set();
    scratch.wait();
    scratch.clear();
    std::ostringstream text;
    text << scratch << scratch.is_set();
  }
  /// Waits, then says in its value 0 whether the judge had to set the event.
  Actor sleeper() {
    Actor actor([this](Self& self) {
      self.mark(1);
      event.wait();
      self.set(0, judging);
    });
    actor.await_blocked();
    return actor;
  }
  /// A fresh process finds the event in a state that is allowed, and it works.
  void judge_state(Findings& findings, std::initializer_list<long> states) {
    findings.fresh("a fresh process", [this, states](Self&) {
      Event opened = Event::open(event.handle());
      must(progress.allows(opened.is_set() ? 1 : 0, states), opened.is_set() ? "it is set" : "it is not set");
      judge_works(opened);
    });
  }
  static void judge_works(Event& opened) {
    opened.clear();
    must(!opened.is_set() && !opened.wait_for(0s) && !opened.wait_for(1ms), "it cannot be cleared");
    opened.set();
    must(opened.is_set() && opened.wait_for(0s), "it cannot be set");
    opened.wait();
  }
};

/// set(), and set() followed by clear(), while `count` processes wait.
struct SetWithSleepers : EventScene {
  SetWithSleepers(int count, bool clears) : count_(count), clears_(clears) {}
  int count_;
  bool clears_;
  std::vector<Actor> sleepers;
  void set() override {
    for (int i = 0; i < count_; ++i) sleepers.push_back(sleeper());
  }
  void operate() override {
    event.set();
    progress.step();
    if (clears_) event.clear();
  }
  void judge(Findings& findings, const Arrival& at) override {
    // Until set() has returned nobody clears: whether it is set now says whether the call was done.
    const bool done = progress.steps() > 0 || event.is_set();
    findings.check(!at.ended || event.is_set() != clears_, "the last call was not done");
    if (!done) {
      findings.fresh("a second setter", [this](Self&) {
        judging = 1;
        event.set();
      });
    }
    for (const Actor& actor : sleepers) {
      if (!findings.finishes(actor, "a sleeper")) return;
      findings.check((actor.value(0) == 1) == !done, "a sleeper came through before the event was set");
    }
    findings.fresh("a fresh process", [this](Self&) {
      Event opened = Event::open(event.handle());
      judge_works(opened);
    });
  }
};

/// set() of an event that is set, clear() of one that is set, clear() of one that is not.
struct SetSetClearClear : EventScene {
  void operate() override {
    event.set();
    progress.step();
    event.set();
    progress.step();
    event.clear();
    progress.step();
    event.clear();
    progress.step();
  }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || progress.steps() == 4, "the victim ended early");
    judge_state(findings, {0, 1, 1, 0, 0});
  }
};

/// clear() of an unset event does not wake or disturb who waits for it.
struct ClearWithSleeper : EventScene {
  Actor waiting;
  void set() override { waiting = sleeper(); }
  void operate() override { event.clear(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.fresh("a setter", [this](Self&) {
      must(!event.is_set(), "clear() has set it");
      judging = 1;
      event.set();
    });
    if (!findings.finishes(waiting, "the sleeper")) return;
    findings.check(waiting.value(0) == 1, "the sleeper came through before the event was set");
  }
};

/// wait() by the victim; another waits before it or behind it, and the event is set, and perhaps cleared at once.
struct WaitSet : EventScene {
  WaitSet(bool other_is_first, bool clears) : other_is_first_(other_is_first), clears_(clears) {}
  bool other_is_first_;
  bool clears_;
  Actor setter;
  Actor other;
  void set() override {
    setter = Actor([this](Self& self) {
      self.mark(1);
      self.await_go(1);
      judging = 1;
      event.set();
      if (clears_) event.clear();
    });
    if (other_is_first_) other = sleeper();
  }
  void operate() override { event.wait(); }
  Sleep on_sleep(int nth) override {
    if (nth == 0 && !other_is_first_) other = sleeper();
    setter.go(1);
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || judging == 1, "wait() returned before the event was set");
    if (other.pid() < 0) other = sleeper();
    setter.go(1);
    if (!findings.finishes(setter, "the setter") || !findings.finishes(other, "the other")) return;
    findings.check(other.value(0) == 1, "the other came through before the event was set");
    findings.fresh("a fresh process", [this](Self&) {
      Event opened = Event::open(event.handle());
      must(opened.is_set() != clears_, "the waiter's death has changed the event");
      judge_works(opened);
    });
  }
};

/// wait_for() that times out, or is set just when it does, while another waits.
struct WaitTimesOut : WaitSet {
  explicit WaitTimesOut(bool is_set_then) : WaitSet(true, false), is_set_then_(is_set_then) {}
  bool is_set_then_;
  void operate() override { (void)event.wait_for(30ms); }
  Sleep on_sleep(int /*nth*/) override {
    if (is_set_then_) setter.go(1);
    return Sleep::by_itself;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { WaitSet::judge(findings, Arrival{}); }
};

/// All that only look.
struct Look : EventScene {
  explicit Look(bool is_set) : is_set_(is_set) {}
  bool is_set_;
  void ready() override {
    EventScene::ready();
    if (is_set_) event.set();
  }
  void operate() override {
    (void)event.is_set();
    (void)event.wait_for(0s);
    (void)event.wait_until(std::chrono::steady_clock::now() - 1s);
    if (is_set_) event.wait();
    std::ostringstream text;
    text << event;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_state(findings, {is_set_ ? 1 : 0}); }
};

}  // namespace

void add_event_operations(Operations& all) {
  add<SetWithSleepers>(all, "Event: set; nobody waits", 0, false);
  add<SetWithSleepers>(all, "Event: set; one waits", 1, false);
  add<SetWithSleepers>(all, "Event: set; two wait", 2, false);
  add<SetWithSleepers>(all, "Event: set, clear; two wait", 2, true);
  add<SetSetClearClear>(all, "Event: set twice, clear twice; nobody waits");
  add<ClearWithSleeper>(all, "Event: clear of an unset one; one waits");
  add_every<WaitSet>(all, 3, "Event: wait, then set; another waits before", true, false);
  add<WaitSet>(all, "Event: wait, then set; another waits behind", false, false);
  add_every<WaitSet>(all, 3, "Event: wait, then set and cleared at once; another waits before", true, true);
  add_every<WaitTimesOut>(all, 3, "Event: wait_for times out; another waits", false);
  add<WaitTimesOut>(all, "Event: wait_for times out when it is set; another waits", true);
  add_long<Look>(all, "Event: is_set, wait_for(0), wait_until, <<; unset", false);
  add_long<Look>(all, "Event: is_set, wait_for(0), wait_until, wait, <<; set", true);
}

}  // namespace fault
