// Address: where a Listener listens and connect() goes.                                             (room: net)
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "brood/serialize.hpp"

namespace brood::inline v1 {

/// A socket of this machine: a path in the file system, or an abstract name, which is no file and ends with its listener.
/// Who may connect to a path is said by the modes of its directories and of itself; to an abstract name, anybody who is in
/// the same network namespace. Most bytes of either: 107.
struct UnixAddress {
  /// Empty: a listener makes a new path in a directory that only this user can enter.
  std::string path = {};
  bool is_abstract = false;

  [[nodiscard]] static UnixAddress abstract(std::string name) { return {std::move(name), true}; }
  friend bool operator==(const UnixAddress&, const UnixAddress&) = default;
};

/// A TCP port. The host is a name, an IPv4 or an IPv6 address ("localhost", "127.0.0.1", "::1"); to listen at all
/// addresses of the machine say "0.0.0.0" or "::". Port 0: a listener takes a free one.
struct TcpAddress {
  std::string host = "localhost";
  std::uint16_t port = 0;

  friend bool operator==(const TcpAddress&, const TcpAddress&) = default;
};

/// Either of them. Travels in messages and arguments, prints as text and is read from text:
///
///   unix:/run/app/socket    unix:@name (abstract)    tcp:localhost:4000    tcp:[::1]:4000
///
/// In the text of a Unix address, spaces, control characters and the percent sign are written as %20, two hexadecimal digits.
///
/// Threads:  a value.
class Address {
 public:
  Address() = default;
  Address(UnixAddress address) noexcept : where_(std::move(address)) {}  // NOLINT(google-explicit-constructor)
  Address(TcpAddress address) noexcept : where_(std::move(address)) {}   // NOLINT(google-explicit-constructor)
  /// Reads the text form. Implicit, so that `connect<T>(argv[1])` works. Errors: UsageError that shows the text.
  Address(std::string_view text);                                        // NOLINT(google-explicit-constructor)
  Address(const std::string& text) : Address(std::string_view(text)) {}  // NOLINT(google-explicit-constructor)
  // NOLINTNEXTLINE(google-explicit-constructor)
  Address(const char* text) : Address(std::string_view(text != nullptr ? text : "")) {}

  /// Null if it is of the other family.
  [[nodiscard]] const UnixAddress* unix_address() const noexcept { return std::get_if<UnixAddress>(&where_); }
  [[nodiscard]] const TcpAddress* tcp_address() const noexcept { return std::get_if<TcpAddress>(&where_); }
  [[nodiscard]] std::string str() const;

  friend bool operator==(const Address&, const Address&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Address& address);

 private:
  std::variant<UnixAddress, TcpAddress> where_;
};

template <>
struct Codec<Address> {
  static constexpr std::uint64_t fingerprint = 1;
  static void encode(Encoder& out, const Address& address) { out.str(address.str()); }
  static Address decode(Decoder& in);
};

}  // namespace brood::inline v1
