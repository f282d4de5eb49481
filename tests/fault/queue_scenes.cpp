// Queue, put and get: an item is in wholly or not at all, is handed out once, in order, and nobody waits for the dead.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/hex.hpp"
#include "brood/domain.hpp"
#include "channel/queue_body.hpp"
#include "fault/parcels.hpp"
#include "registry/registry.hpp"
#include "shm/segment.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;
using brood::QueueOptions;
using Small = Parcel<64>;

constexpr Key V1 = kVictims + 1, V2 = kVictims + 2, V3 = kVictims + 3;
constexpr Key O1 = kOthers + 1, O2 = kOthers + 2;
constexpr Key J1 = kJudges + 1;

/// Room for 2 items.
const QueueOptions kTwo{.capacity = 2, .byte_budget = 4096};
/// 511 units for records: 7 of 73 units fill it to the last one.
const QueueOptions kSmallest{.capacity = 0, .byte_budget = 4096};
using Seventh = Parcel<576>;

/// put() of the `fits`-th item behind others, with the ring turned by `turned` records; nobody waits.
template <class I>
struct Put : QueueScene<I> {
  Put(const QueueOptions& options, Key before, int turned) : QueueScene<I>(options), before_(before), turned_(turned) {
    this->item = ItemOf<I>::make(kVictims + before + 1);
  }
  Key before_;
  int turned_;
  void ready() override {
    QueueScene<I>::ready();
    this->turn(turned_);
    this->fill(1, before_);
  }
  void operate() override { this->put(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    this->judge_contents(findings, this->with_or_without(keys_from(V1, kVictims + before_), kVictims + before_ + 1));
  }
};

/// put() into an empty queue while a consumer sleeps. The item may be enough to wake it, or it takes the death; it may
/// not take another put.
template <class I>
struct PutWithSleeper : QueueScene<I> {
  explicit PutWithSleeper(const QueueOptions& options) : QueueScene<I>(options) { this->item = ItemOf<I>::make(V1); }
  Actor consumer;
  void placed() override {
    consumer = taker(this->queue);
    consumer.await_blocked();
  }
  void operate() override { this->put(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const bool is_in = this->ledger.returned != 0 || !this->queue.empty();
    if (is_in && !findings.finishes(consumer, "the sleeping consumer")) return;
    // It stays alive: its own death would wake the consumer too.
    const Actor other = putter(this->queue, {J1});
    if (!findings.finishes(other, "another producer") || !findings.finishes(consumer, "the consumer")) return;
    const Key got = consumer.value(0);
    findings.check(got == V1 || (got == J1 && !is_in), "the consumer got " + std::to_string(got));
    this->judge_contents(findings, got == V1 ? Outcomes{{J1}} : Outcomes{{}});
  }
};

/// try_put() of a full queue while a producer sleeps: it leaves nothing behind and wakes nobody.
struct TryPutFull : QueueScene<Small> {
  TryPutFull() : QueueScene(kTwo) { item = ItemOf<Small>::make(V3); }
  Actor third;
  void ready() override {
    QueueScene::ready();
    fill(1, 2);
  }
  void placed() override {
    third = putter(queue, {O1});
    third.await_blocked();
  }
  void operate() override { ledger.said = queue.try_put(item) ? 1 : -1; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.said != 1, "a full queue took another item");
    findings.check(!third.is_done() && queue.full(), "the queue is not full any more");
    const Actor consumer = taker(queue);
    if (!findings.finishes(consumer, "a consumer") || !findings.finishes(third, "the sleeping producer")) return;
    findings.check(consumer.value(0) == V1, "the oldest item is " + std::to_string(consumer.value(0)));
    judge_contents(findings, {{V2, O1}});
  }
};

/// try_put_for() whose time runs out; never in the queue, and must not swallow the wake-up of the other producer.
struct PutTimesOut : TryPutFull {
  void operate() override { ledger.said = queue.try_put_for(item, 30ms) ? 1 : -1; }
  Sleep on_sleep(int /*nth*/) override { return Sleep::by_itself; }
};

/// The time runs out in the moment in which an item is taken: one of the two producers gets the room.
struct PutTimesOutAtHandover : PutTimesOut {
  std::optional<Actor> consumer;
  void take() {
    if (!consumer) consumer = taker(queue);
  }
  Sleep on_sleep(int /*nth*/) override {
    take();
    return Sleep::by_itself;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    take();
    if (!findings.finishes(*consumer, "a consumer")) return;
    findings.check(consumer->value(0) == V1, "the oldest item is " + std::to_string(consumer->value(0)));
    const int said = ledger.said;
    if (!queue.full() && !findings.finishes(third, "the sleeping producer, for whom there is room,")) return;
    const Actor second = taker(queue);
    if (!findings.finishes(second, "a second consumer") || !findings.finishes(third, "the sleeping producer")) return;
    findings.check(second.value(0) == V2, "then the oldest item is " + std::to_string(second.value(0)));
    if (said == 1) judge_contents(findings, {{V3, O1}, {O1, V3}});
    else if (said == -1) judge_contents(findings, {{O1}});
    else judge_contents(findings, {{O1}, {V3, O1}, {O1, V3}});
  }
};

/// put() into a full queue: sleeps until two items are taken. Another producer sleeps as well, before it or behind it.
struct PutFull : QueueScene<Small> {
  explicit PutFull(bool third_is_first) : QueueScene(kTwo), third_is_first_(third_is_first) {
    item = ItemOf<Small>::make(V3);
  }
  bool third_is_first_;
  std::optional<Actor> third;
  std::optional<Actor> consumer;
  void ready() override {
    QueueScene::ready();
    fill(1, 2);
  }
  void placed() override {
    if (third_is_first_) add_third();
  }
  void add_third() {
    third = putter(queue, {O1});
    third->await_blocked();
  }
  void operate() override { put(); }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      if (!third) add_third();
      consumer = taker(queue, 2);
    }
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!third) add_third();
    if (!consumer) consumer = taker(queue, 2);
    if (!findings.finishes(*consumer, "the consumer") || !findings.finishes(*third, "the other producer")) return;
    findings.check(consumer->value(0) == V1 && consumer->value(1) == V2, "the items did not come in order");
    if (ledger.returned != 0) judge_contents(findings, {{V3, O1}, {O1, V3}});
    else judge_contents(findings, {{O1}, {V3, O1}, {O1, V3}});
  }
};

