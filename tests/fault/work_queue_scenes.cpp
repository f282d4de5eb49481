// WorkQueue and JoinableQueue: an item is in line, in somebody's hands, done, or a dead letter; never in two of these, and
// never gone before somebody said that it is done. What the dead held comes back, first in line.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "brood/joinable_queue.hpp"
#include "brood/lock.hpp"
#include "brood/work_queue.hpp"
#include "fault/parcels.hpp"
#include "fault/parts.hpp"

namespace fault {
namespace {

using brood::JoinableQueue;
using brood::Task;
using brood::WorkQueue;
using brood::WorkQueueOptions;
using Small = Parcel<64>;

constexpr Key V1 = kVictims + 1, V2 = kVictims + 2, V3 = kVictims + 3;
constexpr Key O1 = kOthers + 1, O2 = kOthers + 2;

/// What a worker found: an item and how often it was delivered.
struct Delivered {
  Key key;
  std::uint32_t deliveries;
  friend bool operator==(const Delivered& a, const Delivered& b) = default;
};
using Line = std::vector<Delivered>;
using Lines = std::vector<Line>;

std::string listed(const Line& line) {
  std::string out = "[";
  for (const Delivered& one : line)
    out += (out.size() > 1 ? " " : "") + std::to_string(one.key) + "x" + std::to_string(one.deliveries);
  return out + "]";
}

void must_be_one_of(const Line& found, const Lines& right) {
  std::string expected;
  for (const Line& one : right) {
    if (found == one) return;
    expected += " " + listed(one);
  }
  must(false, "in line was " + listed(found) + ", right were" + expected);
}

template <class I>
Line finish_all(WorkQueue<I>& queue) {
  Line found;
  while (auto task = queue.try_get()) {
    found.push_back({ItemOf<I>::key(**task), task->deliveries()});
    task->done();
  }
  return found;
}

/// Takes one item and keeps it; value 0 is its key, value 1 how often it was delivered.
template <class I>
Actor worker(WorkQueue<I>& queue) {
  return Actor([&queue](Self& self) {
    self.mark(1);
    static std::optional<Task<I>> kept;
    kept = queue.get();
    self.set(0, ItemOf<I>::key(**kept));
    self.set(1, kept->deliveries());
  });
}

template <class I>
struct WorkScene : Scene {
  explicit WorkScene(std::uint32_t max_deliveries = 20)
      : queue(WorkQueueOptions{.capacity = 8, .byte_budget = 4096, .max_deliveries = max_deliveries}) {}
  WorkQueue<I> queue;
  Ledger& ledger = renewed<Ledger>();
  std::optional<Task<I>> task;

  void put(std::initializer_list<Key> keys) {
    for (const Key key : keys) queue.put(ItemOf<I>::make(key));
  }
  /// Runs once through the code that the operation is going to use.
  void ready() override {
    settle_in();
    WorkQueue<I> scratch(WorkQueueOptions{.byte_budget = 4096, .max_deliveries = 1});
    scratch.put(ItemOf<I>::make(1));
    task = scratch.get();
    task->give_back();
    task = scratch.try_get_dead_letter();
    task->requeue();
    task = scratch.get();
    task->done();
    (void)scratch.try_join();
    unlearn_spinning_in_get(scratch);
    task.reset();
  }
  void take() {
    task = queue.get();
    ledger.took = ItemOf<I>::key(**task);
  }
  [[nodiscard]] bool returned() const { return ledger.returned != 0; }

