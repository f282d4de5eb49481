// Broadcast: shared objects in items live as long as these can be read; and the writer that finds a dead writer's item.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "base/hex.hpp"
#include "brood/domain.hpp"
#include "brood/lock.hpp"
#include "channel/broadcast_body.hpp"
#include "fault/broadcast_parts.hpp"
#include "fault/domain_view.hpp"
#include "registry/registry.hpp"
#include "shm/segment.hpp"

namespace fault {
namespace {

using brood::Broadcast;
using brood::Lock;
using brood::SlowReader;
using brood::StartAt;

/// What a writer leaves that was killed between the commit of its record and the stores of its counters: the header is in,
/// tail and count are one short, the lock is held by a dead process. Made by hand, since two deaths belong to it.
void leave_counters_behind(News& news, Key key) {
  const Actor dying([&news, key](Self&) {
    namespace shm = brood::shm;
    using brood::channel::BroadcastBody;
    const std::string path = brood::domain_directory() + "/" + brood::base::hex16(news.handle().id());
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    void* memory = ::mmap(nullptr, shm::kBodyOffset + sizeof(BroadcastBody), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    must(memory != MAP_FAILED, "cannot map the broadcast a second time");
    auto& body = *reinterpret_cast<BroadcastBody*>(static_cast<char*>(memory) + shm::kBodyOffset);
    const std::uint64_t tail = body.tail;
    const std::uint64_t published = body.published;
    news.publish(NewsItem::make(key));
    body.tail = tail;
    body.published = published;
    const auto me = brood::registry::self();
    body.writers.word = brood::sync::held_by(me, brood::registry::self_tid(me));
  });
  must(dying.await_done(), "the first writer did not get that far: " + dying.error());
}

/// publish() by the writer that finds the counters too small. A reader has read the item already, or has not.
struct PublishAfterDeath : BroadcastScene {
  PublishAfterDeath(SlowReader policy, bool is_read) : BroadcastScene(policy), is_read_(is_read) {}
  bool is_read_;
  Actor reader;
  void placed() override {
    if (is_read_) {
      reader = listener(news);
      reader.await_blocked();
    }
    leave_counters_behind(news, kOthersItem);
    if (is_read_) must(reader.await_done() && reader.value(0) == kOthersItem, "the first item was not read");
  }
  void operate() override {
    publish(kVictimsItem);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    reader.kill();
    if (ledger.returned != 0) judge_contents(findings, {{kOthersItem, kVictimsItem}});
    else judge_contents(findings, {{kOthersItem}, {kOthersItem, kVictimsItem}});
  }
};

/// A broadcast of Locks. In the end nothing may be in the domain but it, and an object and a pin for each item in it.
struct GiftScene : Scene {
  Broadcast<Lock> news{options_of(SlowReader::drop)};
  Ledger& ledger = renewed<Ledger>();

  void ready() override {
    settle_in();
    Broadcast<Lock> scratch(options_of(SlowReader::drop));
    auto reader = scratch.subscribe();
    for (int i = 0; i < 40; ++i) scratch.publish(Lock());
    Lock got = reader.get();
    (void)got.try_lock();
  }
  /// An actor publishes objects and is gone: from then on only the items keep them.
  void publish_from_the_dead(int count) {
    const Actor maker([this, count](Self&) {
      for (int i = 0; i < count; ++i) news.publish(Lock());
    });
    must(maker.await_done(), "the maker did not publish: " + maker.error());
  }
  void judge_gifts(Findings& findings, std::size_t least, std::size_t most) {
    findings.fresh("a receiver", [&](Self&) {
      (void)brood::gc();
      const std::size_t files = DomainView::objects().size();
      auto opened = Broadcast<Lock>::open(news.handle());
      auto reader = opened.subscribe({.start = StartAt::oldest});
      std::size_t found = 0;
      while (auto lock = reader.try_get()) {
        must(lock->try_lock(), "the lock that came in an item is not free");
        lock->unlock();
        ++found;
      }
      must(found >= least && found <= most, std::to_string(found) + " items are there");
      must(files == 1 + 2 * found,
           std::to_string(found) + " items, and " + std::to_string(files) + " files after gc()");
      // And others go through it as ever.
      for (int i = 0; i < 100; ++i) {
        opened.publish(Lock());
        Lock got = reader.get();
        must(got.try_lock(), "a new lock is not free");
        got.unlock();
      }
    });
  }
};

/// publish() of an object that nobody else has open, behind `before` others; the ring holds fewer than 60.
struct PublishGift : GiftScene {
  explicit PublishGift(int before) : before_(before) {}
  int before_;
  std::optional<Lock> gift;
  std::atomic<std::size_t>& fit = renewed<std::atomic<std::size_t>>();
  void ready() override {
    GiftScene::ready();
    gift.emplace();
  }
  void placed() override {
    publish_from_the_dead(before_);
    fit = (DomainView::objects().size() - 2) / 2;  // without the broadcast and the gift
  }
  void operate() override {
    news.publish(*gift);
    ledger.returned = 1;
  }
  void judge(Findings& findings, const Arrival& /*at*/) override {
    const std::size_t before = fit;
    const bool is_full = before != static_cast<std::size_t>(before_);
    const std::size_t most = is_full ? before : before + 1;
    judge_gifts(findings, ledger.returned != 0 ? most : most - 1, most);
  }
};

/// get() of an object that only its item keeps: others get it all the same.
struct GetGift : GiftScene {
  std::optional<brood::Subscription<Lock>> reader;
  std::optional<Lock> got;
  void ready() override {
    GiftScene::ready();
    reader = news.subscribe();
  }
  void placed() override { publish_from_the_dead(2); }
  void operate() override { got.emplace(reader->get()); }
  void judge(Findings& findings, const Arrival& /*at*/) override { judge_gifts(findings, 2, 2); }
};

/// Their code is long, and most of it text and files: what counts is at the system calls and where shared memory changes.
constexpr std::size_t kFewRandomPoints = 60;

}  // namespace

void add_broadcast_gift_operations(Operations& all) {
  add<PublishAfterDeath>(all, "Broadcast: publish, the last writer died before it counted", SlowReader::block, false);
  add<PublishAfterDeath>(all, "Broadcast: publish, the same, and its item was read", SlowReader::drop, true);
  const std::size_t first = all.size();
  add<PublishGift>(all, "Broadcast: publish of a Lock", 1);
  add<PublishGift>(all, "Broadcast: publish of a Lock that takes another one away", 60);
  add<GetGift>(all, "Broadcast: get of a Lock, whose maker is dead");
  for (std::size_t i = first; i < all.size(); ++i) all[i].random_points = kFewRandomPoints;
}

}  // namespace fault
