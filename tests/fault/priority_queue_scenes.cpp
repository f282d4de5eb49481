// PriorityQueue: an item is in line, in its place, or not in; whoever is killed, the order of the others is the same.
#include <optional>
#include <string>
#include <vector>

#include "brood/error.hpp"
#include "brood/lock.hpp"
#include "brood/priority_queue.hpp"
#include "fault/parcels.hpp"
#include "fault/parts.hpp"

namespace fault {
namespace {

using brood::PriorityQueue;
using brood::PriorityQueueOptions;
using Small = Parcel<64>;

constexpr Key V1 = kVictims + 1, V2 = kVictims + 2, V3 = kVictims + 3;
constexpr Key O1 = kOthers + 1;
/// 4096 bytes are room for twice as many as the capacity allows.
constexpr PriorityQueueOptions kEight{.capacity = 8, .byte_budget = 4096};

struct PriorityScene : Scene {
  explicit PriorityScene(const PriorityQueueOptions& options = kEight) : queue(options) {}
  PriorityQueue<Small> queue;
  Ledger& ledger = renewed<Ledger>();

  /// An item's key is also its priority.
  void put(Key key) { queue.put(ItemOf<Small>::make(key), key); }
  void ready() override {
    settle_in();
    PriorityQueue<Small> scratch(kEight);
    unlearn_spinning_in_get(scratch);
    scratch.put(ItemOf<Small>::make(1), 1);
    (void)scratch.try_put(ItemOf<Small>::make(2), 0);
    (void)ItemOf<Small>::key(scratch.get());
    (void)scratch.try_get();
    (void)scratch.try_get();
  }
  void judge_contents(Findings& findings, const Outcomes& right) {
    findings.fresh("a fresh process", [&](Self&) {
      auto opened = PriorityQueue<Small>::open(queue.handle());
      // The first one locks, and so puts together what the victim left; before that the count may be its.
      std::vector<Key> found;
      while (const auto item = opened.try_get()) found.push_back(ItemOf<Small>::key(*item));
      must_be_one_of(found, right);
      must(opened.qsize() == 0, "an emptied queue says that it is not empty");
      const std::size_t most = opened.capacity();
      for (int round = 0; round < 3; ++round) {
        for (std::size_t i = 0; i < most; ++i) {
          const Key key = kJudges + static_cast<Key>(most - 1 - i);
          must(opened.try_put(ItemOf<Small>::make(key), key), "no room for " + std::to_string(i + 1) + " items");
        }
        must(!opened.try_put(ItemOf<Small>::make(O1), 0), "more fits in than before");
        found.clear();
        while (const auto item = opened.try_get()) found.push_back(ItemOf<Small>::key(*item));
        must(found == keys_from(kJudges, kJudges + static_cast<Key>(most) - 1), "the order is " + listed(found));
      }
    });
  }
};

/// put() between two others; nobody waits.
struct Put : PriorityScene {
  void ready() override {
    PriorityScene::ready();
    put(V1);
    put(V3);
  }
  void operate() override {
    put(V2);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (ledger.returned != 0) judge_contents(findings, {{V1, V2, V3}});
    else judge_contents(findings, {{V1, V3}, {V1, V2, V3}});
  }
};

/// put() while a consumer sleeps.
struct PutWithSleeper : PriorityScene {
  Actor consumer;
  void placed() override {
    consumer = Actor([this](Self& self) {
      self.mark(1);
      self.set(0, ItemOf<Small>::key(queue.get()));
    });
    consumer.await_blocked();
  }
  void operate() override {
    put(V1);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (ledger.returned != 0 && !findings.finishes(consumer, "the sleeping consumer")) return;
    put(O1);
    if (!findings.finishes(consumer, "the sleeping consumer")) return;
    const Key got = consumer.value(0);
    if (got == V1) judge_contents(findings, {{O1}});
    else if (got == O1 && ledger.returned == 0) judge_contents(findings, {{}, {V1}});
    else findings.check(false, "the consumer got " + std::to_string(got));
  }
};

/// put() into a full queue: sleeps until something is taken.
struct PutFull : PriorityScene {
  PutFull() : PriorityScene(PriorityQueueOptions{.capacity = 2, .byte_budget = 4096}) {}
  bool has_room = false;
  void ready() override {
    PriorityScene::ready();
    put(V1);
    put(V3);
    // Teaches the victim's puts that it does not pay to spin.
    for (int i = 0; i < kLessons; ++i) (void)queue.try_put_for(ItemOf<Small>::make(V2), V2, kShort);
  }
  void operate() override {
    put(V2);
    ledger.returned = 1;
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0) has_room = ItemOf<Small>::key(queue.get()) == V1;
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!has_room) judge_contents(findings, {{V1, V3}});
    else if (ledger.returned != 0) judge_contents(findings, {{V2, V3}});
    else judge_contents(findings, {{V3}, {V2, V3}});
  }
};

