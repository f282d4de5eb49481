// Value: the old one or the new one, whole, and nobody waits for a dead changer.
#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "brood/value.hpp"
#include "fault/parcels.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;
using brood::Value;

/// Larger than anything that is stored in one instruction; each word depends on the key.
using Wide = Parcel<136>;

constexpr Key kOld = 1;
constexpr Key kNew = 2;
constexpr Key kLater = 3;

Wide wide(Key key) { return ItemOf<Wide>::make(key); }
Key key_of(const Wide& value) { return ItemOf<Wide>::key(value); }

struct ValueScene : Scene {
  Value<Wide> value{wide(kOld)};
  Ledger& ledger = renewed<Ledger>();
  const Wide next = wide(kNew);

  void ready() override {
    settle_in();
    Value<Wide> scratch;
    scratch.set(next);
    (void)scratch.get();
    (void)scratch.try_lock_for(1ms);
  }
  /// `seen`: what somebody read after the death. Everybody else has to read the same, and the value can be changed.
  void judge_value(Findings& findings, const std::vector<Key>& right, Key seen = kNone) {
    findings.fresh("a fresh process", [&](Self&) {
      auto opened = Value<Wide>::open(value.handle());
      const Key first = key_of(opened.get());
      must(std::find(right.begin(), right.end(), first) != right.end(),
           "the value is " + std::to_string(first) + ", right were " + listed(right));
      must(seen == kNone || first == seen, "one process read " + std::to_string(seen) + ", another " +
                                               std::to_string(first) + ", and nobody had changed it");
      must(!opened.locked(), "a value that nobody alive holds says that it is locked");
      must(opened.with([](const Wide& now) { return key_of(now); }) == first, "with() finds another value than get()");
      opened.set(wide(kLater));
      must(key_of(opened.get()) == kLater, "the value cannot be changed any more");
      // Changed from the state that was there, not from what a dead process had begun.
      opened.with([](Wide& now) { now.words[0] = 77; });
      must(opened.get().words[0] == 77 && opened.get().words[1] == wide(kLater).words[1],
           "a change of one word changed others");
    });
  }
  /// Old or new while the change had not come back, new since then.
  [[nodiscard]] std::vector<Key> old_or_new() const {
    return ledger.returned != 0 ? std::vector<Key>{kNew} : std::vector<Key>{kOld, kNew};
  }
};

struct Set : ValueScene {
  void operate() override {
    value.set(next);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_value(findings, old_or_new()); }
};

/// with() that returns what was there before: an exchange.
struct Exchange : ValueScene {
  void operate() override {
    ledger.took = value.with([this](Wide& now) {
      const auto before = static_cast<Key>(now.words[0]);
      now = next;
      return before;
    });
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.took == kNone || ledger.took == kOld, "the exchange gave back something else");
    findings.check(ledger.took == kOld || ledger.returned == 0, "the exchange gave back nothing");
    judge_value(findings, ledger.took != kNone ? std::vector<Key>{kNew} : old_or_new());
  }
};

/// get(): changes nothing.
struct Get : ValueScene {
  Wide got{};
  void operate() override {
    got = value.get();
    ledger.took = static_cast<Key>(got.words[0]);
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.took == kNone || ledger.took == kOld, "get() gave something else");
    judge_value(findings, {kOld});
  }
};

/// A guard inside a guard: had the end of the inner one committed anything, the value would not be whole.
struct Nested : ValueScene {
  void operate() override {
    {
      auto outer = value.lock();
      {
        auto inner = value.lock();
        for (std::size_t i = 1; i < inner->words.size(); ++i) inner->words[i] = next.words[i];
      }
      outer->words[0] = next.words[0];
    }
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_value(findings, old_or_new()); }
};

/// A change that is abandoned.
struct Abandon : ValueScene {
  void operate() override {
    auto guard = value.lock();
    *guard = next;
    guard.abandon();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_value(findings, {kOld}); }
};

/// What a process saw that slept on the value; its value 0.
Actor reader_of(Value<Wide>& value) {
  return Actor([&value](Self& self) {
    self.mark(1);
    self.set(0, key_of(value.get()));
  });
}

/// The end of a guard while a reader sleeps on the value.
struct CommitWithSleeper : ValueScene {
  std::optional<Value<Wide>::Guard> guard;
  Actor reader;
  void ready() override {
    ValueScene::ready();
    guard.emplace(value.lock());
    **guard = next;
  }
  void placed() override {
    reader = reader_of(value);
    reader.await_blocked();
  }
  void operate() override {
    guard.reset();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!findings.finishes(reader, "the sleeping reader")) return;
    judge_value(findings, old_or_new(), reader.value(0));
  }
};

/// set() of a value that another process has locked: sleeps, is handed the lock. A reader sleeps behind it.
struct SetContended : ValueScene {
  Actor holder;
  std::optional<Actor> reader;
  void set() override {
    holder = Actor([this](Self& self) {
      auto guard = value.lock();
      self.mark(1);
      self.await_go(1);
    });
    must(holder.await(1), "the holder did not get the value");
  }
  void operate() override {
    value.set(next);
    ledger.returned = 1;
  }
  Sleep on_sleep(int nth) override {
    if (nth == 0) {
      reader = reader_of(value);
      reader->await_blocked();
      holder.go(1);
    }
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    holder.go(1);
    if (!reader) reader = reader_of(value);
    if (!findings.finishes(holder, "the holder") || !findings.finishes(*reader, "the reader")) return;
    const Key saw = reader->value(0);
    findings.check(saw == kOld || saw == kNew, "the reader read " + std::to_string(saw));
    // It may have been served between the holder and the victim, and the victim has changed the value afterwards.
    if (saw == kNew || ledger.returned != 0) judge_value(findings, {kNew});
    else judge_value(findings, {kOld, kNew});
  }
};

/// try_lock_for() whose time runs out: nothing has changed, and the one that sleeps behind it gets its turn.
struct TimesOut : SetContended {
  void placed() override {
    reader = reader_of(value);
    reader->await_blocked();
  }
  void operate() override { ledger.said = value.try_lock_for(30ms) ? 1 : -1; }
  Sleep on_sleep(int /*nth*/) override { return Sleep::by_itself; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.said != 1 && !reader->is_done(), "two had the value locked at a time");
    holder.go(1);
    if (!findings.finishes(holder, "the holder") || !findings.finishes(*reader, "the reader")) return;
    findings.check(reader->value(0) == kOld, "the reader read " + std::to_string(reader->value(0)));
    judge_value(findings, {kOld}, kOld);
  }
};

}  // namespace

void add_value_operations(Operations& all) {
  add<Set>(all, "Value: set; nobody waits");
  add<Exchange>(all, "Value: with, as an exchange; nobody waits");
  add<Get>(all, "Value: get; nobody waits");
  add<Nested>(all, "Value: lock in a lock; nobody waits");
  add<Abandon>(all, "Value: lock, abandon; nobody waits");
  add<CommitWithSleeper>(all, "Value: end of a guard; a reader sleeps");
  add<SetContended>(all, "Value: set contended, handed over; a reader sleeps behind");
  add<TimesOut>(all, "Value: try_lock_for times out; a reader sleeps");
}

}  // namespace fault
