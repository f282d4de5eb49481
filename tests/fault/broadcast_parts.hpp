// What the scenes of Broadcast share: one small ring, its readers and writers, and how a fresh process judges it.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "brood/broadcast.hpp"
#include "fault/parcels.hpp"
#include "fault/parts.hpp"
#include "fault/warm.hpp"

namespace fault {

using News = brood::Broadcast<Parcel<64>>;
using Reader = brood::Subscription<Parcel<64>>;
using NewsItem = ItemOf<Parcel<64>>;

constexpr std::size_t kPlaces = 3;
/// 512 units; an item takes ten, one stays free.
constexpr int kNewsFit = 51;
constexpr brood::BroadcastOptions options_of(brood::SlowReader policy) {
  return {.byte_budget = 4096, .most_readers = kPlaces, .slow_reader = policy};
}

/// Keys of the items that are there before the operation, and of the one that the victim publishes.
constexpr Key kBefore = 1000;
constexpr Key kVictimsItem = kVictims + 1;
constexpr Key kOthersItem = kOthers + 1;

inline std::vector<Key> read_all(Reader& reader) {
  std::vector<Key> found;
  while (const auto item = reader.try_get()) found.push_back(NewsItem::key(*item));
  return found;
}

/// Subscribes, marks 1, and reads one item: value 0.
inline Actor listener(News& news) {
  return Actor([&news](Self& self) {
    static std::optional<Reader> mine;
    mine = news.subscribe();
    self.mark(1);
    self.set(0, NewsItem::key(mine->get()));
  });
}
/// Marks 1 and publishes one item.
inline Actor publisher(News& news, Key key) {
  return Actor([&news, key](Self& self) {
    self.mark(1);
    news.publish(NewsItem::make(key));
  });
}

/// Nobody reads: the broadcast has as many places and as much room as on its first day, blocks or drops as it should, and
/// counts right.
inline void must_work(News& news) {
  must(news.readers() == 0, "readers are counted where there are none");
  const bool blocks = news.slow_reader() == brood::SlowReader::block;
  std::vector<Reader> readers;
  for (std::size_t i = 0; i < kPlaces; ++i) readers.push_back(news.subscribe());
  Key next = kJudges;
  for (int round = 0; round < 3; ++round) {
    const Key first = next;
    for (int i = 0; i < kNewsFit; ++i)
      must(news.try_publish(NewsItem::make(next++)), "no room for " + std::to_string(i + 1) + " items");
    if (blocks) must(!news.try_publish(NewsItem::make(next)), "more fits in than before");
    else news.publish(NewsItem::make(next++));
    const Key oldest = blocks ? first : first + 1;
    for (Reader& reader : readers) {
      must(reader.pending() == static_cast<std::uint64_t>(kNewsFit), "pending() counts wrong");
      const std::uint64_t missed = reader.missed();
      const auto found = read_all(reader);
      must(found == keys_from(oldest, next - 1), "a reader got " + listed(found));
      must(reader.missed() == missed + (blocks ? 0 : 1), "missed() counts wrong");
    }
  }
}

/// The broadcast that a scene is about. Without a reader the oldest items make room.
struct BroadcastScene : Scene {
  explicit BroadcastScene(brood::SlowReader policy) : news(options_of(policy)) {}
  News news;
  Ledger& ledger = renewed<Ledger>();

  void publish(Key key) { news.publish(NewsItem::make(key)); }
  void fill(Key from, Key to) {
    for (Key key = from; key <= to; ++key) publish(key);
  }
  /// Runs once through the code that the operation is going to use, and uses up what may be spun.
  void ready() override {
    settle_in();
    News scratch(options_of(news.slow_reader()));
    {
      Reader reader = scratch.subscribe();
      for (int i = 0; i < kLessons; ++i) (void)reader.try_get_for(kShort);
      if (news.slow_reader() == brood::SlowReader::block) {
        while (scratch.try_publish(NewsItem::make(1))) {}
        for (int i = 0; i < kLessons; ++i) (void)scratch.try_publish_for(NewsItem::make(1), kShort);
      } else {
        for (int i = 0; i < 2 * kNewsFit; ++i) scratch.publish(NewsItem::make(1));
      }
      (void)reader.get();
    }
    Reader reader = scratch.subscribe({.start = brood::StartAt::oldest});
    (void)reader.get();  // first: it is in the writer's way
    scratch.publish(NewsItem::make(1));
  }
  /// The living readers have gone. A fresh process finds one of the right contents, all of it readable, and works on.
  void judge_contents(Findings& findings, const Outcomes& right) {
    findings.fresh("a fresh process", [&](Self&) {
      News opened = News::open(news.handle());
      {
        Reader reader = opened.subscribe({.start = brood::StartAt::oldest});
        const std::uint64_t said = reader.pending();
        const auto found = read_all(reader);
        must_be_one_of(found, right);
        must(said == found.size(), "pending() said " + std::to_string(said) + ", there were " + listed(found));
        must(reader.missed() == 0, "a reader missed something although nobody was faster");
      }
      must_work(opened);
    });
  }
  /// Is something in the ring that can be read from the oldest item on? By somebody who stays.
  [[nodiscard]] bool holds_anything(std::optional<Actor>& looker) {
    looker = Actor([this](Self& self) {
      Reader reader = news.subscribe({.start = brood::StartAt::oldest});
      self.set(0, reader.try_get() ? 1 : 0);
    });
    must(looker->await_done(), "nobody can look into the ring: " + looker->error());
    return looker->value(0) != 0;
  }
};

}  // namespace fault
