// The handshake: keys, types, versions, hostile and slow peers.
#include <deque>

#include "net/challenge.hpp"
#include "net/peers.hpp"

namespace nets {
namespace {

using brood::net::answer_to;
using brood::net::Asked;
using ladder::expect_error;
using ladder::Stopwatch;

class Handshake : public support::NoLeaks {};

/// What accept() says to one client that does `act`.
template <class E, class Act>
void expect_refusal(brood::Listener<int>& listener, Act act, const std::vector<std::string>& words) {
  std::thread client(act);
  expect_error<E>([&] { (void)listener.accept(); }, words);
  client.join();
}

/// The listener is as good as new.
void expect_good(brood::Listener<int>& listener, const brood::ConnectOptions& options) {
  auto [ours, client] = connected(listener, options);
  client.send(1);
  EXPECT_EQ(ours.recv(), 1);
  ours.send(2);
  EXPECT_EQ(client.recv(), 2);
}

TEST_F(Handshake, EveryDigestAndEveryKey) {
  for (const auto digest :
       {brood::Digest::sha256, brood::Digest::sha384, brood::Digest::sha3_256, brood::Digest::sha3_384}) {
    for (const std::string& key :
         {std::string("key"), std::string(), std::string("\0\xff", 2), std::string(100'000, 'k')}) {
      brood::Listener<int> listener({.authkey = key, .digest = digest});
      expect_good(listener, {.authkey = key});
    }
  }
}

TEST_F(Handshake, AWrongKeyIsAnErrorOnBothSides) {
  brood::Listener<int> listener({.authkey = "right"});
  for (const std::string& wrong : {std::string("wrong"), std::string(), std::string("right\0", 6)}) {
    expect_refusal<brood::AuthenticationError>(
        listener,
        [&] {
          expect_error<brood::AuthenticationError>(
              [&] { (void)brood::connect<int>(listener.address(), {.authkey = wrong}); }, {listener.address().str()});
        },
        {"does not have the key"});
  }
  expect_good(listener, {.authkey = "right"});
}

TEST_F(Handshake, AClientFindsOutAListenerWithoutTheKey) {
  const RawDoor door;
  std::thread client([&] {
    expect_error<brood::AuthenticationError>([&] { (void)brood::connect<int>(door.address(), {.authkey = "right"}); },
                                             {"does not have the key"});
  });
  const RawPeer peer = door.accept();
  EXPECT_EQ(peer.read_note().first, kHello);
  peer.write_note(kChallenge, "{sha256}" + std::string(40, 'x'));
  EXPECT_EQ(peer.read_note().first, kAnswer);
  peer.write_note(kWelcome, "");
  const auto [kind, challenge] = peer.read_note();
  EXPECT_EQ(kind, kChallenge);
  peer.write_note(kAnswer, answer_to(challenge, "wrong", Asked::by_client, {}));
  EXPECT_EQ(peer.read_note(), std::pair(kRefusal, std::string("w")));
  client.join();
}

TEST_F(Handshake, OneSideWithoutKey) {
  brood::Listener<int> listener({.authkey = "key"});
  {
    auto client = brood::connect<int>(listener.address());  // believes that it is connected
    expect_error<brood::AuthenticationError>([&] { (void)listener.accept(); }, {"the client has no key"});
    expect_error<brood::AuthenticationError>([&] { (void)client.recv(); }, {"asks for a key"});
    EXPECT_THROW((void)client.recv(), brood::EndOfFile);
  }
  {
    auto client = brood::connect<int>(listener.address());
    EXPECT_THROW((void)listener.accept(), brood::AuthenticationError);
    EXPECT_TRUE(client.poll_for(1h));
    EXPECT_THROW(client.send(1), brood::AuthenticationError) << "a sender is told, too";
  }
  brood::Listener<int> open;
  expect_refusal<brood::AuthenticationError>(
      open,
      [&] {
        expect_error<brood::AuthenticationError>([&] { (void)brood::connect<int>(open.address(), {.authkey = "key"}); },
                                                 {"the listener has none"});
      },
      {"this listener has none"});
  expect_good(listener, {.authkey = "key"});
  expect_good(open, {});
}

TEST_F(Handshake, AnotherTypeIsAnErrorOnBothSides) {
  brood::Listener<int> listener({.authkey = "key"});
  expect_refusal<brood::TypeMismatch>(
      listener,
      [&] {
        expect_error<brood::TypeMismatch>(
            [&] { (void)brood::connect<std::string>(listener.address(), {.authkey = "key"}); },
            {"'int'", "'std::string'"});
      },
      {"'int'", "'std::string'"});
  expect_good(listener, {.authkey = "key"});
  brood::Listener<int> open;
  auto client = brood::connect<std::string>(open.address());
  expect_error<brood::TypeMismatch>([&] { (void)open.accept(); }, {"'int'", "'std::string'"});
  expect_error<brood::TypeMismatch>([&] { (void)client.recv(); }, {"'int'", "'std::string'"});
  EXPECT_THROW((void)client.recv(), brood::EndOfFile);
  expect_good(open, {});
}

TEST_F(Handshake, AnotherVersionIsRefusedByName) {
  brood::Listener<int> listener;
  const RawPeer peer(listener.address());
  peer.write_note(kHello, std::string("brood\0\2\1\0", 9));
  expect_error<brood::TypeMismatch>([&] { (void)listener.accept(); }, {"version 258", "version 1"});
  EXPECT_EQ(peer.read_note(), std::pair(kRefusal, std::string("v")));
  const RawDoor door;
  std::thread client([&] {
    expect_error<brood::TypeMismatch>([&] { (void)brood::connect<int>(door.address(), {.authkey = ""}); }, {"version"});
  });
  const RawPeer other = door.accept();
  (void)other.read_note();
  other.write_note(kRefusal, "v");
  client.join();
}

// --- challenges ------------------------------------------------------------------------------------------------------

TEST_F(Handshake, ChallengesAreRandomAndAnswersFitOneKeyRoleAndBinding) {
  const std::string challenge = brood::net::make_challenge(brood::Digest::sha256);
  EXPECT_TRUE(challenge.starts_with("{sha256}"));
  EXPECT_GE(challenge.size(), 8U + 40U);
  EXPECT_NE(challenge, brood::net::make_challenge(brood::Digest::sha256));
  const std::string answer = answer_to(challenge, "key", Asked::by_listener, "b");
  EXPECT_EQ(answer.size(), 32U);
  EXPECT_EQ(answer_to("{sha384}" + std::string(40, 'r'), "key", Asked::by_listener, "").size(), 48U);
  EXPECT_TRUE(brood::net::is_answer(answer, challenge, "key", Asked::by_listener, "b"));
  EXPECT_FALSE(brood::net::is_answer(answer, challenge, "kez", Asked::by_listener, "b"));
  EXPECT_FALSE(brood::net::is_answer(answer, challenge, "key", Asked::by_client, "b"));
  EXPECT_FALSE(brood::net::is_answer(answer, challenge, "key", Asked::by_listener, ""));
  EXPECT_FALSE(brood::net::is_answer(answer.substr(1), challenge, "key", Asked::by_listener, "b"));
  EXPECT_FALSE(brood::net::is_answer("", challenge, "key", Asked::by_listener, "b"));
  EXPECT_FALSE(brood::net::is_answer(answer, challenge + "x", "key", Asked::by_listener, "b"));
}

TEST_F(Handshake, ChallengesThatAreNotAnswered) {
  for (const std::string& challenge :
       {std::string(), std::string("{sha256}"), "{sha256}" + std::string(39, 'r'), "{md5}" + std::string(40, 'r'),
        "{sha1}" + std::string(40, 'r'), "{}" + std::string(40, 'r'), "sha256" + std::string(40, 'r'),
        "{sha256" + std::string(40, 'r'), std::string(256, '{')}) {
    EXPECT_THROW((void)answer_to(challenge, "key", Asked::by_client, {}), brood::AuthenticationError) << challenge;
  }
  const RawDoor door;
  std::thread client(
      [&] { EXPECT_THROW((void)brood::connect<int>(door.address(), {.authkey = "key"}), brood::AuthenticationError); });
  const RawPeer peer = door.accept();
  (void)peer.read_note();
  peer.write_note(kChallenge, "{md5}" + std::string(40, 'r'));
  EXPECT_EQ(peer.read_all(), "") << "it does not answer";
  client.join();
}

// A listener that does not know the key lets another client answer its first client's challenge.
TEST_F(Handshake, AReflectedChallengeDoesNotHelp) {
  const RawDoor door;
  std::thread first(
      [&] { EXPECT_THROW((void)brood::connect<int>(door.address(), {.authkey = "key"}), brood::AuthenticationError); });
  const RawPeer victim = door.accept();
  (void)victim.read_note();
  victim.write_note(kChallenge, "{sha256}" + std::string(40, 'x'));
  (void)victim.read_note();
  victim.write_note(kWelcome, "");
  const std::string challenge = victim.read_note().second;
  std::thread second(
      [&] { EXPECT_THROW((void)brood::connect<int>(door.address(), {.authkey = "key"}), brood::EndOfFile); });
  {
    const RawPeer oracle = door.accept();
    (void)oracle.read_note();
    oracle.write_note(kChallenge, challenge);
    const auto [kind, answer] = oracle.read_note();
    EXPECT_EQ(kind, kAnswer) << "whoever has the key answers";
    victim.write_note(kAnswer, answer);
  }
  second.join();
  EXPECT_EQ(victim.read_note(), std::pair(kRefusal, std::string("w"))) << "but the answer is for another role";
  first.join();
  // Nor does sending back to a listener its own challenge: it does not come that far without the right answer.
  brood::Listener<int> listener({.authkey = "key"});
  const RawPeer mirror(listener.address());
  mirror.hello(true);
  EXPECT_FALSE(listener.try_accept().has_value());
  const std::string asked = mirror.read_note().second;
  mirror.write_note(kChallenge, asked);
  EXPECT_THROW((void)listener.accept(), brood::DecodeError);
}

// OtherTest.test_deliver_challenge_auth_failure and its twin: bogus answers and bogus verdicts.
TEST_F(Handshake, ABogusAnswerAndABogusVerdict) {
  brood::Listener<int> listener({.authkey = "key"});
  for (const std::string& bogus :
       {std::string("something bogus"), std::string(), std::string(32, 'x'), std::string(254, 'x')}) {
    const RawPeer peer(listener.address());
    peer.hello(true);
    peer.write_note(kAnswer, bogus);
    EXPECT_THROW((void)listener.accept(), brood::AuthenticationError);
    EXPECT_EQ(peer.read_note().first, kChallenge);
    EXPECT_EQ(peer.read_note(), std::pair(kRefusal, std::string("w")));
  }
  const RawDoor door;
  for (const char verdict : {kRefusal, kHello}) {
    std::thread client([&] {
      try {
        (void)brood::connect<int>(door.address(), {.authkey = "key"});
        ADD_FAILURE() << "not welcome";
      } catch (const brood::AuthenticationError&) {
        EXPECT_EQ(verdict, kRefusal);
      } catch (const brood::DecodeError&) {
        EXPECT_EQ(verdict, kHello);
      }
    });
    const RawPeer peer = door.accept();
    (void)peer.read_note();
    peer.write_note(kChallenge, "{sha256}" + std::string(40, 'x'));
    (void)peer.read_note();
    peer.write_note(verdict, "w");
    client.join();
  }
}

// --- strangers -------------------------------------------------------------------------------------------------------

TEST_F(Handshake, GarbageIsRefusedAndTheListenerGoesOn) {
  for (const bool key : {false, true}) {
    brood::Listener<int> listener({.authkey = key ? std::optional<std::string>("key") : std::nullopt});
    for (const std::string& garbage :
         {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(1000, '\xff'), std::string(1000, '\0'),
          frame_header(257, 16) + std::string(257, 'x'), frame_header(0, 16), frame_header(1, 16) + kWelcome,
          frame_header(4, 1) + "abcd\xa5", frame_header(0, 1) + "\xa5",
          frame_header(9, 16) + std::string("\1bread\0\1\0", 9)}) {
      const RawPeer peer(listener.address());
      peer.write(garbage);
      EXPECT_THROW((void)listener.accept(), brood::DecodeError) << garbage.substr(0, 20);
    }
    const auto options = key ? brood::ConnectOptions{.authkey = "key"} : brood::ConnectOptions{};
    expect_good(listener, options);
  }
}

TEST_F(Handshake, GarbageFromAListener) {
  const RawDoor door;
  std::thread client([&] {
    EXPECT_THROW((void)brood::connect<int>(door.address(), {.authkey = "key"}), brood::DecodeError);
    auto open = brood::connect<int>(door.address());
    EXPECT_THROW((void)open.recv(), brood::DecodeError);
    EXPECT_THROW((void)open.recv(), brood::DecodeError) << "and always";
    auto hasty = brood::connect<int>(door.address());
    expect_error<brood::DecodeError>([&] { (void)hasty.recv(); }, {"before the other end said what messages"});
  });
  RawPeer peer = door.accept();
  peer.write("HTTP/1.1 400 Bad Request\r\n");
  RawPeer second = door.accept();
  second.write(std::string(100, '\xee'));
  RawPeer third = door.accept();
  third.write(frame_header(4, 1) + "abcd\xa5");
  client.join();
}

TEST_F(Handshake, AClientThatLeavesIsAnEndOfFile) {
  for (const bool key : {false, true}) {
    brood::Listener<int> listener({.authkey = key ? std::optional<std::string>("key") : std::nullopt});
    for (int notes = 0; notes < 2; ++notes) {
      RawPeer peer(listener.address());
      if (notes == 1) peer.hello(key);
      peer.close();
      EXPECT_THROW((void)listener.accept(), brood::EndOfFile);
    }
    const auto options = key ? brood::ConnectOptions{.authkey = "key"} : brood::ConnectOptions{};
    expect_good(listener, options);
  }
  const RawDoor door;
  std::thread client(
      [&] { EXPECT_THROW((void)brood::connect<int>(door.address(), {.authkey = "key"}), brood::EndOfFile); });
  { const RawPeer peer = door.accept(); }
  client.join();
}

TEST_F(Handshake, ASlowClientHoldsUpNobodyAndIsOutInTime) {
  for (const bool key : {false, true}) {
    const auto authkey = key ? std::optional<std::string>("key") : std::nullopt;
    brood::Listener<int> listener({.authkey = authkey, .handshake_timeout = 150ms});
    const Stopwatch watch;
    const RawPeer silent(listener.address());
    const RawPeer half(listener.address());
    half.write(frame_header(10, 16) + "\1bro");
    EXPECT_FALSE(listener.try_accept().has_value());
    // It comes last and is through first.
    expect_good(listener, {.authkey = authkey});
    for (int i = 0; i < 2; ++i)
      expect_error<brood::HandshakeTimeout>([&] { (void)listener.accept(); }, {"0.15", "handshake_timeout"});
    EXPECT_GE(watch.elapsed(), 150ms);
    EXPECT_EQ(silent.read_all(), "");
    expect_good(listener, {.authkey = authkey});
  }
}

TEST_F(Handshake, EachByteDoesNotBuyMoreTime) {
  brood::Listener<int> listener({.handshake_timeout = 60ms});
  const RawPeer drip(listener.address());
  std::deque<char> left(200, 'x');
  const std::string header = frame_header(200, 16);
  left.insert(left.begin(), header.begin(), header.end());
  for (;;) {
    if (!left.empty()) {
      const char next = left.front();
      left.pop_front();
      drip.write({&next, 1});
    }
    try {
      ASSERT_FALSE(listener.try_accept_for(1ms).has_value());
      ASSERT_FALSE(left.empty());
    } catch (const brood::HandshakeTimeout&) {
      break;
    }
  }
}

/// One of ours comes, and others must leave for it: how many did.
int expect_good_among_others(brood::Listener<int>& listener) {
  std::thread client([&] {
    auto mine = brood::connect<int>(listener.address(), {.authkey = "key"});
    EXPECT_EQ(mine.recv(), 1);
  });
  for (int gone = 0;; ++gone) {
    try {
      listener.accept().send(1);
      client.join();
      return gone;
    } catch (const brood::HandshakeTimeout& error) {
      EXPECT_NE(std::string(error.what()).find("make room"), std::string::npos) << error.what();
    }
  }
}
/// Everybody who has to leave does; how many.
int let_go_of(brood::Listener<int>& listener) {
  for (int gone = 0;; ++gone) {
    try {
      EXPECT_FALSE(listener.try_accept().has_value());
      return gone;
    } catch (const brood::EndOfFile&) {
      continue;
    } catch (const brood::HandshakeTimeout&) {
      continue;
    }
  }
}

TEST_F(Handshake, ManySilentClientsHoldUpNobody) {
  brood::Listener<int> listener({.backlog = 1000, .authkey = "key", .handshake_timeout = 1h});
  std::vector<RawPeer> silent;
  for (int i = 0; i < 60; ++i) silent.emplace_back(listener.address());
  EXPECT_FALSE(listener.try_accept().has_value());
  expect_good(listener, {.authkey = "key"});
  // More than it lets in at once: the oldest make room.
  for (int i = 0; i < 500; ++i) silent.emplace_back(listener.address());
  EXPECT_EQ(let_go_of(listener), 500 + 60 - 256);
  EXPECT_EQ(expect_good_among_others(listener), 1);
  silent.clear();
  EXPECT_LE(let_go_of(listener), 256);
  expect_good(listener, {.authkey = "key"});
}

TEST_F(Handshake, ManyWhoStopInTheMiddleMakeRoomInTheirTurn) {
  brood::Listener<int> listener({.backlog = 1000, .authkey = "key", .handshake_timeout = 1h});
  std::vector<RawPeer> slow;
  for (int i = 0; i < 300; ++i) {
    slow.emplace_back(listener.address());
    slow.back().hello(true);
  }
  EXPECT_EQ(let_go_of(listener), 0) << "each has its second";
  EXPECT_EQ(expect_good_among_others(listener), 300 + 1 - 256);
}

TEST_F(Handshake, AClientIsNotHeldUpForEver) {
  const RawDoor door;
  std::optional<RawPeer> peer;
  std::thread listener([&] { peer.emplace(door.accept()); });
  const Stopwatch watch;
  expect_error<brood::HandshakeTimeout>(
      [&] { (void)brood::connect<int>(door.address(), {.authkey = "key", .handshake_timeout = 40ms}); },
      {"handshake_timeout"});
  EXPECT_GE(watch.elapsed(), 40ms);
  listener.join();
  expect_error<brood::TimeoutError>(
      [&] { (void)brood::connect<int>(door.address(), {.authkey = "key", .timeout = 40ms}); }, {"(timeout)"});
}

TEST_F(Handshake, ATimedAcceptGoesOnWithAHandshakeLater) {
  brood::Listener<int> listener({.authkey = "key"});
  std::optional<brood::Connection<int>> client;
  std::thread connecting([&] { client.emplace(brood::connect<int>(listener.address(), {.authkey = "key"})); });
  std::optional<brood::Connection<int>> ours;
  while (!ours) ours = listener.try_accept();
  connecting.join();
  ours->send(3);
  EXPECT_EQ(client->recv(), 3);
}

// CPython issue 14725: whoever wrote and left before he was accepted is heard.
TEST_F(Handshake, AClientMayWriteAndLeaveBeforeItIsAccepted) {
  for (const Address& address : {Address(UnixAddress{}), Address(TcpAddress{"127.0.0.1", 0})}) {
    brood::Listener<std::string> listener({.address = address});
    {
      auto client = brood::connect<std::string>(listener.address());
      client.send("hello");
      client.send(std::string(20'000, 'x'));
    }
    auto ours = listener.accept();
    EXPECT_EQ(ours.recv(), "hello");
    EXPECT_EQ(ours.recv(), std::string(20'000, 'x'));
    EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
  }
}

TEST_F(Handshake, WhatALeavingClientSentIsNotLostByALateListener) {
  // More than the sockets hold: the last of it is sent by the kernel after the client has gone.
  brood::Listener<std::string> listener({.address = TcpAddress{"127.0.0.1", 0}});
  const std::string big(4'000'000, 'b');
  std::thread leaving([&] {
    auto client = brood::connect<std::string>(listener.address());
    client.send(big);
  });
  auto ours = listener.accept();
  EXPECT_TRUE(ours.recv() == big);
  leaving.join();
  EXPECT_THROW((void)ours.recv(), brood::EndOfFile);
}

}  // namespace
}  // namespace nets
