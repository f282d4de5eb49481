// Loans, views, and messages in chunks: what is written and read in place, and what becomes of the memory.
#include "brood/loan.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "brood/broadcast.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "brood/joinable_queue.hpp"
#include "brood/lock.hpp"
#include "brood/priority_queue.hpp"
#include "brood/queue.hpp"
#include "brood/simple_queue.hpp"
#include "brood/work_queue.hpp"
#include "support/keep.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using namespace std::chrono_literals;
using brood::QueueOptions;
using brood::WhenFull;
using Floats = std::vector<float>;

struct Frame {
  long number = 0;
  std::array<unsigned char, 100'000> pixels{};
  friend bool operator==(const Frame&, const Frame&) = default;
};
struct Sample {
  char kind;  // three bytes of padding follow
  float value;
};

std::unique_ptr<Frame> frame(long number) {
  auto out = std::make_unique<Frame>();
  out->number = number;
  out->pixels.fill(static_cast<unsigned char>(number));
  return out;
}

class LoanTest : public Ladder {};

TEST_F(LoanTest, APlainValueIsWrittenAndReadWhereItLies) {
  brood::Queue<Frame> queue;
  brood::Loan<Frame> loan = queue.loan();
  loan->number = 7;
  loan->pixels[99'999] = 5;
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&*loan) % 64, 0U);
  queue.put(std::move(loan));
  EXPECT_FALSE(loan);  // NOLINT(bugprone-use-after-move): that is what is said of it
  const brood::View<Frame> view = queue.get_view();
  EXPECT_TRUE(view.is_in_place());
  EXPECT_EQ(view->number, 7);
  EXPECT_EQ(view->pixels[99'999], 5);
}

TEST_F(LoanTest, ARunOfElementsHasTheLengthThatWasWanted) {
  brood::Queue<Floats> queue;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{1000}, std::size_t{1'000'000}}) {
    auto loan = queue.loan(size);
    ASSERT_EQ(loan.size(), size);
    for (std::size_t i = 0; i < size; ++i) loan[i] = static_cast<float>(i);
    queue.put(std::move(loan));
    const auto view = queue.get_view();
    ASSERT_EQ(view.size(), size);
    for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(view[i], static_cast<float>(i));
  }
}

TEST_F(LoanTest, StringsAndBytesToo) {
  brood::Queue<std::string> texts;
  auto text = texts.loan(5);
  std::memcpy(text.data(), "hello", 5);
  texts.put(std::move(text));
  EXPECT_EQ(texts.get(), "hello");
  brood::Queue<std::vector<std::byte>> bytes;
  auto some = bytes.loan(3);
  some[2] = std::byte{9};
  bytes.put(std::move(some));
  EXPECT_EQ(bytes.get().at(2), std::byte{9});
}

