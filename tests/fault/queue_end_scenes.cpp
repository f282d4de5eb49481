// Queue, its ends: shutdown and close, and the shared objects whose handles lie in messages.
#include <chrono>
#include <optional>
#include <type_traits>
#include <utility>

#include "base/hex.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "brood/lock.hpp"
#include "fault/domain_view.hpp"
#include "fault/parcels.hpp"

namespace fault {
namespace {

using brood::Lock;
using brood::Queue;
using brood::QueueOptions;
using Small = Parcel<64>;

constexpr Key V1 = kVictims + 1, V2 = kVictims + 2;
constexpr Key O1 = kOthers + 1;
const QueueOptions kTwo{.capacity = 2, .byte_budget = 4096};

/// What an actor in the queue came back with; its value 3.
enum Way : std::int64_t { kInside = 0, kServed = 1, kClosed = 2 };

template <class Body>
Actor sleeper(Body body) {
  return Actor([body](Self& self) {
    self.mark(1);
    try {
      body(self);
      self.set(3, kServed);
    } catch (const brood::QueueClosed&) {
      self.set(3, kClosed);
    }
  });
}

/// All calls on a queue that is over say so, at once.
template <class I>
void must_be_over(Queue<I>& queue) {
  const auto says_closed = [](auto call) {
    try {
      call();
      return false;
    } catch (const brood::QueueClosed&) {
      return true;
    }
  };
  must(queue.is_shut_down(), "a queue that was shut down says that it was not");
  must(says_closed([&] { (void)queue.get(); }), "get() of a queue that is over came back");
  must(says_closed([&] { (void)queue.try_get(); }), "try_get() of a queue that is over came back");
}

/// shutdown() while somebody sleeps in the queue: a consumer if it is empty, a producer if it is full. Either the queue
/// goes on, with its sleeper, or it is over and the sleeper knows.
struct ShutDown : QueueScene<Small> {
  ShutDown(bool immediate, bool full) : QueueScene(kTwo), immediate_(immediate), full_(full) {
    item = ItemOf<Small>::make(O1);
  }
  bool immediate_;
  bool full_;
  Actor third;
  void ready() override {
    QueueScene::ready();
    if (full_) fill(1, 2);
    brood::Queue<Small> scratch(kTwo);
    scratch.shutdown(immediate_);
  }
  void placed() override {
    third = full_ ? sleeper([this](Self&) { queue.put(item); })
                  : sleeper([this](Self& self) { self.set(0, ItemOf<Small>::key(queue.get())); });
    third.await_blocked();
  }
  void operate() override {
    queue.shutdown(immediate_);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (queue.is_shut_down()) judge_over(findings);
    else judge_as_before(findings);
  }
  void judge_over(Findings& findings) {
    if (!findings.finishes(third, "the sleeper in a queue that is shut down")) return;
    findings.check(third.value(3) == kClosed, "the sleeper in a queue that is shut down was served");
    findings.fresh("a fresh process", [this](Self&) {
      auto opened = Queue<Small>::open(queue.handle());
      const auto put = sleeper_saw([&] { opened.put(item); });
      must(put == kClosed, "a queue that was shut down took an item");
      std::vector<Key> left;
      try {
        for (;;) left.push_back(ItemOf<Small>::key(opened.get()));
      } catch (const brood::QueueClosed&) {}
      // Draining: what was in is handed out. Immediate: nothing is, wherever in the discarding the victim was killed.
      must_be_one_of(left, {!immediate_ && full_ ? std::vector<Key>{V1, V2} : std::vector<Key>{}});
      must_be_over(opened);
      // Somebody else's shutdown finishes what the victim began.
      opened.shutdown(true);
      must(opened.qsize() == 0 && opened.empty(), "shutdown(immediate) left something in the queue");
      must_be_over(opened);
    });
  }
  void judge_as_before(Findings& findings) {
    findings.check(ledger.returned == 0, "shutdown() returned, but the queue goes on");
    findings.check(!third.is_done(), "the sleeper was woken, but the queue goes on");
    if (full_) {
      const Actor consumer = taker(queue);
      if (!findings.finishes(consumer, "a consumer") || !findings.finishes(third, "the sleeping producer")) return;
      findings.check(consumer.value(0) == V1 && third.value(3) == kServed, "the queue goes on in another way");
      judge_contents(findings, {{V2, O1}});
    } else {
      const Actor producer = putter(queue, {O1});
      if (!findings.finishes(producer, "a producer") || !findings.finishes(third, "the sleeping consumer")) return;
      findings.check(third.value(0) == O1 && third.value(3) == kServed, "the queue goes on in another way");
      judge_contents(findings, {{}});
    }
  }

