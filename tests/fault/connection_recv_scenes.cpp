// Connection, receiving and polling: a message is taken once or left to others, in order; what a dead receiver had begun is
// dropped; and nobody waits for the dead.
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
constexpr Key O1 = kOthers + 1, O2 = kOthers + 2, O3 = kOthers + 3, O4 = kOthers + 4;
/// Messages of 9 units that fill 512 units, two of which stay free.
constexpr Key kFull = 56;

/// recv() of the first of three messages; nobody waits.
struct Recv : PipeScene<Small> {
  using PipeScene::PipeScene;
  void ready() override {
    PipeScene::ready();
    fill(b, 1, 3);
  }
  void operate() override { ledger.took = ItemOf<Small>::key(a.recv()); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const Key took = ledger.took;
    findings.check(took == kNone || took == V1, "the victim got " + std::to_string(took));
    judge_contents(findings, b, a, took == V1 ? Outcomes{{V2, V2 + 1}} : Outcomes{{V1, V2, V2 + 1}, {V2, V2 + 1}});
  }
};

/// recv_bytes() and recv_bytes_into() of the same.
struct RecvBytes : Recv {
  explicit RecvBytes(bool into) : into_(into) {}
  bool into_;
  void operate() override {
    Small got{};
    if (into_) {
      (void)a.recv_bytes_into(got.words);
    } else {
      const auto bytes = a.recv_bytes();
      std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(got.words.data()));
    }
    ledger.took = ItemOf<Small>::key(got);
  }
};

/// recv() from a full pipe while a sender sleeps: with the message that frees a quarter it wakes.
struct RecvWithSleeper : PipeScene<Small> {
  Actor rival;
  static constexpr Key kNeeded = 14;  ///< 14 messages of 9 units are less than a quarter of 512, and one more is not
  void ready() override {
    PipeScene::ready();
    fill(b, 1, kFull);
  }
  void placed() override {
    rival = sender(b, {O1});
    rival.await_blocked();
  }
  void operate() override {
    for (Key i = 0; i < kNeeded + 2; ++i) ledger.took = ItemOf<Small>::key(a.recv());
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (ledger.returned != 0 && !findings.finishes(rival, "the sleeping sender, for whom there is room,")) return;
    const Actor taker([this](Self& self) {
      self.set(0, ItemOf<Small>::key(a.recv()));
      for (int i = 0; i < 20; ++i) (void)a.recv();
    });
    if (!findings.finishes(taker, "another receiver") || !findings.finishes(rival, "the sleeping sender")) return;
    const Key last = ledger.took == kNone ? kVictims : ledger.took.load();
    const Key next = taker.value(0);
    findings.check(next == last + 1 || next == last + 2, "the next receiver got " + std::to_string(next));
    judge_contents(findings, b, a, {keys_from(next + 21, kVictims + kFull) + O1});
  }
};

/// recv() of an empty pipe: sleeps until two messages come. Another receiver sleeps as well, before it or behind it.
struct RecvEmpty : PipeScene<Small> {
  explicit RecvEmpty(bool third_is_first) : third_is_first_(third_is_first) {}
  bool third_is_first_;
  std::optional<Actor> third;
  std::optional<Actor> giver;
  void placed() override {
    if (third_is_first_) add_third();
  }
  void add_third() {
    third = receiver(a);
    third->await_blocked();
  }
  void operate() override { ledger.took = ItemOf<Small>::key(a.recv()); }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      if (!third) add_third();
      giver = sender(b, {O1, O2});
    }
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!third) add_third();
    if (!giver) giver = sender(b, {O1, O2});
    if (!findings.finishes(*giver, "the sender") || !findings.finishes(*third, "the other receiver")) return;
    const Key got = third->value(0);
    const Key took = ledger.took;
    findings.check(took == kNone || took == O1 || took == O2, "the victim got " + std::to_string(took));
    findings.check((got == O1 || got == O2) && got != took, "the other receiver got " + std::to_string(got));
    if (took != kNone || got == O2) judge_contents(findings, b, a, {{}});
    else judge_contents(findings, b, a, {{O2}, {}});
  }
};

/// Attempts at an empty pipe and polls of it, while a receiver sleeps in it.
struct Look : PipeScene<Small> {
  enum class How { try_recv, try_recv_for, poll, poll_for };
  explicit Look(How how) : how_(how) {}
  How how_;
  Actor third;
  void placed() override {
    third = receiver(a);
    third.await_blocked();
  }
  void operate() override {
    switch (how_) {
      case How::try_recv: ledger.said = a.try_recv() ? 1 : -1; break;
      case How::try_recv_for: ledger.said = a.try_recv_for(30ms) ? 1 : -1; break;
      case How::poll: ledger.said = a.poll() ? 1 : -1; break;
      case How::poll_for: ledger.said = a.poll_for(30ms) ? 1 : -1; break;
    }
  }
  Sleep on_sleep(int /*nth*/) override { return Sleep::by_itself; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.said != 1 && !third.is_done(), "an empty pipe had something");
    const Actor giver = sender(b, {O1});
    if (!findings.finishes(giver, "a sender") || !findings.finishes(third, "the sleeping receiver")) return;
    findings.check(third.value(0) == O1, "the sleeping receiver got " + std::to_string(third.value(0)));
    judge_contents(findings, b, a, {{}});
  }
};

