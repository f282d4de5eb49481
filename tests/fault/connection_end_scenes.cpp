// Connection, its ends: who holds them, when they have ended, and shared objects whose handles lie in a pipe.
#include <chrono>
#include <memory>
#include <optional>

#include "base/hex.hpp"
#include "brood/domain.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "fault/domain_view.hpp"
#include "fault/parts.hpp"
#include "fault/pipe_scene.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;
using brood::Lock;
using brood::Queue;
using Small = Parcel<64>;
using End = Connection<Small>;
using EndQueue = Queue<End>;
const brood::QueueOptions kTwo{.capacity = 2, .byte_budget = 4096};

/// Waits for the end of file; its value 0 is what came instead.
Actor end_waiter(End& end) {
  return Actor([&end](Self& self) {
    self.mark(1);
    try {
      self.set(0, ItemOf<Small>::key(end.recv()));
    } catch (const brood::EndOfFile&) {
      self.set(0, kEnd);
    }
  });
}

/// Everybody who looks finds the end, again and again.
void judge_ended(Findings& findings, End& end) {
  findings.fresh("who looks for the end", [&](Self&) {
    auto mine = End::open(end.handle());
    for (int i = 0; i < 3; ++i) {
      must(mine.poll(), "the end can not be polled");
      must(key_received(mine) == kEnd, "the end is not there");
    }
    try {
      mine.send(Small{});
      must(false, "sent to nobody");
    } catch (const brood::BrokenPipe&) {}
  });
}
void judge_open(Findings& findings, End& end) {
  findings.fresh("who looks for the end", [&](Self&) {
    auto mine = End::open(end.handle());
    must(key_received(mine) == kNone, "an end that is held has ended");
  });
}

/// The victim alone holds end `a`, once the tester has closed its own.
struct EndScene : PipeScene<Small> {
  Actor waiter;
  bool with_waiter_ = true;
  explicit EndScene(bool with_waiter) : with_waiter_(with_waiter) {}
  void placed() override {
    a.close();  // the tester's copy
    if (!with_waiter_) return;
    waiter = end_waiter(b);
    waiter.await_blocked();
  }
  void judge_the_end(Findings& findings) {
    if (with_waiter_ && findings.finishes(waiter, "who waits for the end")) {
      findings.check(waiter.value(0) == kEnd, "the waiter got " + std::to_string(waiter.value(0)));
    }
    judge_ended(findings, b);
  }
};

/// close() by the last holder, who dies anyway: the end comes.
struct CloseLast : EndScene {
  using EndScene::EndScene;
  void operate() override { a.close(); }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_the_end(findings); }
};

/// close() by one of two holders: nothing comes, until the other one is killed.
struct CloseOne : EndScene {
  CloseOne() : EndScene(true) {}
  Actor holder;
  void placed() override {
    holder = Actor([this](Self&) { (void)a.handle(); });
    must(holder.await_done(), "the other holder does not hold");
    EndScene::placed();
  }
  void operate() override { a.close(); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    judge_open(findings, b);
    findings.check(!waiter.is_done(), "an end that is held has ended");
    holder.kill();
    judge_the_end(findings);
  }
};

/// open() of a copy, by the only process that holds the end; then it is killed, or closes one of them.
struct OpenCopy : EndScene {
  OpenCopy() : EndScene(true) {}
  std::string handle;
  void ready() override {
    EndScene::ready();
    handle = a.handle().str();
  }
  void operate() override {
    End copy = End::open(handle);
    a.close();
    copy.send(item);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!findings.finishes(waiter, "the waiter")) return;
    const Key got = waiter.value(0);
    findings.check(got == kVictims + 1 || (got == kEnd && ledger.returned == 0),
                   "the waiter got " + std::to_string(got));
    judge_ended(findings, b);
  }
};

/// The victim finds out that the last holder of the other end is dead, and says so.
struct FindEnd : PipeScene<Small> {
  explicit FindEnd(bool sending) : sending_(sending) {}
  bool sending_;
  void placed() override {
    Actor last([this](Self&) { (void)b.handle(); });
    must(last.await_done(), "the last holder does not hold");
    b.close();
    last.kill();
  }
  void operate() override {
    try {
      if (sending_) a.send(item);
      else (void)a.recv();
    } catch (const brood::EndOfFile&) {
      ledger.said = 1;
    } catch (const brood::BrokenPipe&) {
      ledger.said = 1;
    }
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.returned == 0 || ledger.said == 1, "there was somebody to talk to");
    judge_ended(findings, a);
  }
};

/// put() of an end into a queue, by its last holder. In the queue it is held; else it has ended with the victim.
struct PutEnd : EndScene {
  explicit PutEnd(bool with_waiter) : EndScene(with_waiter) {}
  EndQueue queue{kTwo};
  void ready() override {
    EndScene::ready();
    EndQueue scratch(kTwo);
    scratch.put(a);
    (void)scratch.get();
  }
  void operate() override {
    queue.put(a);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (queue.empty()) {
      findings.check(ledger.returned == 0, "put() returned, but nothing is in the queue");
      judge_the_end(findings);
      return;
    }
    judge_open(findings, b);
    findings.check(!with_waiter_ || !waiter.is_done(), "an end that lies in a queue has ended");
    findings.fresh("a receiver of the end", [this](Self&) {
      (void)brood::gc();
      End received = queue.get();
      must(key_received(received) == kNone, "an end whose other end is held has ended");
    });
    judge_the_end(findings);
  }
};