/// What a producer leaves that was killed between the commit of its record and the store of the tail: the header is in,
/// the tail is one short, the lock is held by a dead process. Made by hand, since two deaths belong to it.
template <class I>
void leave_tail_behind(brood::Queue<I>& queue, Key key) {
  const Actor dying([&queue, key](Self&) {
    namespace shm = brood::shm;
    const std::string path = brood::domain_directory() + "/" + brood::base::hex16(queue.handle().id());
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    void* memory = ::mmap(nullptr, shm::kBodyOffset + sizeof(brood::channel::QueueBody), PROT_READ | PROT_WRITE,
                          MAP_SHARED, fd, 0);
    ::close(fd);
    must(memory != MAP_FAILED, "cannot map the queue a second time");
    auto& body = *reinterpret_cast<brood::channel::QueueBody*>(static_cast<char*>(memory) + shm::kBodyOffset);
    const std::uint64_t tail = body.tail;
    queue.put(ItemOf<I>::make(key));
    body.tail = tail;
    const auto me = brood::registry::self();
    body.producers.word = brood::sync::held_by(me, brood::registry::self_tid(me));
  });
  must(dying.await_done(), "the first producer did not get that far: " + dying.error());
}

/// put() by the producer that finds the tail too short, be the item still there or already taken.
struct PutAfterDeath : QueueScene<Small> {
  explicit PutAfterDeath(bool taken) : QueueScene(kTwo), taken_(taken) { item = ItemOf<Small>::make(V1); }
  bool taken_;
  void placed() override {
    leave_tail_behind(queue, O1);
    if (!taken_) return;
    const Actor consumer = taker(queue);
    must(consumer.await_done() && consumer.value(0) == O1, "the first item was not taken");
  }
  void operate() override { put(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    judge_contents(findings, with_or_without(taken_ ? std::vector<Key>{} : std::vector<Key>{O1}, V1));
  }
};

/// get() of the oldest of three items, with the ring turned by `turned` records; nobody waits. Who has noted it had it.
template <class I>
struct Get : QueueScene<I> {
  Get(const QueueOptions& options, int turned) : QueueScene<I>(options), turned_(turned) {}
  int turned_;
  void ready() override {
    QueueScene<I>::ready();
    this->turn(turned_);
    this->fill(1, 3);
  }
  void operate() override { this->get(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const Key took = this->ledger.took;
    findings.check(took == kNone || took == V1, "the victim got " + std::to_string(took));
    this->judge_contents(findings, took == V1 ? Outcomes{{V2, V3}} : Outcomes{{V1, V2, V3}, {V2, V3}});
  }
};

/// get() from a full queue while a producer sleeps: what was taken makes room for it.
struct GetWithSleeper : QueueScene<Small> {
  GetWithSleeper() : QueueScene(kTwo) {}
  Actor third;
  void ready() override {
    QueueScene::ready();
    fill(1, 2);
  }
  void placed() override {
    third = putter(queue, {O1});
    third.await_blocked();
  }
  void operate() override { get(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const Key took = ledger.took;
    const bool has_room = took != kNone || !queue.full();
    if (has_room && !findings.finishes(third, "the sleeping producer, for whom there is room,")) return;
    const Actor consumer = taker(queue);
    if (!findings.finishes(consumer, "a consumer") || !findings.finishes(third, "the sleeping producer")) return;
    const Key got = consumer.value(0);
    findings.check(took == kNone || took == V1, "the victim got " + std::to_string(took));
    findings.check(got == V2 || (got == V1 && !has_room), "the next consumer got " + std::to_string(got));
    judge_contents(findings, got == V1 ? Outcomes{{V2, O1}} : Outcomes{{O1}});
  }
};

/// try_get() of an empty queue while a consumer sleeps.
struct TryGetEmpty : QueueScene<Small> {
  TryGetEmpty() : QueueScene(kTwo) {}
  Actor third;
  void placed() override {
    third = taker(queue);
    third.await_blocked();
  }
  void operate() override { ledger.said = queue.try_get() ? 1 : -1; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.said != 1, "an empty queue gave an item");
    findings.check(!third.is_done() && queue.empty(), "the queue is not empty any more");
    const Actor producer = putter(queue, {O1});
    if (!findings.finishes(producer, "a producer") || !findings.finishes(third, "the sleeping consumer")) return;
    findings.check(third.value(0) == O1, "the sleeping consumer got " + std::to_string(third.value(0)));
    judge_contents(findings, {{}});
  }
};

struct GetTimesOut : TryGetEmpty {
  void operate() override { ledger.said = queue.try_get_for(30ms) ? 1 : -1; }
  Sleep on_sleep(int /*nth*/) override { return Sleep::by_itself; }
};

/// The time runs out in the moment in which an item is put: one of the two consumers gets it, or it dies with the
/// victim.
struct GetTimesOutAtHandover : TryGetEmpty {
  std::optional<Actor> producer;
  void give() {
    if (!producer) producer = putter(queue, {O1});
  }
  void operate() override {
    const auto got = queue.try_get_for(30ms);
    if (got) ledger.took = ItemOf<Small>::key(*got);
    ledger.said = got ? 1 : -1;
  }
  Sleep on_sleep(int /*nth*/) override {
    give();
    return Sleep::by_itself;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    give();
    if (!findings.finishes(*producer, "the producer")) return;
    if (!queue.empty() && !findings.finishes(third, "the sleeping consumer, for whom there is an item,")) return;
    const Actor second = putter(queue, {O2});
    if (!findings.finishes(second, "a second producer") || !findings.finishes(third, "the sleeping consumer")) return;
    const Key got = third.value(0);
    const Key took = ledger.took;
    findings.check(took == kNone || took == O1, "the victim got " + std::to_string(took));
    findings.check(took == kNone ? got == O1 || (got == O2 && ledger.said != -1) : got == O2,
                   "the sleeping consumer got " + std::to_string(got));
    // It got the second one only because the first was gone.
    judge_contents(findings, got == O1 ? Outcomes{{O2}} : Outcomes{{}});
  }
};

/// get() of an empty queue: sleeps until two items are put. Another consumer sleeps as well, before it or behind it.
struct GetEmpty : QueueScene<Small> {
  explicit GetEmpty(bool third_is_first) : QueueScene(kTwo), third_is_first_(third_is_first) {}
  bool third_is_first_;
  std::optional<Actor> third;
  std::optional<Actor> producer;
  void placed() override {
    if (third_is_first_) add_third();
  }
  void add_third() {
    third = taker(queue);
    third->await_blocked();
  }
  void operate() override { get(); }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      if (!third) add_third();
      producer = putter(queue, {O1, O2});
    }
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!third) add_third();
    if (!producer) producer = putter(queue, {O1, O2});
    if (!findings.finishes(*producer, "the producer") || !findings.finishes(*third, "the other consumer")) return;
    const Key got = third->value(0);
    const Key took = ledger.took;
    findings.check(took == kNone || took == O1 || took == O2, "the victim got " + std::to_string(took));
    findings.check((got == O1 || got == O2) && got != took, "the other consumer got " + std::to_string(got));
    // Whoever got the second one found the first one gone. An item may have died with the victim.
    if (took != kNone || got == O2) judge_contents(findings, {{}});
    else judge_contents(findings, {{O2}, {}});
  }
};

