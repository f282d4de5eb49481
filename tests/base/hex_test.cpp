#include "base/hex.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

using brood::base::hex16;
using brood::base::hex_bytes;
using brood::base::parse_hex16;

TEST(Hex, SixteenDigitsWhateverTheValue) {
  EXPECT_EQ(hex16(0), "0000000000000000");
  EXPECT_EQ(hex16(1), "0000000000000001");
  EXPECT_EQ(hex16(0x9f3c2a7b11d00e42), "9f3c2a7b11d00e42");
  EXPECT_EQ(hex16(std::numeric_limits<std::uint64_t>::max()), "ffffffffffffffff");
}

TEST(Hex, ParseUndoesPrint) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    const std::uint64_t value = std::uint64_t{1} << bit;
    EXPECT_EQ(parse_hex16(hex16(value)), value) << "bit " << bit;
    EXPECT_EQ(parse_hex16(hex16(~value)), ~value) << "bit " << bit;
  }
}

TEST(Hex, ParseRefusesAllElse) {
  for (const std::string text :
       {"", "0", "000000000000000", "00000000000000000", "000000000000000g", "000000000000000A", " 000000000000000",
        "000000000000000 ", "-00000000000000f", "0x00000000000000"}) {
    EXPECT_EQ(parse_hex16(text), std::nullopt) << "'" << text << "'";
  }
  EXPECT_EQ(parse_hex16(std::string(16, '\0')), std::nullopt);
}

TEST(Hex, BytesInMemoryOrder) {
  const unsigned char bytes[] = {0x00, 0x7f, 0x80, 0xff, 0x0a};
  EXPECT_EQ(hex_bytes(bytes, sizeof bytes), "007f80ff0a");
  EXPECT_EQ(hex_bytes(bytes, 0), "");
}
