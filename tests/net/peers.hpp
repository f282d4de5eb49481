// Connections for the tests of this room: every way there is, and peers that do what they like.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/listener.hpp"
#include "net/certificate.hpp"
#include "sync/ladder.hpp"

namespace nets {

using namespace std::chrono_literals;
using brood::Address;
using brood::TcpAddress;
using brood::UnixAddress;

/// How two ends are connected.
struct Way {
  std::string name;
  std::string address;  ///< empty: a new path
  bool key = false;
  bool tls = false;
};
inline void PrintTo(const Way& way, std::ostream* out) { *out << way.name; }

inline std::string unique_name() {
  static int number = 0;
  return "brood-test-" + std::to_string(::getpid()) + "-" + std::to_string(++number);
}

inline std::vector<Way> all_ways() {
  return {{"path", ""},
          {"abstract", "@"},
          {"tcp4", "tcp:127.0.0.1:0"},
          {"tcp6", "tcp:[::1]:0"},
          {"localhost", "tcp:localhost:0"},
          {"path_key", "", true},
          {"tcp_key", "tcp:127.0.0.1:0", true},
          {"path_tls", "", false, true},
          {"tcp_tls", "tcp:127.0.0.1:0", false, true},
          {"tcp_tls_key", "tcp:127.0.0.1:0", true, true}};
}

inline brood::ListenerOptions listener_options(const Way& way) {
  brood::ListenerOptions options;
  if (way.address == "@") options.address = UnixAddress::abstract(unique_name());
  else if (!way.address.empty()) options.address = way.address;
  if (way.key) options.authkey = "the key";
  if (way.tls)
    options.tls = brood::TlsOptions{.certificate_file = own_certificate().file, .key_file = own_certificate().key};
  return options;
}
inline brood::ConnectOptions connect_options(const Way& way) {
  brood::ConnectOptions options;
  if (way.key) options.authkey = "the key";
  if (way.tls) options.tls = brood::TlsOptions{.ca_file = own_certificate().file, .server_name = "localhost"};
  return options;
}

template <class T>
using Ends = std::pair<brood::Connection<T>, brood::Connection<T>>;

/// The listener's end, and the client's.
template <class T>
Ends<T> connected(brood::Listener<T>& listener, const brood::ConnectOptions& options) {
  std::optional<brood::Connection<T>> client;
  std::thread connecting([&] { client.emplace(brood::connect<T>(listener.address(), options)); });
  brood::Connection<T> ours = listener.accept();
  connecting.join();
  return {std::move(ours), *std::move(client)};
}
template <class T>
Ends<T> connected(const Way& way) {
  brood::Listener<T> listener(listener_options(way));
  return connected(listener, connect_options(way));
}

inline std::string text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A socket of the kernel that is connected to a listener, or was accepted from a socket of ours, and knows no protocol.
class RawPeer {
 public:
  explicit RawPeer(const Address& address);
  explicit RawPeer(brood::base::UniqueFd socket) : socket_(std::move(socket)) {}

  void write(std::string_view bytes) const;
  void write_note(char kind, std::string_view body) const;
  /// So many bytes. Errors: std::runtime_error at the end.
  [[nodiscard]] std::string read(std::size_t count) const;
  /// The next note: its kind and what follows.
  [[nodiscard]] std::pair<char, std::string> read_note() const;
  /// Everything until the other end closes.
  [[nodiscard]] std::string read_all() const;
  void send_descriptors(std::string_view bytes, const std::vector<int>& descriptors) const;
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  void close() { socket_.reset(); }
  /// What a client says first.
  void hello(bool has_key) const;

 private:
  brood::base::UniqueFd socket_;
};

/// A listening socket that knows no protocol.
class RawDoor {
 public:
  RawDoor();
  [[nodiscard]] Address address() const { return UnixAddress::abstract(name_); }
  [[nodiscard]] RawPeer accept() const;

 private:
  std::string name_ = unique_name();
  brood::base::UniqueFd socket_;
};

// Notes, and what is in a frame's header.
constexpr char kHello = 1;
constexpr char kChallenge = 2;
constexpr char kAnswer = 3;
constexpr char kWelcome = 4;
constexpr char kType = 5;
constexpr char kRefusal = 6;
[[nodiscard]] std::string frame_header(std::uint32_t size, std::uint16_t flags);
/// The note about T that each end sends.
template <class T>
std::string type_body(std::uint64_t max_message = 1 << 30) {
  std::string body;
  for (std::uint64_t number : {brood::detail::type_fingerprint<T>(), max_message}) {
    for (int i = 0; i < 8; ++i) body += static_cast<char>(number >> (8 * i));
  }
  return body + brood::detail::type_name<T>();
}

class NetWays : public support::NoLeaks, public ::testing::WithParamInterface<Way> {};
#define BROOD_ALL_WAYS(Suite)                                                    \
  INSTANTIATE_TEST_SUITE_P(Ways, Suite, ::testing::ValuesIn(::nets::all_ways()), \
                           [](const auto& which) { return which.param.name; })

}  // namespace nets
