// Connection, sending: a message is there whole or not at all, comes out once, in order; a long one that its
// sender could not finish is broken, once; and nobody waits for the dead.
#include <chrono>
#include <optional>

#include "fault/parts.hpp"
#include "fault/pipe_scene.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;
using Small = Parcel<64>;
/// Three fragments of the smallest ring.
using Long = Parcel<2600>;

constexpr Key V1 = kVictims + 1, V2 = kVictims + 2;
constexpr Key O1 = kOthers + 1, O2 = kOthers + 2;
/// Messages of 9 units that fill 512 units, two of which stay free.
constexpr Key kFull = 56;

/// send() behind another message; nobody waits.
struct Send : PipeScene<Small> {
  using PipeScene::PipeScene;
  void ready() override {
    PipeScene::ready();
    fill(a, 1, 1);
    item = ItemOf<Small>::make(V2);
  }
  void operate() override {
    a.send(item);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    judge_contents(findings, a, b, with_or_without({V1}, V2));
  }
};

/// send() into an empty pipe while a receiver sleeps.
struct SendWithSleeper : PipeScene<Small> {
  using PipeScene::PipeScene;
  Actor sleeper;
  void placed() override {
    sleeper = receiver(b);
    sleeper.await_blocked();
  }
  void operate() override {
    a.send(item);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (ledger.returned != 0 && !findings.finishes(sleeper, "the sleeping receiver")) return;
    const Actor other = sender(a, {O1});
    if (!findings.finishes(other, "another sender") || !findings.finishes(sleeper, "the receiver")) return;
    const Key got = sleeper.value(0);
    findings.check(got == V1 || (got == O1 && ledger.returned == 0), "the receiver got " + std::to_string(got));
    judge_contents(findings, a, b, got == V1 ? Outcomes{{O1}} : Outcomes{{}});
  }
};

/// The lane has a favourite that lives: the victim withdraws it.
struct SendWithdrawing : PipeScene<Small> {
  std::optional<Actor> rival;
  void set() override {
    rival = Actor([this](Self&) {
      for (int i = 0; i < 100; ++i) {
        a.send(item);
        (void)b.recv();
      }
    });
    must(rival->await_done(), "the favourite did not get that far");
  }
  void operate() override {
    a.send(item);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    // The favourite that was withdrawn goes on; it is the only one who may believe that it needs no lock.
    judge_contents(findings, a, b, with_or_without({}, V1));
  }
};

/// send() into a full pipe: sleeps until there is room for a quarter.
struct SendFull : PipeScene<Small> {
  std::optional<Actor> taker;
  void ready() override {
    PipeScene::ready();
    fill(a, 1, kFull);
    item = ItemOf<Small>::make(kVictims + kFull + 1);
  }
  void operate() override {
    a.send(item);
    ledger.returned = 1;
  }
  Sleep on_sleep(int nth) override {
    // So many: less than a quarter would not wake it.
    if (nth == 0) {
      taker = Actor([this](Self&) {
        for (int i = 0; i < 20; ++i) (void)b.recv();
      });
    }
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    Key first = 1;
    if (taker) {
      if (!findings.finishes(*taker, "the receiver")) return;
      first = 21;
    }
    judge_contents(findings, a, b,
                   with_or_without(keys_from(kVictims + first, kVictims + kFull), kVictims + kFull + 1));
  }
};

/// Attempts at a full pipe, while another sender sleeps in it.
struct TrySendFull : PipeScene<Small> {
  explicit TrySendFull(bool timed) : timed_(timed) {}
  bool timed_;
  Actor rival;
  void ready() override {
    PipeScene::ready();
    fill(a, 1, kFull);
    item = ItemOf<Small>::make(kVictims + kFull + 1);
  }
  void placed() override {
    rival = sender(a, {O1});
    rival.await_blocked();
  }
  void operate() override { ledger.said = (timed_ ? a.try_send_for(item, 30ms) : a.try_send(item)) ? 1 : -1; }
  Sleep on_sleep(int /*nth*/) override { return Sleep::by_itself; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.said != 1 && !rival.is_done(), "a full pipe took another message");
    const Actor taker([this](Self&) {
      for (int i = 0; i < 20; ++i) (void)b.recv();
    });
    if (!findings.finishes(taker, "a receiver") || !findings.finishes(rival, "the sleeping sender")) return;
    judge_contents(findings, a, b, {keys_from(kVictims + 21, kVictims + kFull) + O1});
  }
};

