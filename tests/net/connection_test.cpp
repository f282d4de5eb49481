// Connections over sockets: what they do among the living, in every way that two ends can be connected.
#include <poll.h>

#include <array>
#include <atomic>
#include <functional>
#include <numeric>
#include <random>

#include "brood/queue.hpp"
#include "channel/transport.hpp"
#include "net/peers.hpp"

namespace nets {
namespace {

using ladder::expect_error;
using ladder::in_threads;
using ladder::printed;
using ladder::Stopwatch;

class SocketConnection : public NetWays {};
BROOD_ALL_WAYS(SocketConnection);

struct Job {
  int id = 0;
  std::string path;
  std::vector<std::string> words;
  friend bool operator==(const Job&, const Job&) = default;
};

/// More than any socket holds.
constexpr std::size_t kLong = std::size_t{24} << 20;

TEST_P(SocketConnection, CarriesValuesBothWays) {
  auto [a, b] = connected<Job>(GetParam());
  EXPECT_TRUE(a.readable() && a.writable() && b.readable() && b.writable());
  const Job job{7, "a/b", {"x", "", std::string(5000, 'y')}};
  a.send(job);
  b.send({});
  EXPECT_EQ(b.recv(), job);
  EXPECT_EQ(a.recv(), Job());
  auto [c, d] = connected<int>(GetParam());
  for (int i = 0; i < 100; ++i) c.send(i);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(d.recv(), i);
}

TEST_P(SocketConnection, MessagesOfEverySizeStayWholeAndInOrder) {
  auto [a, b] = connected<std::string>(GetParam());
  constexpr std::array<std::size_t, 12> kSizes = {0,     1,     7,     1000,   16383,     16384,
                                                  65535, 65536, 65537, 131072, 1'000'000, 17};
  std::thread sender([&end = a, &kSizes] {
    for (const std::size_t size : kSizes) end.send_bytes(std::string(size, static_cast<char>('a' + size % 26)));
    std::string last(3'000'000, '\0');
    for (std::size_t i = 0; i < last.size(); ++i) last[i] = static_cast<char>(i * 31 + i / 65536);
    end.send(last);
  });
  for (const std::size_t size : kSizes) {
    const auto got = b.recv_bytes();
    EXPECT_TRUE(text(got) == std::string(size, static_cast<char>('a' + size % 26))) << size << " " << got.size();
  }
  const std::string last = b.recv();
  sender.join();
  ASSERT_EQ(last.size(), 3'000'000U);
  for (std::size_t i = 0; i < last.size(); ++i) ASSERT_EQ(last[i], static_cast<char>(i * 31 + i / 65536)) << i;
}

TEST_P(SocketConnection, AttemptsOfAllForms) {
  auto [a, b] = connected<int>(GetParam());
  EXPECT_EQ(b.try_recv(), std::nullopt);
  EXPECT_EQ(b.try_recv_for(-1h), std::nullopt);
  EXPECT_FALSE(b.poll());
  EXPECT_FALSE(b.poll_for(-1s));
  std::array<char, 8> buffer{};
  EXPECT_EQ(b.try_recv_bytes_into(buffer), std::nullopt);
  for (const auto& wait : std::vector<std::function<bool()>>{
           [&end = b] { return end.try_recv_for(25ms).has_value(); },
           [&end = b] { return end.try_recv_until(std::chrono::system_clock::now() + 25ms).has_value(); },
           [&end = b] { return end.poll_for(25ms); },
           [&end = b] { return end.try_recv_bytes_for(25ms).has_value(); },
       }) {
    const Stopwatch watch;
    EXPECT_FALSE(wait());
    EXPECT_GE(watch.elapsed(), 25ms);
  }
  EXPECT_TRUE(a.try_send(1));
  EXPECT_TRUE(a.try_send_for(2, std::chrono::hours::max()));
  EXPECT_TRUE(b.poll_for(std::chrono::hours::max()));
  EXPECT_TRUE(b.poll()) << "takes nothing";
  EXPECT_EQ(b.try_recv_for(std::chrono::hours::max()), 1);
  EXPECT_EQ(b.try_recv_until(std::chrono::steady_clock::time_point::max()), 2);
  EXPECT_FALSE(b.poll());
}

TEST_P(SocketConnection, AnEmptyMessageIsAMessage) {
  auto [a, b] = connected<std::string>(GetParam());
  a.send_bytes("");
  EXPECT_TRUE(b.poll_for(1h));
  EXPECT_TRUE(b.poll());
  EXPECT_TRUE(b.recv_bytes().empty());
  EXPECT_FALSE(b.poll());
}

TEST_P(SocketConnection, PartsBuffersAndLimits) {
  auto [a, b] = connected<std::string>(GetParam());
  a.send_bytes("abcdefghij", 3, 4);
  std::array<char, 6> buffer{};
  EXPECT_EQ(b.recv_bytes_into(buffer, 1), 4U);
  EXPECT_EQ(std::string(buffer.data() + 1, 4), "defg");
  a.send_bytes("too long for it");
  try {
    (void)b.recv_bytes_into(buffer);
    ADD_FAILURE();
  } catch (const brood::BufferTooShort& error) {
    EXPECT_EQ(text({error.message().begin(), error.message().end()}), "too long for it");
  }
  a.send_bytes("123456");
  expect_error<brood::MessageTooLong>([&end = b] { (void)end.recv_bytes(5); }, {"6 bytes", "5"});
  EXPECT_FALSE(b.readable());
  EXPECT_THROW((void)b.recv(), brood::ConnectionClosed);
  b.send("still");
  EXPECT_EQ(a.recv(), "still");
}

TEST_P(SocketConnection, AMessageThatRanOutOfTimeWasNeverSent) {
  auto [a, b] = connected<std::string>(GetParam());
  const std::string longest(kLong, 'x');
  int short_ones = 0;
  for (int round = 0; round < 3; ++round) {
    EXPECT_FALSE(a.try_send_for(longest, 5ms)) << "nobody receives, and it does not fit";
    EXPECT_FALSE(a.try_send(longest));
    // The rest of what was taken back is in its way, unless TCP has made room meanwhile.
    if (a.try_send("short")) ++short_ones;
  }
  // What came of the long ones is dropped in silence.
  for (int i = 0; i < short_ones; ++i) EXPECT_EQ(b.recv(), "short");
  EXPECT_FALSE(b.try_recv().has_value());
  std::thread sender([&end = a] {
    end.send("next");
    end.send(std::string(100'000, 'y'));
  });
  EXPECT_EQ(b.recv(), "next");
  EXPECT_EQ(b.recv(), std::string(100'000, 'y'));
  sender.join();
  EXPECT_FALSE(b.poll());
}

TEST_P(SocketConnection, AttemptsToSendUnderPressureSendWholeMessagesOrNothing) {
  const unsigned seed = std::random_device{}();
  std::cout << "seed " << seed << '\n';
  auto [a, b] = connected<std::string>(GetParam());
  std::vector<std::string> sent;
  std::thread sender([&end = a, &sent, seed] {
    std::mt19937 random(seed);
    for (int i = 0; sent.size() < 60; ++i) {
      const std::string message(random() % 600'000, static_cast<char>('a' + i % 26));
      if (end.try_send_for(message, std::chrono::microseconds(random() % 800))) sent.push_back(message);
    }
    end.send("end");
  });
  std::vector<std::string> got;
  for (std::string message = b.recv(); message != "end"; message = b.recv()) got.push_back(std::move(message));
  sender.join();
  EXPECT_TRUE(got == sent);
}

TEST_P(SocketConnection, ATimedReceiveGoesOnWithALongMessageLater) {
  auto [a, b] = connected<std::string>(GetParam());
  const std::string longest(kLong, 'p');
  std::thread sender([&end = a, &longest] { end.send(longest); });
  std::optional<std::string> got;
  while (!got) got = b.try_recv_for(1us);
  EXPECT_TRUE(*got == longest);
  sender.join();
  EXPECT_FALSE(b.poll());
}

TEST_P(SocketConnection, SendersAndReceiversByTurnsNeverMixMessages) {
  auto [a, b] = connected<std::string>(GetParam());
  constexpr int kEach = 60;
  std::thread senders([&end = a] {
    in_threads(4, [&](std::size_t who) {
      for (int i = 0; i < kEach; ++i)
        end.send(std::string(i % 7 == 0 ? 150'000 : 1 + static_cast<std::size_t>(i), static_cast<char>('a' + who)));
    });
  });
  std::atomic<int> whole = 0;
  in_threads(3, [&end = b, &whole](std::size_t) {
    for (int i = 0; i < 4 * kEach / 3; ++i) {
      const std::string message = end.recv();
      if (message.find_first_not_of(message[0]) == std::string::npos) ++whole;
    }
  });
  senders.join();
  EXPECT_EQ(whole, 4 * kEach);
}

TEST_P(SocketConnection, BothEndsSendLongMessagesAtTheSameTime) {
  auto [a, b] = connected<std::string>(GetParam());
  const std::string big(5'000'000, 'b');
  std::vector<std::thread> threads;
  for (auto* end : {&a, &b}) {
    threads.emplace_back([end, &big] { end->send(big); });
    threads.emplace_back([end, &big] { EXPECT_TRUE(end->recv() == big); });
  }
  for (auto& thread : threads) thread.join();
}

TEST_P(SocketConnection, ClosingIsTheEndForTheOther) {
  auto [a, b] = connected<int>(GetParam());
  a.send(1);
  a.send(2);
  a.close();
  EXPECT_TRUE(a.closed());
  EXPECT_THROW(a.send(3), brood::ConnectionClosed);
  EXPECT_EQ(b.recv(), 1);
  EXPECT_EQ(b.recv(), 2);
  EXPECT_TRUE(b.poll_for(1h)) << "the end counts";
  EXPECT_THROW((void)b.recv(), brood::EndOfFile);
  EXPECT_THROW((void)b.recv(), brood::EndOfFile);
  EXPECT_TRUE(b.poll());
  // TCP learns of it by the answer to the first try.
  expect_error<brood::BrokenPipe>(
      [&end = b] {
        for (;;) end.send(1);
      },
      {"cannot send"});
}

TEST_P(SocketConnection, ASleepingReceiverWakesAtTheEnd) {
  auto [a, b] = connected<int>(GetParam());
  std::thread sleeper([&end = b] { EXPECT_THROW((void)end.recv(), brood::EndOfFile); });
  a.close();
  sleeper.join();
}

TEST_P(SocketConnection, ItsDescriptorPollsReadableWhenThereIsSomething) {
  // By the transport, as whoever waits for several at once has it.
  brood::Listener<int> listener(listener_options(GetParam()));
  std::optional<brood::detail::ConnectionCore> client;
  const brood::detail::ConnectionCore::Type& type = brood::detail::ConnectionMaker::type<int>();
  std::thread connecting(
      [&] { client.emplace(brood::detail::connect(listener.address(), connect_options(GetParam()), type)); });
  auto ours = listener.accept();
  connecting.join();
  brood::channel::Transport& transport = client->transport();
  EXPECT_EQ(transport.arm().word, nullptr);
  ASSERT_GE(transport.descriptor(), 0);
  EXPECT_FALSE(transport.readable_now());
  ours.send(7);
  pollfd one{transport.descriptor(), POLLIN, 0};
  EXPECT_EQ(::poll(&one, 1, -1), 1);
  EXPECT_TRUE(transport.readable_now());
  std::array<std::byte, sizeof(int)> value{};
  EXPECT_TRUE(client->receive_raw(value, brood::Deadline::never()));
  EXPECT_FALSE(transport.readable_now());
}

TEST_P(SocketConnection, HasNoHandleAndSaysSo) {
  auto [a, b] = connected<int>(GetParam());
  expect_error<brood::UsageError>([&end = a] { (void)end.handle(); }, {"socket", "no handle", "connect()"});
  brood::Queue<brood::Connection<int>> queue;
  EXPECT_THROW(queue.put(a), brood::UsageError);
  EXPECT_NE(printed(a).find(GetParam().address.starts_with("tcp") ? "<Connection tcp:" : "<Connection unix:"),
            std::string::npos)
      << printed(a);
  EXPECT_NE(printed(a).find(" duplex>"), std::string::npos);
  a.close();
  EXPECT_NE(printed(a).find(" closed>"), std::string::npos);
}

TEST_P(SocketConnection, TypedAndRawAndWhatDoesNotDecode) {
  auto [a, b] = connected<int>(GetParam());
  a.send_bytes("not an int");
  expect_error<brood::DecodeError>([&end = b] { (void)end.recv(); }, {"10 bytes"});
  a.send(6);
  EXPECT_EQ(b.recv_bytes().size(), sizeof(int));
}

TEST_P(SocketConnection, LimitsOfTheOtherEndAreKnownOrFound) {
  auto options = listener_options(GetParam());
  options.max_message = 1000;
  brood::Listener<std::string> listener(options);
  auto [ours, client] = connected(listener, connect_options(GetParam()));
  ours.send("says what it takes");
  EXPECT_EQ(client.recv(), "says what it takes");
  try {
    client.send_bytes(std::string(1001, 'x'));
    ADD_FAILURE();
  } catch (const brood::NoSpace& error) {
    EXPECT_EQ(error.code().value(), EMSGSIZE);
  }
  client.send_bytes(std::string(1000, 'x'));
  EXPECT_EQ(ours.recv_bytes().size(), 1000U);
}

// The same with a sender that stops wherever we want.
TEST(SocketConnectionParts, AReceiveThatGaveUpAnywhereGoesOnLater) {
  brood::Listener<std::string> listener;
  const RawPeer peer(listener.address());
  peer.hello(false);
  peer.write_note(kType, type_body<std::string>());
  auto ours = listener.accept();
  const std::string message = frame_header(5, 1) + "hello" + "\xa5";
  for (std::size_t cut = 1; cut < message.size(); ++cut) {
    peer.write(message.substr(0, cut));
    EXPECT_FALSE(ours.try_recv_bytes().has_value()) << cut;
    EXPECT_FALSE(ours.try_recv_bytes_for(1ms).has_value()) << cut;
    peer.write(message.substr(cut));
    EXPECT_EQ(text(ours.recv_bytes()), "hello") << cut;
  }
}

TEST(SocketConnectionLimit, AReceiverRefusesWhatItsSenderDidNotKnow) {
  brood::Listener<std::string> listener({.max_message = 1000});
  auto client = brood::connect<std::string>(listener.address());
  client.send_bytes(std::string(1001, 'x'));
  auto ours = listener.accept();
  for (int i = 0; i < 2; ++i)
    expect_error<brood::MessageTooLong>([&] { (void)ours.recv(); }, {"1001 bytes", "at most 1000", "max_message"});
  EXPECT_TRUE(ours.poll());
}

TEST_P(SocketConnection, ASignalNeitherEndsNorLengthensAWait) {
  auto [a, b] = connected<std::string>(GetParam());
  static std::atomic<int> handled = 0;
  handled = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { handled.fetch_add(1); };
  struct sigaction before {};
  ::sigaction(SIGUSR1, &action, &before);
  std::atomic<bool> waited = false;
  std::atomic<bool> over = false;
  std::thread receiver([&end = b, &waited, &over] {
    const Stopwatch watch;
    EXPECT_FALSE(end.try_recv_for(60ms).has_value());
    EXPECT_GE(watch.elapsed(), 60ms);
    waited = true;
    EXPECT_EQ(end.recv().size(), kLong);
    over = true;
  });
  std::thread sender([&end = a, &waited] {
    support::await([&] { return waited && handled.load() > 5; });
    end.send(std::string(kLong, 's'));
  });
  while (!over) {
    ::pthread_kill(receiver.native_handle(), SIGUSR1);
    ::pthread_kill(sender.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
  receiver.join();
  sender.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

}  // namespace
}  // namespace nets
