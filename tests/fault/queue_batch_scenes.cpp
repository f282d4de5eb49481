// Queue, several items at a time and full queues that do not wait: what is in is a run of whole items from the first one
// on, what is taken is gone from the front, and nobody waits for the dead.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "fault/parcels.hpp"
#include "fault/parts.hpp"

namespace fault {
namespace {

using brood::QueueOptions;
using brood::WhenFull;
using Small = Parcel<64>;

constexpr Key V1 = kVictims + 1, V2 = kVictims + 2, V3 = kVictims + 3;
constexpr Key O1 = kOthers + 1, O2 = kOthers + 2;

template <class I>
std::vector<I> items_of(const std::vector<Key>& keys) {
  std::vector<I> out;
  for (const Key key : keys) out.push_back(ItemOf<I>::make(key));
  return out;
}

template <class I>
struct BatchScene : QueueScene<I> {
  using QueueScene<I>::QueueScene;
  std::vector<I> items = items_of<I>({V1, V2, V3});
  std::vector<I> got;
  void ready() override {
    QueueScene<I>::ready();
    got.reserve(8);
    brood::Queue<I> scratch(QueueOptions{.capacity = 3, .byte_budget = this->queue.byte_budget()});
    scratch.put_many(items);
    scratch.get_many(got, 3);
    got.clear();
  }
  /// The victim's three items from the first one on; all of them once put_many has returned.
  [[nodiscard]] Outcomes prefixes() const {
    if (this->ledger.returned != 0) return {{V1, V2, V3}};
    return {{}, {V1}, {V1, V2}, {V1, V2, V3}};
  }
  void put_many() {
    this->queue.put_many(items);
    this->ledger.returned = 1;
  }
  void get_many(std::size_t most) {
    const std::size_t count = this->queue.get_many(got, most);
    Key last = kNone;
    for (const I& taken : got) {
      const Key key = ItemOf<I>::key(taken);
      last = key == last + 1 || last == kNone ? key : kTorn;
    }
    this->ledger.took = last;
    this->ledger.said = static_cast<int>(count);
  }
};

/// put_many() of three; nobody waits.
template <class I>
struct PutMany : BatchScene<I> {
  PutMany() : BatchScene<I>(QueueOptions{.capacity = 3, .byte_budget = 4096}) {}
  void operate() override { this->put_many(); }
  void judge(Findings& findings, const Arrival& /*at*/) override { this->judge_contents(findings, this->prefixes()); }
};

/// put_many() of three into an empty queue on which two consumers sleep: one wake-up has to reach both of them.
struct PutManyWithSleepers : BatchScene<Small> {
  PutManyWithSleepers() : BatchScene(QueueOptions{.capacity = 3, .byte_budget = 4096}) {}
  Actor first;
  Actor second;
  void placed() override {
    first = taker(queue);
    first.await_blocked();
    second = taker(queue);
    second.await_blocked();
  }
  void operate() override { put_many(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const bool both = ledger.returned != 0;
    if (both && (!findings.finishes(first, "a consumer") || !findings.finishes(second, "the other consumer"))) return;
    const Actor other = putter(queue, {O1, O2});
    if (!findings.finishes(other, "another producer") || !findings.finishes(first, "a consumer") ||
        !findings.finishes(second, "the other consumer"))
      return;
    const auto [one, then] = std::minmax({first.value(0), second.value(0)});
    if (one == V1 && then == V2)
      judge_contents(findings, both ? Outcomes{{V3, O1, O2}} : Outcomes{{O1, O2}, {V3, O1, O2}});
    else if (one == V1 && then == O1 && !both) judge_contents(findings, {{O2}});
    else if (one == O1 && then == O2 && !both) judge_contents(findings, {{}});
    else findings.check(false, "the consumers got " + std::to_string(one) + " and " + std::to_string(then));
  }
};

/// put_many() of three with room for two: sleeps until something is taken.
struct PutManyFull : BatchScene<Small> {
  PutManyFull() : BatchScene(QueueOptions{.capacity = 2, .byte_budget = 4096}) {}
  std::optional<Actor> consumer;
  void operate() override { put_many(); }
  Sleep on_sleep(int nth) override {
    if (nth == 0) consumer = taker(queue);
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!consumer) {
      judge_contents(findings, {{}, {V1}, {V1, V2}});
      return;
    }
    if (!findings.finishes(*consumer, "the consumer")) return;
    findings.check(consumer->value(0) == V1, "the consumer got " + std::to_string(consumer->value(0)));
    judge_contents(findings, with_or_without({V2}, V3));
  }
};

/// get_many() of up to three from three; nobody waits.
template <class I>
struct GetMany : BatchScene<I> {
  GetMany() : BatchScene<I>(QueueOptions{.capacity = 3, .byte_budget = 4096}) {}
  void ready() override {
    BatchScene<I>::ready();
    this->fill(1, 3);
  }
  void operate() override { this->get_many(3); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const Key last = this->ledger.took;
    findings.check(last == kNone || last == V3, "the victim's last item is " + std::to_string(last));
    this->judge_contents(findings, last == V3 ? Outcomes{{}} : Outcomes{{V1, V2, V3}, {V2, V3}, {V3}, {}});
  }
};

/// get_many() from a full queue on which a producer sleeps.
struct GetManyWithSleeper : BatchScene<Small> {
  GetManyWithSleeper() : BatchScene(QueueOptions{.capacity = 2, .byte_budget = 4096}) {}
  Actor third;
  void ready() override {
    BatchScene::ready();
    fill(1, 2);
  }
  void placed() override {
    third = putter(queue, {O1});
    third.await_blocked();
  }
  void operate() override { get_many(3); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const bool all = ledger.took != kNone;
    const bool has_room = all || !queue.full();
    if (has_room && !findings.finishes(third, "the sleeping producer, for whom there is room,")) return;
    const Actor consumer = taker(queue);
    if (!findings.finishes(consumer, "a consumer") || !findings.finishes(third, "the sleeping producer")) return;
    const Key next = consumer.value(0);
    if (next == V1 && !has_room) judge_contents(findings, {{V2, O1}});
    else if (next == V2 && !all) judge_contents(findings, {{O1}});
    else if (next == O1) judge_contents(findings, {{}});
    else findings.check(false, "the next consumer got " + std::to_string(next));
  }
};

/// get_many() of an empty queue: sleeps until something is put.
struct GetManyEmpty : BatchScene<Small> {
  GetManyEmpty() : BatchScene(QueueOptions{.capacity = 3, .byte_budget = 4096}) {}
  std::optional<Actor> producer;
  void operate() override { get_many(3); }
  Sleep on_sleep(int nth) override {
    if (nth == 0) producer = putter(queue, {O1});
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!producer) producer = putter(queue, {O1});
    if (!findings.finishes(*producer, "the producer")) return;
    const Key took = ledger.took;
    findings.check(took == kNone || took == O1, "the victim got " + std::to_string(took));
    judge_contents(findings, took == O1 ? Outcomes{{}} : Outcomes{{O1}, {}});
  }
};

/// put() into a full queue that drops its oldest item.
struct PutDropsOldest : QueueScene<Small> {
  PutDropsOldest() : QueueScene(QueueOptions{.capacity = 2, .byte_budget = 4096, .when_full = WhenFull::drop_oldest}) {
    item = ItemOf<Small>::make(V3);
  }
  void ready() override {
    QueueScene::ready();
    fill(1, 3);  // the third is one to be dropped already: no first time is left for the victim
    (void)drain(queue);
    fill(1, 2);
  }
  void operate() override { put(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const bool returned = ledger.returned != 0;
    findings.fresh("a fresh process", [&, returned](Self&) {
      auto again = brood::Queue<Small>::open(queue.handle());
      const std::size_t said = again.qsize();
      const auto found = drain(again);
      must_be_one_of(found, returned ? Outcomes{{V2, V3}} : Outcomes{{V1, V2}, {V2}, {V2, V3}});
      must(said == found.size(), "qsize() said " + std::to_string(said) + ", in it were " + listed(found));
      const std::uint64_t dropped = again.dropped();
      must(dropped == 2 || (!returned && dropped == 1), std::to_string(dropped) + " were dropped");
      for (const Key key : {O1, O2, V1}) again.put(ItemOf<Small>::make(key));
      must(drain(again) == std::vector<Key>{O2, V1} && again.dropped() == dropped + 1, "the queue does not work");
    });
  }
};

}  // namespace

void add_queue_batch_operations(Operations& all) {
  // The code of one item is swept at every instruction by put and get; an item more is the same again.
  add_every<PutMany<Small>>(all, 3, "Queue: put_many; nobody waits");
  add_every<PutMany<std::string>>(all, 19, "Queue: put_many of strings; nobody waits");
  add_every<PutManyWithSleepers>(all, 3, "Queue: put_many; two consumers sleep");
  add_every<PutManyFull>(all, 9, "Queue: put_many, more than there is room for");
  add_every<GetMany<Small>>(all, 3, "Queue: get_many; nobody waits");
  add_every<GetMany<std::string>>(all, 61, "Queue: get_many of strings; nobody waits");
  add_every<GetManyWithSleeper>(all, 3, "Queue: get_many from a full queue; a producer sleeps");
  add_every<GetManyEmpty>(all, 9, "Queue: get_many from an empty queue");
  add<PutDropsOldest>(all, "Queue: put that drops the oldest item");
}

}  // namespace fault