/// 63 records of 129 units fill the first ring of 64 KiB; they begin one record behind its start, so what is wrapped
/// has to move.
using Page = Parcel<1024>;
const QueueOptions kGrowing{.capacity = 0, .byte_budget = 128 << 10};
/// Longer than the first ring.
using Big = Parcel<70 << 10>;
const QueueOptions kForBig{.capacity = 0, .byte_budget = 256 << 10};

}  // namespace

void add_queue_operations(Operations& all) {
  // Variants of waits whose instructions are swept one by one in another operation. Odd: every other point has a
  // bystander.
  constexpr long kVariant = 3;
  const auto add_variant = [&]<class S>(std::type_identity<S>, std::string name, auto... arguments) {
    add<S>(all, std::move(name), arguments...);
    all.back().stride = kVariant;
  };
  add<Put<Small>>(all, "Queue: put; nobody waits", kTwo, 1, 0);
  add<Put<std::string>>(all, "Queue: put of a string; nobody waits", kTwo, 1, 0);
  add<Put<Seventh>>(all, "Queue: put across the end of the ring, fills the byte budget", kSmallest, 6, 8);
  add<Put<Page>>(all, "Queue: put that makes the ring grow", kGrowing, 63, 1);
  add<Put<Big>>(all, "Queue: put of an item longer than the first ring", kForBig, 1, 0);
  all.back().stride = 14'001;  // a copy of 70 KiB is one step for each byte, twice
  add<PutWithSleeper<Small>>(all, "Queue: put; a consumer sleeps", kTwo);
  add_variant(std::type_identity<PutWithSleeper<std::string>>(), "Queue: put of a string; a consumer sleeps", kTwo);
  add<PutFull>(all, "Queue: put into a full queue; another sleeps behind", false);
  add_variant(std::type_identity<PutFull>(), "Queue: put into a full queue; another sleeps before", true);
  add<TryPutFull>(all, "Queue: try_put into a full queue; a producer sleeps");
  add_variant(std::type_identity<PutTimesOut>(), "Queue: try_put_for times out; a producer sleeps");
  add_variant(std::type_identity<PutTimesOutAtHandover>(), "Queue: try_put_for handed over; a producer sleeps");
  add<PutAfterDeath>(all, "Queue: put, the last producer died before the tail moved", false);
  add_variant(std::type_identity<PutAfterDeath>(), "Queue: put, the same, and its item was taken", true);
  add<Get<Small>>(all, "Queue: get; nobody waits", QueueOptions{.capacity = 3, .byte_budget = 4096}, 0);
  add_variant(std::type_identity<Get<std::string>>(), "Queue: get of a string; nobody waits",
              QueueOptions{.capacity = 3, .byte_budget = 4096}, 0);
  all.back().stride = 9;  // decoding is most of it
  add<Get<Seventh>>(all, "Queue: get across the end of the ring", kSmallest, 14);
  add<GetWithSleeper>(all, "Queue: get from a full queue; a producer sleeps");
  add<GetEmpty>(all, "Queue: get from an empty queue; another sleeps behind", false);
  add_variant(std::type_identity<GetEmpty>(), "Queue: get from an empty queue; another sleeps before", true);
  add<TryGetEmpty>(all, "Queue: try_get from an empty queue; a consumer sleeps");
  add_variant(std::type_identity<GetTimesOut>(), "Queue: try_get_for times out; a consumer sleeps");
  add_variant(std::type_identity<GetTimesOutAtHandover>(), "Queue: try_get_for handed over; a consumer sleeps");
}

}  // namespace fault