  /// What the victim held is in line again, or a dead letter.
  bool comes_back(Findings& findings) {
    return findings.comes([this] { return queue.try_join() || queue.leased() == 0; }, "what the dead held");
  }
  /// A fresh process finds one of the right lines, does what is in it, and then the queue is as new.
  void judge_line(Findings& findings, const Lines& right, std::size_t letters = 0) {
    if (!comes_back(findings)) return;
    findings.fresh("a fresh process", [&](Self&) {
      auto opened = WorkQueue<I>::open(queue.handle());
      const std::size_t said = opened.qsize();
      const Line found = finish_all(opened);
      must_be_one_of(found, right);
      must(said == found.size(), "qsize() said " + std::to_string(said) + ", in line was " + listed(found));
      must(opened.dead_letters() == letters, std::to_string(opened.dead_letters()) + " dead letters");
      must_work(opened);
    });
  }
  static void must_work(WorkQueue<I>& opened) {
    must(opened.leased() == 0 && opened.qsize() == 0 && opened.try_join(), "all is done, and join() does not say so");
    // Thrice as many as fit at once, so that every lease and every block is used again.
    Key next = kJudges;
    Key expected = kJudges;
    for (int round = 0; round < 3; ++round) {
      std::vector<Task<I>> held;
      while (opened.try_put(ItemOf<I>::make(next))) ++next;
      while (auto one = opened.try_get()) held.push_back(*std::move(one));
      must(held.size() == 8, "the queue takes " + std::to_string(held.size()) + " items, not 8");
      for (Task<I>& one : held) {
        must(ItemOf<I>::key(*one) == expected++ && one.deliveries() == 1, "an item is not what was put");
        one.done();
      }
      must(opened.try_join(), "the queue cannot be joined any more");
    }
  }
};

/// get() of two items; nobody waits.
template <class I>
struct Take : WorkScene<I> {
  void ready() override {
    WorkScene<I>::ready();
    this->put({V1, V2});
  }
  void operate() override { this->take(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (this->ledger.took != kNone) this->judge_line(findings, {{{V1, 2}, {V2, 1}}});
    else this->judge_line(findings, {{{V1, 1}, {V2, 1}}, {{V1, 2}, {V2, 1}}});
  }
};

/// get() of an empty queue: sleeps until two items are put, while another worker sleeps behind.
struct TakeEmpty : WorkScene<Small> {
  std::optional<Actor> second;
  std::optional<Actor> boss;
  void add_second() {
    second = worker(queue);
    second->await_blocked();
  }
  void add_boss() {
    boss = Actor([this](Self& self) {
      self.mark(1);
      put({O1, O2});
    });
  }
  void operate() override { take(); }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      add_second();
      add_boss();
    }
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!second) add_second();
    if (!boss) add_boss();
    if (!findings.finishes(*boss, "who puts") || !findings.finishes(*second, "the second worker")) return;
    const Key got = second->value(0);
    const auto times = static_cast<std::uint32_t>(second->value(1));
    const Key other = O1 + O2 - got;
    findings.check(got == O1 || got == O2, "the second worker got " + std::to_string(got));
    findings.check(times == 1 || times == 2, "the second worker is the " + std::to_string(times) + "th to have it");
    second->kill();
    Lines right;
    for (const std::uint32_t d : {1U, 2U}) {
      // The victim had one of them at most.
      if ((ledger.took == other && d != 2) || (times == 2 && d != 1)) continue;
      const Delivered of_second{got, times + 1};
      const Delivered of_other{other, d};
      right.push_back(got < other ? Line{of_second, of_other} : Line{of_other, of_second});
    }
    judge_line(findings, right);
  }
};

/// get() of what a process held that is dead.
struct TakeOfDead : WorkScene<Small> {
  void set() override {
    put({V1, V2});
    const Actor dead = worker(queue);
    must(dead.await_done(), "the first worker did not get its item");
  }
  void placed() override { must(queue.leased() == 1, "somebody has looked already"); }
  void operate() override { take(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (ledger.took != kNone) judge_line(findings, {{{V1, 3}, {V2, 1}}});
    else judge_line(findings, {{{V1, 2}, {V2, 1}}, {{V1, 3}, {V2, 1}}});
  }
};

/// done() of the first of two; nobody waits.
template <class I>
struct Done : WorkScene<I> {
  void ready() override {
    WorkScene<I>::ready();
    this->put({V1, V2});
    this->task = this->queue.get();
  }
  void operate() override {
    this->task->done();
    this->ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (this->returned()) this->judge_line(findings, {{{V2, 1}}});
    else this->judge_line(findings, {{{V2, 1}}, {{V1, 2}, {V2, 1}}});
  }
};

/// done() of the last item, on which somebody sleeps in join().
struct DoneLast : Done<Small> {
  Actor joiner;
  void ready() override {
    WorkScene::ready();
    put({V1});
    task = queue.get();
  }
  void placed() override {
    joiner = Actor([this](Self& self) {
      self.mark(1);
      queue.join();
    });
    joiner.await_blocked();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!comes_back(findings)) return;
    const bool is_done = queue.qsize() == 0;
    findings.check(is_done || !returned(), "done() returned, and the item came back");
    if (is_done && !findings.finishes(joiner, "who joins when all is done")) return;
    findings.check(is_done || !joiner.is_done(), "join() returned before all was done");
    judge_line(findings, {is_done ? Line{} : Line{{V1, 2}}});
    (void)findings.finishes(joiner, "who joins");
  }
};

