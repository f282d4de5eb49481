// Copies of ends, in one process and several, and ends that travel: when is an end gone?
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "brood/connection.hpp"
#include "brood/domain.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "support/inspect.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using ConnectionCopies = Ladder;
using IntEnd = brood::Connection<int>;

std::size_t files_in_domain() { return support::files_below(support::test_domain()).size(); }

/// Not at its end: nothing comes, and nothing is thrown.
template <class T>
void expect_open(brood::Connection<T>& end) {
  EXPECT_EQ(end.try_recv(), std::nullopt);
  EXPECT_FALSE(end.poll_for(5ms));
}

TEST_F(ConnectionCopies, TheEndComesWithTheLastCopy) {
  auto [a, b] = brood::pipe<int>();
  auto second = IntEnd::open(b.handle());
  auto third = IntEnd::open(second.handle().str());
  b.close();
  third.send(3);
  EXPECT_EQ(a.recv(), 3);
  third.close();
  expect_open(a);
  second.send(2);
  second.close();
  EXPECT_EQ(a.recv(), 2);
  EXPECT_THROW((void)a.recv(), brood::EndOfFile);
}

TEST_F(ConnectionCopies, AnEndThatHasEndedCannotBeOpenedAgain) {
  auto [a, b] = brood::pipe<int>();
  const std::string written = b.handle().str();
  b.close();
  expect_error<brood::HandleError>([&] { (void)IntEnd::open(written); }, {written, "closed by all"});
  EXPECT_THROW((void)a.recv(), brood::EndOfFile);
}

