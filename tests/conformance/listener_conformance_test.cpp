// CPython's _TestListener and _TestListenerClient, its tests of descriptors and of the handshake, and the CON rows about them.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "brood/event.hpp"
#include "brood/listener.hpp"
#include "conformance/bodies.hpp"
#include "net/challenge.hpp"

namespace conformance {
namespace {

using brood::Address;
using brood::ConnectOptions;
using brood::Descriptor;
using brood::Listener;
using brood::ListenerOptions;
using brood::TcpAddress;
using brood::UnixAddress;
using Texts = brood::Connection<std::string>;

class ListenerConformance : public Bodies {};
BROOD_BODIES(ListenerConformance);

std::string abstract_name() {
  static std::atomic<int> number = 0;
  return "brood-conformance-" + std::to_string(::getpid()) + "-" + std::to_string(++number);
}
/// One of each family.
std::vector<Address> families() {
  return {UnixAddress{}, UnixAddress::abstract(abstract_name()), TcpAddress{"localhost", 0}, TcpAddress{"127.0.0.1", 0},
          TcpAddress{"::1", 0}};
}

void say_hello(const Address& address, const std::string& key) {
  Texts client = brood::connect<std::string>(address, {.authkey = key});
  client.send("hello");
  require(client.recv() == "goodbye", "the answer");
}
void say_hello_without_key(const Address& address) { brood::connect<std::string>(address).send("hello"); }

// _TestListener.test_multiple_bind, CON-15
TEST_P(ListenerConformance, ASecondListenerAtTheSameAddressIsRefused) {
  for (const Address& address : families()) {
    Listener<int> first({.address = address});
    auto other = worker(
        [](const Address& taken) {
          try {
            Listener<int> second({.address = taken});
            require(false, "bound twice");
          } catch (const brood::AddressInUse&) {
            return;
          }
        },
        first.address());
    other.join();
  }
}

// CON-15
TEST_P(ListenerConformance, DefaultsToANewUnixPathAndTcpToLocalHostWithAFreePort) {
  Listener<int> unnamed;
  ASSERT_NE(unnamed.address().unix_address(), nullptr);
  EXPECT_FALSE(unnamed.address().unix_address()->is_abstract);
  Listener<int> tcp({.address = TcpAddress{}});
  EXPECT_NE(tcp.address().tcp_address()->port, 0);
  EXPECT_THROW(Listener<int>({.address = UnixAddress{"/" + std::string(107, 'x')}}), brood::UsageError);
  EXPECT_THROW(Listener<int>({.address = "AF_NONE:x"}), brood::UsageError);
  Address again;
  {
    Listener<std::string> listener({.address = TcpAddress{}});
    again = listener.address();
    auto other = worker(say_hello_without_key, again);
    EXPECT_EQ(listener.accept().recv(), "hello");
    other.join();
  }
  Listener<std::string> at_once({.address = again});
}

// _TestListener.test_context, CON-16, CON-17, CON-18
TEST_P(ListenerConformance, ScopesCloseAndAClosedListenerAcceptsNothing) {
  for (const Address& address : families()) {
    std::optional<Listener<std::string>> listener(ListenerOptions{.address = address, .authkey = "key"});
    const Address bound = listener->address();
    EXPECT_EQ(listener->last_accepted(), std::nullopt);
    auto other = worker(say_hello, bound, std::string("key"));
    {
      Texts ours = listener->accept();
      EXPECT_EQ(ours.recv(), "hello");
      ours.send("goodbye");
    }
    other.join();
    EXPECT_TRUE(listener->last_accepted().has_value());
    listener->close();
    listener->close();
    EXPECT_THROW((void)listener->accept(), brood::ListenerClosed);
    EXPECT_THROW((void)listener->address(), brood::ListenerClosed);
    if (const UnixAddress* path = bound.unix_address(); path != nullptr && !path->is_abstract) {
      EXPECT_FALSE(std::filesystem::exists(path->path));
    }
    EXPECT_THROW((void)brood::connect<std::string>(bound), brood::ConnectionRefused);
  }
}

// _TestListener.test_empty_authkey, CON-20
TEST_P(ListenerConformance, AnEmptyKeyIsAKey) {
  Listener<std::string> listener({.authkey = ""});
  auto other = worker(say_hello, listener.address(), std::string());
  Texts ours = listener.accept();
  EXPECT_EQ(ours.recv(), "hello");
  ours.send("goodbye");
  other.join();
  auto without = worker(
      [](const Address& to) {
        try {
          say_hello_without_key(to);
        } catch (const brood::AuthenticationError&) {
          return;  // it was refused before it had said hello
        }
      },
      listener.address());
  EXPECT_THROW((void)listener.accept(), brood::AuthenticationError);
  without.join();
}

// _TestListener.test_abstract_socket
TEST_P(ListenerConformance, AbstractSocketsWork) {
  Listener<std::string> listener({.address = UnixAddress::abstract(abstract_name())});
  auto other = worker(say_hello_without_key, listener.address());
  EXPECT_EQ(listener.accept().recv(), "hello");
  other.join();
}

// _TestListenerClient.test_listener_client, CON-16, CON-19
TEST_P(ListenerConformance, AClientReachesTheListenerOfEachFamily) {
  for (const Address& address : families()) {
    Listener<std::string> listener({.address = address});
    auto other = worker(say_hello_without_key, listener.address());
    EXPECT_EQ(listener.accept().recv(), "hello");
    other.join();
  }
}

// _TestListenerClient.test_issue14725: the client is through before anybody accepts it
TEST_P(ListenerConformance, AClientThatWroteAndLeftIsStillReceived) {
  for (const Address& address : families()) {
    Listener<std::string> listener({.address = address});
    auto other = worker(say_hello_without_key, listener.address());
    other.join();
    Texts ours = listener.accept();
    EXPECT_EQ(ours.recv(), "hello");
    EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
  }
}

// _TestListenerClient.test_issue16955
TEST_P(ListenerConformance, PollSeesWhatWasSentBefore) {
  for (const Address& address : families()) {
    Listener<std::string> listener({.address = address});
    auto other = worker(
        [](const Address& to) {
          Texts client = brood::connect<std::string>(to);
          require(client.poll_for(1h), "poll");
          require(client.recv() == "hello", "message");
        },
        listener.address());
    Texts ours = listener.accept();
    ours.send("hello");
    other.join();
  }
}

// CON-16, CON-19: who is not there, not the right one, or gone
TEST_P(ListenerConformance, ErrorsOfBothSides) {
  EXPECT_THROW((void)brood::connect<int>(TcpAddress{"127.0.0.1", 0}), brood::UsageError);
  EXPECT_THROW((void)brood::connect<int>(UnixAddress{}), brood::UsageError);
  EXPECT_THROW((void)brood::connect<int>(""), brood::UsageError);
  EXPECT_THROW((void)brood::connect<int>("unix:/no/such/socket"), brood::ConnectionRefused);
  for (const Address& address : families()) {
    Listener<std::string> listener({.address = address, .authkey = "key"});
    auto other = worker(
        [](const Address& to) {
          try {
            (void)brood::connect<std::string>(to, {.authkey = "another"});
            require(false, "let in");
          } catch (const brood::AuthenticationError&) {
            return;
          }
        },
        listener.address());
    EXPECT_THROW((void)listener.accept(), brood::AuthenticationError);
    other.join();
    EXPECT_FALSE(listener.try_accept_for(5ms).has_value()) << "accept has a time limit";
  }
}

// OtherTest.test_deliver_challenge_auth_failure, OtherTest.test_answer_challenge_auth_failure, CON-20
TEST_P(ListenerConformance, AWrongKeyIsAnErrorForWhoeverAsksAndWhoeverAnswers) {
  for (const auto digest :
       {brood::Digest::sha256, brood::Digest::sha384, brood::Digest::sha3_256, brood::Digest::sha3_384}) {
    Listener<std::string> listener({.authkey = "right", .digest = digest});
    auto wrong = worker(
        [](const Address& to) {
          try {
            (void)brood::connect<std::string>(to, {.authkey = "something bogus"});
            require(false, "welcome");
          } catch (const brood::AuthenticationError&) {
            return;
          }
        },
        listener.address());
    EXPECT_THROW((void)listener.accept(), brood::AuthenticationError);
    wrong.join();
    auto right = worker(say_hello, listener.address(), std::string("right"));
    Texts ours = listener.accept();
    ours.send("goodbye");
    EXPECT_EQ(ours.recv(), "hello") << "the listener goes on";
    right.join();
  }
}

// ChallengeResponseTest.test_challengeresponse; brood: no legacy, no md5
TEST(ListenerConformanceOnce, AnswersVerifyForEachDigestAndMd5IsRefused) {
  using namespace brood::net;
  for (const auto digest :
       {brood::Digest::sha256, brood::Digest::sha384, brood::Digest::sha3_256, brood::Digest::sha3_384}) {
    const std::string challenge = make_challenge(digest);
    const std::string answer = answer_to(challenge, "key", Asked::by_listener, {});
    EXPECT_TRUE(is_answer(answer, challenge, "key", Asked::by_listener, {}));
    EXPECT_FALSE(is_answer(answer, challenge, "other", Asked::by_listener, {}));
  }
  for (const std::string& old : {std::string(20, 'l'), "{md5}" + std::string(40, 'x')})
    EXPECT_THROW((void)answer_to(old, "key", Asked::by_listener, {}), brood::AuthenticationError);
}

// CON-21
TEST_P(ListenerConformance, OneSideWithoutKeyIsToldAndASilentOneTimesOut) {
  Listener<std::string> with({.authkey = "key", .handshake_timeout = 40ms});
  auto keyless = worker(
      [](const Address& to) {
        Texts client = brood::connect<std::string>(to);
        try {
          (void)client.recv();
          require(false, "received");
        } catch (const brood::AuthenticationError&) {
          return;
        }
      },
      with.address());
  EXPECT_THROW((void)with.accept(), brood::AuthenticationError);
  keyless.join();
  Listener<std::string> without;
  auto keyed = worker(
      [](const Address& to) {
        try {
          (void)brood::connect<std::string>(to, {.authkey = "key"});
          require(false, "connected");
        } catch (const brood::AuthenticationError&) {
          return;
        }
      },
      without.address());
  EXPECT_THROW((void)without.accept(), brood::AuthenticationError);
  keyed.join();
  // Nobody answers at all: a listener that does not accept.
  const Stopwatch watch;
  EXPECT_THROW((void)brood::connect<std::string>(without.address(), {.authkey = "key", .handshake_timeout = 40ms}),
               brood::HandshakeTimeout);
  EXPECT_GE(watch.elapsed(), 40ms);
}

// TestIgnoreEINTR.test_ignore_listener
std::atomic<int> g_listener_signals = 0;

void interrupt_then_connect(int pid, const Address& address, brood::Event& seen) {
  while (!seen.is_set()) ::kill(pid, SIGUSR1);
  brood::connect<std::string>(address).send("hello");
}

TEST_P(ListenerConformance, AcceptGoesOnAfterASignal) {
  struct sigaction action {};
  action.sa_handler = [](int) { g_listener_signals.fetch_add(1); };
  struct sigaction before {};
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);  // without SA_RESTART
  g_listener_signals = 0;
  for (const Address& address : families()) {
    Listener<std::string> listener({.address = address});
    brood::Event seen;
    auto other = worker(interrupt_then_connect, ::getpid(), listener.address(), seen);
    std::optional<Texts> ours;
    std::thread accepting([&] { ours.emplace(listener.accept()); });
    const int so_far = g_listener_signals;
    support::await([&] {
      ::pthread_kill(accepting.native_handle(), SIGUSR1);
      return g_listener_signals > so_far + 20;
    });
    seen.set();
    accepting.join();
    EXPECT_EQ(ours->recv(), "hello");
    other.join();
  }
  ASSERT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
}

// --- descriptors: CON-14, _TestConnection.test_fd_transfer, test_large_fd_transfer, test_missing_fd_transfer -----------

void write_into_what_comes(const Address& address, int at_least) {
  auto client = brood::connect<Descriptor>(address);
  const Descriptor got = client.recv();
  require(got.get() >= at_least, "its number");
  require(::write(got.get(), "bar", 3) == 3, "write");
}

TEST_P(ListenerConformance, ADescriptorSentIsWritableThere) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Descriptor reader(ends[0]);
  const Descriptor writer(ends[1]);
  Listener<Descriptor> listener;
  auto other = worker(write_into_what_comes, listener.address(), 0);
  auto ours = listener.accept();
  ours.send(writer);
  other.join();
  std::array<char, 3> got{};
  EXPECT_EQ(::read(reader.get(), got.data(), got.size()), 3);
  EXPECT_EQ(std::string(got.data(), 3), "bar");
}

TEST_P(ListenerConformance, DescriptorsAbove256Travel) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Descriptor reader(ends[0]);
  const Descriptor low(ends[1]);
  const Descriptor high(::fcntl(low.get(), F_DUPFD_CLOEXEC, 300));
  ASSERT_GE(high.get(), 300);
  Listener<Descriptor> listener;
  auto other = worker(
      [](const Address& address) {
        std::vector<Descriptor> fill;
        do fill.push_back(Descriptor::copy_of(STDERR_FILENO));
        while (fill.back().get() < 300);
        write_into_what_comes(address, 300);
      },
      listener.address());
  auto ours = listener.accept();
  ours.send(high);
  other.join();
  std::array<char, 3> got{};
  EXPECT_EQ(::read(reader.get(), got.data(), got.size()), 3);
}

TEST_P(ListenerConformance, DataWithoutItsDescriptorIsAnError) {
  Listener<Descriptor> listener;
  auto other =
      worker([](const Address& address) { brood::connect<Descriptor>(address).send_bytes("foo"); }, listener.address());
  auto ours = listener.accept();
  EXPECT_THROW((void)ours.recv(), brood::DecodeError);
  other.join();
}

}  // namespace
}  // namespace conformance
