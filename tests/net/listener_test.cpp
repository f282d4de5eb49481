// Listener and connect(): addresses, deadlines, closing.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>

#include "net/peers.hpp"

namespace nets {
namespace {

namespace fs = std::filesystem;
using ladder::Child;
using ladder::expect_error;
using ladder::in_threads;
using ladder::Line;
using ladder::printed;
using ladder::require;
using ladder::Stopwatch;

class ListenerLadder : public support::NoLeaks {
 protected:
  ListenerLadder() {
    std::string pattern = (fs::temp_directory_path() / "brood-listener-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
    directory_ = pattern;
  }
  ~ListenerLadder() override { fs::remove_all(directory_); }
  [[nodiscard]] std::string path(const std::string& name = "socket") const { return directory_ + '/' + name; }

  std::string directory_;
};
class ListenerWays : public NetWays {};
BROOD_ALL_WAYS(ListenerWays);

TEST_P(ListenerWays, SaysWhereItListensAndWhoCame) {
  brood::Listener<int> listener(listener_options(GetParam()));
  EXPECT_EQ(listener.last_accepted(), std::nullopt);
  const Address address = listener.address();
  if (const TcpAddress* tcp = address.tcp_address()) {
    EXPECT_NE(tcp->port, 0);
    EXPECT_NE(tcp->host, "localhost") << "a number";
  } else {
    EXPECT_FALSE(address.unix_address()->path.empty());
  }
  EXPECT_EQ(printed(listener), "<Listener " + address.str() + ">");
  auto [ours, client] = connected(listener, connect_options(GetParam()));
  ASSERT_TRUE(listener.last_accepted().has_value());
  if (address.tcp_address() != nullptr) {
    EXPECT_EQ(listener.last_accepted()->tcp_address()->host, address.tcp_address()->host);
    EXPECT_NE(listener.last_accepted()->tcp_address()->port, address.tcp_address()->port);
  } else {
    EXPECT_EQ(*listener.last_accepted(), Address(UnixAddress{}));
  }
  client.send(1);
  listener.close();
  listener.close();
  EXPECT_TRUE(listener.closed());
  EXPECT_EQ(ours.recv(), 1) << "connections go on";
  expect_error<brood::ListenerClosed>([&] { (void)listener.accept(); }, {address.str(), "closed"});
  EXPECT_THROW((void)listener.address(), brood::ListenerClosed);
  EXPECT_THROW((void)listener.last_accepted(), brood::ListenerClosed);
  EXPECT_THROW((void)listener.descriptor(), brood::ListenerClosed);
  EXPECT_EQ(printed(listener), "<Listener " + address.str() + " closed>");
  EXPECT_THROW((void)brood::connect<int>(address, connect_options(GetParam())), brood::ConnectionRefused);
}

TEST_P(ListenerWays, AnAddressInUseIsRefused) {
  brood::Listener<int> first(listener_options(GetParam()));
  auto options = listener_options(GetParam());
  options.address = first.address();
  expect_error<brood::AddressInUse>([&] { brood::Listener<int> second(options); },
                                    {first.address().str(), "cannot listen"});
  auto [ours, client] = connected(first, connect_options(GetParam()));
  client.send(1);
  EXPECT_EQ(ours.recv(), 1) << "the first was not disturbed";
  EXPECT_FALSE(first.try_accept().has_value()) << "not even by a knock at its door";
}

TEST_P(ListenerWays, TheAddressIsFreeAgainAtOnce) {
  const brood::Listener<int> keeps_the_directory;
  auto options = listener_options(GetParam());
  for (int round = 0; round < 5; ++round) {
    brood::Listener<int> listener(options);
    options.address = listener.address();
    auto [ours, client] = connected(listener, connect_options(GetParam()));
    ours.send(round);
    EXPECT_EQ(client.recv(), round);
    ours.close();  // the listener's side first: over TCP that is the one that lingers
  }
}

TEST_P(ListenerWays, ClosesAtTheEndOfItsLife) {
  Address address;
  {
    brood::Listener<int> listener(listener_options(GetParam()));
    address = listener.address();
    brood::Listener<int> moved(std::move(listener));
    EXPECT_EQ(moved.address(), address);
    EXPECT_THROW((void)listener.address(), brood::UsageError);  // NOLINT(bugprone-use-after-move)
  }
  EXPECT_THROW((void)brood::connect<int>(address, connect_options(GetParam())), brood::ConnectionRefused);
}

TEST_P(ListenerWays, AttemptsToAcceptOfAllForms) {
  brood::Listener<int> listener(listener_options(GetParam()));
  EXPECT_FALSE(listener.try_accept().has_value());
  EXPECT_FALSE(listener.try_accept_for(-1h).has_value());
  const Stopwatch watch;
  EXPECT_FALSE(listener.try_accept_for(25ms).has_value());
  EXPECT_FALSE(listener.try_accept_until(std::chrono::system_clock::now() + 25ms).has_value());
  EXPECT_GE(watch.elapsed(), 50ms);
  pollfd one{listener.descriptor(), POLLIN, 0};
  EXPECT_EQ(::poll(&one, 1, 0), 0);
  std::optional<brood::Connection<int>> client;
  std::thread connecting([&] { client.emplace(brood::connect<int>(listener.address(), connect_options(GetParam()))); });
  // As an event loop does it: sleep on the descriptor, then try.
  std::optional<brood::Connection<int>> ours;
  while (!ours) {
    EXPECT_EQ(::poll(&one, 1, -1), 1);
    ours = listener.try_accept();
  }
  connecting.join();
  client->send(1);
  EXPECT_EQ(ours->recv(), 1);
}

TEST_P(ListenerWays, ManyClientsAtOnceEachGetTheirOwn) {
  brood::Listener<int> listener(listener_options(GetParam()));
  constexpr int kClients = 24;
  std::thread clients([&] {
    in_threads(kClients, [&](std::size_t i) {
      auto client = brood::connect<int>(listener.address(), connect_options(GetParam()));
      client.send(static_cast<int>(i));
      EXPECT_EQ(client.recv(), static_cast<int>(i) * 2);
    });
  });
  std::atomic<int> served = 0;
  in_threads(3, [&](std::size_t) {
    for (int i = 0; i < kClients / 3; ++i) {
      auto ours = listener.accept();
      ours.send(ours.recv() * 2);
      ++served;
    }
  });
  clients.join();
  EXPECT_EQ(served, kClients);
}

// --- paths -----------------------------------------------------------------------------------------------------------

TEST_F(ListenerLadder, APathIsMadeAndRemoved) {
  {
    brood::Listener<int> listener({.address = UnixAddress{path()}});
    EXPECT_TRUE(fs::is_socket(path()));
    auto client = brood::connect<int>("unix:" + path());
  }
  EXPECT_FALSE(fs::exists(path()));
  expect_error<brood::ConnectionRefused>([&] { (void)brood::connect<int>(UnixAddress{path()}); },
                                         {path(), "no such socket"});
}

TEST_F(ListenerLadder, ANewPathLiesInADirectoryOfThisUserOnly) {
  brood::Listener<int> listener;
  brood::Listener<int> other;
  const fs::path made = listener.address().unix_address()->path;
  EXPECT_NE(made, fs::path(other.address().unix_address()->path));
  EXPECT_EQ(fs::status(made.parent_path()).permissions() & (fs::perms::group_all | fs::perms::others_all),
            fs::perms::none);
  listener.close();
  EXPECT_FALSE(fs::exists(made));
  other.close();
}

TEST_F(ListenerLadder, WhatAKilledListenerLeftIsTakenOver) {
  Child child([this](Line& line) {
    brood::Listener<int> listener({.address = UnixAddress{path()}});
    brood::Listener<int> unnamed;
    line.send_text(unnamed.address().str());
    (void)line.hear();
  });
  const Address unnamed(child.line.hear_text());
  child.kill();
  EXPECT_TRUE(fs::is_socket(path()));
  EXPECT_THROW((void)brood::connect<int>(UnixAddress{path()}), brood::ConnectionRefused);
  brood::Listener<int> listener({.address = UnixAddress{path()}});
  auto client = brood::connect<int>(listener.address());
  client.send(1);
  EXPECT_EQ(listener.accept().recv(), 1);
  // One without a path is swept away by the next of its kind.
  EXPECT_TRUE(fs::exists(unnamed.unix_address()->path));
  brood::Listener<int> sweeper;
  EXPECT_FALSE(fs::exists(unnamed.unix_address()->path));
}

TEST_F(ListenerLadder, AFileThatIsNoSocketIsNeverRemoved) {
  const brood::Descriptor file(::open(path().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  EXPECT_THROW(brood::Listener<int>({.address = UnixAddress{path()}}), brood::AddressInUse);
  EXPECT_TRUE(fs::is_regular_file(path()));
  fs::create_symlink(path(), path("link"));
  EXPECT_THROW(brood::Listener<int>({.address = UnixAddress{path("link")}}), brood::AddressInUse);
  EXPECT_TRUE(fs::is_symlink(path("link")));
  // Nor one that somebody else has made there since.
  brood::Listener<int> listener({.address = UnixAddress{path("moved")}});
  fs::remove(path("moved"));
  brood::Listener<int> second({.address = UnixAddress{path("moved")}});
  listener.close();
  EXPECT_TRUE(fs::is_socket(path("moved")));
}

TEST_F(ListenerLadder, OfManyWhoWantADeadPathOneGetsIt) {
  for (int round = 0; round < 10; ++round) {
    Child child([this](Line& line) {
      brood::Listener<int> listener({.address = UnixAddress{path()}});
      line.say();
      (void)line.hear();
    });
    child.line.expect();
    child.kill();
    std::vector<std::optional<brood::Listener<int>>> listeners(6);
    in_threads(listeners.size(), [&](std::size_t i) {
      try {
        listeners[i].emplace(brood::ListenerOptions{.address = UnixAddress{path()}});
      } catch (const brood::AddressInUse&) {
        listeners[i].reset();
      }
    });
    ASSERT_EQ(std::ranges::count_if(listeners, [](const auto& each) { return each.has_value(); }), 1);
    auto client = brood::connect<int>(UnixAddress{path()});
    client.send(round);
    for (auto& listener : listeners) {
      if (listener) {
        EXPECT_EQ(listener->accept().recv(), round);
      }
    }
  }
}

TEST_F(ListenerLadder, PathsThatDoNotWork) {
  const std::string longest = path(std::string(107 - directory_.size() - 1, 'x'));
  ASSERT_EQ(longest.size(), 107U);
  {
    brood::Listener<int> listener({.address = UnixAddress{longest}});
    EXPECT_EQ(listener.address(), Address(UnixAddress{longest}));
    (void)brood::connect<int>(listener.address());
  }
  expect_error<brood::UsageError>([&] { brood::Listener<int>({.address = UnixAddress{longest + 'x'}}); },
                                  {"at most 107 bytes", "has 108", longest});
  EXPECT_THROW((void)brood::connect<int>(UnixAddress{longest + 'x'}), brood::UsageError);
  const std::string name(107, 'n');
  brood::Listener<int> listener({.address = UnixAddress::abstract(name)});
  EXPECT_EQ(listener.address(), Address(UnixAddress::abstract(name)));
  (void)brood::connect<int>(listener.address());
  EXPECT_THROW(brood::Listener<int>({.address = UnixAddress::abstract(name + 'n')}), brood::UsageError);
  EXPECT_THROW(brood::Listener<int>({.address = UnixAddress::abstract("")}), brood::UsageError);
  EXPECT_THROW((void)brood::connect<int>(UnixAddress{}), brood::UsageError);
  expect_error<brood::OsError>([&] { brood::Listener<int>({.address = UnixAddress{path("no/such")}}); }, {"directory"});
  EXPECT_THROW(brood::Listener<int>({.address = UnixAddress{std::string("/a\0b", 4)}}), brood::UsageError);
}

TEST_F(ListenerLadder, TcpAddressesThatDoNotWork) {
  expect_error<brood::OsError>(
      [&] {
        (void)brood::connect<int>(TcpAddress{"no-such-host.invalid", 4000});
      },
      {"no-such-host.invalid"});
  EXPECT_THROW((void)brood::connect<int>(TcpAddress{"127.0.0.1", 0}), brood::UsageError);
  EXPECT_THROW(brood::Listener<int>({.address = TcpAddress{"", 0}}), brood::UsageError);
  expect_error<brood::OsError>([&] { brood::Listener<int>({.address = TcpAddress{"192.0.2.1", 0}}); }, {"192.0.2.1"});
  Address free;
  {
    brood::Listener<int> listener({.address = TcpAddress{"127.0.0.1", 0}});
    free = listener.address();
  }
  // Often enough that the kernel sometimes chooses that very port for our own end: we are not to be connected to ourselves.
  for (int i = 0; i < 300; ++i) EXPECT_THROW((void)brood::connect<int>(free), brood::ConnectionRefused);
}

TEST_F(ListenerLadder, OptionsThatMakeNoSense) {
  EXPECT_THROW(brood::Listener<int>({.backlog = -1}), brood::UsageError);
  EXPECT_THROW(brood::Listener<int>({.handshake_timeout = 0s}), brood::UsageError);
  EXPECT_THROW(brood::Listener<int>({.digest = static_cast<brood::Digest>(9)}), brood::UsageError);
  brood::Listener<int> listener;
  EXPECT_THROW((void)brood::connect<int>(listener.address(), {.handshake_timeout = -1s}), brood::UsageError);
}

TEST_F(ListenerLadder, AFullBacklogIsWaitedForUntilTheDeadline) {
  brood::Listener<int> listener({.backlog = 0});
  // A backlog of 0 holds one.
  auto first = brood::connect<int>(listener.address());
  const Stopwatch watch;
  expect_error<brood::TimeoutError>(
      [&] {
        std::vector<brood::Connection<int>> more;
        for (int i = 0; i < 4; ++i) more.push_back(brood::connect<int>(listener.address(), {.timeout = 30ms}));
      },
      {listener.address().str(), "timeout"});
  EXPECT_GE(watch.elapsed(), 30ms);
  std::optional<brood::Connection<int>> second;
  std::thread waiting([&] { second.emplace(brood::connect<int>(listener.address())); });
  for (int i = 0; i < 2; ++i) (void)listener.accept();
  waiting.join();
}

// --- forks -----------------------------------------------------------------------------------------------------------

TEST_F(ListenerLadder, AForkedChildAcceptsAndRemovesNothing) {
  brood::Listener<int> listener({.address = UnixAddress{path()}, .authkey = "k"});
  Child child([&](Line& line) {
    auto ours = listener.accept();
    ours.send(ours.recv() + 1);
    listener.close();
    line.say();
  });
  auto client = brood::connect<int>(listener.address(), {.authkey = "k"});
  client.send(1);
  EXPECT_EQ(client.recv(), 2);
  child.line.expect();
  EXPECT_EQ(child.wait(), 0);
  EXPECT_TRUE(fs::exists(path())) << "it is the maker's";
  auto [ours, second] = connected(listener, {.authkey = "k"});
  second.send(5);
  EXPECT_EQ(ours.recv(), 5);
}

TEST_F(ListenerLadder, AChildMadeDuringAHandshakeLeavesItToItsParent) {
  brood::Listener<int> listener({.authkey = "k"});
  const RawPeer slow(listener.address());
  EXPECT_FALSE(listener.try_accept().has_value());  // it is inside now
  Child child([&](Line& line) {
    require(!listener.try_accept().has_value(), "it is not the child's client");
    line.say();
    line.expect();
  });
  child.line.expect();
  slow.hello(true);
  EXPECT_FALSE(listener.try_accept().has_value());
  EXPECT_EQ(slow.read_note().first, kChallenge) << "the parent went on with it";
  child.line.say();
  EXPECT_EQ(child.wait(), 0);
}

}  // namespace
}  // namespace nets
