// Broadcast: everybody who subscribes gets everything, in order; who is too slow blocks the writer, or is told what it
// missed.
#include "brood/broadcast.hpp"

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "brood/domain.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "support/inspect.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using brood::Broadcast;
using brood::BroadcastOptions;
using brood::SlowReader;
using brood::StartAt;
using brood::Subscription;
using BroadcastTest = Ladder;

/// 512 units; an int takes 3 (header, sequence, payload), and one stays free for the header behind the last record.
constexpr BroadcastOptions kBlock{.byte_budget = 4096, .most_readers = 4};
constexpr BroadcastOptions kDrop{.byte_budget = 4096, .most_readers = 4, .slow_reader = SlowReader::drop};
constexpr int kFit = 511 / 3;

template <class T>
std::vector<T> all_of(Subscription<T>& subscription) {
  std::vector<T> out;
  while (auto item = subscription.try_get()) out.push_back(*std::move(item));
  return out;
}
std::vector<int> numbers(int from, int to) {
  std::vector<int> out;
  for (int i = from; i < to; ++i) out.push_back(i);
  return out;
}

TEST_F(BroadcastTest, EveryReaderGetsEverythingInOrder) {
  for (const BroadcastOptions& options : {kBlock, kDrop}) {
    Broadcast<std::string> news(options);
    Subscription<std::string> one = news.subscribe();
    Subscription<std::string> two = news.subscribe();
    EXPECT_EQ(news.readers(), 2U);
    for (int i = 0; i < 5; ++i) news.publish("item " + std::to_string(i));
    EXPECT_EQ(one.pending(), 5U);
    for (int i = 0; i < 5; ++i) EXPECT_EQ(one.get(), "item " + std::to_string(i));
    EXPECT_EQ(one.pending(), 0U);
    EXPECT_EQ(two.pending(), 5U);
    EXPECT_EQ(all_of(two).size(), 5U);
    EXPECT_EQ(one.missed(), 0U);
    EXPECT_EQ(news.published(), 5U);
    EXPECT_FALSE(one.try_get());
    EXPECT_FALSE(one.try_get_for(-1s));
    EXPECT_FALSE(one.try_get_for(1ms));
    EXPECT_FALSE(one.try_get_until(std::chrono::system_clock::now()));
    EXPECT_THROW((void)one.get_nowait(), brood::Empty);
  }
}

TEST_F(BroadcastTest, BeginsWithTheNextOrTheOldestItem) {
  for (const BroadcastOptions& options : {kBlock, kDrop}) {
    Broadcast<int> news(options);
    auto at_first = news.subscribe({.start = StartAt::oldest});
    news.publish(0);
    news.publish(1);
    auto next = news.subscribe();
    auto oldest = news.subscribe({.start = StartAt::oldest});
    news.publish(2);
    EXPECT_EQ(all_of(at_first), numbers(0, 3));
    EXPECT_EQ(all_of(next), numbers(2, 3));
    EXPECT_EQ(oldest.pending(), 3U);
    EXPECT_EQ(all_of(oldest), numbers(0, 3));
    // Nobody is in the way: the oldest make room.
    for (int i = 3; i < 1000; ++i) {
      news.publish(i);
      ASSERT_EQ(next.get(), i);
      ASSERT_EQ(oldest.get(), i);
      ASSERT_EQ(at_first.get(), i);
    }
    auto late = news.subscribe({.start = StartAt::oldest});
    EXPECT_EQ(late.pending(), static_cast<unsigned>(kFit));
    EXPECT_EQ(all_of(late), numbers(1000 - kFit, 1000));
    EXPECT_EQ(late.missed(), 0U) << "what was gone before it came is not missed";
  }
}

