// The domain: joining it, and leaving it at exit while somebody waits for what the leaver holds.
#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>

#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "brood/lock.hpp"
#include "brood/semaphore.hpp"
#include "fault/domain_view.hpp"
#include "fault/parcels.hpp"
#include "registry/registry.hpp"

namespace fault {
namespace {

using brood::BoundedSemaphore;
using brood::Lock;

/// The first use of a shared object: maps or makes the registry, claims a slot, starts the helper. Nobody else may be
/// there, or one.
struct Join : Scene {
  explicit Join(bool alone) : alone_(alone) {}
  bool alone_;
  Ledger& ledger = renewed<Ledger>();
  DomainView view;
  std::uint32_t used_before = 0;
  std::optional<Actor> other;
  void set() override {
    used_before = view.slots_used();
    if (!alone_) {
      other.emplace([](Self&) {});
      must(other->await_done(), "the other process did not join");
    }
  }
  void operate() override {
    ledger.took = brood::registry::self();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    // Two who come after it share a lock: they find the same registry, and see each other live and die.
    brood::Lock lock;
    Actor holder([&lock](Self&) { lock.lock(); });
    if (!findings.finishes(holder, "the next one to join")) return;
    const Actor waiter([&lock](Self& self) {
      self.mark(1);
      try {
        lock.lock();
      } catch (const brood::OwnerDied&) {
        self.set(0, 1);
      }
    });
    waiter.await_blocked();
    holder.kill();
    if (!findings.finishes(waiter, "the one that waits for the next one")) return;
    findings.check(waiter.value(0) == 1, "the death of the next one was not reported");
    findings.check(view.await_quiet(), "the death of one that was joining is not buried");
    findings.check(view.abandoned_slots() == 0, "a slot was left by one that was joining");
    // At most: the other, the bystander, the victim, the holder, the waiter, and slot 0 that is nobody's. Or as many as
    // an earlier scene had in the same registry.
    constexpr std::uint32_t kMost = 6;
    const std::uint32_t used = view.slots_used();
    findings.check(used <= std::max(kMost, used_before), "slots are lost: " + std::to_string(used) + " were used");
  }
};

/// exit() of a process that holds what somebody sleeps on. The sleeper has it, or knows of the death, be the victim
/// killed in the middle of leaving or gone in good order.
struct ExitScene : Scene {
  Ledger& ledger = renewed<Ledger>();
  Actor sleeper;
  [[noreturn]] void operate() override { std::exit(0); }
};

struct ExitHoldingLock : ExitScene {
  explicit ExitHoldingLock(bool heals)
      : heals_(heals), lock({heals ? brood::OwnerDeath::heal : brood::OwnerDeath::report}) {}
  bool heals_;
  Lock lock;
  void ready() override {
    settle_in();
    lock.lock();
  }
  void placed() override {
    sleeper = Actor([this](Self& self) {
      self.mark(1);
      self.set(0, locks());
    });
    sleeper.await_blocked();
  }
  /// 1 if the lock was had, 2 if its owner is reported as dead.
  int locks() {
    try {
      lock.lock();
    } catch (const brood::OwnerDied&) {
      return 2;
    }
    lock.unlock();
    return 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!findings.finishes(sleeper, "the sleeper on a lock whose owner exits")) return;
    const int right = heals_ ? 1 : 2;
    findings.check(sleeper.value(0) == right, "the sleeper saw " + std::to_string(sleeper.value(0)));
    findings.fresh("a fresh process", [this, right](Self&) {
      must(locks() == right, "another saw something else than the sleeper");
      must(lock.recover([] {}) == !heals_, "recover() does not fit to what was seen");
      must(locks() == 1 && !lock.locked(), "the lock does not work any more");
    });
  }
};

/// The units that it holds come back, once.
struct ExitHoldingUnit : ExitScene {
  BoundedSemaphore semaphore{1};
  void ready() override {
    settle_in();
    semaphore.acquire();
  }
  void placed() override {
    sleeper = Actor([this](Self& self) {
      self.mark(1);
      semaphore.acquire();
      semaphore.release();
    });
    sleeper.await_blocked();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!findings.finishes(sleeper, "the sleeper on a semaphore whose holder exits")) return;
    findings.fresh("a fresh process", [this](Self&) {
      must(semaphore.try_acquire(), "the unit of the one that exited is not there");
      must(!semaphore.try_acquire(), "its unit came back twice");
      semaphore.release();
      must(semaphore.get_value() == 1, "the semaphore does not work any more");
    });
  }
};

/// exit() of one with objects of its own: what nobody else has is gone, without gc() if it came to its end.
struct ExitWithObjects : ExitScene {
  std::optional<brood::Queue<int>> queue;
  std::optional<Lock> lock;
  void ready() override {
    settle_in();
    lock.emplace();
    queue.emplace(brood::QueueOptions{.capacity = 2, .byte_budget = 4096});
    queue->put(1);
  }
  void judge(Findings& findings, const Arrival& at) override {
    findings.check(!at.ended || DomainView::objects().empty(), "a process has exited, but something of it is left");
    findings.fresh("gc()", [](Self&) { (void)brood::gc(); });
    findings.check(DomainView::objects().empty(), "something of a dead process is left after gc()");
  }
};

}  // namespace

void add_domain_operations(Operations& all) {
  // Thousands of instructions, most of them of the C library. Odd: every other point has a bystander.
  const auto with_stride = [&](long stride) { all.back().stride = stride; };
  add<Join>(all, "domain: join; one is there", false);
  with_stride(81);
  add<Join>(all, "domain: join; nobody is there", true);
  with_stride(81);
  add<ExitHoldingLock>(all, "domain: exit with a lock; one sleeps on it", false);
  with_stride(261);
  add<ExitHoldingLock>(all, "domain: exit with a lock that heals; one sleeps on it", true);
  with_stride(661);
  add<ExitHoldingUnit>(all, "domain: exit with a unit of a BoundedSemaphore; one sleeps on it");
  with_stride(661);
  add<ExitWithObjects>(all, "domain: exit with objects of its own");
  with_stride(661);
}

}  // namespace fault
