// Broadcast: an item is in for everybody or for nobody; readers get what is whole, or are told what they missed; nobody
// waits for the dead, and their places are free.
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fault/broadcast_parts.hpp"

namespace fault {
namespace {

using namespace std::chrono_literals;
using brood::SlowReader;
using brood::StartAt;

/// publish() behind `before` items; nobody waits. From 51 on the oldest goes.
struct Publish : BroadcastScene {
  Publish(SlowReader policy, int before) : BroadcastScene(policy), before_(before) {}
  int before_;
  void ready() override {
    BroadcastScene::ready();
    fill(kBefore + 1, kBefore + before_);
  }
  void operate() override {
    publish(kVictimsItem);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const bool is_full = before_ >= kNewsFit;
    const Key oldest = is_full ? kBefore + before_ - kNewsFit + 1 : kBefore + 1;
    const std::vector<Key> untouched = keys_from(oldest, kBefore + before_);
    const std::vector<Key> left = keys_from(is_full ? oldest + 1 : oldest, kBefore + before_);
    if (ledger.returned != 0) judge_contents(findings, {left + kVictimsItem});
    else judge_contents(findings, {untouched, left, left + kVictimsItem});
  }
};

/// publish() while two readers sleep. The item is enough to wake both, or it takes the death; it may not take another one.
struct PublishWithSleepers : BroadcastScene {
  using BroadcastScene::BroadcastScene;
  Actor one;
  Actor two;
  std::optional<Actor> looker;
  void placed() override {
    one = listener(news);
    two = listener(news);
    one.await_blocked();
    two.await_blocked();
  }
  void operate() override {
    publish(kVictimsItem);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const bool is_in = ledger.returned != 0 || holds_anything(looker);
    if (is_in && (!findings.finishes(one, "a sleeping reader") || !findings.finishes(two, "the other one"))) return;
    // It stays alive: its own death would wake them too.
    const Actor other = publisher(news, kOthersItem);
    if (!findings.finishes(other, "another writer") || !findings.finishes(one, "a reader") ||
        !findings.finishes(two, "the other reader"))
      return;
    const Key expected = is_in ? kVictimsItem : kOthersItem;
    findings.check(one.value(0) == expected && two.value(0) == expected,
                   "they got " + std::to_string(one.value(0)) + " and " + std::to_string(two.value(0)));
    one.kill();
    two.kill();
    looker.reset();
    if (is_in) judge_contents(findings, {{kVictimsItem, kOthersItem}});
    else judge_contents(findings, {{kOthersItem}});
  }
};

/// A living reader who has read nothing of a full ring. At go 1 it reads one item, at go 2 all the rest: value 0 is the
/// first, value 1 the number of those before the victim's and others' items, value 2 how many of these.
Actor slow_reader(News& news) {
  return Actor([&news](Self& self) {
    static std::optional<Reader> mine;
    mine = news.subscribe();
    self.mark(1);
    self.await_go(1);
    self.set(0, NewsItem::key(mine->get()));
    self.mark(2);
    self.await_go(2);
    Key expected = kBefore + 2;
    std::int64_t others = 0;
    for (const Key key : read_all(*mine)) {
      if (key == expected) ++expected;
      else if (key == kVictimsItem || key == kOthersItem) ++others;
      else must(false, "got " + std::to_string(key) + " instead of " + std::to_string(expected));
    }
    self.set(1, expected - kBefore - 1);
    self.set(2, others);
  });
}

/// publish() into a ring that a living reader has not read: sleeps until it reads. Another writer sleeps as well.
struct PublishFull : BroadcastScene {
  PublishFull() : BroadcastScene(SlowReader::block) {}
  Actor slow;
  Actor other;
  void set() override {
    slow = slow_reader(news);
    must(slow.await(1), "the slow reader did not get ready: " + slow.error());
  }
  void ready() override {
    BroadcastScene::ready();
    fill(kBefore + 1, kBefore + kNewsFit);
  }
  void placed() override {
    other = publisher(news, kOthersItem);
    other.await_blocked();
  }
  void operate() override {
    publish(kVictimsItem);
    ledger.returned = 1;
  }
  Sleep on_sleep(int nth) override {
    slow.go(nth == 0 ? 1 : 2);
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    slow.go(1);
    if (!findings.check(slow.await(2), "the slow reader hangs: " + slow.error())) return;
    findings.check(slow.value(0) == kBefore + 1, "the oldest item was " + std::to_string(slow.value(0)));
    slow.go(2);
    if (!findings.finishes(slow, "the slow reader") || !findings.finishes(other, "the other writer")) return;
    findings.check(slow.value(1) == kNewsFit, "it read " + std::to_string(slow.value(1)) + " of the first items");
    slow.kill();
    // Each of the two took the place of one read item.
    const std::vector<Key> rest = keys_from(kBefore + 3, kBefore + kNewsFit);
    const Outcomes both = {rest + kVictimsItem + kOthersItem, rest + kOthersItem + kVictimsItem};
    const std::vector<Key> one = keys_from(kBefore + 2, kBefore + kNewsFit) + kOthersItem;
    // Killed between making room and the commit: the next one found room and took nothing away.
    if (ledger.returned != 0) judge_contents(findings, both);
    else judge_contents(findings, {one, both[0], both[1], rest + kOthersItem});
  }
};

/// try_publish_for() whose time runs out: nothing is published and nothing of the readers' is lost.
struct PublishTimesOut : BroadcastScene {
  PublishTimesOut() : BroadcastScene(SlowReader::block) {}
  Actor slow;
  void set() override {
    slow = slow_reader(news);
    must(slow.await(1), "the slow reader did not get ready: " + slow.error());
  }
  void ready() override {
    BroadcastScene::ready();
    fill(kBefore + 1, kBefore + kNewsFit);
  }
  void operate() override { ledger.said = news.try_publish_for(NewsItem::make(kVictimsItem), 30ms) ? 1 : -1; }
  Sleep on_sleep(int /*nth*/) override { return Sleep::by_itself; }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.said != 1, "a full ring took another item");
    slow.go(2);
    if (!findings.finishes(slow, "the slow reader")) return;
    findings.check(slow.value(0) == kBefore + 1 && slow.value(1) == kNewsFit && slow.value(2) == 0,
                   "items are missing");
    slow.kill();
    judge_contents(findings, {keys_from(kBefore + 1, kBefore + kNewsFit)});
  }
};