/// poll() of a message: takes nothing.
struct PollMessage : Recv {
  void operate() override { ledger.said = a.poll() ? 1 : -1; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.said != -1, "a message is there, and poll() says no");
    judge_contents(findings, b, a, {{V1, V2, V2 + 1}});
  }
};

/// recv() of a long message while it comes; another one follows.
struct RecvLong : PipeScene<Long> {
  Actor giver;
  void placed() override {
    giver = sender(b, {O1, O2});
    giver.await_blocked();  // there is room for one and a part
  }
  void operate() override { ledger.took = ItemOf<Long>::key(a.recv()); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const Key took = ledger.took;
    findings.check(took == kNone || took == O1, "the victim got " + std::to_string(took));
    const Actor taker([this](Self& self) {
      self.mark(1);
      Key got = ItemOf<Long>::key(a.recv());
      self.set(0, got);
      if (got == O1) self.set(1, ItemOf<Long>::key(a.recv()));
    });
    if (!findings.finishes(taker, "the next receiver") || !findings.finishes(giver, "the sender")) return;
    const Key got = taker.value(0);
    findings.check(got == O2 || (got == O1 && took == kNone && taker.value(1) == O2),
                   "the next receiver got " + std::to_string(got));
    judge_contents(findings, b, a, {{}});
  }
};

/// recv() of what follows a long message whose receiver died in it.
struct RecvAfterDeath : PipeScene<Long> {
  Actor giver;
  void placed() override {
    giver = sender(b, {O1, O2, O3});
    giver.await_blocked();  // there is room for one and a part
    stop(giver);
    Actor dying([this](Self&) {
      must(ItemOf<Long>::key(a.recv()) == O1, "the first message is another one");
      must(!a.try_recv_for(1ns), "the second message is whole");  // has begun it, and keeps the beginning
    });
    must(dying.await_done(), "the first receiver did not get that far: " + dying.error());
    dying.kill();
    resume(giver);
  }
  void operate() override { ledger.took = ItemOf<Long>::key(a.recv()); }
  Sleep on_sleep(int /*nth*/) override { return Sleep::woken; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const Key took = ledger.took;
    findings.check(took == kNone || took == O3, "the victim got " + std::to_string(took));
    const Actor last = sender(b, {O4});
    const Actor taker([this, took](Self& self) {
      self.mark(1);
      const Key got = ItemOf<Long>::key(a.recv());
      must(got == O4 || (got == O3 && took == kNone), "the next receiver got " + std::to_string(got));
      if (got == O3) must(ItemOf<Long>::key(a.recv()) == O4, "the last message is lost");
    });
    if (!findings.finishes(taker, "the next receiver") || !findings.finishes(giver, "the sender")) return;
    findings.finishes(last, "the last sender");
    judge_contents(findings, b, a, {{}});
  }
};

}  // namespace

void add_connection_recv_operations(Operations& all) {
  add<Recv>(all, "Connection: recv; nobody waits", false);
  add<Recv>(all, "Connection: recv by the lane's favourite", true);
  add_every<RecvBytes>(all, 3, "Connection: recv_bytes; nobody waits", false);
  add_every<RecvBytes>(all, 3, "Connection: recv_bytes_into; nobody waits", true);
  add_every<RecvWithSleeper>(all, 25, "Connection: recv from a full pipe; a sender sleeps");
  add<RecvEmpty>(all, "Connection: recv from an empty pipe; another sleeps behind", false);
  add_every<RecvEmpty>(all, 3, "Connection: recv from an empty pipe; another sleeps before", true);
  add<Look>(all, "Connection: try_recv from an empty pipe; a receiver sleeps", Look::How::try_recv);
  add_every<Look>(all, 3, "Connection: try_recv_for times out; a receiver sleeps", Look::How::try_recv_for);
  add<Look>(all, "Connection: poll of an empty pipe; a receiver sleeps", Look::How::poll);
  add_every<Look>(all, 3, "Connection: poll_for times out; a receiver sleeps", Look::How::poll_for);
  add<PollMessage>(all, "Connection: poll of a message");
  add<RecvLong>(all, "Connection: recv of a long message");
  add<RecvAfterDeath>(all, "Connection: recv, the last receiver died in a long message");
}

}  // namespace fault
