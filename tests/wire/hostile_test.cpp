// Bytes that lie: every one is answered with a DecodeError that says what and where, and costs no memory.
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <set>
#include <unordered_map>

#include "wire/round_trip.hpp"

using namespace wire_test;

namespace {
// Bytes asked from the heap while counting; the library under test is linked into this program, so nothing escapes.
thread_local bool counting = false;
thread_local std::size_t counted_bytes = 0;

void* counted_allocation(std::size_t size) {
  if (counting) counted_bytes += size;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
}  // namespace

void* operator new(std::size_t size) { return counted_allocation(size); }
void* operator new[](std::size_t size) { return counted_allocation(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

struct Big {
  std::array<std::string, 20> names;
};
struct Plain {
  int a;
  bool b;
  double c;
};
struct Mixed {
  std::string text;
  std::vector<Plain> block;
  std::map<int, std::optional<std::string>> table;
  std::variant<int, std::string, Plain> either;
  std::vector<std::string> names;
  std::tuple<bool, float, std::uint16_t> three;
  std::unique_ptr<std::string> owned;
  std::filesystem::path path;
  std::error_code code;
  std::chrono::seconds pause;
  std::set<int> ids;
};

Mixed sample() {
  Mixed mixed;
  mixed.text = "some text that is longer than thirty-one bytes";
  mixed.block = {{1, true, 2}, {3, false, 4}};
  mixed.table = {{1, "one"}, {2, std::nullopt}};
  mixed.either = Plain{1, true, 3};
  mixed.names = {"a", "b"};
  mixed.three = {true, 1.5F, 65535};
  mixed.owned = std::make_unique<std::string>("x");
  mixed.path = "/tmp/x";
  mixed.code = std::make_error_code(std::errc::io_error);
  mixed.pause = std::chrono::seconds(5);
  mixed.ids = {1, 2, 300};
  return mixed;
}

/// Decodes and expects either a value or a DecodeError; anything else escapes and fails the test.
template <class T>
bool decodes(std::span<const std::byte> bytes) {
  try {
    (void)from_bytes<T>(bytes);
    return true;
  } catch (const brood::DecodeError&) {
    return false;
  }
}

template <class T>
std::size_t bytes_allocated_for(std::span<const std::byte> bytes) {
  counted_bytes = 0;
  counting = true;
  const bool valid = decodes<T>(bytes);
  counting = false;
  EXPECT_FALSE(valid);
  return counted_bytes;
}

}  // namespace

TEST(Hostile, EveryTruncationIsNoticed) {
  const std::vector<std::byte> whole = bytes_of(sample());
  ASSERT_TRUE(decodes<Mixed>(whole));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    // An exact copy on the heap, so that a sanitizer sees a read behind the end.
    const std::vector<std::byte> part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(decodes<Mixed>(part)) << size << " of " << whole.size();
  }
}

TEST(Hostile, EverySingleByteChangedIsReadOrRefused) {
  const std::vector<std::byte> whole = bytes_of(sample());
  int refused = 0;
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      std::vector<std::byte> changed = whole;
      changed[at] = static_cast<std::byte>(value);
      refused += !decodes<Mixed>(changed);
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(Hostile, RandomBytesNeverCrash) {
  const std::uint32_t seed = 20260115;
  std::mt19937 random(seed);
  for (int i = 0; i < 20000; ++i) {
    std::vector<std::byte> bytes(random() % 64);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random());
    (void)decodes<Mixed>(bytes);
    (void)decodes<std::vector<std::vector<std::string>>>(bytes);
    (void)decodes<std::unordered_map<std::string, int>>(bytes);
    brood::Decoder in(bytes);
    try {
      in.skip();
    } catch (const brood::DecodeError&) {
      EXPECT_EQ(in.offset(), 0U) << "seed " << seed << ", round " << i;
    }
  }
}

TEST(Hostile, ClaimedSizesAllocateNothing) {
  constexpr std::size_t kMessageOnly = 4096;  // room for the exception's text
  // 2^32-1 elements, bytes or characters, of which none is there.
  EXPECT_LT(bytes_allocated_for<std::vector<std::string>>(from_hex("ddffffffff")), kMessageOnly);
  EXPECT_LT(bytes_allocated_for<std::vector<Big>>(from_hex("ddffffffff")), kMessageOnly);
  EXPECT_LT(bytes_allocated_for<std::vector<int>>(from_hex("ddffffffff")), kMessageOnly);
  EXPECT_LT(bytes_allocated_for<std::vector<Plain>>(from_hex("c9ffffffff03")), kMessageOnly);
  EXPECT_LT(bytes_allocated_for<std::vector<std::byte>>(from_hex("c6ffffffff")), kMessageOnly);
  EXPECT_LT(bytes_allocated_for<std::string>(from_hex("dbffffffff")), kMessageOnly);
  EXPECT_LT((bytes_allocated_for<std::map<int, int>>(from_hex("dfffffffff"))), kMessageOnly);
  EXPECT_LT((bytes_allocated_for<std::unordered_map<int, Big>>(from_hex("df7fffffff"))), kMessageOnly);
  EXPECT_LT(bytes_allocated_for<std::set<int>>(from_hex("ddffffffff")), kMessageOnly);
  EXPECT_LT(bytes_allocated_for<std::filesystem::path>(from_hex("dbffffffff")), kMessageOnly);
}

TEST(Hostile, ReserveIsBoundedByTheMessageNotByTheCount) {
  // 60,000 elements claimed, 60,000 bytes there, but the first byte is no Big: a reserve for the count would take 38
  // MB.
  std::vector<std::byte> bytes = from_hex("dcea60");
  bytes.resize(bytes.size() + 60000, std::byte{0xc0});
  EXPECT_LT(bytes_allocated_for<std::vector<Big>>(bytes), 2 * bytes.size());
}

TEST(Hostile, IntegersOutOfRange) {
  EXPECT_FALSE(decodes<std::uint8_t>(bytes_of(300)));
  EXPECT_FALSE(decodes<std::uint8_t>(bytes_of(-1)));
  EXPECT_FALSE(decodes<std::int8_t>(bytes_of(128)));
  EXPECT_FALSE(decodes<std::int8_t>(bytes_of(-129)));
  EXPECT_FALSE(decodes<std::int32_t>(bytes_of(2147483648LL)));
  EXPECT_FALSE(decodes<std::uint32_t>(bytes_of(4294967296LL)));
  EXPECT_FALSE(decodes<std::int64_t>(bytes_of(9223372036854775808ULL)));
  EXPECT_FALSE(decodes<std::uint64_t>(bytes_of(-1)));
  EXPECT_FALSE(decodes<float>(bytes_of(1e300)));
  EXPECT_FALSE(decodes<float>(bytes_of(16777217)));
  EXPECT_FALSE(decodes<double>(bytes_of(9007199254740993LL)));
  EXPECT_FALSE(decodes<bool>(bytes_of(1)));
  EXPECT_FALSE(decodes<int>(bytes_of(true)));
  EXPECT_FALSE(decodes<int>(bytes_of(1.0)));
  const std::string what = message_of<brood::DecodeError>([] { from_bytes<std::uint8_t>(bytes_of(300)); });
  EXPECT_EQ(what, "cannot decode: expected an integer from 0 to 255 at byte 0 of 3, found an integer 300");
}

TEST(Hostile, MessagesSayWhatWasExpectedAndFoundAndWhere) {
  EXPECT_EQ(message_of<brood::DecodeError>([] { from_bytes<std::string>(from_hex("93010203")); }),
            "cannot decode: expected a string at byte 0 of 4, found an array of 3");
  EXPECT_EQ(
      message_of<brood::DecodeError>([] { from_bytes<int>(from_hex("c1")); }),
      "cannot decode: expected an integer from -2147483648 to 2147483647 at byte 0 of 1, found a byte that begins no "
      "value (0xc1)");
  EXPECT_EQ(
      message_of<brood::DecodeError>([] { from_bytes<int>({}); }),
      "cannot decode: expected an integer from -2147483648 to 2147483647 at byte 0 of 0, found the end of the message");
  EXPECT_EQ(
      message_of<brood::DecodeError>([] { from_bytes<std::string>(from_hex("a561")); }),
      "cannot decode: expected a string at byte 0 of 2, found a string that the message is too short for (2 bytes are "
      "left, it claims 5)");
  EXPECT_EQ(message_of<brood::DecodeError>([] { from_bytes<bool>(from_hex("c3c3")); }),
            "cannot decode: expected the end of the message at byte 1 of 2, found 1 more bytes");
  EXPECT_CONTAINS(message_of<brood::DecodeError>([] { from_bytes<Mixed>(from_hex("9101")); }), "an array of 11 for ");
}

TEST(Hostile, NestingEndsAtTheLimitInBothDirections) {
  struct Nest {
    std::vector<Nest> inner;
  };
  const auto chain = [](int levels) {
    Nest nest;
    for (int i = 1; i < levels; ++i) {
      Nest outer;
      outer.inner.push_back(std::move(nest));
      nest = std::move(outer);
    }
    return nest;
  };
  constexpr int kDeepest = brood::detail::kMaxDepth / 2;  // each Nest is a struct and a vector
  (void)round_trip(chain(kDeepest));
  EXPECT_CONTAINS(message_of<brood::UsageError>([&] { bytes_of(chain(kDeepest + 1)); }), "deeper than 64 levels");

  std::vector<std::byte> deep(1'000'000, std::byte{0x91});
  deep.push_back(std::byte{0x90});
  EXPECT_CONTAINS(message_of<brood::DecodeError>([&] { from_bytes<Nest>(deep); }), "at most 64 levels of nesting");
}

TEST(Hostile, AFailedEncodingLeavesTheEncoderUsable) {
  struct Nest {
    std::vector<Nest> inner;
  };
  Nest nest;
  for (int i = 0; i < 100; ++i) {
    Nest outer;
    outer.inner.push_back(std::move(nest));
    nest = std::move(outer);
  }
  brood::Encoder out;
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(brood::encode(out, nest), brood::UsageError);
    out.clear();
    brood::encode(out, std::vector<std::string>{"fine"});
    EXPECT_EQ(from_bytes<std::vector<std::string>>(out.bytes()).at(0), "fine");
    out.clear();
  }
}