/// The victim is a reader. What it does is seen by nobody; what it held up goes on.
struct AsReader : BroadcastScene {
  AsReader(SlowReader policy, int items) : BroadcastScene(policy), items_(items) {}
  int items_;
  std::optional<Reader> reader;
  void ready() override {
    BroadcastScene::ready();
    reader = news.subscribe();
    fill(kBefore + 1, kBefore + items_);
  }
  void operate() override { ledger.took = NewsItem::key(reader->get()); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const Key first = kBefore + std::max(1, items_ - kNewsFit + 1);
    findings.check(ledger.took == kNone || ledger.took == first, "the victim got " + std::to_string(ledger.took));
    judge_contents(findings, {keys_from(first, kBefore + items_)});
  }
};

/// The reader that the writer waits for: it reads, or dies.
struct GetWithWriter : AsReader {
  GetWithWriter() : AsReader(SlowReader::block, kNewsFit) {}
  Actor writer;
  void placed() override {
    writer = publisher(news, kOthersItem);
    writer.await_blocked();
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    findings.check(ledger.took == kNone || ledger.took == kBefore + 1, "the victim got " + std::to_string(ledger.took));
    if (!findings.finishes(writer, "the sleeping writer")) return;
    judge_contents(findings, {keys_from(kBefore + 2, kBefore + kNewsFit) + kOthersItem});
  }
};

/// The same reader ends its subscription.
struct LeaveWithWriter : GetWithWriter {
  void operate() override { reader.reset(); }
};

/// get() of an empty broadcast: sleeps until something is published. Another reader sleeps as well.
struct GetEmpty : BroadcastScene {
  using BroadcastScene::BroadcastScene;
  std::optional<Reader> reader;
  std::optional<Actor> writer;
  Actor other;
  void ready() override {
    BroadcastScene::ready();
    reader = news.subscribe();
  }
  void placed() override {
    other = listener(news);
    other.await_blocked();
  }
  void give() {
    if (!writer) writer = publisher(news, kOthersItem);
  }
  void operate() override { ledger.took = NewsItem::key(reader->get()); }
  Sleep on_sleep(int /*nth*/) override {
    give();
    return Sleep::woken;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    give();
    findings.check(ledger.took == kNone || ledger.took == kOthersItem, "the victim got " + std::to_string(ledger.took));
    if (!findings.finishes(*writer, "the writer") || !findings.finishes(other, "the other reader")) return;
    findings.check(other.value(0) == kOthersItem, "the other reader got " + std::to_string(other.value(0)));
    other.kill();
    judge_contents(findings, {{kOthersItem}});
  }
};

/// try_get_for() whose time runs out.
struct GetTimesOut : GetEmpty {
  using GetEmpty::GetEmpty;
  void operate() override {
    if (const auto item = reader->try_get_for(30ms)) ledger.took = NewsItem::key(*item);
  }
  Sleep on_sleep(int /*nth*/) override { return Sleep::by_itself; }
};