/// shutdown(immediate) of a full queue on which a producer sleeps.
struct ShutDown : PriorityScene {
  ShutDown() : PriorityScene(PriorityQueueOptions{.capacity = 2, .byte_budget = 4096}) {}
  Actor producer;
  void ready() override {
    PriorityScene::ready();
    put(V1);
    put(V2);
  }
  void placed() override {
    producer = Actor([this](Self& self) {
      self.mark(1);
      try {
        put(O1);
        self.set(0, 1);
      } catch (const brood::QueueClosed&) {
        self.set(0, 2);
      }
    });
    producer.await_blocked();
  }
  void operate() override {
    queue.shutdown(true);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!queue.is_shut_down()) {
      findings.check(ledger.returned == 0, "shutdown() returned, but the queue goes on");
      findings.check(ItemOf<Small>::key(queue.get()) == V1, "the first item is another one");
      if (!findings.finishes(producer, "the sleeping producer, for whom there is room,")) return;
      findings.check(producer.value(0) == 1, "the producer was sent away");
      judge_contents(findings, {{V2, O1}});
      return;
    }
    if (!findings.finishes(producer, "the sleeping producer")) return;
    findings.check(producer.value(0) == 2, "the producer put into a queue that is over");
    findings.fresh("a fresh process", [this](Self&) {
      auto opened = PriorityQueue<Small>::open(queue.handle());
      opened.shutdown(true);  // finishes what the victim began
      must(opened.qsize() == 0, "shutdown(immediate) left something in the queue");
      bool over = false;
      try {
        (void)opened.try_get();
      } catch (const brood::QueueClosed&) {
        over = true;
      }
      must(over, "try_get() of a queue that is over came back");
    });
  }
};

/// An item that carries a Lock whose maker is gone: the lock is there until somebody has the item.
struct WithLock : Scene {
  PriorityQueue<brood::Lock> queue;
  Ledger& ledger = renewed<Ledger>();
  void set() override {
    const Actor maker([this](Self&) { queue.put(brood::Lock(), 1); });
    must(maker.await_done(), "the maker did not put its lock");
  }
  void ready() override {
    settle_in();
    PriorityQueue<brood::Lock> scratch;
    scratch.put(brood::Lock());
    (void)scratch.get();
  }
  void operate() override {
    brood::Lock lock = queue.get();
    ledger.took = 1;
    queue.put(lock, 2);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.fresh("a fresh process", [this](Self&) {
      auto item = queue.try_get();
      // Taken and not put back, it has died with the victim.
      must(item || ledger.returned == 0, "put() returned, and the item is not there");
      if (!item) return;
      must(item->try_lock(), "the lock is not usable");
      item->unlock();
    });
  }
};

/// get() of the first of three; nobody waits.
struct Get : PriorityScene {
  void ready() override {
    PriorityScene::ready();
    for (const Key key : {V3, V1, V2}) put(key);
  }
  void operate() override { ledger.took = ItemOf<Small>::key(queue.get()); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const Key took = ledger.took;
    findings.check(took == kNone || took == V1, "the victim got " + std::to_string(took));
    if (took == V1) judge_contents(findings, {{V2, V3}});
    else judge_contents(findings, {{V1, V2, V3}, {V2, V3}});
  }
};

/// get() from a full queue on which a producer sleeps.
struct GetFull : PriorityScene {
  GetFull() : PriorityScene(PriorityQueueOptions{.capacity = 2, .byte_budget = 4096}) {}
  Actor producer;
  void ready() override {
    PriorityScene::ready();
    put(V2);
    put(V1);
  }
  void placed() override {
    producer = Actor([this](Self& self) {
      self.mark(1);
      put(O1);
    });
    producer.await_blocked();
  }
  void operate() override { ledger.took = ItemOf<Small>::key(queue.get()); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const bool took = ledger.took != kNone;
    if (took && !findings.finishes(producer, "the sleeping producer, for whom there is room,")) return;
    const Actor consumer([this](Self& self) {
      self.mark(1);
      self.set(0, ItemOf<Small>::key(queue.get()));
    });
    if (!findings.finishes(consumer, "a consumer") || !findings.finishes(producer, "the sleeping producer")) return;
    const Key next = consumer.value(0);
    if (next == V1 && !took) judge_contents(findings, {{V2, O1}});
    else if (next == V2) judge_contents(findings, {{O1}});
    else findings.check(false, "the next consumer got " + std::to_string(next));
  }
};

/// get() from an empty queue: sleeps until something is put.
struct GetEmpty : PriorityScene {
  bool is_put = false;
  void operate() override { ledger.took = ItemOf<Small>::key(queue.get()); }
  Sleep on_sleep(int nth) override {
    if (nth == 0) put(O1);
    is_put = true;
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!is_put) put(O1);
    const Key took = ledger.took;
    findings.check(took == kNone || took == O1, "the victim got " + std::to_string(took));
    judge_contents(findings, took == O1 ? Outcomes{{}} : Outcomes{{O1}, {}});
  }
};

}  // namespace

void add_priority_queue_operations(Operations& all) {
  add<Put>(all, "PriorityQueue: put between others; nobody waits");
  add<PutWithSleeper>(all, "PriorityQueue: put; a consumer sleeps");
  add<PutFull>(all, "PriorityQueue: put into a full queue");
  add<ShutDown>(all, "PriorityQueue: shutdown(immediate); a producer sleeps");
  add_long<WithLock>(all, "PriorityQueue: get, put of a Lock whose maker is dead");
  add<Get>(all, "PriorityQueue: get of the first of three; nobody waits");
  add<GetFull>(all, "PriorityQueue: get from a full queue; a producer sleeps");
  add<GetEmpty>(all, "PriorityQueue: get from an empty queue");
}

}  // namespace fault
