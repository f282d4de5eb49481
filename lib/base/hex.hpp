// Fixed-width hexadecimal, as identities are written.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace brood::inline v1::base {

inline constexpr std::size_t kHexDigits = 16;

/// Sixteen lower-case digits.
[[nodiscard]] std::string hex16(std::uint64_t value);
/// Exactly sixteen lower-case digits, or nothing.
[[nodiscard]] std::optional<std::uint64_t> parse_hex16(std::string_view text) noexcept;
/// Two lower-case digits a byte.
[[nodiscard]] std::string hex_bytes(const void* data, std::size_t size_bytes);

}  // namespace brood::inline v1::base