TEST_F(BroadcastTest, ASlowReaderBlocksTheWriter) {
  Broadcast<int> news(kBlock);
  EXPECT_EQ(news.slow_reader(), SlowReader::block);
  auto slow = news.subscribe();
  auto fast = news.subscribe();
  int fit = 0;
  while (news.try_publish(fit)) ++fit;
  EXPECT_EQ(fit, kFit);
  EXPECT_EQ(all_of(fast), numbers(0, kFit));
  EXPECT_FALSE(news.try_publish(fit));
  EXPECT_FALSE(news.try_publish_for(fit, 1ms));
  EXPECT_FALSE(news.try_publish_for(fit, -1s));
  EXPECT_FALSE(news.try_publish_until(fit, std::chrono::system_clock::now() + 1ms));
  Child writer([&](Line&) { news.publish(kFit); });
  await_sleepers(news.handle(), 1);
  EXPECT_EQ(slow.get(), 0);
  EXPECT_EQ(writer.wait(), 0);
  EXPECT_EQ(fast.get(), kFit);
  EXPECT_FALSE(news.try_publish(0));
  EXPECT_EQ(all_of(slow), numbers(1, kFit + 1));
  EXPECT_EQ(slow.missed(), 0U);
  EXPECT_TRUE(news.try_publish(0));
}

TEST_F(BroadcastTest, TheEndOfASlowReaderLetsTheWriterGoOn) {
  Broadcast<int> news(kBlock);
  const auto fill = [&] {
    while (news.try_publish(0)) {}
  };
  {
    auto slow = news.subscribe();
    fill();
    Child writer([&](Line&) { news.publish(1); });
    await_sleepers(news.handle(), 1);
    slow.close();
    slow.close();
    EXPECT_TRUE(slow.closed());
    expect_error<brood::QueueClosed>([&] { (void)slow.get(); }, {news.handle().str(), "close()"});
    EXPECT_EQ(writer.wait(), 0);
  }
  {
    std::optional<Subscription<int>> slow = news.subscribe();
    fill();
    Child writer([&](Line&) { news.publish(1); });
    await_sleepers(news.handle(), 1);
    slow = news.subscribe();  // the old one ends
    EXPECT_EQ(writer.wait(), 0);
    EXPECT_EQ(all_of(*slow), std::vector<int>{1});
  }
  EXPECT_EQ(news.readers(), 0U);
}

TEST_F(BroadcastTest, ASlowReaderIsToldHowManyItemsItMissed) {
  Broadcast<int> news(kDrop);
  auto slow = news.subscribe();
  news.publish(0);
  EXPECT_EQ(slow.get(), 0);
  for (int i = 1; i <= 1000; ++i) EXPECT_TRUE(news.try_publish(i));
  EXPECT_EQ(slow.missed(), 0U) << "told with the next get";
  EXPECT_EQ(slow.pending(), static_cast<unsigned>(kFit));
  EXPECT_EQ(slow.get(), 1001 - kFit);
  EXPECT_EQ(slow.just_missed(), static_cast<unsigned>(1000 - kFit));
  EXPECT_EQ(slow.missed(), static_cast<unsigned>(1000 - kFit));
  EXPECT_EQ(slow.get(), 1002 - kFit);
  EXPECT_EQ(slow.just_missed(), 0U);
  for (int i = 1001; i <= 1500; ++i) news.publish(i);
  EXPECT_EQ(all_of(slow), numbers(1501 - kFit, 1501));
  EXPECT_EQ(slow.missed(), static_cast<unsigned>(1501 - 3 - kFit)) << "of 0 … 1500 all but three and the last ones";
}

