#include "base/hex.hpp"

#include <charconv>

namespace brood::inline v1::base {
namespace {
constexpr char kDigits[] = "0123456789abcdef";
}

std::string hex16(std::uint64_t value) {
  std::string text(kHexDigits, '0');
  for (std::size_t i = kHexDigits; i-- > 0; value >>= 4) text[i] = kDigits[value & 15];
  return text;
}

std::optional<std::uint64_t> parse_hex16(std::string_view text) noexcept {
  if (text.size() != kHexDigits || text.find_first_not_of(kDigits) != std::string_view::npos) return std::nullopt;
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, 16);
  return value;
}

std::string hex_bytes(const void* data, std::size_t size_bytes) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::string text;
  text.reserve(size_bytes * 2);
  for (std::size_t i = 0; i < size_bytes; ++i) text.append({kDigits[bytes[i] >> 4], kDigits[bytes[i] & 15]});
  return text;
}

}  // namespace brood::inline v1::base
