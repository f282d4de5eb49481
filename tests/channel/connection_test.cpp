// Connection and pipe(): what they do among the living.
#include "brood/connection.hpp"

#include <array>
#include <atomic>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "channel/transport.hpp"
#include "os/futex.hpp"
#include "sync/ladder.hpp"

namespace ladder {
namespace {

using ConnectionLadder = Ladder;

struct Point {
  int x = 0;
  double y = 0;
  friend bool operator==(const Point&, const Point&) = default;
};
struct Job {
  int id = 0;
  std::string path;
  std::vector<std::string> words;
  friend bool operator==(const Job&, const Job&) = default;
};

std::string text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST_F(ConnectionLadder, CarriesScalarsStructsAndContainersBothWays) {
  auto [a, b] = brood::pipe<Point>();
  a.send({1, 2.5});
  b.send({3, 4.5});
  EXPECT_EQ(b.recv(), (Point{1, 2.5}));
  EXPECT_EQ(a.recv(), (Point{3, 4.5}));
  auto [here, there] = brood::pipe<Job>();
  const Job job{7, "a/b", {"x", "", std::string(5000, 'y')}};
  here.send(job);
  EXPECT_EQ(there.recv(), job);
}

TEST_F(ConnectionLadder, MessagesOfEverySizeStayWholeAndInOrder) {
  for (const std::size_t ring : {4096U, 65536U}) {
    auto [a, b] = brood::pipe<std::string>({.ring_bytes = ring});
    for (std::size_t round = 0; round < 3; ++round) {
      for (const std::size_t size : {0U, 1U, 7U, 8U, 9U, 63U, 64U, 65U, 900U, 960U, 1000U, 1016U, 1024U, 1100U}) {
        a.send_bytes(std::string(size, static_cast<char>('a' + size % 26)));
        const auto got = b.recv_bytes();
        ASSERT_EQ(text(got), std::string(size, static_cast<char>('a' + size % 26))) << "ring " << ring;
      }
    }
  }
}

TEST_F(ConnectionLadder, LongMessagesStreamThroughASmallRing) {
  auto [a, b] = brood::pipe<std::string>({.ring_bytes = 4096});
  std::vector<std::string> sent;
  for (const std::size_t size : {1000U, 4096U, 16384U, 16385U, 100'000U, 3'000'000U, 17U}) {
    std::string message(size, '\0');
    for (std::size_t i = 0; i < size; ++i) message[i] = static_cast<char>(i * 31 + size);
    sent.push_back(std::move(message));
  }
  std::thread sender([&end = a, &sent] {
    for (const auto& message : sent) end.send(message);
  });
  for (const auto& message : sent) EXPECT_TRUE(b.recv() == message) << message.size();
  sender.join();
}

TEST_F(ConnectionLadder, OneWayGivesReaderThenWriter) {
  auto [reader, writer] = brood::pipe<int>(false);
  EXPECT_TRUE(reader.readable());
  EXPECT_FALSE(reader.writable());
  EXPECT_FALSE(writer.readable());
  EXPECT_TRUE(writer.writable());
  writer.send(7);
  EXPECT_EQ(reader.recv(), 7);
  expect_error<brood::WrongDirection>([&r = reader] { r.send(1); }, {reader.handle().str(), "receive"});
  expect_error<brood::WrongDirection>([&w = writer] { (void)w.recv(); }, {writer.handle().str(), "send"});
  EXPECT_THROW((void)writer.poll(), brood::WrongDirection);
  EXPECT_THROW(reader.send_bytes("x"), brood::WrongDirection);
  EXPECT_THROW((void)writer.recv_bytes(), brood::WrongDirection);
  writer.close();
  EXPECT_THROW((void)reader.recv(), brood::EndOfFile);
}

TEST_F(ConnectionLadder, TypedAndRawOnOneConnection) {
  auto [a, b] = brood::pipe<int>();
  a.send_bytes("four");
  EXPECT_EQ(text(b.recv_bytes()), "four");
  a.send(5);
  EXPECT_EQ(b.recv(), 5);
  a.send_bytes("not an int");
  expect_error<brood::DecodeError>([&end = b] { (void)end.recv(); }, {"10 bytes"});
  a.send(6);
  EXPECT_EQ(b.recv_bytes().size(), sizeof(int));
  EXPECT_FALSE(b.poll()) << "the message that did not decode is gone";
}

TEST_F(ConnectionLadder, AttemptsOfAllForms) {
  auto [a, b] = brood::pipe<int>({.ring_bytes = 4096});
  EXPECT_EQ(b.try_recv(), std::nullopt);
  EXPECT_EQ(b.try_recv_for(-1h), std::nullopt);
  EXPECT_EQ(b.try_recv_for(0ns), std::nullopt);
  EXPECT_FALSE(b.poll());
  EXPECT_FALSE(b.poll_for(-1s));
  EXPECT_EQ(b.try_recv_bytes(), std::nullopt);
  std::array<char, 8> buffer{};
  EXPECT_EQ(b.try_recv_bytes_into(buffer), std::nullopt);
  for (const auto& wait : std::vector<std::function<bool()>>{
           [&end = b] { return end.try_recv_for(25ms).has_value(); },
           [&end = b] { return end.try_recv_until(std::chrono::system_clock::now() + 25ms).has_value(); },
           [&end = b] { return end.poll_for(25ms); },
           [&end = b] { return end.poll_until(std::chrono::steady_clock::now() + 25ms); },
           [&end = b] { return end.try_recv_bytes_for(25ms).has_value(); },
           [&end = b, &buffer] { return end.try_recv_bytes_into_for(buffer, 25ms).has_value(); },
       }) {
    const Stopwatch watch;
    EXPECT_FALSE(wait());
    EXPECT_GE(watch.elapsed(), 25ms);
  }
  EXPECT_TRUE(a.try_send(1));
  EXPECT_TRUE(a.try_send_for(2, std::chrono::hours::max()));
  EXPECT_TRUE(a.try_send_until(3, std::chrono::system_clock::now() + 1h));
  EXPECT_TRUE(a.try_send_bytes("x"));
  EXPECT_TRUE(b.poll_for(std::chrono::hours::max()));
  EXPECT_EQ(b.try_recv_for(std::chrono::hours::max()), 1);
  EXPECT_EQ(b.try_recv_until(std::chrono::steady_clock::time_point::max()), 2);
  EXPECT_EQ(b.try_recv(), 3);
  EXPECT_EQ(b.try_recv_bytes_into_until(buffer, std::chrono::steady_clock::now() + 1h), 1U);
  // Full: one that fits is refused, and so is one that would have to wait in the middle.
  int sent = 0;
  while (a.try_send(sent)) ++sent;
  EXPECT_GT(sent, 200);
  EXPECT_FALSE(a.try_send_for(9, -1ms));
  const Stopwatch watch;
  EXPECT_FALSE(a.try_send_for(9, 25ms));
  EXPECT_FALSE(a.try_send_bytes_for(std::string(9000, 'x'), 25ms));
  EXPECT_GE(watch.elapsed(), 50ms);
  for (int i = 0; i < sent; ++i) ASSERT_EQ(b.recv(), i);
  EXPECT_FALSE(b.poll());
}

TEST_F(ConnectionLadder, AMessageThatRanOutOfTimeWasNeverSent) {
  auto [a, b] = brood::pipe<std::string>({.ring_bytes = 4096});
  EXPECT_FALSE(a.try_send_for(std::string(100'000, 'x'), 20ms)) << "nobody receives, and it does not fit";
  EXPECT_FALSE(a.try_send(std::string(100'000, 'x')));
  EXPECT_EQ(b.try_recv(), std::nullopt) << "its fragments are dropped in silence";
  a.send("next");
  EXPECT_EQ(b.recv(), "next");
}

TEST_F(ConnectionLadder, ATimedReceiveGoesOnWithALongMessageLater) {
  auto [a, b] = brood::pipe<std::string>({.ring_bytes = 4096});
  brood::Lock may_go_on;
  // The sender stands still in the middle of its message: it waits for room.
  std::thread sender([&end = a] { end.send(std::string(20'000, 'p')); });
  await_sleepers(a.handle(), 1);
  // Nothing is lost, however often the receiver gives up, and whatever form it uses next.
  std::optional<std::string> got;
  int gave_up = 0;
  while (!(got = b.try_recv_for(1us))) ++gave_up;
  EXPECT_EQ(*got, std::string(20'000, 'p'));
  sender.join();
  EXPECT_FALSE(b.poll());
}

TEST_F(ConnectionLadder, PartsOfBuffersAndNegativeNumbers) {
  auto [a, b] = brood::pipe<int>();
  const std::string message = "abcdefghijklmnopqrstuvwxyz";
  a.send_bytes(message, 5);
  EXPECT_EQ(text(b.recv_bytes()), message.substr(5));
  a.send_bytes(message, 7, 8);
  EXPECT_EQ(text(b.recv_bytes()), message.substr(7, 8));
  a.send_bytes(message, 26);
  EXPECT_EQ(text(b.recv_bytes()), "");
  a.send_bytes(message, 26, 0);
  EXPECT_EQ(text(b.recv_bytes()), "");
  for (const auto& [offset, size] :
       std::vector<std::pair<int, std::optional<std::int64_t>>>{{27, {}}, {22, 5}, {26, 1}, {-1, {}}, {4, -1}}) {
    EXPECT_THROW(a.send_bytes(message, offset, size), brood::UsageError) << offset;
  }
  EXPECT_THROW((void)b.recv_bytes(-1), brood::UsageError);
  std::vector<int> numbers(10, -1);
  EXPECT_THROW((void)b.recv_bytes_into(numbers, -1), brood::UsageError);
  EXPECT_THROW((void)b.recv_bytes_into(numbers, 41), brood::UsageError);
  const std::array<int, 3> three = {1, 2, 3};
  a.send_bytes(three);
  EXPECT_EQ(b.recv_bytes_into(numbers, 3 * sizeof(int)), 12U);
  EXPECT_EQ(numbers, (std::vector<int>{-1, -1, -1, 1, 2, 3, -1, -1, -1, -1}));
  EXPECT_FALSE(b.poll()) << "misuse took nothing";
}

TEST_F(ConnectionLadder, TooShortABufferStaysAsItWasAndTheMessageIsInTheException) {
  auto [a, b] = brood::pipe<int>({.ring_bytes = 4096});
  std::string buffer = "untouched";
  for (const std::size_t size : {10U, 3000U, 30'000U}) {
    std::thread sender([&end = a, size] { end.send_bytes(std::string(size, 'm')); });
    try {
      (void)b.recv_bytes_into(buffer);
      ADD_FAILURE() << "it does not fit";
    } catch (const brood::BufferTooShort& error) {
      EXPECT_EQ(text({error.message().begin(), error.message().end()}), std::string(size, 'm'));
    }
    sender.join();
    EXPECT_EQ(buffer, "untouched");
    EXPECT_FALSE(b.poll()) << "the message is taken";
  }
}

TEST_F(ConnectionLadder, TooLongAMessageEndsReadingButNotSending) {
  auto [a, b] = brood::pipe<int>();
  a.send_bytes("");
  EXPECT_EQ(b.recv_bytes(0).size(), 0U);
  a.send_bytes("exact");
  EXPECT_EQ(text(b.recv_bytes(5)), "exact");
  auto copy = brood::Connection<int>::open(b.handle());
  a.send_bytes("longer");
  expect_error<brood::MessageTooLong>([&end = b] { (void)end.recv_bytes(5); }, {"6 bytes", "5"});
  EXPECT_FALSE(b.readable());
  EXPECT_TRUE(b.writable());
  EXPECT_THROW((void)b.recv_bytes(), brood::ConnectionClosed);
  EXPECT_THROW((void)b.poll(), brood::ConnectionClosed);
  b.send(3);
  EXPECT_EQ(a.recv(), 3);
  EXPECT_EQ(text(copy.recv_bytes()), "longer") << "it was not taken";

  auto [reader, writer] = brood::pipe<int>(false);
  writer.send_bytes(std::string(100'000, 'x').substr(0, 40'000));
  EXPECT_THROW((void)reader.recv_bytes(10), brood::MessageTooLong);
  EXPECT_TRUE(reader.closed()) << "one that cannot send either is closed";
  EXPECT_THROW(writer.send(1), brood::BrokenPipe);
}

TEST_F(ConnectionLadder, ClosedMovedAndPrinted) {
  auto [a, b] = brood::pipe<int>();
  EXPECT_EQ(printed(a), "<Connection " + a.handle().str() + " duplex>");
  const std::string name = a.handle().str();
  auto moved = std::move(a);
  EXPECT_THROW(a.send(1), brood::UsageError);  // NOLINT(bugprone-use-after-move)
  moved.send(1);
  moved.close();
  moved.close();
  EXPECT_TRUE(moved.closed());
  EXPECT_EQ(printed(moved), "<Connection " + name + " closed>");
  EXPECT_THROW(moved.send(1), brood::ConnectionClosed);
  EXPECT_THROW((void)moved.recv(), brood::ConnectionClosed);
  EXPECT_THROW((void)moved.poll(), brood::ConnectionClosed);
  EXPECT_THROW((void)moved.handle(), brood::ConnectionClosed);
  EXPECT_EQ(b.recv(), 1);
  auto [reader, writer] = brood::pipe<int>(false);
  EXPECT_NE(printed(reader).find("reader>"), std::string::npos);
  EXPECT_NE(printed(writer).find("writer>"), std::string::npos);
}

TEST_F(ConnectionLadder, EndOfFileComesAfterTheLastMessageAndStays) {
  auto [a, b] = brood::pipe<int>();
  b.send(1);
  b.send(2);
  b.close();
  EXPECT_TRUE(a.poll());
  EXPECT_EQ(a.recv(), 1);
  EXPECT_EQ(a.recv(), 2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(a.poll()) << "end of file counts";
    EXPECT_TRUE(a.poll_for(1h));
    EXPECT_THROW((void)a.recv(), brood::EndOfFile);
    EXPECT_THROW((void)a.try_recv(), brood::EndOfFile);
    EXPECT_THROW((void)a.recv_bytes(), brood::EndOfFile);
  }
  expect_error<brood::BrokenPipe>([&end = a] { end.send(1); }, {a.handle().str()});
  EXPECT_THROW((void)a.try_send(1), brood::PeerGone);
}

TEST_F(ConnectionLadder, WhatThePeerDidNotReadIsSaidOnce) {
  auto [a, b] = brood::pipe<int>();
  b.send(1);
  a.send(2);
  b.close();
  EXPECT_EQ(a.recv(), 1);
  EXPECT_THROW((void)a.recv(), brood::ConnectionReset);
  try {
    (void)a.recv();
    ADD_FAILURE();
  } catch (const brood::EndOfFile& end) {
    EXPECT_EQ(typeid(end), typeid(brood::EndOfFile)) << "ConnectionReset is said once only";
  }
}

TEST_F(ConnectionLadder, SleepersWakeForMessagesRoomAndTheEnd) {
  for (const bool often_asleep : {false, true}) {
    SCOPED_TRACE(often_asleep);
    auto [a, b] = brood::pipe<int>({.ring_bytes = 4096, .often_asleep = often_asleep});
    std::thread receiver([&end = b] {
      EXPECT_EQ(end.recv(), 1);
      EXPECT_THROW((void)end.recv(), brood::EndOfFile);
    });
    await_sleepers(b.handle(), 1);
    a.send(1);
    await_sleepers(b.handle(), 1);
    a.close();
    receiver.join();

    auto [c, d] = brood::pipe<int>({.ring_bytes = 4096, .often_asleep = often_asleep});
    std::thread sender([&end = c] {
      EXPECT_THROW(
          {
            for (;;) end.send(1);
          },
          brood::BrokenPipe);
    });
    await_sleepers(c.handle(), 1);
    for (int i = 0; i < 200; ++i) (void)d.recv();
    await_sleepers(c.handle(), 1);
    d.close();
    sender.join();
  }
}

TEST_F(ConnectionLadder, PollersAndReceiversWakeForOneMessage) {
  auto [a, b] = brood::pipe<int>();
  for (int round = 0; round < 50; ++round) {
    auto second = brood::Connection<int>::open(b.handle());
    std::thread poller([&end = second] { EXPECT_TRUE(end.poll_for(1h)); });
    await_sleepers(b.handle(), 1);
    a.send(round);
    poller.join();
    EXPECT_EQ(b.recv(), round);
  }
}

/// A long message whose every word names it, so that a mixture of two shows.
std::vector<int> uniform(int number, std::size_t size) { return std::vector<int>(size, number); }

TEST_F(ConnectionLadder, SendersAndReceiversByTurnsNeverMixMessages) {
  for (const bool often_asleep : {false, true}) {
    SCOPED_TRACE(often_asleep);
    const unsigned seed = std::random_device{}();
    std::cout << "seed " << seed << '\n';
    for (const std::size_t ring : {4096U, 65536U}) {
      auto [a, b] = brood::pipe<std::vector<int>>({.ring_bytes = ring, .often_asleep = often_asleep});
      constexpr int kEach = 300;
      std::array<std::atomic<int>, 3 * kEach> seen{};
      std::atomic<int> left{3 * kEach};
      std::vector<std::thread> threads;
      for (int who = 0; who < 3; ++who) {
        threads.emplace_back([&end = a, who, seed] {
          auto mine = brood::Connection<std::vector<int>>::open(end.handle());
          std::mt19937 random(seed + static_cast<unsigned>(who));
          for (int i = 0; i < kEach; ++i)
            mine.send(uniform(who * kEach + i, 1 + (i % 5 == 0 ? random() % 9000 : random() % 20)));
        });
      }
      for (int who = 0; who < 2; ++who) {
        threads.emplace_back([&end = b, &seen, &left] {
          auto mine = brood::Connection<std::vector<int>>::open(end.handle());
          while (left.load() > 0) {
            const auto got = mine.try_recv_for(5ms);
            if (!got) continue;
            ASSERT_FALSE(got->empty());
            ASSERT_EQ(*got, uniform(got->front(), got->size()));
            ++seen.at(static_cast<std::size_t>(got->front()));
            --left;
          }
        });
      }
      for (auto& thread : threads) thread.join();
      for (const auto& count : seen) ASSERT_EQ(count.load(), 1);
    }
  }
}

TEST_F(ConnectionLadder, OneObjectUsedByTwoThreadsAtOnce) {
  for (const bool often_asleep : {false, true}) {
    SCOPED_TRACE(often_asleep);
    auto [a, b] = brood::pipe<int>({.often_asleep = often_asleep});
    constexpr int kMessages = 20'000;
    std::atomic<long> sum{0};
    std::thread echo([&end = b] {
      for (int i = 0; i < 2 * kMessages; ++i) end.send(end.recv() + 1);
    });
    in_threads(2, [&, &end = a](std::size_t) {
      for (int i = 0; i < kMessages; ++i) {
        end.send(i);
        sum += end.recv();
      }
    });
    echo.join();
    EXPECT_EQ(sum.load(), 2L * kMessages * (kMessages + 1) / 2);
    EXPECT_FALSE(a.poll());
  }
}

/// What a wait for several connections stands on: arm, look, sleep while the word is as it was.
TEST_F(ConnectionLadder, BellsRingForMessagesAndForTheEnd) {
  auto [in, out] = brood::detail::ConnectionCore::make_pipe({}, {1, "bytes"});
  brood::channel::Transport& waiting = in.transport();
  const auto sleep_until_rung = [&waiting] {
    for (;;) {
      const auto bell = waiting.arm();
      if (waiting.readable_now()) return;
      while (bell.word->load() == bell.seen) brood::os::futex_wait(*bell.word, bell.seen, brood::Deadline::never());
    }
  };
  EXPECT_FALSE(waiting.readable_now());
  std::thread first([&end = out] { end.send({}, {}, brood::Deadline::never()); });
  sleep_until_rung();
  first.join();
  EXPECT_TRUE(waiting.readable_now()) << "nothing was taken";
  std::array<std::byte, 1> buffer{};
  EXPECT_EQ(in.receive_into(buffer, 0, brood::Deadline::now()), 0U);
  std::thread second([&end = out] { end.close(); });
  sleep_until_rung();
  second.join();
  EXPECT_THROW((void)in.receive_into(buffer, 0, brood::Deadline::now()), brood::EndOfFile);
}

TEST_F(ConnectionLadder, WrongKindsTypesAndHandlesAreRefused) {
  auto [a, b] = brood::pipe<int>();
  expect_error<brood::TypeMismatch>([&end = a] { (void)brood::Connection<double>::open(end.handle()); },
                                    {"int", "double"});
  expect_error<brood::TypeMismatch>([&end = a] { (void)brood::Queue<int>::open(end.handle()); }, {"connection"});
  const brood::Lock lock;
  EXPECT_THROW((void)brood::Connection<int>::open(lock.handle()), brood::TypeMismatch);
  EXPECT_THROW((void)brood::Connection<int>::open("brood:connection:0000000000000003"), brood::HandleError);
  EXPECT_THROW((void)brood::Connection<int>::open("nonsense"), brood::HandleError);
  EXPECT_THROW((void)brood::pipe<int>({.ring_bytes = static_cast<std::size_t>(-1)}), brood::UsageError);
}

}  // namespace
}  // namespace ladder