 private:
  template <class Call>
  static Way sleeper_saw(Call call) {
    try {
      call();
      return kServed;
    } catch (const brood::QueueClosed&) {
      return kClosed;
    }
  }
};

/// close() is an affair of one process alone: for the one that sleeps in the queue nothing changes.
struct Close : QueueScene<Small> {
  Close() : QueueScene(kTwo) {}
  Actor third;
  void placed() override {
    third = taker(queue);
    third.await_blocked();
  }
  void operate() override { queue.close(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(!third.is_done() && !queue.closed() && !queue.is_shut_down(), "close() reached other processes");
    const Actor producer = putter(queue, {O1});
    if (!findings.finishes(producer, "a producer") || !findings.finishes(third, "the sleeping consumer")) return;
    findings.check(third.value(0) == O1, "the consumer got " + std::to_string(third.value(0)));
    judge_contents(findings, {{}});
  }
};

/// A shared object as an item. It has something to tell, so that the receiver knows that it is the same.
template <class Object>
struct Gift;

template <>
struct Gift<Lock> {
  static Lock make() { return Lock(); }
  static void must_be_good(Lock& lock) {
    must(lock.try_lock(), "the lock that came in a message is not free");
    lock.unlock();
  }
};

template <>
struct Gift<Queue<int>> {
  static Queue<int> make() {
    Queue<int> queue(kTwo);
    queue.put(4711);
    return queue;
  }
  static void must_be_good(Queue<int>& queue) {
    must(queue.try_get() == 4711 && queue.try_put(1) && queue.try_get() == 1,
         "the queue that came in a message is not what was sent");
  }
};

/// A queue of shared objects. When all is over only the queue itself may be left in the domain.
template <class Object>
struct GiftScene : Scene {
  Queue<Object> queue{kTwo};
  Ledger& ledger = renewed<Ledger>();