TEST_F(LoanTest, InPlaceAndByValueMix) {
  brood::Queue<Frame> frames;
  auto loan = frames.loan();
  *loan = *frame(1);
  frames.put(std::move(loan));
  frames.put(*frame(2));
  EXPECT_EQ(frames.get(), *frame(1));
  EXPECT_EQ(*frames.get_view(), *frame(2));

  brood::Queue<Floats> floats;
  const Floats small{1, 2, 3};
  const Floats large(50'000, 4);
  for (const Floats& one : {small, large}) {
    floats.put(one);
    const auto view = floats.get_view();
    EXPECT_EQ(Floats(view.begin(), view.end()), one);
    EXPECT_EQ(view.is_in_place(), one.size() > 100);
    auto lent = floats.loan(one.size());
    std::copy(one.begin(), one.end(), lent.begin());
    floats.put(std::move(lent));
    EXPECT_EQ(floats.get(), one);
  }
}

TEST_F(LoanTest, ALoanThatIsNotPutComesBack) {
  brood::Queue<Frame> queue(QueueOptions{.byte_budget = 128 << 10});
  for (int i = 0; i < 100; ++i) {
    const auto loan = queue.loan();
    EXPECT_FALSE(queue.try_loan());
    EXPECT_FALSE(queue.try_put(*frame(1))) << "its memory is lent";
  }
  EXPECT_TRUE(queue.try_put(*frame(1)));
}

TEST_F(LoanTest, AShorterMessageThanWasWanted) {
  brood::Queue<Floats> queue;
  auto loan = queue.loan(10);
  for (std::size_t i = 0; i < 10; ++i) loan[i] = static_cast<float>(i);
  EXPECT_THROW(loan.shrink(11), brood::UsageError);
  loan.shrink(4);
  queue.put(std::move(loan));
  EXPECT_EQ(queue.get(), (Floats{0, 1, 2, 3}));
}

TEST_F(LoanTest, PaddingOfElementsDoesNotMatter) {
  brood::Queue<std::vector<Sample>> queue;
  auto loan = queue.loan(20'000);
  for (std::size_t i = 0; i < loan.size(); ++i) loan[i] = {'x', static_cast<float>(i)};
  queue.put(std::move(loan));
  const auto got = queue.get();
  ASSERT_EQ(got.size(), 20'000U);
  EXPECT_EQ(got.back().value, 19'999.0F);
}

TEST_F(LoanTest, WrongUseIsSaid) {
  brood::Queue<Frame> queue;
  brood::Queue<Frame> other;
  { const auto warm = other.loan(); }
  auto loan = queue.loan();
  EXPECT_THROW(other.put(std::move(loan)), brood::UsageError);
  EXPECT_TRUE(loan) << "it is still there";  // NOLINT(bugprone-use-after-move)
  queue.put(std::move(loan));
  EXPECT_THROW(queue.put(std::move(loan)), brood::UsageError);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(queue.qsize(), 1U);

  brood::Queue<Floats> floats(QueueOptions{.byte_budget = 1 << 20});
  EXPECT_THROW((void)floats.loan(1 << 20), brood::NoSpace);
  EXPECT_THROW((void)floats.loan(std::size_t{1} << 40), brood::UsageError);
  floats.shutdown();
  EXPECT_THROW((void)floats.loan(1), brood::QueueClosed);
  queue.close();
  EXPECT_THROW((void)queue.loan(), brood::QueueClosed);
  EXPECT_THROW((void)queue.get_view(), brood::QueueClosed);
}

TEST_F(LoanTest, AForkedChildCanNeitherPutNorGiveBackItsParentsLoan) {
  brood::Queue<Frame> queue(QueueOptions{.byte_budget = 128 << 10});
  auto loan = std::make_unique<brood::Loan<Frame>>(queue.loan());
  Child child([&](Line&) {
    bool refused = false;
    try {
      queue.put(std::move(*loan));
    } catch (const brood::UsageError&) {
      refused = true;
    }
    require(refused, "the child put what was lent to its parent");
    loan.reset();
    require(!queue.try_loan(), "the memory is the parent's");
  });
  EXPECT_EQ(child.wait(), 0);
  EXPECT_FALSE(queue.try_loan());
  (*loan)->number = 3;
  queue.put(std::move(*loan));
  EXPECT_EQ(queue.get().number, 3);
}

TEST_F(LoanTest, PoliciesOfAFullQueue) {
  const auto with = [](WhenFull policy) { return QueueOptions{.byte_budget = 128 << 10, .when_full = policy}; };
  brood::Queue<Frame> failing(with(WhenFull::fail));
  failing.put(*frame(1));
  EXPECT_THROW(failing.put(*frame(2)), brood::Full);
  EXPECT_THROW((void)failing.loan(), brood::Full);

  brood::Queue<Frame> newest(with(WhenFull::drop_newest));
  newest.put(*frame(1));
  newest.put(*frame(2));
  EXPECT_FALSE(newest.try_loan());
  EXPECT_EQ(newest.dropped(), 1U) << "what was not lent is no item";
  EXPECT_EQ(newest.get().number, 1);

  brood::Queue<Frame> oldest(with(WhenFull::drop_oldest));
  oldest.put(*frame(1));
  oldest.put(*frame(2));
  EXPECT_EQ(oldest.dropped(), 1U);
  const auto view = oldest.get_view();
  EXPECT_EQ(view->number, 2);
  EXPECT_FALSE(oldest.try_put(*frame(3))) << "nothing is left to drop, the view is somebody's";
}

TEST_F(LoanTest, WhoWaitsForMemoryGetsIt) {
  brood::Queue<Frame> queue(QueueOptions{.byte_budget = 128 << 10});
  queue.put(*frame(1));
  std::thread producer([&] { queue.put(*frame(2)); });
  await_sleepers(queue.handle(), 1);
  {
    const auto view = queue.get_view();
    EXPECT_EQ(support::sleepers_on(queue.handle()), 1U);
  }
  producer.join();
  EXPECT_EQ(queue.get().number, 2);
}

TEST_F(LoanTest, ShutdownWakesWhoWaitsForMemory) {
  brood::Queue<Frame> queue(QueueOptions{.byte_budget = 128 << 10});
  const auto loan = queue.loan();
  std::thread producer([&] { EXPECT_THROW((void)queue.loan(), brood::QueueClosed); });
  await_sleepers(queue.handle(), 1);
  queue.shutdown();
  producer.join();
}

TEST_F(LoanTest, MemoryOfTheDeadComesBack) {
  brood::Queue<Frame> queue(QueueOptions{.byte_budget = 256 << 10});
  for (int round = 0; round < 20; ++round) {
    queue.put(*frame(round));
    Child borrower([&](Line& line) {
      const auto view = queue.get_view();
      const auto loan = queue.loan();
      line.say();
      (void)line.hear();
    });
    borrower.line.expect();
    ASSERT_FALSE(queue.try_loan());
    std::thread waiter([&] { (void)queue.loan(); });
    await_sleepers(queue.handle(), 1);
    borrower.kill();
    waiter.join();
    const auto one = queue.loan();
    EXPECT_TRUE(queue.try_loan()) << "all of it came back";
  }
}

TEST_F(LoanTest, MemoryOfThoseWhoEndComesBack) {
  brood::Queue<Frame> queue(QueueOptions{.byte_budget = 128 << 10});
  Child borrower([&](Line& line) {
    (void)support::keep(new brood::Loan<Frame>(queue.loan()));  // never given back
    line.say();
    (void)line.hear();
  });
  borrower.line.expect();
  std::thread waiter([&] { (void)queue.loan(); });
  await_sleepers(queue.handle(), 1);
  borrower.line.say();
  EXPECT_EQ(borrower.wait(), 0);
  waiter.join();
}

TEST_F(LoanTest, AViewOutlivesItsQueue) {
  std::optional<brood::View<Frame>> view;
  {
    brood::Queue<Frame> queue;
    queue.put(*frame(5));
    view = queue.get_view();
  }
  EXPECT_EQ(**view, *frame(5));
}

TEST_F(LoanTest, HandlesInLargeMessages) {
  using Parcel = std::pair<brood::Lock, std::vector<std::byte>>;
  brood::Queue<Parcel> queue;
  Child producer([&](Line&) {
    Parcel parcel{brood::Lock(), std::vector<std::byte>(200'000, std::byte{3})};
    queue.put(parcel);
  });
  EXPECT_EQ(producer.wait(), 0);
  Parcel got = queue.get();
  got.first.lock();
  got.first.unlock();
  EXPECT_EQ(got.second.size(), 200'000U);
}

TEST_F(LoanTest, BatchesMixLargeAndSmall) {
  brood::Queue<std::string> queue;
  std::vector<std::string> items;
  for (int i = 0; i < 20; ++i) items.emplace_back(i % 3 == 0 ? 40'000 + i : 10 + i, static_cast<char>('a' + i));
  queue.put_many(items);
  std::vector<std::string> got;
  while (got.size() < items.size()) (void)queue.get_many(got, 7);
  EXPECT_EQ(got, items);
}

template <class T>
void large_items_go_through(const T& item) {
  brood::WorkQueue<T> work;
  work.put(item);
  auto task = work.get();
  EXPECT_EQ(*task, item);
  task.done();
  brood::JoinableQueue<T> joinable;
  joinable.put(item);
  EXPECT_EQ(joinable.get(), item);
  joinable.task_done();
  brood::PriorityQueue<T> by_priority;
  by_priority.put(item, 3);
  EXPECT_EQ(by_priority.get(), item);
  brood::SimpleQueue<T> simple;
  simple.put(item);
  EXPECT_EQ(simple.get(), item);
  brood::Broadcast<T> news;
  auto reader = news.subscribe();
  news.publish(item);
  EXPECT_EQ(reader.get(), item);
}

TEST_F(LoanTest, QueuesWithoutChunksTakeLargeItemsToo) {
  large_items_go_through(*frame(8));
  large_items_go_through(Floats(50'000, 2));
  large_items_go_through(std::string(50'000, 's'));
}

TEST_F(LoanTest, LargeMessagesLeaveTheRingSmallAndGiveTheirMemoryBack) {
  const auto used = [] {
    std::uint64_t sum = 0;
    for (const auto& entry : std::filesystem::directory_iterator(brood::domain_directory())) {
      struct stat st {};
      if (!entry.path().filename().string().starts_with("pin.") && ::stat(entry.path().c_str(), &st) == 0)
        sum += static_cast<std::uint64_t>(st.st_blocks) * 512;
    }
    return sum;
  };
  brood::Queue<std::string> queue(QueueOptions{.byte_budget = std::size_t{1} << 30});
  const auto before = used();
  for (int i = 0; i < 5; ++i) {
    queue.put(std::string(100 << 20, 'x'));
    ASSERT_EQ(queue.get().size(), 100U << 20);
  }
  EXPECT_LT(used() - before, 1U << 20) << "a chunk of 100 MiB keeps nothing";
  for (int i = 0; i < 5; ++i) {
    queue.put(std::string(4 << 20, 'x'));
    ASSERT_EQ(queue.get().size(), 4U << 20);
  }
  EXPECT_GE(used() - before, 4U << 20) << "smaller ones are used again";
  (void)brood::gc();
  EXPECT_LT(used() - before, 1U << 20);
}

TEST_F(LoanTest, AGibibyte) {
  constexpr std::size_t kSize = std::size_t{1} << 30;
  brood::Queue<std::string> queue(QueueOptions{.byte_budget = 2 * kSize});
  Child producer([&](Line&) {
    auto loan = queue.loan(kSize);
    std::memset(loan.data(), 'g', kSize);
    queue.put(std::move(loan));
  });
  const auto view = queue.get_view();
  EXPECT_EQ(producer.wait(), 0);
  ASSERT_EQ(view.size(), kSize);
  EXPECT_EQ(std::string_view(view.data(), kSize).find_first_not_of('g'), std::string_view::npos);
}

TEST_F(LoanTest, SeveralProducersAndConsumersInPlace) {
  constexpr int kEach = 2000;
  brood::Queue<std::vector<int>> queue(QueueOptions{.byte_budget = 64 << 10});
  brood::Queue<long> sums;
  std::vector<std::unique_ptr<Child>> all;
  for (int who = 0; who < 2; ++who) {
    all.push_back(std::make_unique<Child>([&, who](Line&) {
      for (int i = 1; i <= kEach; ++i) {
        auto loan = queue.loan(static_cast<std::size_t>(1 + i % 3000));
        for (int& one : loan) one = who * kEach + i;
        queue.put(std::move(loan));
      }
    }));
    all.push_back(std::make_unique<Child>([&](Line&) {
      long sum = 0;
      for (;;) {
        try {
          const auto view = queue.get_view();
          for (const int one : view) require(one == view[0], "torn");
          sum += view[0];
        } catch (const brood::QueueClosed&) {
          break;
        }
      }
      sums.put(sum);
    }));
  }
  EXPECT_EQ(all[0]->wait(), 0);
  EXPECT_EQ(all[2]->wait(), 0);
  queue.shutdown();
  EXPECT_EQ(all[1]->wait(), 0);
  EXPECT_EQ(all[3]->wait(), 0);
  const long total = sums.get() + sums.get();
  EXPECT_EQ(total, 2L * kEach * (2 * kEach + 1) / 2);
}

}  // namespace
}  // namespace ladder
