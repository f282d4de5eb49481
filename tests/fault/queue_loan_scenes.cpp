// Queue, loans and views: a message in place is put wholly or not at all and handed out once; memory of the dead comes back,
// all of it, and who waits for memory gets it.
#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "brood/domain.hpp"
#include "brood/loan.hpp"
#include "fault/parcels.hpp"
#include "fault/parts.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;
using brood::QueueOptions;
using brood::WhenFull;
using Small = Parcel<64>;
using Queue = brood::Queue<Small>;
using Lent = brood::Loan<Small>;
using Seen = brood::View<Small>;

constexpr Key V1 = kVictims + 1, V2 = kVictims + 2, V3 = kVictims + 3;
constexpr Key J1 = kJudges + 1;

/// Memory for two messages in place.
constexpr std::size_t kLoans = 2;
const QueueOptions kTwo{.capacity = 3, .byte_budget = kLoans * 4096};
const QueueOptions kTwoOfTheNewest{.capacity = 3, .byte_budget = kLoans * 4096, .when_full = WhenFull::drop_oldest};

void put_in_place(Queue& queue, Key key) {
  Lent loan = queue.loan();
  *loan = ItemOf<Small>::make(key);
  queue.put(std::move(loan));
}

/// Takes a loan and gives it back.
Actor lender(Queue& queue) {
  return Actor([&queue](Self& self) {
    self.mark(1);
    const Lent loan = queue.loan();
    self.set(0, 1);
  });
}

struct LoanScene : QueueScene<Small> {
  explicit LoanScene(const QueueOptions& options = kTwo) : QueueScene(options) {}
  std::optional<Lent> loan;
  std::optional<Seen> view;
  std::optional<Lent> other_loan;

  /// Runs once through the code that the operation is going to use; and the queue has its chunks.
  void ready() override {
    QueueScene::ready();
    put_in_place(queue, kVictims);
    (void)queue.get_view();
    const std::vector<Lent> all = take_all(queue);
    if (queue.when_full() != WhenFull::block) return;
    for (int i = 0; i < kLessons; ++i) (void)queue.try_loan_for(kShort);
  }
  static std::vector<Lent> take_all(Queue& from) {
    std::vector<Lent> out;
    while (auto one = from.try_loan()) out.push_back(*std::move(one));
    return out;
  }
  /// What is in the queue is right, it works, and lends as much as on its first day.
  void judge_all(Findings& findings, const Outcomes& right) {
    judge_contents(findings, right);
    findings.fresh("a process that borrows", [&](Self&) {
      Queue again = Queue::open(queue.handle());
      if (again.when_full() == WhenFull::drop_oldest) return;  // there is always room
      {
        std::vector<Lent> lent;  // memory of the dead comes when its death is known
        while (lent.size() < kLoans) {
          auto one = again.try_loan_for(kComesBack);
          must(one.has_value(), "the queue lends " + std::to_string(lent.size()) + " messages only");
          lent.push_back(*std::move(one));
        }
        must(!again.try_loan(), "the queue lends more than on its first day");
      }
      put_in_place(again, J1);
      const Seen seen = again.get_view();
      must(ItemOf<Small>::key(*seen) == J1 && seen.is_in_place(), "a message in place came out as something else");
    });
  }
};

struct TakeLoan : LoanScene {
  void operate() override {
    loan = queue.loan();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_all(findings, {{}}); }
};

/// The first loan of all makes the memory for chunks.
struct FirstLoan : TakeLoan {
  void ready() override {
    settle_in();
    Queue scratch(kTwo);
    (void)scratch.loan();
  }
};

/// loan() after somebody has died with all the memory.
struct LoanAfterDeath : TakeLoan {
  void placed() override {
    const Actor dying([this](Self&) { (void)new std::vector<Lent>(take_all(queue)); });
    must(dying.await_done(), "the first borrower did not get that far: " + dying.error());
  }
};

struct GiveBack : LoanScene {
  void ready() override {
    LoanScene::ready();
    loan = queue.loan();
  }
  void operate() override { loan.reset(); }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_all(findings, {{}}); }
};

/// A loan is given back while somebody sleeps who needs it; he gets it from the living or from the dead.
struct GiveBackWithSleeper : GiveBack {
  Actor third;
  void ready() override {
    GiveBack::ready();
    other_loan = queue.loan();
  }
  void placed() override {
    third = lender(queue);
    third.await_blocked();
  }
  void judge(Findings& findings, const Arrival& at) override {
    if (findings.finishes(third, "who sleeps for memory")) GiveBack::judge(findings, at);
  }
};