  void ready() override {
    settle_in();
    Queue<Object> scratch(kTwo);
    scratch.put(Gift<Object>::make());
    Object got = scratch.get();
    Gift<Object>::must_be_good(got);
  }
  /// An actor makes an object, sends it and is gone: from then on only the message keeps the object.
  void send_from_the_dead(int count = 1) {
    const Actor maker([this, count](Self&) {
      for (int i = 0; i < count; ++i) queue.put(Gift<Object>::make());
    });
    must(maker.await_done(), "the maker did not put: " + maker.error());
  }
  /// gc() keeps what is in the queue; who takes it can use it.
  void judge_present(Findings& findings) {
    findings.fresh("a receiver", [this](Self&) {
      (void)brood::gc();
      auto opened = Queue<Object>::open(queue.handle());
      auto got = opened.try_get();
      must(got.has_value(), "the message is not there any more");
      Gift<Object>::must_be_good(*got);
      must(opened.empty(), "the message is there twice");
    });
  }
  /// Nobody can name an object any more: after gc() the queue is alone.
  void judge_alone(Findings& findings) {
    findings.fresh("gc()", [](Self&) { (void)brood::gc(); });
    const std::string own = brood::base::hex16(queue.handle().id());
    for (const auto& file : DomainView::objects())
      findings.check(file == own, "nobody can name it, but it is still there after gc(): " + file);
  }
  /// And another object goes through it as ever.
  void judge_works(Findings& findings) {
    findings.fresh("another pair", [this](Self&) {
      queue.put(Gift<Object>::make());
      (void)brood::gc();
      auto got = queue.get();
      Gift<Object>::must_be_good(got);
    });
    judge_alone(findings);
  }
};

/// put() of an object that nobody else has open: it lives if, and only if, it is in the queue.
template <class Object>
struct PutGift : GiftScene<Object> {
  explicit PutGift(bool with_sleeper) : with_sleeper_(with_sleeper) {}
  bool with_sleeper_;
  std::optional<Object> gift;
  Actor consumer;
  void ready() override {
    GiftScene<Object>::ready();
    gift.emplace(Gift<Object>::make());
  }
  void placed() override {
    if (!with_sleeper_) return;
    consumer = Actor([this](Self& self) {
      self.mark(1);
      auto got = this->queue.get();
      Gift<Object>::must_be_good(got);
    });
    consumer.await_blocked();
  }
  void operate() override {
    this->queue.put(*gift);
    this->ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (with_sleeper_) {
      if ((this->ledger.returned != 0 || !this->queue.empty()) && !findings.finishes(consumer, "the sleeping consumer"))
        return;
      if (!Findings::settles([this] { return consumer.is_done(); }, Milliseconds(20))) {
        const Actor other([this](Self&) { this->queue.put(Gift<Object>::make()); });
        if (!findings.finishes(other, "another producer") || !findings.finishes(consumer, "the consumer")) return;
      } else {
        findings.finishes(consumer, "the consumer");
      }
      consumer.kill();
    } else if (!this->queue.empty()) {
      judge_present_and_count(findings);
    } else {
      findings.check(this->ledger.returned == 0, "put() returned, but nothing is in the queue");
    }
    this->judge_alone(findings);
    this->judge_works(findings);
  }
  void judge_present_and_count(Findings& findings) {
    findings.check(this->queue.qsize() == 1, "one item is in, qsize() says " + std::to_string(this->queue.qsize()));
    this->judge_present(findings);
  }
};

/// get() of an object that only its message keeps: it is the next receiver's, or the victim's and goes with it.
template <class Object>
struct GetGift : GiftScene<Object> {
  std::optional<Object> gift;
  void placed() override { this->send_from_the_dead(); }
  void operate() override {
    gift.emplace(this->queue.get());
    this->ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!this->queue.empty()) {
      findings.check(this->ledger.returned == 0, "get() returned, but the item is still in the queue");
      this->judge_present(findings);
    }
    this->judge_alone(findings);
    this->judge_works(findings);
  }
};

/// shutdown(immediate) with two objects in the queue: they are freed, or the queue goes on and both can be had.
struct DiscardGifts : GiftScene<Lock> {
  void placed() override { send_from_the_dead(2); }
  void operate() override {
    queue.shutdown(true);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!queue.is_shut_down()) {
      findings.check(ledger.returned == 0, "shutdown() returned, but the queue goes on");
      findings.fresh("a receiver", [this](Self&) {
        (void)brood::gc();
        Lock first = queue.get();
        Lock second = queue.get();
        must(first.handle() != second.handle(), "the same object came twice");
        Gift<Lock>::must_be_good(first);
        Gift<Lock>::must_be_good(second);
        must(queue.empty(), "more is in the queue than was put");
      });
      judge_alone(findings);
      judge_works(findings);
      return;
    }
    // Killed in the middle of it: the next one who shuts it down finishes the discarding.
    findings.fresh("a second shutdown", [this](Self&) {
      must_be_over(queue);
      queue.shutdown(true);
      must(queue.qsize() == 0, "shutdown(immediate) left something in the queue");
      must_be_over(queue);
    });
    judge_alone(findings);
  }
};

/// The end of a queue with an object in it, by its last user or by one of two.
struct DestroyWithGift : Scene {
  explicit DestroyWithGift(bool last) : last_(last) {}
  bool last_;
  Ledger& ledger = renewed<Ledger>();
  std::atomic<std::uint64_t>& id = renewed<std::atomic<std::uint64_t>>();
  std::optional<Queue<Lock>> queue;
  Actor other;
  void ready() override {
    settle_in();
    {
      Queue<Lock> scratch(kTwo);
      scratch.put(Lock());
    }
    queue.emplace(kTwo);
    queue->put(Lock());
    id = queue->handle().id();
  }
  void placed() override {
    if (last_) return;
    other = Actor([this](Self& self) {
      auto mine = Queue<Lock>::open(brood::Handle(brood::Kind::queue, id));
      self.mark(1);
      self.await_go(1);
      auto lock = mine.get();
      Gift<Lock>::must_be_good(lock);
      mine.put(lock);
      (void)mine.get();
    });
    must(other.await(1), "the other user did not open the queue: " + other.error());
  }
  void operate() override {
    queue.reset();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (last_) {
      findings.check(ledger.returned == 0 || DomainView::objects().empty(),
                     "the last user has gone in good order, but something is left");
      findings.fresh("gc()", [](Self&) { (void)brood::gc(); });
      findings.check(DomainView::objects().empty(), "something is left after gc()");
      return;
    }
    findings.fresh("gc()", [](Self&) { (void)brood::gc(); });
    other.go(1);
    findings.finishes(other, "the other user");
    other.kill();
  }
};

/// Their code is long, and most of it text and files: what counts is at the system calls and where shared memory changes.
constexpr std::size_t kFewRandomPoints = 60;

}  // namespace

void add_queue_end_operations(Operations& all) {
  const std::size_t first = all.size();
  add<ShutDown>(all, "Queue: shutdown; a consumer sleeps", false, false);
  add<ShutDown>(all, "Queue: shutdown; a producer sleeps", false, true);
  add<ShutDown>(all, "Queue: shutdown(immediate); a consumer sleeps", true, false);
  add<ShutDown>(all, "Queue: shutdown(immediate); a producer sleeps", true, true);
  add<Close>(all, "Queue: close; a consumer sleeps");
  add<PutGift<Lock>>(all, "Queue: put of a Lock; nobody waits", false);
  add<PutGift<Lock>>(all, "Queue: put of a Lock; a consumer sleeps", true);
  add<PutGift<Queue<int>>>(all, "Queue: put of a Queue; nobody waits", false);
  add<GetGift<Lock>>(all, "Queue: get of a Lock, whose maker is dead");
  add<GetGift<Queue<int>>>(all, "Queue: get of a Queue, whose maker is dead");
  add<DiscardGifts>(all, "Queue: shutdown(immediate) with two Locks in it");
  add<DestroyWithGift>(all, "Queue: the last user's end, with a Lock in it", true);
  add<DestroyWithGift>(all, "Queue: one user's end, with a Lock in it", false);
  all.back().stride = 9;  // about 2000 instructions, each of them a point otherwise
  for (std::size_t i = first; i < all.size(); ++i) all[i].random_points = kFewRandomPoints;
}

}  // namespace fault
