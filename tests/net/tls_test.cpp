// TLS: who is trusted, who is refused, and what an eavesdropper sees.
#include <fcntl.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "net/peers.hpp"
#include "net/place.hpp"
#include "net/tls.hpp"

namespace nets {
namespace {

using brood::TlsOptions;
using ladder::expect_error;

class Tls : public support::NoLeaks {};

TlsOptions shown(const Certificate& certificate) {
  return {.certificate_file = certificate.file, .key_file = certificate.key};
}

/// Both sides are told that it does not work.
void expect_both_refused(const brood::ListenerOptions& listening, const brood::ConnectOptions& connecting,
                         const std::vector<std::string>& words) {
  brood::Listener<int> listener(listening);
  std::thread client([&] {
    expect_error<brood::AuthenticationError>([&] { (void)brood::connect<int>(listener.address(), connecting); }, words);
  });
  try {
    (void)listener.accept();
    ADD_FAILURE() << "accepted";
  } catch (const brood::Error& error) {
    // EndOfFile: the client was through with TLS, saw what it got, and left.
    const bool is_refusal = dynamic_cast<const brood::AuthenticationError*>(&error) != nullptr ||
                            dynamic_cast<const brood::EndOfFile*>(&error) != nullptr;
    EXPECT_TRUE(is_refusal) << error.what();
  }
  client.join();
}

TEST_F(Tls, ACertificateThatNobodyVouchesForIsRefused) {
  const Certificate stranger("localhost");
  for (const Address& address : {Address(UnixAddress{}), Address(TcpAddress{"127.0.0.1", 0})}) {
    expect_both_refused({.address = address, .tls = shown(stranger)},
                        {.tls = TlsOptions{.ca_file = own_certificate().file, .server_name = "localhost"}},
                        {"TLS", "certificate"});
    expect_both_refused({.address = address, .tls = shown(stranger)}, {.tls = TlsOptions{}}, {"TLS", "certificate"});
  }
}

TEST_F(Tls, TheNameMustBeInTheCertificate) {
  expect_both_refused({.tls = shown(own_certificate())},
                      {.tls = TlsOptions{.ca_file = own_certificate().file, .server_name = "elsewhere"}},
                      {"TLS", "mismatch"});
  const Certificate other("other.example");
  brood::Listener<int> listener({.address = TcpAddress{"127.0.0.1", 0}, .tls = shown(other)});
  // By the number, which is in the certificate, and by a name given for it.
  for (const std::string name : {"", "other.example", "127.0.0.1"}) {
    auto [ours, client] = connected(listener, {.tls = TlsOptions{.ca_file = other.file, .server_name = name}});
    ours.send(1);
    EXPECT_EQ(client.recv(), 1);
  }
}

TEST_F(Tls, WithoutVerificationAnyoneWillDo) {
  brood::Listener<int> listener({.tls = shown(own_certificate())});
  auto [ours, client] = connected(listener, {.tls = TlsOptions{.verify_peer = false}});
  ours.send(1);
  EXPECT_EQ(client.recv(), 1);
}

TEST_F(Tls, AListenerCanAskForCertificatesToo) {
  const Certificate client_certificate("client");
  TlsOptions listening = shown(own_certificate());
  listening.ca_file = client_certificate.file;
  TlsOptions connecting = shown(client_certificate);
  connecting.ca_file = own_certificate().file;
  brood::Listener<int> listener({.tls = listening});
  auto [ours, client] = connected(listener, {.tls = connecting});
  client.send(1);
  EXPECT_EQ(ours.recv(), 1);
  expect_both_refused({.tls = listening}, {.tls = TlsOptions{.ca_file = own_certificate().file}}, {"TLS"});
  TlsOptions wrong = shown(own_certificate());
  wrong.ca_file = own_certificate().file;
  expect_both_refused({.tls = listening}, {.tls = wrong}, {"TLS"});
}

TEST_F(Tls, OneSideWithoutTls) {
  brood::Listener<int> with({.tls = shown(own_certificate())});
  auto plain = brood::connect<int>(with.address());
  expect_error<brood::AuthenticationError>([&] { (void)with.accept(); }, {"TLS"});
  EXPECT_ANY_THROW((void)plain.recv());
  brood::Listener<int> without;
  std::thread client([&] {
    EXPECT_THROW((void)brood::connect<int>(without.address(), {.tls = TlsOptions{.ca_file = own_certificate().file}}),
                 brood::AuthenticationError);
  });
  EXPECT_THROW((void)without.accept(), brood::DecodeError);
  client.join();
}

TEST_F(Tls, AWrongKeyInsideTls) {
  brood::Listener<int> listener({.authkey = "right", .tls = shown(own_certificate())});
  std::thread client([&] {
    EXPECT_THROW((void)brood::connect<int>(listener.address(),
                                           {.authkey = "wrong", .tls = TlsOptions{.ca_file = own_certificate().file}}),
                 brood::AuthenticationError);
  });
  EXPECT_THROW((void)listener.accept(), brood::AuthenticationError);
  client.join();
}

TEST_F(Tls, FilesThatCannotBeUsed) {
  const std::string garbage = own_certificate().directory + "/garbage.pem";
  { std::ofstream(garbage) << "no certificate\n"; }
  const Certificate other("other");
  for (const auto& [options, word] : std::vector<std::pair<TlsOptions, std::string>>{
           {{}, "a listener needs"},
           {{.certificate_file = own_certificate().file}, "belong together"},
           {{.certificate_file = "/no/such", .key_file = own_certificate().key}, "/no/such (No such file"},
           {{.certificate_file = own_certificate().file, .key_file = own_certificate().encrypted_key}, "pass phrase"},
           {{.certificate_file = garbage, .key_file = own_certificate().key}, "garbage"},
           {{.certificate_file = own_certificate().file, .key_file = garbage}, "garbage"},
           {{.certificate_file = own_certificate().file, .key_file = other.key}, other.key},
           {{.certificate_file = own_certificate().file, .key_file = own_certificate().key, .ca_file = garbage},
            "garbage"},
       }) {
    expect_error<brood::UsageError>([&options = options] { brood::Listener<int>({.tls = options}); },
                                    {"TlsOptions", word});
  }
  brood::Listener<int> listener;
  EXPECT_THROW((void)brood::connect<int>(listener.address(), {.tls = TlsOptions{.ca_file = "/no/such"}}),
               brood::UsageError);
  EXPECT_FALSE(listener.try_accept().has_value()) << "it was not even disturbed";
  std::filesystem::remove(garbage);
}

/// Two sockets with somebody in between who passes on what he reads.
TEST_F(Tls, TheOneInBetweenSeesNothingOfIt) {
  for (const bool tls : {false, true}) {
    const Way way{"", "", true, tls};
    brood::Listener<std::string> listener(listener_options(way));
    const RawDoor door;
    std::string seen;
    std::thread between([&] {
      const RawPeer client = door.accept();
      const RawPeer server(listener.address());
      const auto pass_on = [](const RawPeer& from, const RawPeer& into, std::string* copy) {
        char some[4096];
        for (ssize_t got = 0; (got = ::recv(from.fd(), some, sizeof some, 0)) > 0;) {
          if (copy != nullptr) copy->append(some, static_cast<std::size_t>(got));
          // Who has left already does not hear the other's goodbye.
          if (::send(into.fd(), some, static_cast<std::size_t>(got), MSG_NOSIGNAL) != got) break;
        }
        ::shutdown(into.fd(), SHUT_WR);
      };
      std::thread back([&] { pass_on(server, client, nullptr); });
      pass_on(client, server, &seen);
      back.join();
    });
    std::thread sender([&] {
      auto client = brood::connect<std::string>(door.address(), connect_options(way));
      client.send("a secret for two");
      EXPECT_EQ(client.recv(), "heard");
    });
    {
      auto ours = listener.accept();
      EXPECT_EQ(ours.recv(), "a secret for two");
      ours.send("heard");
      sender.join();
    }
    between.join();
    EXPECT_EQ(seen.find("secret") == std::string::npos, tls) << "without TLS, the key protects the door only";
  }
}

/// Somebody in between who speaks TLS with both, each believing that he is the other.
void relay(const RawDoor& door, const Address& to) {
  namespace net = brood::net;
  const net::TlsContext outwards(shown(own_certificate()), net::Role::listener);
  const net::TlsContext inwards({.verify_peer = false}, net::Role::client);
  const RawPeer client = door.accept();
  const RawPeer server(to);
  const auto stream_of = [](const RawPeer& peer, const net::TlsContext& context) {
    brood::base::UniqueFd copy(::fcntl(peer.fd(), F_DUPFD_CLOEXEC, 0));
    net::set_non_blocking(copy.get());
    return context.wrap(std::move(copy), {});
  };
  const auto one = stream_of(client, outwards);
  const auto other = stream_of(server, inwards);
  const auto finished = [](net::Stream& stream, auto attempt) {
    for (;;) {
      const net::Io io = attempt();
      if (io.is != net::Io::Is::wait) return io;
      (void)net::wait_until_ready(stream.socket(), io.events, brood::Deadline::never());
    }
  };
  (void)finished(*one, [&] { return one->prepare(); });
  (void)finished(*other, [&] { return other->prepare(); });
  const auto pump = [&](net::Stream& from, net::Stream& into, const RawPeer& end) {
    std::array<std::byte, 4096> some{};
    net::Luggage none;
    for (;;) {
      const iovec place{some.data(), some.size()};
      const net::Io got = finished(from, [&] { return from.read({&place, 1}, none); });
      if (got.is != net::Io::Is::done) break;
      const iovec rest{some.data(), got.bytes};
      if (finished(into, [&] { return into.write({&rest, 1}, {}); }).is != net::Io::Is::done) break;
      (void)finished(into, [&] { return into.flush(); });
    }
    ::shutdown(end.fd(), SHUT_WR);
  };
  std::thread back([&] { pump(*other, *one, client); });
  pump(*one, *other, server);
  back.join();
}

TEST_F(Tls, TheKeyIsBoundToTheChannelSoARelayIsFoundOut) {
  for (const bool key : {false, true}) {
    const auto authkey = key ? std::optional<std::string>("key") : std::nullopt;
    brood::Listener<int> listener({.authkey = authkey, .tls = shown(own_certificate())});
    const RawDoor door;
    std::thread between([&] { relay(door, listener.address()); });
    // Nobody verifies certificates here: the key is all there is.
    const brood::ConnectOptions connecting{.authkey = authkey, .tls = TlsOptions{.verify_peer = false}};
    std::thread client([&] {
      if (key) {
        EXPECT_THROW((void)brood::connect<int>(door.address(), connecting), brood::AuthenticationError);
      } else {
        auto end = brood::connect<int>(door.address(), connecting);
        end.send(7);
        EXPECT_EQ(end.recv(), 8) << "without a key, the relay does what it likes";
      }
    });
    if (key) {
      EXPECT_THROW((void)listener.accept(), brood::AuthenticationError);
    } else {
      auto ours = listener.accept();
      EXPECT_EQ(ours.recv(), 7);
      ours.send(8);
      client.join();
    }
    if (client.joinable()) client.join();
    between.join();
  }
}

}  // namespace
}  // namespace nets
