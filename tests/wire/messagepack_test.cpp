// The bytes are MessagePack's, in its shortest forms. The vectors below are written out from the specification
// (github.com/msgpack/msgpack: spec.md), not from our encoder.
#include <map>
#include <optional>

#include "wire/round_trip.hpp"

using namespace wire_test;

TEST(MessagePack, Integers) {
  EXPECT_EQ(hex(bytes_of(0)), "00");
  EXPECT_EQ(hex(bytes_of(127)), "7f");
  EXPECT_EQ(hex(bytes_of(128)), "cc80");
  EXPECT_EQ(hex(bytes_of(255)), "ccff");
  EXPECT_EQ(hex(bytes_of(256)), "cd0100");
  EXPECT_EQ(hex(bytes_of(65535)), "cdffff");
  EXPECT_EQ(hex(bytes_of(65536)), "ce00010000");
  EXPECT_EQ(hex(bytes_of(4294967295U)), "ceffffffff");
  EXPECT_EQ(hex(bytes_of(4294967296LL)), "cf0000000100000000");
  EXPECT_EQ(hex(bytes_of(~0ULL)), "cfffffffffffffffff");
  EXPECT_EQ(hex(bytes_of(-1)), "ff");
  EXPECT_EQ(hex(bytes_of(-32)), "e0");
  EXPECT_EQ(hex(bytes_of(-33)), "d0df");
  EXPECT_EQ(hex(bytes_of(-128)), "d080");
  EXPECT_EQ(hex(bytes_of(-129)), "d1ff7f");
  EXPECT_EQ(hex(bytes_of(-32768)), "d18000");
  EXPECT_EQ(hex(bytes_of(-32769)), "d2ffff7fff");
  EXPECT_EQ(hex(bytes_of(-2147483648LL)), "d280000000");
  EXPECT_EQ(hex(bytes_of(-2147483649LL)), "d3ffffffff7fffffff");
}

TEST(MessagePack, LongerFormsThanNeededAreRead) {
  for (const char* seven : {"07", "cc07", "cd0007", "ce00000007", "cf0000000000000007", "d007", "d10007", "d200000007",
                            "d30000000000000007"}) {
    EXPECT_EQ(from_bytes<int>(from_hex(seven)), 7) << seven;
    EXPECT_EQ(from_bytes<std::uint8_t>(from_hex(seven)), 7) << seven;
    EXPECT_EQ(from_bytes<double>(from_hex(seven)), 7.0) << seven;
  }
  for (const char* text : {"a161", "d90161", "da000161", "db0000000161"}) {
    EXPECT_EQ(from_bytes<std::string>(from_hex(text)), "a") << text;
  }
  for (const char* array : {"92a161a162", "dc0002a161a162", "dd00000002a161a162"}) {
    EXPECT_EQ(from_bytes<std::vector<std::string>>(from_hex(array)), (std::vector<std::string>{"a", "b"})) << array;
  }
  for (const char* map : {"810102", "de00010102", "df000000010102"}) {
    EXPECT_EQ((from_bytes<std::map<int, int>>(from_hex(map))), (std::map<int, int>{{1, 2}})) << map;
  }
  EXPECT_EQ(from_bytes<std::vector<std::byte>>(from_hex("c500015a")), std::vector<std::byte>{std::byte{0x5a}});
}

TEST(MessagePack, OtherScalars) {
  EXPECT_EQ(hex(bytes_of(std::optional<int>{})), "c0");
  EXPECT_EQ(hex(bytes_of(false)), "c2");
  EXPECT_EQ(hex(bytes_of(true)), "c3");
  EXPECT_EQ(hex(bytes_of(1.0F)), "ca3f800000");
  EXPECT_EQ(hex(bytes_of(1.0)), "cb3ff0000000000000");
  EXPECT_EQ(hex(bytes_of(-2.5)), "cbc004000000000000");
  EXPECT_EQ(from_bytes<float>(from_hex("cb3ff8000000000000")), 1.5F);
  EXPECT_EQ(from_bytes<double>(from_hex("ca3fc00000")), 1.5);
}