TEST(Hostile, BoolsInRawBytesAreChecked) {
  std::vector<std::byte> bytes = bytes_of(Plain{1, true, 2});
  std::size_t bool_at = 3 + 8 + offsetof(Plain, b);  // ext header, fingerprint
  ASSERT_EQ(bytes.at(bool_at), std::byte{1});
  EXPECT_TRUE(decodes<Plain>(bytes));
  bytes[bool_at] = std::byte{2};
  EXPECT_CONTAINS(message_of<brood::DecodeError>([&] { from_bytes<Plain>(bytes); }), "neither 0 nor 1");
  bytes = bytes_of(std::vector<Plain>{{1, true, 2}, {1, true, 2}});
  bool_at += sizeof(Plain);
  ASSERT_EQ(bytes.at(bool_at), std::byte{1});
  bytes[bool_at] = std::byte{0xff};
  EXPECT_FALSE(decodes<std::vector<Plain>>(bytes));
}

TEST(Hostile, RawBytesOfAnotherLayoutAreRefused) {
  struct Other {
    int a;
    float b;
    double c;
  };
  static_assert(sizeof(Other) == sizeof(Plain));
  const std::string what = message_of<brood::DecodeError>([] { from_bytes<Plain>(bytes_of(Other{1, 2, 3})); });
  EXPECT_CONTAINS(what, "sender and receiver differ in the type");
  EXPECT_CONTAINS(what, "Plain");
  EXPECT_FALSE(decodes<std::vector<float>>(bytes_of(std::vector<int>{1})));
  std::vector<std::byte> ragged = from_hex("c70c03");
  const auto block = bytes_of(std::vector<double>{1});
  ragged.insert(ragged.end(), block.begin() + 2, block.begin() + 14);
  EXPECT_FALSE(decodes<std::vector<double>>(ragged)) << "12 - 8 bytes are no whole number of doubles";
}