TEST_F(ConnectionCopies, AForkedChildThatDoesNotUseItsCopyHoldsNothing) {
  auto [a, b] = brood::pipe<int>();
  Child child([&](Line& line) {
    line.say('r');
    line.expect('g');  // all the time with copies of both ends
  });
  child.line.expect('r');
  b.close();
  EXPECT_THROW((void)a.recv(), brood::EndOfFile);
  EXPECT_THROW(a.send(1), brood::BrokenPipe);
  child.line.say('g');
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(ConnectionCopies, AForkedChildThatUsesItsCopyHoldsIt) {
  auto [a, b] = brood::pipe<int>();
  Child child([&, &mine = b, &other = a](Line& line) {
    mine.send(1);
    line.say('r');
    require(mine.recv() == 2, "two");
    other.close();  // never used: closing it says nothing
    line.expect('g');
  });
  child.line.expect('r');
  b.close();
  EXPECT_EQ(a.recv(), 1);
  expect_open(a);
  a.send(2);
  child.line.say('g');
  EXPECT_THROW((void)a.recv(), brood::EndOfFile);
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(ConnectionCopies, AForkedChildThatComesTooLateIsTold) {
  auto [a, b] = brood::pipe<int>();
  Child child([&, &mine = b](Line& line) {
    line.expect('g');
    expect_error<brood::ConnectionClosed>([&] { mine.send(1); }, {"closed by all"});
    expect_error<brood::ConnectionClosed>([&] { (void)mine.handle(); }, {"closed by all"});
  });
  b.close();
  child.line.say('g');
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(ConnectionCopies, TwoProcessesSendThroughCopiesOfOneEnd) {
  auto [a, b] = brood::pipe<std::vector<int>>({.ring_bytes = 8192});
  constexpr int kEach = 400;
  const auto body = [&, &end = b](int who) {
    return [&end, who](Line&) {
      for (int i = 0; i < kEach; ++i) end.send(std::vector<int>(static_cast<std::size_t>(1 + i * 37 % 5000), who + i));
    };
  };
  b.send({-1});  // while nobody can have filled the pipe; the parent is the only one who takes anything out
  Child first(body(0));
  Child second(body(10'000));
  std::array<int, 2> next = {0, 10'000};
  for (int i = 0; i < 2 * kEach;) {
    const auto got = a.recv();
    if (got.front() == -1) continue;
    ASSERT_EQ(got, std::vector<int>(got.size(), got.front()));
    int& expected = next.at(got.front() >= 10'000 ? 1 : 0);
    ASSERT_EQ(got.front(), expected++) << "each sender's messages stay in order";
    ++i;
  }
  b.close();
  EXPECT_THROW((void)a.recv(), brood::EndOfFile);
  EXPECT_EQ(first.wait(), 0);
  EXPECT_EQ(second.wait(), 0);
}

TEST_F(ConnectionCopies, TwoProcessesReceiveFromCopiesOfOneEnd) {
  auto [a, b] = brood::pipe<std::vector<int>>({.ring_bytes = 8192});
  auto [sums, out] = brood::pipe<long>(false);
  const auto body = [&in = a, &result = out](Line&) {
    long sum = 0;
    try {
      for (;;) {
        const auto got = in.recv();
        require(got == std::vector<int>(got.size(), got.front()), "whole");
        sum += got.front();
      }
    } catch (const brood::EndOfFile&) {
      result.send(sum);
    }
  };
  Child first(body);
  Child second(body);
  long expected = 0;
  for (int i = 0; i < 800; ++i) {
    b.send(std::vector<int>(static_cast<std::size_t>(1 + i * 37 % 5000), i));
    expected += i;
  }
  b.close();
  EXPECT_EQ(sums.recv() + sums.recv(), expected);
  EXPECT_EQ(first.wait(), 0);
  EXPECT_EQ(second.wait(), 0);
}

TEST_F(ConnectionCopies, AnEndInAQueueIsHeldUntilReceivedOrDropped) {
  const auto before = files_in_domain();
  {
    auto [a, b] = brood::pipe<int>();
    brood::Queue<IntEnd> queue;
    queue.put(b);
    b.close();
    expect_open(a);
    a.send(1);
    (void)brood::gc();
    expect_open(a);
    {
      IntEnd received = queue.get();
      EXPECT_EQ(received.recv(), 1);
      expect_open(a);
      queue.put(received);
    }
    expect_open(a);
    // A sleeper hears of it when the message is discarded.
    std::thread sleeper([&end = a] { EXPECT_THROW((void)end.recv(), brood::EndOfFile); });
    await_sleepers(a.handle(), 1);
    queue.shutdown(true);
    sleeper.join();
  }
  EXPECT_EQ(files_in_domain(), before);
}

TEST_F(ConnectionCopies, AnEndInAQueueThatGoesIsGone) {
  auto [a, b] = brood::pipe<int>();
  auto queue = std::make_unique<brood::Queue<IntEnd>>();
  queue->put(b);
  b.close();
  std::thread sleeper([&end = a] { EXPECT_THROW((void)end.recv(), brood::EndOfFile); });
  await_sleepers(a.handle(), 1);
  queue.reset();
  sleeper.join();
}

TEST_F(ConnectionCopies, AnEndInAQueueWhoseLastUserIsKilledOrExitsIsGone) {
  for (const bool killed : {true, false}) {
    auto [a, b] = brood::pipe<int>();
    Child other([&mine = b, killed](Line& line) {
      static auto* const queue = new brood::Queue<IntEnd>();  // never destroyed: left to exit
      queue->put(mine);
      mine.close();
      line.say('r');
      line.expect('g');
      if (killed) ::raise(SIGKILL);
    });
    other.line.expect('r');
    b.close();
    expect_open(a);
    std::thread sleeper([&end = a] { EXPECT_THROW((void)end.recv(), brood::EndOfFile); });
    await_sleepers(a.handle(), 1);
    other.line.say('g');
    sleeper.join();
    (void)other.wait();
  }
}

TEST_F(ConnectionCopies, EndsTravelThroughPipes) {
  auto [a, b] = brood::pipe<IntEnd>();
  Child child([&mine = b](Line&) {
    for (int i = 0; i < 20; ++i) {
      IntEnd end = mine.recv();
      end.send(i);
      if (i % 2 == 0) mine.send(end);
    }
  });
  for (int i = 0; i < 20; ++i) {
    auto [ours, theirs] = brood::pipe<int>();
    a.send(theirs);
    theirs.close();
    EXPECT_EQ(ours.recv(), i);
    if (i % 2 == 0) {
      IntEnd back = a.recv();
      ours.send(i + 100);
      EXPECT_EQ(back.recv(), i + 100);
    }
    EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
  }
  EXPECT_EQ(child.wait(), 0);
}

TEST_F(ConnectionCopies, ObjectsInAPipeArePinned) {
  const auto before = files_in_domain();
  {
    auto [a, b] = brood::pipe<brood::Lock>();
    Child maker([&end = b](Line&) {
      const brood::Lock lock;
      end.send(lock);
      end.send(lock);
    });
    EXPECT_EQ(maker.wait(), 0);
    EXPECT_EQ(brood::gc().objects, 0U);
    {
      brood::Lock lock = a.recv();
      EXPECT_TRUE(lock.try_lock());
      lock.unlock();
    }
    EXPECT_EQ(brood::gc().pins, 0U) << "the second message needs it";
    EXPECT_TRUE(a.poll());
  }
  EXPECT_EQ(files_in_domain(), before) << "what nobody received goes with the pipe";
}

TEST_F(ConnectionCopies, WhatLiesInAnEndThatEndedIsFree) {
  auto [a, b] = brood::pipe<IntEnd>();
  auto [ours, theirs] = brood::pipe<int>();
  a.send(theirs);
  theirs.close();
  expect_open(ours);
  b.close();  // nobody will ever receive it, though `a` keeps the segments
  EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
  EXPECT_THROW(a.send(ours), brood::BrokenPipe);
}

TEST_F(ConnectionCopies, AnEndIsNotSentToItself) {
  auto [a, b] = brood::detail::ConnectionCore::make_pipe({}, {1, "handles"});
  const std::array<brood::Handle, 1> own = {b.handle()};
  expect_error<brood::UsageError>([&own, &end = a] { end.send({}, own, brood::Deadline::never()); }, {"itself"});
}

struct Parcel {
  int number = 0;
  IntEnd reply;
  std::string note;
};

TEST_F(ConnectionCopies, EndsInStructsAndLongMessages) {
  auto [a, b] = brood::pipe<Parcel>({.ring_bytes = 4096});
  auto [ours, theirs] = brood::pipe<int>();
  Child child([&in = b](Line&) {
    Parcel parcel = in.recv();
    require(parcel.note == std::string(50'000, 'n'), "the note is whole");
    parcel.reply.send(parcel.number);
  });
  a.send(Parcel{5, IntEnd::open(theirs.handle()), std::string(50'000, 'n')});
  theirs.close();
  EXPECT_EQ(ours.recv(), 5);
  EXPECT_EQ(child.wait(), 0);
  EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
}

TEST_F(ConnectionCopies, AMessageThatDoesNotDecodeGivesItsEndsBack) {
  auto [a, b] = brood::pipe<IntEnd>();
  auto [ours, theirs] = brood::pipe<int>();
  a.send(theirs);
  theirs.close();
  std::thread sleeper([&end = ours] { EXPECT_THROW((void)end.recv(), brood::EndOfFile); });
  await_sleepers(ours.handle(), 1);
  EXPECT_GT(b.recv_bytes().size(), 0U);  // as bytes: nobody opens what is in it
  sleeper.join();
}

TEST_F(ConnectionCopies, ManyHolders) {
  auto [a, b] = brood::pipe<int>();
  std::vector<IntEnd> copies;
  for (int i = 0; i < 1500; ++i) copies.push_back(IntEnd::open(b.handle()));  // more than the first page of records
  b.close();
  while (copies.size() > 1) copies.pop_back();
  expect_open(a);
  copies.pop_back();
  EXPECT_THROW((void)a.recv(), brood::EndOfFile);
}

}  // namespace
}  // namespace ladder
