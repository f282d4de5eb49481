// Connection, loans and views: a message in place is there or not, comes out once, and the memory of the dead comes back.
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "brood/loan.hpp"
#include "fault/parts.hpp"
#include "fault/pipe_scene.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;
using Small = Parcel<64>;
using Lent = brood::Loan<Small>;
using Seen = brood::View<Small>;

constexpr Key V1 = kVictims + 1, V2 = kVictims + 2;
constexpr Key O1 = kOthers + 1;
constexpr Key J1 = kJudges + 1;

void send_in_place(Connection<Small>& end, Key key) {
  Lent loan = end.loan();
  *loan = ItemOf<Small>::make(key);
  end.send(std::move(loan));
}

std::vector<Lent> take_all(Connection<Small>& end) {
  std::vector<Lent> out;
  while (auto one = end.try_loan()) out.push_back(*std::move(one));
  return out;
}

/// The victim sends through `a` and receives from `a`, everybody else is at `b`, or at `a` as well.
struct PipeLoanScene : PipeScene<Small> {
  using PipeScene::PipeScene;
  std::optional<Lent> loan;
  std::optional<Lent> other_loan;
  std::optional<Seen> view;

  /// Runs once through the code that the operation is going to use; and both inboxes have their chunks.
  void ready() override {
    PipeScene::ready();
    for (auto [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
      send_in_place(*from, kVictims);
      (void)to->recv_view();
      const std::vector<Lent> all = take_all(*from);
      for (int i = 0; i < kLessons; ++i) (void)from->try_loan_for(kShort);
    }
  }
  /// What goes `from` one end `to` the other is right, and the pipe lends as much as on its first day.
  void judge_all(Findings& findings, Connection<Small>& from, Connection<Small>& to, const Outcomes& right) {
    judge_contents(findings, from, to, right);
    findings.fresh("a process that borrows", [&](Self&) {
      auto out = Connection<Small>::open(from.handle());
      auto in = Connection<Small>::open(to.handle());
      {
        std::vector<Lent> lent;
        while (lent.size() < kPipeLoans) {
          auto one = out.try_loan_for(kComesBack);
          must(one.has_value(), "the pipe lends " + std::to_string(lent.size()) + " messages only");
          lent.push_back(*std::move(one));
        }
        must(!out.try_loan(), "the pipe lends more than on its first day");
      }
      send_in_place(out, J1);
      const Seen seen = in.recv_view();
      must(ItemOf<Small>::key(*seen) == J1 && seen.is_in_place(), "a message in place came out as something else");
    });
  }
};

struct TakeLoan : PipeLoanScene {
  void operate() override {
    loan = a.loan();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_all(findings, a, b, {{}}); }
};

struct FirstLoan : TakeLoan {
  void ready() override {
    PipeScene::ready();
    auto [one, other] = brood::pipe<Small>(kSmallPipe);
    (void)one.loan();
  }
};

struct LoanAfterDeath : TakeLoan {
  void placed() override {
    const Actor dying([this](Self&) { (void)new std::vector<Lent>(take_all(a)); });
    must(dying.await_done(), "the first borrower did not get that far: " + dying.error());
  }
};

/// loan() when all is lent: sleeps until some comes back.
struct LoanFull : TakeLoan {
  Actor holder;
  void placed() override {
    holder = Actor([this](Self& self) {
      std::vector<Lent> mine = take_all(a);
      self.mark(1);
      self.await_go(1);
      mine.clear();
    });
    must(holder.await(1), "nobody holds the memory: " + holder.error());
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0) holder.go(1);
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& at) override {
    holder.go(1);
    if (findings.finishes(holder, "who gives the memory back")) TakeLoan::judge(findings, at);
  }
};

struct SendLoan : PipeLoanScene {
  using PipeLoanScene::PipeLoanScene;
  void ready() override {
    PipeLoanScene::ready();
    send_in_place(a, V1);
    loan = a.loan();
    **loan = ItemOf<Small>::make(V2);
  }
  void operate() override {
    a.send(*std::move(loan));
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    judge_all(findings, a, b, with_or_without({V1}, V2));
  }
};

struct SendLoanWithSleeper : PipeLoanScene {
  Actor sleeper;
  void ready() override {
    PipeLoanScene::ready();
    loan = a.loan();
    **loan = ItemOf<Small>::make(V1);
  }
  void placed() override {
    sleeper = receiver(b);
    sleeper.await_blocked();
  }
  void operate() override {
    a.send(*std::move(loan));
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (ledger.returned != 0 && !findings.finishes(sleeper, "the sleeping receiver")) return;
    const Actor other = sender(a, {O1});
    if (!findings.finishes(other, "another sender") || !findings.finishes(sleeper, "the receiver")) return;
    const Key got = sleeper.value(0);
    findings.check(got == V1 || (got == O1 && ledger.returned == 0), "the receiver got " + std::to_string(got));
    judge_all(findings, a, b, got == V1 ? Outcomes{{O1}} : Outcomes{{}});
  }
};

struct RecvView : PipeLoanScene {
  using PipeLoanScene::PipeLoanScene;
  void ready() override {
    PipeLoanScene::ready();
    send_in_place(b, V1);
    send_in_place(b, V2);
  }
  void operate() override {
    view = a.recv_view();
    ledger.took = ItemOf<Small>::key(**view);
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const Key took = ledger.took;
    findings.check(took == kNone || took == V1, "the victim got " + std::to_string(took));
    judge_all(findings, b, a, took == V1 ? Outcomes{{V2}} : Outcomes{{V1, V2}, {V2}});
  }
};

/// recv() of a message in place: copied, and its memory given back.
struct RecvCopy : RecvView {
  void operate() override { ledger.took = ItemOf<Small>::key(a.recv()); }
};

/// A view is given back while a sender sleeps who needs the memory.
struct EndOfViewWithSleeper : PipeLoanScene {
  Actor third;
  void ready() override {
    PipeLoanScene::ready();
    send_in_place(b, V1);
    view = a.recv_view();
    other_loan = b.loan();
  }
  void placed() override {
    third = Actor([this](Self& self) {
      self.mark(1);
      send_in_place(b, J1);
    });
    third.await_blocked();
  }
  void operate() override { view.reset(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (findings.finishes(third, "the sender who sleeps for memory")) judge_all(findings, b, a, {{J1}});
  }
};

}  // namespace

void add_connection_loan_operations(Operations& all) {
  add<TakeLoan>(all, "Connection: loan");
  add_long<FirstLoan>(all, "Connection: loan, the first of all");
  add<LoanAfterDeath>(all, "Connection: loan, all the memory was somebody's who is dead");
  add_every<LoanFull>(all, 3, "Connection: loan, all is lent");
  add<SendLoan>(all, "Connection: send of a loan");
  add_every<SendLoan>(all, 3, "Connection: send of a loan, as the favourite", true);
  add<SendLoanWithSleeper>(all, "Connection: send of a loan; a receiver sleeps");
  add<RecvView>(all, "Connection: recv_view");
  add_every<RecvView>(all, 3, "Connection: recv_view, as the favourite", true);
  add_every<RecvCopy>(all, 3, "Connection: recv of a message in place");
  add_every<EndOfViewWithSleeper>(all, 3, "Connection: view given back; a sender sleeps for memory");
}

}  // namespace fault