TEST(Hostile, DuplicateKeysAreRefused) {
  EXPECT_FALSE((decodes<std::map<int, int>>(from_hex("8201010102"))));
  EXPECT_FALSE(decodes<std::set<int>>(from_hex("920101")));
  EXPECT_TRUE(decodes<std::multiset<int>>(from_hex("920101")));
}

TEST(Hostile, VariantsAndHandles) {
  EXPECT_FALSE((decodes<std::variant<int, bool>>(from_hex("9202c3"))));
  EXPECT_FALSE((decodes<std::variant<int, bool>>(from_hex("92ffc3"))));
  EXPECT_FALSE((decodes<std::variant<int, bool>>(from_hex("9101"))));
  brood::Encoder out;
  out.ext(brood::detail::kExtHandle, std::as_bytes(std::span("nonsense", 8)));
  brood::Decoder in(out.bytes());
  EXPECT_CONTAINS(message_of<brood::DecodeError>([&] { (void)in.handle(); }), "handle of a shared object");
  EXPECT_EQ(in.offset(), 0U) << "a failed read consumes nothing";
}

TEST(Hostile, AFailedReadConsumesNothing) {
  const auto bytes = from_hex("a161");
  brood::Decoder in(bytes);
  EXPECT_THROW((void)in.integer<int>(), brood::DecodeError);
  EXPECT_THROW((void)in.boolean(), brood::DecodeError);
  EXPECT_THROW((void)in.f64(), brood::DecodeError);
  EXPECT_THROW((void)in.f32(), brood::DecodeError);
  EXPECT_THROW((void)in.bin(), brood::DecodeError);
  EXPECT_THROW((void)in.array_header(), brood::DecodeError);
  EXPECT_THROW((void)in.map_header(), brood::DecodeError);
  EXPECT_THROW((void)in.ext(), brood::DecodeError);
  EXPECT_THROW((void)in.ext(1), brood::DecodeError);
  EXPECT_THROW(in.nil(), brood::DecodeError);
  EXPECT_EQ(in.str(), "a");
}
