#include "brood/address.hpp"

#include <charconv>
#include <optional>
#include <ostream>

#include "brood/error.hpp"

namespace brood::inline v1 {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte != 0x7f && c != '%') {
      out += c;
    } else {
      out += '%';
      out += kDigits[byte >> 4];
      out += kDigits[byte & 15];
    }
  }
  return out;
}

std::optional<std::string> unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const char* const end = text.data() + i + 3;
    if (std::from_chars(text.data() + i + 1, end, value, 16).ptr != end) return std::nullopt;
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
  std::string shown(text);
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  throw UsageError("'" + shown + "' is no address: " + why +
                   "; write unix:/path, unix:@name, tcp:host:port or tcp:[::1]:port");
}

UnixAddress parse_unix(std::string_view whole, std::string_view rest) {
  const bool is_abstract = !rest.empty() && rest.front() == '@';
  if (is_abstract) rest.remove_prefix(1);
  auto name = unescaped(rest);
  if (!name) refuse(whole, "a % is not followed by two hexadecimal digits");
  if (is_abstract && name->empty()) refuse(whole, "an abstract socket needs a name");
  if (!is_abstract && name->find('\0') != std::string::npos) refuse(whole, "a path has no zero byte");
  return {*std::move(name), is_abstract};
}

TcpAddress parse_tcp(std::string_view whole, std::string_view rest) {
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) refuse(whole, "the port is missing");
  std::string_view host = rest.substr(0, colon);
  const std::string_view port = rest.substr(colon + 1);
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size())
    refuse(whole, "the port must be a number from 0 to 65535");
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  else if (host.find(':') != std::string_view::npos) refuse(whole, "an IPv6 address stands in brackets");
  if (host.empty()) refuse(whole, "the host is missing");
  for (const char c : host) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '[' || c == ']')
      refuse(whole, "the host has characters that no host has");
  }
  return {std::string(host), number};
}

}  // namespace

Address::Address(std::string_view text) {
  if (text.starts_with("unix:")) where_ = parse_unix(text, text.substr(5));
  else if (text.starts_with("tcp:")) where_ = parse_tcp(text, text.substr(4));
  else refuse(text, "it begins neither with unix: nor with tcp:");
}

std::string Address::str() const {
  if (const UnixAddress* address = unix_address()) {
    if (address->is_abstract) return "unix:@" + escaped(address->path);
    // A path that begins with @ would read as an abstract name.
    return (address->path.starts_with('@') ? "unix:./" : "unix:") + escaped(address->path);
  }
  const TcpAddress& address = *tcp_address();
  const bool is_v6 = address.host.find(':') != std::string::npos;
  return "tcp:" + (is_v6 ? '[' + address.host + ']' : address.host) + ':' + std::to_string(address.port);
}

std::ostream& operator<<(std::ostream& out, const Address& address) { return out << address.str(); }

Address Codec<Address>::decode(Decoder& in) {
  const std::string_view text = in.str();
  try {
    return Address(text);
  } catch (const UsageError& error) {
    in.fail("an address", error.what());
  }
}

}  // namespace brood::inline v1