TEST(MessagePack, StringsAndBytes) {
  EXPECT_EQ(hex(bytes_of(std::string())), "a0");
  EXPECT_EQ(hex(bytes_of(std::string("abc"))), "a3616263");
  EXPECT_EQ(hex(bytes_of(std::string(31, 'a'))).substr(0, 4), "bf61");
  EXPECT_EQ(hex(bytes_of(std::string(32, 'a'))).substr(0, 6), "d92061");
  EXPECT_EQ(hex(bytes_of(std::string(256, 'a'))).substr(0, 8), "da010061");
  EXPECT_EQ(hex(bytes_of(std::string(65536, 'a'))).substr(0, 12), "db0001000061");
  EXPECT_EQ(hex(bytes_of(std::vector<std::byte>{})), "c400");
  EXPECT_EQ(hex(bytes_of(std::vector<std::byte>{std::byte{1}, std::byte{2}})), "c4020102");
  EXPECT_EQ(hex(bytes_of(std::vector<std::uint8_t>(256, 0))).substr(0, 8), "c5010000");
  EXPECT_EQ(hex(bytes_of(std::vector<char>(65536, 0))).substr(0, 12), "c60001000000");
}

TEST(MessagePack, ArraysAndMaps) {
  EXPECT_EQ(hex(bytes_of(std::vector<std::string>{})), "90");
  EXPECT_EQ(hex(bytes_of(std::tuple(1, std::string("a"), true))), "9301a161c3");
  EXPECT_EQ(hex(bytes_of(std::vector<std::string>(15))).substr(0, 4), "9fa0");
  EXPECT_EQ(hex(bytes_of(std::vector<std::string>(16))).substr(0, 8), "dc0010a0");
  EXPECT_EQ(hex(bytes_of(std::vector<std::string>(65536))).substr(0, 12), "dd00010000a0");
  EXPECT_EQ(hex(bytes_of(std::map<std::string, int>{{"a", 1}, {"b", 2}})), "82a16101a16202");
  std::map<int, bool> sixteen;
  for (int i = 0; i < 16; ++i) sixteen[i] = true;
  EXPECT_EQ(hex(bytes_of(sixteen)).substr(0, 10), "de001000c3");
}

TEST(MessagePack, Extensions) {
  const auto ext = [](std::size_t size) {
    brood::Encoder out;
    out.ext(5, std::vector<std::byte>(size, std::byte{0xee}));
    return hex(out.bytes());
  };
  EXPECT_EQ(ext(1), "d405ee");
  EXPECT_EQ(ext(2), "d505eeee");
  EXPECT_EQ(ext(4), "d605eeeeeeee");
  EXPECT_EQ(ext(8), "d705eeeeeeeeeeeeeeee");
  EXPECT_EQ(ext(16).substr(0, 6), "d805ee");
  EXPECT_EQ(ext(0), "c70005");
  EXPECT_EQ(ext(3), "c70305eeeeee");
  EXPECT_EQ(ext(256).substr(0, 10), "c8010005ee");
  EXPECT_EQ(ext(65536).substr(0, 14), "c90001000005ee");
}

TEST(MessagePack, ExtensionsAreReadInEveryForm) {
  for (const std::size_t size : {0UL, 1UL, 2UL, 3UL, 4UL, 5UL, 8UL, 15UL, 16UL, 17UL, 255UL, 256UL, 65535UL, 65536UL}) {
    brood::Encoder out;
    const std::vector<std::byte> payload(size, std::byte{0x3c});
    out.ext(-7, payload);
    brood::Decoder in(out.bytes());
    const auto found = in.ext();
    in.finish();
    EXPECT_EQ(found.type, -7);
    EXPECT_EQ(std::vector(found.bytes.begin(), found.bytes.end()), payload);
  }
}

TEST(MessagePack, HandleIsExtensionOneWithItsText) {
  brood::Encoder out;
  const brood::Handle handle(brood::Kind::lock, 0x9f3c2a7b11d00e42);
  out.handle(handle);
  const std::string text = handle.str();
  EXPECT_EQ(hex(out.bytes()), "c71b01" + hex(std::as_bytes(std::span(text))));
  brood::Decoder in(out.bytes());
  EXPECT_EQ(in.handle(), handle);
}

TEST(MessagePack, SkipPassesOverOneValueOfAnyKind) {
  brood::Encoder out;
  out.array_header(3);
  out.map_header(1);
  out.str("key");
  out.bin({});
  out.ext(9, std::vector<std::byte>(20));
  out.nil();
  out.f64(1);
  out.boolean(true);
  brood::Decoder in(out.bytes());
  in.skip();
  EXPECT_EQ(in.f64(), 1);
  in.skip();
  in.finish();
}

TEST(MessagePack, SkipNeedsNoRecursion) {
  std::vector<std::byte> deep(1'000'000, std::byte{0x91});
  deep.push_back(std::byte{0xc0});
  brood::Decoder in(deep);
  in.skip();
  in.finish();
}