/// loan() when all is lent: sleeps until one comes back. Another one sleeps as well.
struct LoanFull : TakeLoan {
  Actor holder;
  Actor third;
  void placed() override {
    holder = Actor([this](Self& self) {
      std::vector<Lent> mine = take_all(queue);
      self.mark(1);
      self.await_go(1);
      mine.clear();
    });
    must(holder.await(1), "nobody holds the memory: " + holder.error());
    third = lender(queue);
    third.await_blocked();
  }
  void operate() override { loan = queue.loan(); }
  Sleep on_sleep(int nth) override {
    if (nth == 0) holder.go(1);
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& at) override {
    holder.go(1);
    if (!findings.finishes(holder, "who gives the memory back")) return;
    if (findings.finishes(third, "who sleeps for memory")) TakeLoan::judge(findings, at);
  }
};

struct LoanTimesOut : LoanFull {
  void operate() override { ledger.said = queue.try_loan_for(30ms) ? 1 : -1; }
  Sleep on_sleep(int /*nth*/) override { return Sleep::by_itself; }
};

struct PutLoan : LoanScene {
  void ready() override {
    LoanScene::ready();
    put_in_place(queue, V1);
    loan = queue.loan();
    **loan = ItemOf<Small>::make(V2);
  }
  void operate() override {
    queue.put(*std::move(loan));
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_all(findings, with_or_without({V1}, V2)); }
};

/// put() of a loan while a consumer sleeps. It is enough to wake it, or it takes the death.
struct PutLoanWithSleeper : LoanScene {
  Actor consumer;
  void ready() override {
    LoanScene::ready();
    loan = queue.loan();
    **loan = ItemOf<Small>::make(V1);
  }
  void placed() override {
    consumer = taker(queue);
    consumer.await_blocked();
  }
  void operate() override {
    queue.put(*std::move(loan));
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const bool is_in = ledger.returned != 0 || !queue.empty();
    if (is_in && !findings.finishes(consumer, "the sleeping consumer")) return;
    const Actor other = putter(queue, {J1});
    if (!findings.finishes(other, "another producer") || !findings.finishes(consumer, "the consumer")) return;
    const Key got = consumer.value(0);
    findings.check(got == V1 || (got == J1 && !is_in), "the consumer got " + std::to_string(got));
    judge_all(findings, got == V1 ? Outcomes{{J1}} : Outcomes{{}});
  }
};

/// Nothing is free: the oldest message in place goes, and with it its memory comes.
struct DropOldest : LoanScene {
  DropOldest() : LoanScene(kTwoOfTheNewest) {}
  void ready() override {
    LoanScene::ready();
    put_in_place(queue, V1);
    put_in_place(queue, V2);
  }
  void operate() override {
    put_in_place(queue, V3);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.fresh("a fresh process", [&](Self&) {
      Queue again = Queue::open(queue.handle());
      must_be_one_of(drain(again),
                     ledger.returned != 0 ? Outcomes{{V2, V3}} : Outcomes{{V1, V2}, {V2}, {V2, V3}, {}, {V3}});
      // All the memory is there again once the death is known; until then more has to go.
      const auto patience = std::chrono::steady_clock::now() + kComesBack;
      for (;;) {
        for (const Key key : {J1, J1 + 1, J1 + 2}) put_in_place(again, key);
        const std::vector<Key> found = drain(again);
        if (found == std::vector<Key>{J1 + 1, J1 + 2}) break;
        must(std::chrono::steady_clock::now() < patience, "of three the newest are now " + listed(found));
      }
    });
  }
};

struct GetView : LoanScene {
  void ready() override {
    LoanScene::ready();
    put_in_place(queue, V1);
    put_in_place(queue, V2);
  }
  void operate() override {
    view = queue.get_view();
    ledger.took = ItemOf<Small>::key(**view);
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const Key took = ledger.took;
    findings.check(took == kNone || took == V1, "the victim got " + std::to_string(took));
    judge_all(findings, took == V1 ? Outcomes{{V2}} : Outcomes{{V1, V2}, {V2}});
  }
};