/// join() itself.
struct Join : WorkScene<Small> {
  Actor other;
  void set() override {
    put({V1});
    other = Actor([this](Self& self) {
      Task<Small> taken = queue.get();
      self.mark(1);
      self.await_go(1);
      taken.done();
    });
    must(other.await(1), "the worker did not get its item");
  }
  void operate() override {
    queue.join();
    ledger.returned = 1;
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0) other.go(1);
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(!returned() || queue.leased() == 0, "join() returned before all was done");
    other.go(1);
    if (findings.finishes(other, "the worker")) judge_line(findings, {{}});
  }
};

/// give_back() while another worker sleeps: it gets the item, from the victim or because of its death.
struct GiveBack : WorkScene<Small> {
  Actor second;
  void ready() override {
    WorkScene::ready();
    put({V1});
    task = queue.get();
  }
  void placed() override {
    second = worker(queue);
    second.await_blocked();
  }
  void operate() override {
    task->give_back();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!findings.finishes(second, "the sleeping worker")) return;
    findings.check(second.value(0) == V1 && second.value(1) == 2, "the sleeping worker got something else");
    second.kill();
    judge_line(findings, {{{V1, 3}}});
  }
};

/// give_back() after the last delivery: a dead letter, whether the victim comes to it or not.
struct GiveUp : WorkScene<Small> {
  GiveUp() : WorkScene(1) {}
  void ready() override {
    WorkScene::ready();
    put({V1, V2});
    task = queue.get();
  }
  void operate() override { task->give_back(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!comes_back(findings)) return;
    findings.fresh("who reads the dead letter", [this](Self&) {
      auto opened = WorkQueue<Small>::open(queue.handle());
      auto letter = opened.try_get_dead_letter();
      must(letter && ItemOf<Small>::key(**letter) == V1 && letter->deliveries() == 1, "the item is no dead letter");
      letter->done();
    });
    judge_line(findings, {{{V2, 1}}});
  }
};

/// condemn(): a dead letter, or after a killing in line again.
struct Condemn : WorkScene<Small> {
  void ready() override {
    WorkScene::ready();
    put({V1, V2});
    task = queue.get();
  }
  void operate() override {
    task->condemn();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!comes_back(findings)) return;
    const bool is_letter = queue.dead_letters() == 1;
    findings.check(is_letter || !returned(), "condemn() returned, and the item is no dead letter");
    if (is_letter) judge_line(findings, {{{V2, 1}}}, 1);
    else judge_line(findings, {{{V1, 2}, {V2, 1}}});
  }
};

/// shutdown() of an empty queue: a worker that sleeps there is told once the last one at work is done, and not before.
struct DrainingShutDown : WorkScene<Small> {
  Actor other;
  Actor sleeper;
  void set() override {
    put({V1});
    other = Actor([this](Self& self) {
      Task<Small> taken = queue.get();
      self.mark(1);
      self.await_go(1);
      taken.done();
    });
    must(other.await(1), "the worker did not get its item");
  }
  void placed() override {
    sleeper = Actor([this](Self& self) {
      self.mark(1);
      self.set(0, queue.get_unless_over().has_value() ? 1 : 2);
    });
    sleeper.await_blocked();
  }
  void operate() override {
    queue.shutdown();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(queue.is_shut_down() || !returned(), "shutdown() returned, but the queue goes on");
    findings.check(!sleeper.is_done(), "a worker was sent away although somebody is at work");
    const bool over = queue.is_shut_down();
    if (!over) put({O1});
    other.go(1);
    if (!findings.finishes(other, "the worker") || !findings.finishes(sleeper, "who slept")) return;
    findings.check(sleeper.value(0) == (over ? 2 : 1), "who slept was told something else");
  }
};

/// try_get_dead_letter(), requeue().
struct Requeue : WorkScene<Small> {
  void ready() override {
    WorkScene::ready();
    put({V1, V2});
    queue.get().condemn();
  }
  void operate() override {
    task = queue.try_get_dead_letter();
    task->requeue();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!comes_back(findings)) return;
    const bool is_letter = queue.dead_letters() == 1;
    findings.check(!is_letter || !returned(), "requeue() returned, and the item is a dead letter");
    if (!is_letter) {
      judge_line(findings, {{{V1, 1}, {V2, 1}}});
      return;
    }
    findings.comes([this] { return queue.try_get_dead_letter().has_value(); }, "the dead letter");
    judge_line(findings, {{{V2, 1}}}, 1);
  }
};