/// subscribe(): there is a subscription that dies with its process, or none; its place is free.
struct Subscribe : BroadcastScene {
  Subscribe(SlowReader policy, StartAt start) : BroadcastScene(policy), start_(start) {}
  StartAt start_;
  std::optional<Reader> reader;
  void ready() override {
    BroadcastScene::ready();
    fill(kBefore + 1, kBefore + kNewsFit);
  }
  void operate() override { reader = news.subscribe({.start = start_}); }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    // No dead reader holds it up.
    const Actor writer = publisher(news, kOthersItem);
    if (!findings.finishes(writer, "a writer")) return;
    judge_contents(findings, {keys_from(kBefore + 2, kBefore + kNewsFit) + kOthersItem});
  }
};

/// The end of a subscription that holds up nobody.
struct Leave : AsReader {
  using AsReader::AsReader;
  void operate() override { reader.reset(); }
};

/// shutdown() while a reader sleeps.
struct ShutDown : BroadcastScene {
  using BroadcastScene::BroadcastScene;
  Actor sleeper;
  void ready() override {
    BroadcastScene::ready();
    News scratch(options_of(news.slow_reader()));
    scratch.shutdown();
  }
  void placed() override {
    sleeper = Actor([this](Self& self) {
      static std::optional<Reader> mine;
      mine = news.subscribe();
      self.mark(1);
      try {
        self.set(0, NewsItem::key(mine->get()));
      } catch (const brood::QueueClosed&) {
        self.set(1, 1);
      }
    });
    sleeper.await_blocked();
  }
  void operate() override {
    news.shutdown();
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    if (!news.is_shut_down()) {
      findings.check(ledger.returned == 0, "shutdown() returned, but the broadcast goes on");
      const Actor writer = publisher(news, kOthersItem);
      if (!findings.finishes(writer, "a writer") || !findings.finishes(sleeper, "the sleeping reader")) return;
      findings.check(sleeper.value(0) == kOthersItem, "the broadcast goes on in another way");
      sleeper.kill();
      judge_contents(findings, {{kOthersItem}});
      return;
    }
    if (!findings.finishes(sleeper, "the sleeping reader of a broadcast that is shut down")) return;
    findings.check(sleeper.value(1) == 1, "it was not told");
  }
};

/// Operations whose code is swept in full elsewhere.
constexpr long kVariant = 3;

}  // namespace

void add_broadcast_operations(Operations& all) {
  add<Publish>(all, "Broadcast: publish; nobody waits (block)", SlowReader::block, 2);
  add<Publish>(all, "Broadcast: publish; nobody waits (drop)", SlowReader::drop, 2);
  add<Publish>(all, "Broadcast: publish that takes the oldest away (block)", SlowReader::block, kNewsFit);
  add<Publish>(all, "Broadcast: publish that takes the oldest away (drop)", SlowReader::drop, kNewsFit);
  add<Publish>(all, "Broadcast: publish across the end of the ring (block)", SlowReader::block, kNewsFit + 50);
  add<Publish>(all, "Broadcast: publish across the end of the ring (drop)", SlowReader::drop, kNewsFit + 50);
  add<PublishWithSleepers>(all, "Broadcast: publish; two readers sleep (block)", SlowReader::block);
  add<PublishWithSleepers>(all, "Broadcast: publish; two readers sleep (drop)", SlowReader::drop);
  add<PublishFull>(all, "Broadcast: publish waits for a reader; another writer sleeps");
  add_every<PublishTimesOut>(all, kVariant, "Broadcast: try_publish_for times out");
  add<AsReader>(all, "Broadcast: get; nobody waits (block)", SlowReader::block, 3);
  add<AsReader>(all, "Broadcast: get; nobody waits (drop)", SlowReader::drop, 3);
  add<AsReader>(all, "Broadcast: get of a reader that missed items", SlowReader::drop, kNewsFit + 9);
  add<GetWithWriter>(all, "Broadcast: get; a writer sleeps");
  add<GetEmpty>(all, "Broadcast: get of what is not there yet (block)", SlowReader::block);
  add<GetEmpty>(all, "Broadcast: get of what is not there yet (drop)", SlowReader::drop);
  add_every<GetTimesOut>(all, kVariant, "Broadcast: try_get_for times out", SlowReader::block);
  add<Subscribe>(all, "Broadcast: subscribe (block)", SlowReader::block, StartAt::next);
  add<Subscribe>(all, "Broadcast: subscribe from the oldest on (block)", SlowReader::block, StartAt::oldest);
  add_every<Subscribe>(all, kVariant, "Broadcast: subscribe from the oldest on (drop)", SlowReader::drop,
                       StartAt::oldest);
  add<Leave>(all, "Broadcast: end of a subscription; nobody waits", SlowReader::drop, 3);
  add<LeaveWithWriter>(all, "Broadcast: end of a subscription; a writer sleeps");
  add<ShutDown>(all, "Broadcast: shutdown; a reader sleeps (block)", SlowReader::block);
  add_every<ShutDown>(all, kVariant, "Broadcast: shutdown; a reader sleeps (drop)", SlowReader::drop);
}

}  // namespace fault
