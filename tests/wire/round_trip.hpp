// Helpers of the wire tests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "brood/detail/codec.hpp"

namespace wire_test {

template <class T>
std::vector<std::byte> bytes_of(const T& value) {
  brood::Encoder out;
  brood::encode(out, value);
  return out.take_bytes();
}

template <class T>
T from_bytes(std::span<const std::byte> bytes) {
  brood::Decoder in(bytes);
  T value = brood::decode<T>(in);
  in.finish();
  return value;
}

template <class T>
T round_trip(const T& value) {
  return from_bytes<T>(bytes_of(value));
}

inline std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (std::byte b : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += kDigits[std::to_integer<unsigned>(b) >> 4];
    text += kDigits[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}

inline std::vector<std::byte> from_hex(std::string_view text) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return bytes;
}

/// The message of the exception of type E that f throws; a failure if it throws none.
template <class E, class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const E& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

}  // namespace wire_test