/// shutdown(immediate) with an item in line, one that came back, and one in the hands of somebody else.
struct ShutDown : WorkScene<Small> {
  Actor other;
  void set() override {
    put({V1, V2, V3});
    other = worker(queue);
    must(other.await_done(), "the worker did not get its item");
    queue.get().give_back();
  }
  void operate() override {
    queue.shutdown(true);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!queue.is_shut_down()) {
      findings.check(!returned(), "shutdown() returned, but the queue goes on");
      other.kill();
      judge_line(findings, {{{V1, 2}, {V2, 2}, {V3, 1}}});
      return;
    }
    // Who comes next finishes what the victim began.
    findings.fresh("a fresh process", [this](Self&) {
      auto opened = WorkQueue<Small>::open(queue.handle());
      opened.shutdown(true);
      must(opened.qsize() == 0, "shutdown(immediate) left something in the queue");
      must(!opened.try_join(), "join() returned although somebody is at work");
    });
    other.kill();
    findings.comes([this] { return queue.try_join(); }, "the end of what the last worker held");
  }
};

/// A JoinableQueue: get(), task_done() of the first of two.
struct TaskDone : WorkScene<Small> {
  JoinableQueue<Small> same = JoinableQueue<Small>::open(queue.handle());
  void ready() override {
    WorkScene::ready();
    JoinableQueue<Small> scratch;
    scratch.put(ItemOf<Small>::make(1));
    (void)scratch.get();
    scratch.task_done();
    put({V1, V2});
  }
  void operate() override {
    ledger.took = ItemOf<Small>::key(same.get());
    same.task_done();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (returned()) judge_line(findings, {{{V2, 1}}});
    else if (ledger.took != kNone) judge_line(findings, {{{V2, 1}}, {{V1, 2}, {V2, 1}}});
    else judge_line(findings, {{{V1, 1}, {V2, 1}}, {{V1, 2}, {V2, 1}}});
  }
};

/// An item that carries a Lock whose maker is gone: the lock is there until somebody is done with the item.
struct WithLock : Scene {
  WorkQueue<brood::Lock> queue;
  Ledger& ledger = renewed<Ledger>();
  std::optional<Task<brood::Lock>> task;
  void set() override {
    queue = WorkQueue<brood::Lock>();
    const Actor maker([this](Self&) { queue.put(brood::Lock()); });
    must(maker.await_done(), "the maker did not put its lock");
  }
  void ready() override {
    settle_in();
    WorkQueue<brood::Lock> scratch;
    scratch.put(brood::Lock());
    scratch.get().done();
  }
  void operate() override {
    task = queue.get();
    ledger.took = 1;
    task->done();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!findings.comes([this] { return queue.try_join() || queue.leased() == 0; }, "what the dead held")) return;
    const bool is_done = queue.qsize() == 0;
    findings.check(is_done ? ledger.took != kNone : ledger.returned == 0, "the item is where it must not be");
    if (is_done) return;
    findings.fresh("the next worker", [this](Self&) {
      Task<brood::Lock> again = queue.get();
      must(again->try_lock(), "the lock is not usable");
      again->unlock();
      again.done();
    });
  }
};

}  // namespace

void add_work_queue_operations(Operations& all) {
  add<Take<Small>>(all, "WorkQueue: get; nobody waits");
  add_every<Take<std::string>>(all, 19, "WorkQueue: get of a string; nobody waits");
  add<TakeEmpty>(all, "WorkQueue: get from an empty queue; another sleeps behind");
  add<TakeOfDead>(all, "WorkQueue: get of what a dead process held");
  add<Done<Small>>(all, "WorkQueue: done; nobody waits");
  add<DoneLast>(all, "WorkQueue: done of the last item; one joins");
  add<Join>(all, "WorkQueue: join, until another is done");
  add<GiveBack>(all, "WorkQueue: give_back; a worker sleeps");
  add<GiveUp>(all, "WorkQueue: give_back after the last delivery");
  add<Condemn>(all, "WorkQueue: condemn");
  add<DrainingShutDown>(all, "WorkQueue: shutdown; one at work, one sleeps");
  add<Requeue>(all, "WorkQueue: try_get_dead_letter, requeue");
  add<ShutDown>(all, "WorkQueue: shutdown(immediate); one item each in line, returned, at work");
  add<TaskDone>(all, "JoinableQueue: get, task_done; nobody waits");
  add_long<WithLock>(all, "WorkQueue: get, done of a Lock whose maker is dead");
}

}  // namespace fault