/// get() of an end that only its message holds: it is the next receiver's, or has ended with the victim.
struct GetEnd : EndScene {
  explicit GetEnd(bool with_waiter) : EndScene(with_waiter) {}
  EndQueue queue{kTwo};
  void ready() override {
    EndScene::ready();
    EndQueue scratch(kTwo);
    scratch.put(b);
    (void)scratch.get();
    a.close();
  }
  void placed() override {
    Actor putter([this](Self&) { queue.put(a); });
    must(putter.await_done(), "the end was not put");
    EndScene::placed();
    putter.kill();
  }
  void operate() override {
    End got = queue.get();
    ledger.returned = 1;
    got.close();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (queue.empty()) {
      judge_the_end(findings);
      return;
    }
    findings.check(ledger.returned == 0, "get() returned, but the end is still in the queue");
    judge_open(findings, b);
    findings.check(!with_waiter_ || !waiter.is_done(), "an end that lies in a queue has ended");
    findings.fresh("another receiver", [this](Self&) { (void)queue.get(); });
    judge_the_end(findings);
  }
};

/// A Lock through a pipe: it lives if, and only if, somebody can still receive it.
struct Gift : Scene {
  explicit Gift(bool sending) : Gift(brood::pipe<Lock>(kSmallPipe), sending) {}
  Gift(std::pair<Connection<Lock>, Connection<Lock>> ends, bool sending)
      : a(std::move(ends.first)), b(std::move(ends.second)), sending_(sending) {}
  Connection<Lock> a;
  Connection<Lock> b;
  bool sending_;
  Ledger& ledger = renewed<Ledger>();
  std::optional<Lock> gift;

  void ready() override {
    settle_in();
    auto [one, other] = brood::pipe<Lock>(kSmallPipe);
    one.send(Lock());
    (void)other.recv();
    (void)a.handle();
    if (sending_) gift.emplace();
  }
  void placed() override {
    if (sending_) return;
    const Actor maker([this](Self&) { b.send(Lock()); });
    must(maker.await_done(), "the maker did not send: " + maker.error());
  }
  void operate() override {
    if (sending_) a.send(*gift);
    else gift.emplace(a.recv());
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    Connection<Lock>& to = sending_ ? b : a;
    findings.fresh("a receiver", [&](Self&) {
      (void)brood::gc();
      auto in = Connection<Lock>::open(to.handle());
      std::optional<Lock> got;
      try {
        got = in.try_recv();
      } catch (const brood::BrokenMessage&) {}
      must(got.has_value() || ledger.returned == 0 || !sending_, "what was sent is lost");
      must(!got || sending_ || ledger.returned == 0, "what was received is still there");
      if (!got) return;
      must(got->try_lock(), "the lock that came is not free");
      got->unlock();
    });
    findings.fresh("gc()", [](Self&) { (void)brood::gc(); });
    for (const auto& file : DomainView::objects()) {
      const bool own = file == brood::base::hex16(a.handle().id()) || file == brood::base::hex16(b.handle().id());
      findings.check(own, "nobody can name it, but it is still there after gc(): " + file);
    }
    findings.fresh("another pair", [&](Self&) {
      a.send(Lock());
      b.send(Lock());
      (void)brood::gc();
      must(a.recv().try_lock() && b.recv().try_lock(), "the pipe does not work any more");
    });
  }
};

/// Their code is long, and most of it text and files: what counts is at the system calls and where shared memory changes.
constexpr std::size_t kFewRandomPoints = 60;

}  // namespace

void add_connection_end_operations(Operations& all) {
  const std::size_t first = all.size();
  add<CloseLast>(all, "Connection: close by the last holder; a receiver sleeps", true);
  add<CloseLast>(all, "Connection: close by the last holder; nobody waits", false);
  add<CloseOne>(all, "Connection: close by one of two holders; a receiver sleeps");
  add<OpenCopy>(all, "Connection: open of a copied end; a receiver sleeps");
  add<FindEnd>(all, "Connection: recv, the last holder of the other end is dead", false);
  add<FindEnd>(all, "Connection: send, the last holder of the other end is dead", true);
  add<PutEnd>(all, "Connection: an end put into a queue; nobody waits", false);
  add<PutEnd>(all, "Connection: an end put into a queue; a receiver sleeps", true);
  add<GetEnd>(all, "Connection: an end taken from a queue; nobody waits", false);
  add<GetEnd>(all, "Connection: an end taken from a queue; a receiver sleeps", true);
  add<Gift>(all, "Connection: send of a Lock", true);
  add<Gift>(all, "Connection: recv of a Lock, whose maker is dead", false);
  for (std::size_t i = first; i < all.size(); ++i) all[i].random_points = kFewRandomPoints;
}

}  // namespace fault
