// Waiting for many: the victim takes nothing, so its death may cost nobody anything; above all not the wake-up that it had
// been given.
#include <chrono>
#include <optional>

#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "brood/semaphore.hpp"
#include "brood/wait.hpp"
#include "fault/parts.hpp"
#include "fault/scene.hpp"
#include "fault/warm.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;

/// The victim waits for something that is not there. While it sleeps another one comes, who takes; then it is given. The
/// kernel wakes the one that came first.
struct WaitScene : Scene {
  brood::Event never;
  std::atomic<int>& answer = shared_zero(0);  ///< 1 + how many were ready
  std::optional<Actor> taker;
  std::optional<Actor> giver;

  void ready() override {
    settle_in();
    brood::Event scratch;
    brood::Queue<int> queue;
    brood::Lock lock;
    brood::Semaphore unit(0);
    lock.lock();
    (void)brood::wait_any_for(1ms, scratch, queue, unit, lock);
    lock.unlock();
    queue.put(1);
    scratch.set();
    (void)brood::wait_any(scratch, queue, unit, lock);
  }
  virtual Actor take() = 0;
  virtual Actor give() = 0;
  virtual brood::Ready wait() = 0;
  void bring_taker() {
    if (taker) return;
    taker = take();
    taker->await_blocked();
  }
  void operate() override { answer = 1 + static_cast<int>(wait().size()); }
  Sleep on_sleep(int /*nth*/) override {
    bring_taker();
    if (!giver) giver = give();
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& at) override {
    bring_taker();
    if (!giver) giver = give();
    if (!findings.finishes(*giver, "who gives") || !findings.finishes(*taker, "who takes")) return;
    findings.check(!at.ended || answer == 2, "the victim was told of " + std::to_string(answer - 1) + " objects");
  }
};

struct WaitForQueue : WaitScene {
  brood::Queue<int> queue;
  Actor take() override {
    return Actor([this](Self& self) {
      self.mark(1);
      must(queue.get() == 7, "the item is another one");
    });
  }
  Actor give() override {
    return Actor([this](Self&) { queue.put(7); });
  }
  brood::Ready wait() override { return brood::wait_any(never, queue); }
};

struct WaitForUnit : WaitScene {
  brood::Semaphore units{0};
  Actor take() override {
    return Actor([this](Self& self) {
      self.mark(1);
      units.acquire();
    });
  }
  Actor give() override {
    return Actor([this](Self&) { units.release(); });
  }
  brood::Ready wait() override { return brood::wait_any(never, units); }
};

struct WaitForLock : WaitScene {
  brood::Lock lock;
  Actor holder;
  void set() override {
    holder = Actor([this](Self& self) {
      lock.lock();
      self.mark(1);
      self.await_go(1);
      lock.unlock();
    });
    must(holder.await(1), "the holder did not get ready: " + holder.error());
  }
  Actor take() override {
    return Actor([this](Self& self) {
      self.mark(1);
      lock.lock();
      lock.unlock();
    });
  }
  Actor give() override {
    holder.go(1);
    return Actor([](Self&) {});
  }
  brood::Ready wait() override { return brood::wait_any(never, lock); }
};

/// The time of the wait runs out before anything comes.
struct WaitTimesOut : WaitForQueue {
  brood::Ready wait() override { return brood::wait_any_for(20ms, never, queue); }
  Sleep on_sleep(int /*nth*/) override {
    bring_taker();
    return Sleep::by_itself;
  }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || answer == 1, "the victim was told of something");
    bring_taker();
    giver = give();
    if (findings.finishes(*giver, "who gives")) findings.finishes(*taker, "who takes");
  }
};

/// Everything is ready; nothing is taken.
struct WaitForWhatIsReady : Scene {
  brood::Queue<int> queue;
  brood::Lock lock;
  brood::Semaphore units{1};
  brood::Event event;
  std::atomic<int>& answer = shared_zero(0);
  void set() override {
    queue.put(7);
    event.set();
  }
  void ready() override {
    settle_in();
    operate();
    answer = 0;
  }
  void operate() override { answer = 1 + static_cast<int>(brood::wait_any(queue, lock, units, event).size()); }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || answer == 5, "the victim was told of " + std::to_string(answer - 1) + " objects");
    findings.fresh("a fresh process", [this](Self&) {
      must(queue.try_get() == 7 && lock.try_lock() && units.try_acquire() && event.is_set(), "something was taken");
    });
  }
};

}  // namespace

void add_wait_operations(Operations& all) {
  add<WaitForWhatIsReady>(all, "wait_any: all is ready");
  add<WaitForQueue>(all, "wait_any: a queue, whose item is another sleeper's");
  add<WaitForUnit>(all, "wait_any: a semaphore, whose unit is another sleeper's");
  add<WaitForLock>(all, "wait_any: a lock that another sleeper gets");
  add_every<WaitTimesOut>(all, 3, "wait_any: times out; another one sleeps");
}

}  // namespace fault
