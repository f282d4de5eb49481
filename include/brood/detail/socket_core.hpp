// What is behind Listener<T> and connect<T>(): the part without types.                              (room: net)
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "brood/address.hpp"
#include "brood/deadline.hpp"
#include "brood/detail/connection_core.hpp"

namespace brood::inline v1 {

namespace net {
class Door;  // lib/net/door.hpp
}  // namespace net

/// What a handshake is made with.
enum class Digest : std::uint8_t { sha256, sha384, sha3_256, sha3_384 };
[[nodiscard]] std::string_view to_string(Digest digest) noexcept;

/// TLS 1.2 or later. Files are in PEM form.
struct TlsOptions {
  /// What this end shows of itself; a listener needs both.
  std::string certificate_file = {};
  std::string key_file = {};
  /// Who is trusted to vouch for the other end; empty: whom this machine trusts.
  std::string ca_file = {};
  /// Must the other end show a certificate that is trusted? Not said: a client asks the listener for one; a listener
  /// asks its clients if it has a ca_file.
  std::optional<bool> verify_peer = {};
  /// Client: the name that must be in the listener's certificate. Empty: the host of its TCP address; for a Unix
  /// address, none is asked for.
  std::string server_name = {};
};

struct ListenerOptions {
  /// Not said: a Unix socket with a new path.
  Address address = {};
  /// How many connections the kernel keeps for accept().
  int backlog = 128;
  /// Both ends must have the same key, and show each other that they do. An empty one is a key; without any there is no
  /// handshake, and whoever can reach the address can connect.
  std::optional<std::string> authkey = {};
  std::optional<TlsOptions> tls = {};
  Digest digest = Digest::sha256;
  /// How long one client may take from being accepted to being through.
  std::chrono::nanoseconds handshake_timeout = std::chrono::seconds(10);
  /// Longer messages are not taken, in bytes.
  std::uint64_t max_message = std::uint64_t{1} << 30;
};

struct ConnectOptions {
  /// See ListenerOptions.
  std::optional<std::string> authkey = {};
  std::optional<TlsOptions> tls = {};
  Digest digest = Digest::sha256;
  std::chrono::nanoseconds handshake_timeout = std::chrono::seconds(10);
  std::uint64_t max_message = std::uint64_t{1} << 30;
  /// Bounds the whole call. Not said: as long as the kernel tries. (Looking up a host's name takes as long as it takes.)
  std::optional<std::chrono::nanoseconds> timeout = {};
};

namespace detail {

/// What children made by fork have of sockets. `closed`: nothing, so that nobody who waits for the end of this process waits for one
/// of theirs: who comes later is refused, and who is connected sees the end.
enum class InForks : bool { shared, closed };

/// Process-local view of one listening socket, and of the connections that it makes.
class ListenerCore {
 public:
  ListenerCore(const ListenerOptions& options, const ConnectionCore::Type& type, InForks in_forks = InForks::shared);
  ListenerCore(ListenerCore&& other) noexcept;
  ListenerCore& operator=(ListenerCore&& other) noexcept;
  ~ListenerCore();

  /// Nothing if no client was through before the deadline.
  [[nodiscard]] std::optional<ConnectionCore> accept(Deadline deadline);
  [[nodiscard]] Address address() const;
  [[nodiscard]] std::optional<Address> last_accepted() const;
  [[nodiscard]] int descriptor() const;
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept { return door_ == nullptr; }
  [[nodiscard]] std::string printed() const;

 private:
  [[nodiscard]] net::Door& open_door() const;
  std::unique_ptr<net::Door> door_;
  std::string closed_name_;
};

[[nodiscard]] ConnectionCore connect(const Address& address, const ConnectOptions& options,
                                     const ConnectionCore::Type& type, InForks in_forks = InForks::shared);

}  // namespace detail
}  // namespace brood::inline v1
