// CPython's _TestConnection, _TestPoll and _TestPicklingConnections, and the CON rows, as far as they are about pipes.
#include "brood/connection.hpp"

#include <array>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "brood/error.hpp"
#include "brood/event.hpp"
#include "brood/queue.hpp"
#include "conformance/bodies.hpp"

namespace conformance {
namespace {

using Numbers = std::vector<double>;
using Ends = brood::Connection<std::string>;

std::string text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ConnectionConformance : public Bodies {
 protected:
  /// A process has the end by itself now. A thread has this very object, and closes it when it is through.
  template <class T>
  void hand_over(brood::Connection<T>& end) const {
    if (body() != Body::thread) end.close();
  }
};
BROOD_BODIES(ConnectionConformance);

const std::string kSentinel;

/// Sends back what comes until an empty message comes.
void echo(Ends& end) {
  for (;;) {
    const auto message = end.recv_bytes();
    if (message.empty()) break;
    end.send_bytes(message);
  }
  end.close();
}
void echo_numbers(brood::Connection<Numbers>& end) {
  for (Numbers numbers = end.recv(); !numbers.empty(); numbers = end.recv()) end.send(numbers);
  end.close();
}

// _TestConnection.test_connection, CON-01, CON-02, CON-03
TEST_P(ConnectionConformance, ObjectsGoThereAndBackUntilTheEnd) {
  auto [ours, theirs] = brood::pipe<Numbers>();
  EXPECT_TRUE(ours.readable() && ours.writable() && theirs.readable() && theirs.writable());
  auto other = worker(echo_numbers, theirs);
  const Numbers seq = {1, 2.25, 1e300};
  ours.send(seq);
  EXPECT_EQ(ours.recv(), seq);
  ours.send({});
  hand_over(theirs);
  EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
  EXPECT_THROW((void)ours.recv(), brood::EndOfFile) << "and again";
  other.join();
  EXPECT_THROW(ours.send(seq), brood::BrokenPipe);
}

// _TestConnection.test_connection, CON-05, CON-06
TEST_P(ConnectionConformance, BytesBuffersShortBuffersAndPoll) {
  auto [ours, theirs] = brood::pipe<std::string>();
  auto other = worker(echo, theirs);
  const std::string message = "hello world";
  ours.send_bytes(message);
  EXPECT_EQ(text(ours.recv_bytes()), message);

  std::vector<int> buffer(10, 0);
  const std::array<int, 4> four = {0, 1, 2, 3};
  ours.send_bytes(four);
  EXPECT_EQ(ours.recv_bytes_into(buffer), four.size() * sizeof(int));
  EXPECT_EQ(buffer, (std::vector<int>{0, 1, 2, 3, 0, 0, 0, 0, 0, 0}));
  buffer.assign(10, 0);
  ours.send_bytes(four);
  EXPECT_EQ(ours.recv_bytes_into(buffer, 3 * sizeof(int)), four.size() * sizeof(int));
  EXPECT_EQ(buffer, (std::vector<int>{0, 0, 0, 0, 1, 2, 3, 0, 0, 0}));
  EXPECT_THROW((void)ours.recv_bytes_into(buffer, -1), brood::UsageError);
  EXPECT_THROW((void)ours.recv_bytes_into(buffer, 41), brood::UsageError);

  const std::string longer(40, ' ');
  ours.send_bytes(longer + "!");
  std::array<char, 40> short_buffer{};
  try {
    (void)ours.recv_bytes_into(short_buffer);
    ADD_FAILURE() << "too short";
  } catch (const brood::BufferTooShort& error) {
    EXPECT_EQ(text({error.message().begin(), error.message().end()}), longer + "!");
    EXPECT_EQ(short_buffer, (std::array<char, 40>{}));
  }

  EXPECT_FALSE(ours.poll());
  EXPECT_FALSE(ours.poll_for(-1s));
  const Stopwatch watch;
  EXPECT_FALSE(ours.poll_for(40ms));
  EXPECT_GE(watch.elapsed(), 40ms);
  ours.send_bytes("x");
  EXPECT_TRUE(ours.poll_for(std::chrono::hours::max()));
  EXPECT_EQ(text(ours.recv_bytes()), "x");

  // 16 MiB stream through a ring of 64 KiB, there and back.
  const std::string really_big(std::size_t{16} << 20, 'X');
  std::thread sender([&end = ours, &really_big] { end.send_bytes(really_big); });
  EXPECT_TRUE(text(ours.recv_bytes()) == really_big);
  sender.join();
  ours.send_bytes(kSentinel);
  hand_over(theirs);
  other.join();
  EXPECT_TRUE(ours.poll()) << "end of file counts";
  EXPECT_THROW((void)ours.recv_bytes(), brood::EndOfFile);
}

// CON-05
TEST_P(ConnectionConformance, ALimitEndsReadingOnlyWhenTheMessageIsLonger) {
  auto [ours, theirs] = brood::pipe<std::string>();
  auto other = worker(
      [](Ends& end) {
        end.send_bytes("");
        end.send_bytes("12345");
        end.send_bytes("123456");
        require(text(end.recv_bytes()) == "still", "the other end can send");
      },
      theirs);
  EXPECT_THROW((void)ours.recv_bytes(-1), brood::UsageError);
  EXPECT_EQ(ours.recv_bytes(0).size(), 0U);
  EXPECT_EQ(ours.recv_bytes(5).size(), 5U);
  EXPECT_THROW((void)ours.recv_bytes(5), brood::MessageTooLong);
  EXPECT_FALSE(ours.readable());
  EXPECT_THROW((void)ours.recv_bytes(), brood::ConnectionClosed);
  ours.send_bytes("still");
  other.join();
  auto [reader, writer] = brood::pipe<std::string>(false);
  writer.send_bytes("123456");
  EXPECT_THROW((void)reader.recv_bytes(5), brood::MessageTooLong);
  EXPECT_TRUE(reader.closed());
}

// _TestConnection.test_duplex_false, CON-01, CON-07
TEST_P(ConnectionConformance, OneWayEndsRefuseTheOtherDirection) {
  auto [reader, writer] = brood::pipe<int>(false);
  worker([](brood::Connection<int>& out) { out.send(1); }, writer).join();
  EXPECT_EQ(reader.recv(), 1);
  EXPECT_TRUE(reader.readable() && !reader.writable());
  EXPECT_TRUE(!writer.readable() && writer.writable());
  EXPECT_THROW(reader.send(2), brood::WrongDirection);
  EXPECT_THROW((void)writer.recv(), brood::WrongDirection);
  EXPECT_THROW((void)writer.poll(), brood::WrongDirection);
}

// _TestConnection.test_spawn_close
TEST_P(ConnectionConformance, TheParentMayCloseTheChildsEndRightAfterTheStart) {
  auto [ours, theirs] = brood::pipe<std::string>();
  auto other = worker(echo, theirs);
  hand_over(theirs);
  ours.send_bytes("hello");
  EXPECT_EQ(text(ours.recv_bytes()), "hello");
  ours.send_bytes(kSentinel);
  ours.close();
  other.join();
}

// _TestConnection.test_sendbytes, CON-04
TEST_P(ConnectionConformance, PartsOfAMessageByOffsetAndSize) {
  auto [a, b] = brood::pipe<std::string>();
  const std::string latin = "abcdefghijklmnopqrstuvwxyz";
  auto other = worker(
      [](Ends& end, const std::string& message) {
        end.send_bytes(message);
        end.send_bytes(message, 5);
        end.send_bytes(message, 7, 8);
        end.send_bytes(message, 26);
        end.send_bytes(message, 26, 0);
      },
      a, latin);
  EXPECT_EQ(text(b.recv_bytes()), latin);
  EXPECT_EQ(text(b.recv_bytes()), latin.substr(5));
  EXPECT_EQ(text(b.recv_bytes()), latin.substr(7, 8));
  EXPECT_EQ(text(b.recv_bytes()), "");
  EXPECT_EQ(text(b.recv_bytes()), "");
  other.join();
  EXPECT_THROW(a.send_bytes(latin, 27), brood::UsageError);
  EXPECT_THROW(a.send_bytes(latin, 22, 5), brood::UsageError);
  EXPECT_THROW(a.send_bytes(latin, 26, 1), brood::UsageError);
  EXPECT_THROW(a.send_bytes(latin, -1), brood::UsageError);
  EXPECT_THROW(a.send_bytes(latin, 4, -1), brood::UsageError);
  EXPECT_FALSE(b.poll());
}

// _TestConnection.test_context, CON-08, CON-09
TEST_P(ConnectionConformance, LeavingTheScopeClosesAndClosedRefusesEverything) {
  auto kept = [this] {
    auto [a, b] = brood::pipe<int>();
    worker([](brood::Connection<int>& end) { end.send(1729); }, a).join();
    EXPECT_EQ(b.recv(), 1729);
    EXPECT_FALSE(a.closed());
    a.close();
    a.close();
    EXPECT_TRUE(a.closed());
    EXPECT_THROW((void)a.recv(), brood::ConnectionClosed);
    EXPECT_THROW((void)a.poll(), brood::ConnectionClosed);
    EXPECT_THROW((void)a.handle(), brood::ConnectionClosed);
    auto [c, d] = brood::pipe<int>();
    return std::move(c);
  }();
  EXPECT_THROW((void)kept.recv(), brood::EndOfFile) << "the other end was left to its scope";
}

// CON-03
void die_in_the_middle(brood::Connection<Numbers>& end) {
  end.send(Numbers(1'000'000, 1.5));  // waits for room
}
TEST_P(ConnectionConformance, TheEndInsideAMessageIsAnotherError) {
  auto [ours, theirs] = brood::pipe<Numbers>();
  support::Child dying([&end = theirs](support::Line&) { die_in_the_middle(end); });
  support::await_sleepers(theirs.handle(), 1);
  theirs.close();
  dying.kill();
  EXPECT_THROW((void)ours.recv(), brood::BrokenMessage);
  EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
  EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
}
TEST_P(ConnectionConformance, ResetIfThePeerClosedWithUnreadData) {
  auto [ours, theirs] = brood::pipe<int>();
  ours.send(1);
  worker([](brood::Connection<int>& end) { end.close(); }, theirs).join();
  theirs.close();
  EXPECT_THROW((void)ours.recv(), brood::ConnectionReset);
  EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
}

// CON-12: Python corrupts the stream; here copies are as good as locked
TEST_P(ConnectionConformance, TwoSendersThroughOneEndNeverMixMessages) {
  auto [ours, theirs] = brood::pipe<Numbers>();
  const auto chatter = [](brood::Connection<Numbers>& end, int who) {
    for (int i = 0; i < 100; ++i) end.send(Numbers(static_cast<std::size_t>(1 + i * 97 % 9000), who));
  };
  auto first = worker(chatter, theirs, 1);
  auto second = worker(chatter, theirs, 2);
  std::array<int, 3> count{};
  for (int i = 0; i < 200; ++i) {
    const Numbers got = ours.recv();
    ASSERT_EQ(got, Numbers(got.size(), got.front()));
    ++count.at(static_cast<std::size_t>(got.front()));
  }
  first.join();
  second.join();
  EXPECT_EQ(count, (std::array<int, 3>{0, 100, 100}));
}

// _TestPoll.test_empty_string, CON-07
TEST_P(ConnectionConformance, AnEmptyMessageMakesPollTrueAgainAndAgain) {
  auto [ours, theirs] = brood::pipe<std::string>();
  EXPECT_FALSE(ours.poll());
  worker([](Ends& end) { end.send_bytes(""); }, theirs).join();
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(ours.poll());
  EXPECT_EQ(ours.recv_bytes().size(), 0U);
  EXPECT_FALSE(ours.poll());
}

// _TestPoll.test_strings
TEST_P(ConnectionConformance, PollLoopReceivesEmptyAndOtherMessagesInOrder) {
  const std::vector<std::string> strings = {"hello", "", "a", "b", "", "bye", "", "lop"};
  auto [ours, theirs] = brood::pipe<std::string>();
  auto other = worker(
      [](Ends& end, const std::vector<std::string>& all) {
        for (const auto& one : all) end.send_bytes(one);
      },
      theirs, strings);
  for (const auto& expected : strings) {
    while (!ours.poll_for(10ms)) {}
    EXPECT_EQ(text(ours.recv_bytes()), expected);
  }
  other.join();
}

// _TestPoll.test_boundaries: polling in another process never steals a part of a message
void poll_until_told(Ends& end, brood::Event& polling, brood::Event& stop) {
  (void)end.poll();
  polling.set();
  while (!stop.is_set()) (void)end.poll_for(1ms);
}
TEST_P(ConnectionConformance, PollingElsewhereNeverStealsAPartOfAMessage) {
  auto [ours, theirs] = brood::pipe<std::string>();
  brood::Event polling;
  brood::Event stop;
  auto second = Ends::open(ours.handle());
  auto poller = worker(poll_until_told, second, polling, stop);
  polling.wait();
  for (int i = 0; i < 200; ++i) {
    const std::string first(static_cast<std::size_t>(i * 13 % 70), 'a');
    theirs.send_bytes(first);
    theirs.send_bytes("b");
    EXPECT_EQ(text(ours.recv_bytes()), first);
    EXPECT_EQ(text(ours.recv_bytes()), "b");
  }
  stop.set();
  poller.join();
}

// _TestPoll.test_dont_merge
TEST_P(ConnectionConformance, PollingNeverMergesMessages) {
  auto [ours, theirs] = brood::pipe<std::string>();
  EXPECT_FALSE(ours.poll());
  EXPECT_FALSE(ours.poll_for(1ms));
  auto other = worker(
      [](Ends& end) {
        end.send_bytes("a");
        end.send_bytes("b");
        end.send_bytes("cd");
      },
      theirs);
  for (const char* expected : {"a", "b", "cd"}) {
    EXPECT_TRUE(ours.poll_for(1h));
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(ours.poll());
    EXPECT_EQ(text(ours.recv_bytes()), expected);
  }
  EXPECT_FALSE(ours.poll());
  other.join();
}

// _TestPicklingConnections.test_pickling, CON-13
void use_what_comes(brood::Connection<Ends>& in) {
  for (int i = 0; i < 3; ++i) {
    Ends end = in.recv();
    end.send("received " + std::to_string(i));
    require(end.recv() == "thanks", "an answer");
  }
}
TEST_P(ConnectionConformance, ConnectionsTravelInsideMessages) {
  auto [ours, theirs] = brood::pipe<Ends>();
  auto other = worker(use_what_comes, theirs);
  for (int i = 0; i < 3; ++i) {
    auto [near, far] = brood::pipe<std::string>();
    ours.send(far);
    far.close();  // right after the sending
    EXPECT_EQ(near.recv(), "received " + std::to_string(i));
    near.send("thanks");
    EXPECT_THROW((void)near.recv(), brood::EndOfFile);
  }
  other.join();
  brood::Queue<Ends> queue;
  auto [near, far] = brood::pipe<std::string>();
  queue.put(far);
  far.close();
  auto taker = worker(
      [](brood::Queue<Ends>& in) {
        Ends end = in.get();
        end.send("through a queue");
      },
      queue);
  EXPECT_EQ(near.recv(), "through a queue");
  taker.join();
  EXPECT_THROW((void)near.recv(), brood::EndOfFile);
}

// _TestPicklingConnections.test_access
void use_both_ways(brood::Connection<Ends>& in) {
  Ends reader = in.recv();
  require(reader.readable() && !reader.writable(), "a reader");
  require(reader.recv() == "foobar", "what was sent");
  reader.close();
  Ends writer = in.recv();
  require(!writer.readable() && writer.writable(), "a writer");
  writer.send("foobar");
}
TEST_P(ConnectionConformance, ReadersAndWritersTravelAndWork) {
  auto [ours, theirs] = brood::pipe<Ends>();
  auto other = worker(use_both_ways, theirs);
  {
    auto [reader, writer] = brood::pipe<std::string>(false);
    ours.send(reader);
    reader.close();
    writer.send("foobar");
  }
  auto [reader, writer] = brood::pipe<std::string>(false);
  ours.send(writer);
  writer.close();
  EXPECT_EQ(reader.recv(), "foobar");
  EXPECT_THROW((void)reader.recv(), brood::EndOfFile);
  other.join();
}

}  // namespace
}  // namespace conformance