/// send() of a long message, which waits in the middle; the receiver takes it as it comes. Another holder of the end lives
/// and sends afterwards.
struct SendLong : PipeScene<Long> {
  explicit SendLong(bool with_receiver) : with_receiver_(with_receiver) {}
  bool with_receiver_;
  std::optional<Actor> taker;
  void placed() override {
    if (!with_receiver_) return;
    taker = receiver(b, 2);
    taker->await_blocked();
  }
  void operate() override {
    a.send(item);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!taker) {
      // Nobody sends any more, but the tester holds the end: the receiver must find out for itself.
      const Outcomes right = ledger.returned != 0 ? Outcomes{{V1}} : Outcomes{{}, {V1}, {kBroken}};
      findings.fresh("a receiver", [&](Self&) {
        auto in = Connection<Long>::open(b.handle());
        must_be_one_of(drained(in), right);
      });
      judge_contents(findings, a, b, {{}});
      return;
    }
    const Actor other = sender(a, {O1, O2});
    if (!findings.finishes(*taker, "the receiver")) return;
    const Key first = taker->value(0);
    const Key second = taker->value(1);
    findings.check(first == V1 || (ledger.returned == 0 && (first == kBroken || first == O1)),
                   "the receiver's first message is " + std::to_string(first));
    findings.check(second == (first == O1 ? O2 : O1), "the receiver's second message is " + std::to_string(second));
    findings.fresh("another receiver", [&](Self&) {
      if (first != O1) must(ItemOf<Long>::key(b.recv()) == O2, "the last message is lost");
    });
    if (!findings.finishes(other, "the other sender")) return;
    judge_contents(findings, a, b, {{}});
  }
};

/// Time runs out in the middle of a long message: it is taken back.
struct SendLongTimesOut : PipeScene<Long> {
  void ready() override {
    PipeScene::ready();
    a.send(ItemOf<Long>::make(V1));
    item = ItemOf<Long>::make(V2);
  }
  void operate() override { ledger.said = a.try_send_for(item, 20ms) ? 1 : -1; }
  Sleep on_sleep(int /*nth*/) override { return Sleep::by_itself; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.said != 1, "a message that does not fit was sent");
    judge_contents(findings, a, b, ledger.said == -1 ? Outcomes{{V1}} : Outcomes{{V1}, {V1, kBroken}});
  }
};

/// send() by the one who finds that the sender before died in the middle of a long message.
struct SendAfterDeath : PipeScene<Long> {
  void placed() override {
    Actor dying = sender(a, {O1, O2});
    dying.await_blocked();
    dying.kill();
  }
  void operate() override {
    ledger.said = a.try_send(item) ? 1 : -1;  // there may be no room: what counts is that it repairs
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.fresh("a receiver", [&](Self&) {
      auto in = Connection<Long>::open(b.handle());
      auto found = drained(in);
      // O1 is whole; of O2 there is a beginning, or nothing.
      const bool is_v1_there = !found.empty() && found.back() == V1;
      must(ledger.said != 1 || is_v1_there, "what was sent is lost");
      if (is_v1_there) found.pop_back();
      must_be_one_of(found, {{O1, kBroken}});
    });
    judge_contents(findings, a, b, {{}});
  }
};

}  // namespace

void add_connection_send_operations(Operations& all) {
  add<Send>(all, "Connection: send; nobody waits", false);
  add<Send>(all, "Connection: send by the lane's favourite", true);
  add<SendWithdrawing>(all, "Connection: send, withdrawing a favourite");
  add<SendWithSleeper>(all, "Connection: send; a receiver sleeps", false);
  add<SendWithSleeper>(all, "Connection: send by the lane's favourite; a receiver sleeps", true);
  add<SendFull>(all, "Connection: send into a full pipe");
  add<TrySendFull>(all, "Connection: try_send into a full pipe; a sender sleeps", false);
  add_every<TrySendFull>(all, 3, "Connection: try_send_for times out; a sender sleeps", true);
  add<SendLong>(all, "Connection: send of a long message; nobody waits", false);
  add<SendLong>(all, "Connection: send of a long message; a receiver sleeps", true);
  add<SendLongTimesOut>(all, "Connection: try_send_for of a long message times out");
  add<SendAfterDeath>(all, "Connection: send, the last sender died in a long message");
}

}  // namespace fault