/// The view is given back while a producer sleeps who needs the memory.
struct EndOfViewWithSleeper : LoanScene {
  Actor third;
  void ready() override {
    LoanScene::ready();
    put_in_place(queue, V1);
    view = queue.get_view();
    other_loan = queue.loan();
  }
  void placed() override {
    third = Actor([this](Self& self) {
      self.mark(1);
      put_in_place(queue, J1);
    });
    third.await_blocked();
  }
  void operate() override { view.reset(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (findings.finishes(third, "the producer who sleeps for memory")) judge_all(findings, {{J1}});
  }
};

/// get() of a message in place: copied, and its memory given back.
struct GetCopy : GetView {
  void operate() override { get(); }
};

/// shutdown(immediate) with messages in place: they go, the last one too, and nobody can borrow any more.
struct ShutDownInPlace : LoanScene {
  Actor third;
  void ready() override {
    LoanScene::ready();
    put_in_place(queue, V1);
    put_in_place(queue, V2);
  }
  void placed() override {
    third = Actor([this](Self& self) {
      self.mark(1);
      try {
        (void)queue.loan();
      } catch (const brood::QueueClosed&) {
        self.set(0, 1);
      }
    });
    third.await_blocked();
  }
  void operate() override {
    queue.shutdown(true);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.fresh("who shuts it down once more", [&](Self&) {
      Queue again = Queue::open(queue.handle());
      again.shutdown(true);
      must(again.empty() && again.qsize() == 0, "items are left after an immediate shutdown");
    });
    if (findings.finishes(third, "who sleeps for memory"))
      findings.check(third.value(0) == 1, "somebody borrowed from a queue that was shut down");
  }
};

/// gc() gives the memory of free chunks back while others hold some, and drops nothing that is needed.
struct TidyChunks : LoanScene {
  Actor holder;
  void ready() override {
    LoanScene::ready();
    put_in_place(queue, V1);
  }
  void placed() override {
    holder = Actor([this](Self& self) {
      const Seen mine = queue.get_view();
      put_in_place(queue, V2);
      self.mark(1);
      self.await_go(1);
      self.set(0, ItemOf<Small>::key(*mine));
    });
    must(holder.await(1), "nobody holds a view: " + holder.error());
  }
  void operate() override {
    (void)brood::gc();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    holder.go(1);
    if (!findings.finishes(holder, "who holds a view")) return;
    findings.check(holder.value(0) == V1, "the view shows " + std::to_string(holder.value(0)));
    judge_all(findings, {{V2}});
  }
};

/// put_many() of a small item, one that goes to a chunk, and a small one: up to some point they are in.
struct PutManyMixed : Scene {
  brood::Queue<std::string> queue{QueueOptions{.byte_budget = 128 << 10}};
  Ledger& ledger = renewed<Ledger>();
  std::vector<std::string> items = {"one", std::string(40'000, '2'), "three"};
  void ready() override {
    settle_in();
    brood::Queue<std::string> scratch(QueueOptions{.byte_budget = 128 << 10});
    scratch.put_many(items);
    std::vector<std::string> got;
    while (got.size() < items.size()) (void)scratch.get_many(got, 3);
    queue.put(items[1]);
    (void)queue.get();
  }
  void operate() override {
    queue.put_many(items);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.fresh("a fresh process", [&](Self&) {
      auto again = brood::Queue<std::string>::open(queue.handle());
      std::vector<std::string> found;
      while (auto item = again.try_get()) found.push_back(*std::move(item));
      must(found.size() <= items.size() && std::equal(found.begin(), found.end(), items.begin()),
           "the items are not those that were put, in order");
      must(ledger.returned == 0 || found.size() == items.size(), "items are missing");
      // 40,000 bytes take ten pages of thirty-two.
      for (int i = 0; i < 3; ++i)
        must(again.try_put_for(items[1], kComesBack), "room for " + std::to_string(i) + " large items, not for 3");
      must(!again.try_put(items[1]), "more large items fit than before");
    });
  }
};

}  // namespace

void add_queue_loan_operations(Operations& all) {
  add<TakeLoan>(all, "Queue: loan");
  add_long<FirstLoan>(all, "Queue: loan, the first of all");
  add<LoanAfterDeath>(all, "Queue: loan, all the memory was somebody's who is dead");
  add<GiveBack>(all, "Queue: loan given back");
  add<GiveBackWithSleeper>(all, "Queue: loan given back; one sleeps for memory");
  add<LoanFull>(all, "Queue: loan, all is lent; one sleeps for memory");
  add_every<LoanTimesOut>(all, 3, "Queue: try_loan_for times out; one sleeps for memory");
  add<PutLoan>(all, "Queue: put of a loan");
  add<PutLoanWithSleeper>(all, "Queue: put of a loan; a consumer sleeps");
  add<DropOldest>(all, "Queue: loan and put, the oldest makes room");
  add<GetView>(all, "Queue: get_view");
  add<EndOfViewWithSleeper>(all, "Queue: view given back; a producer sleeps for memory");
  add<GetCopy>(all, "Queue: get of a message in place");
  add<ShutDownInPlace>(all, "Queue: shutdown(immediate), messages in place; one sleeps for memory");
  add_long<TidyChunks>(all, "Queue: gc() with chunks in use");
  add_long<PutManyMixed>(all, "Queue: put_many of small and large items");
  all.back().stride = 14'001;  // a copy of 40 KB is one step for each byte
}

}  // namespace fault
