// The parts of the codec that need no template.
#include <array>
#include <cstring>
#include <ios>
#include <limits>

#include "base/hex.hpp"
#include "brood/detail/codec.hpp"

namespace brood::inline v1::detail {

namespace {
// Categories that mean the same in every program.
std::array<const std::error_category*, 3> known_categories() {
  return {&std::generic_category(), &std::system_category(), &std::iostream_category()};
}

// x87 keeps 80 bits in 16 bytes; the rest is padding and must not carry what lay there before.
constexpr std::size_t kLongDoubleBytes = std::numeric_limits<long double>::digits == 64 ? 10 : sizeof(long double);
}  // namespace

void encode_error_code(Encoder& out, const std::error_code& code) {
  for (const std::error_category* category : known_categories()) {
    if (code.category() != *category) continue;
    out.array_header(2);
    out.str(category->name());
    out.sint(code.value());
    return;
  }
  throw UsageError("cannot encode a std::error_code of category '" + std::string(code.category().name()) +
                   "': another program need not know it; send its value() or message()");
}

std::error_code decode_error_code(Decoder& in) {
  in.expect_array(2, "std::error_code");
  const std::string_view name = in.str();
  for (const std::error_category* category : known_categories()) {
    if (name == category->name()) return {in.integer<int>(), *category};
  }
  in.fail("the name of a standard error category before it", "'" + std::string(name.substr(0, 40)) + "'");
}

void encode_long_double(Encoder& out, long double value) {
  std::array<std::byte, kLongDoubleBytes> bytes;
  std::memcpy(bytes.data(), &value, bytes.size());
  out.bin(bytes);
}

long double decode_long_double(Decoder& in) {
  Decoder after = in;
  const auto bytes = after.bin();
  if (bytes.size() != kLongDoubleBytes) {
    in.fail("a long double of " + std::to_string(kLongDoubleBytes) + " bytes", std::to_string(bytes.size()) + " bytes");
  }
  in = after;
  long double value = 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  return value;
}

void store_fingerprint(std::byte* to, std::uint64_t fingerprint) noexcept {
  std::memcpy(to, &fingerprint, kFingerprintBytes);  // little-endian, as every machine this runs on
}

std::span<const std::byte> take_raw(Decoder& in, std::int8_t ext_type, std::uint64_t fingerprint, std::size_t unit,
                                    std::string (*name)()) {
  Decoder after = in;
  const auto bytes = after.ext(ext_type);
  if (bytes.size() < kFingerprintBytes) in.fail("the raw bytes of " + name(), "less than a fingerprint");
  std::uint64_t found = 0;
  std::memcpy(&found, bytes.data(), kFingerprintBytes);
  if (found != fingerprint) {
    in.fail("the raw bytes of " + name() + " with layout " + base::hex16(fingerprint),
            "layout " + base::hex16(found) + "; sender and receiver differ in the type");
  }
  const auto payload = bytes.subspan(kFingerprintBytes);
  const bool fits = ext_type == kExtRaw ? payload.size() == unit : payload.size() % unit == 0;
  if (!fits) {
    in.fail("the raw bytes of " + name() + ", " + std::to_string(unit) + " each",
            std::to_string(payload.size()) + " bytes");
  }
  in = after;
  return payload;
}

void throw_bad_bool(const Decoder& in, std::string (*name)()) {
  throw DecodeError("cannot decode " + name() + " before byte " + std::to_string(in.offset()) +
                    ": a bool in it is neither 0 nor 1");
}

void throw_duplicate(const Decoder& in) { in.fail("another key than those before", "one of them again, just before"); }

void throw_valueless() {
  throw UsageError("cannot encode a std::variant that is valueless by exception; give it a value first");
}

void throw_bad_variant(const Decoder& in, std::size_t index, std::size_t count) {
  in.fail("the index of one of " + std::to_string(count) + " alternatives just before", std::to_string(index));
}

void throw_archive_short(const Decoder& in, std::size_t count) {
  in.fail("another field for a serialize member", "an array of only " + std::to_string(count));
}

void throw_archive_long(const Decoder& in, std::size_t left) {
  in.fail("no more fields for a serialize member", std::to_string(left) + " more in the array");
}

}  // namespace brood::inline v1::detail