TEST_F(BroadcastTest, ItemsOfAnySizeGoRoundTheRing) {
  for (const SlowReader policy : {SlowReader::block, SlowReader::drop}) {
    Broadcast<std::string> news({.byte_budget = 256 << 10, .slow_reader = policy});
    auto reader = news.subscribe();
    const auto text = [](int i) {
      return std::string(static_cast<std::size_t>(i) * 7919 % 100'000, static_cast<char>('a' + i % 26));
    };
    for (int i = 0; i < 300; ++i) {
      news.publish(text(i));
      ASSERT_EQ(reader.get(), text(i)) << i;
    }
    const std::string all(262144 - 3 * 8 - 5, 'x');  // header, sequence, the next header, and five of MessagePack
    news.publish(all);
    EXPECT_EQ(reader.get(), all);
    expect_error<brood::NoSpace>([&] { news.publish(all + "y"); }, {news.handle().str(), "262144", "byte_budget"});
    news.publish("after");
    EXPECT_EQ(reader.get(), "after");
    EXPECT_EQ(reader.missed(), 0U);
  }
}

TEST_F(BroadcastTest, PublishWakesAllWhoSleep) {
  for (const BroadcastOptions& options : {kBlock, kDrop}) {
    Broadcast<int> news(options);
    const auto read = [&](Line& line) {
      auto reader = news.subscribe();
      line.say('s');
      for (int i = 0; i < 50; ++i) require(reader.get() == i, "in order");
    };
    std::vector<Child> readers;
    for (int i = 0; i < 3; ++i) readers.emplace_back(read);
    for (auto& reader : readers) reader.line.expect('s');
    await_sleepers(news.handle(), 3);
    for (int i = 0; i < 50; ++i) news.publish(i);
    for (auto& reader : readers) EXPECT_EQ(reader.wait(), 0);
  }
}

TEST_F(BroadcastTest, ShutdownEndsReadersAfterWhatIsLeft) {
  Broadcast<int> news(kBlock);
  auto reader = news.subscribe();
  while (news.try_publish(3)) {}
  Child sleeper([&](Line& line) {
    auto mine = news.subscribe();
    line.say('s');
    for (const int item : mine) require(item < 0, "nothing can have come");
  });
  sleeper.line.expect('s');
  await_sleepers(news.handle(), 1);
  Child writer([&](Line&) {
    bool is_told = false;
    try {
      news.publish(4);
    } catch (const brood::QueueClosed&) {
      is_told = true;
    }
    require(is_told, "the sleeping writer is told");
  });
  await_sleepers(news.handle(), 2);
  news.shutdown();
  news.shutdown();
  EXPECT_TRUE(news.is_shut_down());
  EXPECT_EQ(writer.wait(), 0);
  EXPECT_EQ(sleeper.wait(), 0);
  expect_error<brood::QueueClosed>([&] { (void)news.try_publish(5); }, {news.handle().str(), "shut down"});
  auto late = news.subscribe({.start = StartAt::oldest});
  for (Subscription<int>* one : {&reader, &late}) {
    int count = 0;
    for (const int item : *one) count += item == 3 ? 1 : 0;
    EXPECT_EQ(count, kFit);
    expect_error<brood::QueueClosed>([&] { (void)one->get(); }, {news.handle().str(), "shut down"});
  }
}

TEST_F(BroadcastTest, CloseIsOfThisObjectOnly) {
  Broadcast<int> news;
  auto reader = news.subscribe();
  Broadcast<int> other = Broadcast<int>::open(news.handle());
  news.close();
  news.close();
  EXPECT_TRUE(news.closed());
  expect_error<brood::QueueClosed>([&] { news.publish(1); }, {news.handle().str(), "close()"});
  expect_error<brood::QueueClosed>([&] { (void)news.subscribe(); }, {news.handle().str(), "close()"});
  other.publish(2);
  EXPECT_EQ(reader.get(), 2);
}

TEST_F(BroadcastTest, ASubscriptionOutlivesItsBroadcastObject) {
  std::optional<Broadcast<int>> news(kBlock);
  auto reader = news->subscribe();
  Broadcast<int> other = Broadcast<int>::open(news->handle());
  news.reset();
  other.publish(1);
  Subscription<int> moved = std::move(reader);
  EXPECT_EQ(moved.get(), 1);
  EXPECT_THROW((void)reader.get(), brood::UsageError);  // NOLINT(bugprone-use-after-move): that is the question
  Broadcast<int> gone = std::move(other);
  EXPECT_THROW(other.publish(1), brood::UsageError);  // NOLINT(bugprone-use-after-move)
}

TEST_F(BroadcastTest, TooManyReadersAreToldSo) {
  Broadcast<int> news(kBlock);
  {
    std::vector<Subscription<int>> readers;
    for (int i = 0; i < 4; ++i) readers.push_back(news.subscribe());
    expect_error<brood::OsError>([&] { (void)news.subscribe(); }, {news.handle().str(), "4 readers", "most_readers"});
    readers.pop_back();
    readers.push_back(news.subscribe());
    EXPECT_EQ(news.readers(), 4U);
  }
  for (int i = 0; i < 20; ++i) (void)news.subscribe();
  EXPECT_EQ(news.readers(), 0U);
  expect_error<brood::UsageError>([] { Broadcast<int>({.most_readers = 0}); }, {"most_readers = 0", "65536"});
  expect_error<brood::UsageError>([] { Broadcast<int>({.most_readers = 65537}); }, {"65537"});
  expect_error<brood::UsageError>([] { Broadcast<int>({.byte_budget = std::size_t{1} << 40}); }, {"64 GiB"});
}

TEST_F(BroadcastTest, SharedObjectsLiveAsLongAsTheirItemCanBeRead) {
  for (const BroadcastOptions& options : {kBlock, kDrop}) {
    Broadcast<brood::Lock> news(options);
    const auto files = [] { return support::files_below(support::test_domain()).size(); };
    const auto before = files();
    auto first = news.subscribe();
    auto second = news.subscribe();
    Child maker([&](Line&) { news.publish(brood::Lock()); });
    EXPECT_EQ(maker.wait(), 0);
    (void)brood::gc();
    {
      brood::Lock one = first.get();
      brood::Lock two = second.get();
      one.lock();
      EXPECT_FALSE(two.try_lock());
      one.unlock();
    }
    {
      (void)brood::gc();
      auto late = news.subscribe({.start = StartAt::oldest});
      brood::Lock again = late.get();
      again.lock();
      again.unlock();
    }
    EXPECT_GT(files(), before);
    std::size_t most = 0;
    for (int i = 0; i < 500; ++i) {
      news.publish(brood::Lock());
      (void)first.get();
      (void)second.get();
      most = std::max(most, files() - before);
    }
    // An object and a pin for each item that is still there, and nothing of the others.
    auto rest = news.subscribe({.start = StartAt::oldest});
    EXPECT_EQ(files() - before, 2 * rest.pending());
    EXPECT_LE(most, 2 * rest.pending() + 2);
    EXPECT_EQ(brood::gc().pins, 0U);
  }
}

TEST_F(BroadcastTest, NamedAndPrinted) {
  Broadcast<int> news = Broadcast<int>::create("news-of-test", kDrop);
  EXPECT_THROW((void)Broadcast<int>::create("news-of-test"), brood::AlreadyExists);
  auto reader = Broadcast<int>::open_named("news-of-test").subscribe();
  news.publish(4);
  EXPECT_EQ(printed(news), "<Broadcast " + news.handle().str() + " published=1 readers=1/4 drop bytes<=4096>");
  EXPECT_EQ(printed(reader), "<Subscription " + news.handle().str() + " pending=1 missed=0>");
  EXPECT_EQ(news.handle().str().substr(0, 16), "brood:broadcast:");
  EXPECT_THROW((void)Broadcast<long>::open(news.handle()), brood::TypeMismatch);
  EXPECT_THROW((void)brood::Queue<int>::open(news.handle()), brood::TypeMismatch);
  EXPECT_EQ(Broadcast<int>::open_or_create("news-of-test").byte_budget(), 4096U);
  EXPECT_EQ(reader.get(), 4);
  reader.close();
  EXPECT_EQ(printed(reader), "<Subscription " + news.handle().str() + " closed>");
  EXPECT_TRUE(Broadcast<int>::remove("news-of-test"));
  EXPECT_FALSE(Broadcast<int>::remove("news-of-test"));
}

}  // namespace
}  // namespace ladder
