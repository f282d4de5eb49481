// Decoder: MessagePack's read side, for bytes that may be hostile.
//
// Every value begins with a head: what it is, how long the head is, and its number, count or payload size. head() is
// the only place that looks at bytes whose presence is not yet known; it never looks past the end, and it refuses a
// payload or a count that the rest of the message cannot hold.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/hex.hpp"
#include "brood/serialize.hpp"

namespace brood::inline v1::detail {

struct Decoder::Head {
  WireType type = WireType::end;
  std::uint8_t size_bytes = 0;  // of the head itself
  bool negative = false;        // integers only: `number` is then a two's complement
  bool cut = false;             // the message ends inside the head, the payload, or before the claimed elements
  std::int8_t ext_type = 0;
  std::uint64_t number = 0;  // the integer; the float's bits; the payload's bytes; the elements
};

namespace {

/// A big-endian number of `size` bytes.
std::uint64_t big_endian(const std::byte* from, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value = value << 8 | std::to_integer<std::uint64_t>(from[i]);
  return value;
}

std::int64_t sign_extended(std::uint64_t value, std::size_t size) {
  if (size == 0) return 0;
  const auto unused = static_cast<unsigned>(64 - 8 * size);
  return static_cast<std::int64_t>(value << unused) >> unused;
}

/// What the first byte alone says about the longer forms, 0xc0 … 0xdf.
struct LongForm {
  WireType type;
  std::uint8_t number_bytes;  // that follow the first byte
};
constexpr LongForm kLongForms[32] = {
    {WireType::nil, 0},     {WireType::invalid, 0}, {WireType::boolean, 0},  {WireType::boolean, 0},
    {WireType::bin, 1},     {WireType::bin, 2},     {WireType::bin, 4},      {WireType::ext, 1},
    {WireType::ext, 2},     {WireType::ext, 4},     {WireType::floating, 4}, {WireType::floating, 8},
    {WireType::integer, 1}, {WireType::integer, 2}, {WireType::integer, 4},  {WireType::integer, 8},
    {WireType::integer, 1}, {WireType::integer, 2}, {WireType::integer, 4},  {WireType::integer, 8},
    {WireType::ext, 0},     {WireType::ext, 0},     {WireType::ext, 0},      {WireType::ext, 0},
    {WireType::ext, 0},     {WireType::str, 1},     {WireType::str, 2},      {WireType::str, 4},
    {WireType::array, 2},   {WireType::array, 4},   {WireType::map, 2},      {WireType::map, 4},
};

constexpr std::uint64_t kExactDouble = std::uint64_t{1} << 53;  // beyond it doubles skip integers
constexpr double kExactFloat = 1 << 24;

}  // namespace

std::string_view to_string(WireType type) noexcept {
  switch (type) {
    case WireType::end: return "the end of the message";
    case WireType::nil: return "nil";
    case WireType::boolean: return "a boolean";
    case WireType::integer: return "an integer";
    case WireType::floating: return "a floating-point number";
    case WireType::str: return "a string";
    case WireType::bin: return "a byte string";
    case WireType::array: return "an array";
    case WireType::map: return "a map";
    case WireType::ext: return "an extension value";
    case WireType::invalid: return "a byte that begins no value";
  }
  return "nothing known";
}

Decoder::Head Decoder::head() const {
  Head head;
  const std::size_t left = remaining();
  if (left == 0) return head;
  const std::byte* at = bytes_.data() + position_;
  const auto first = std::to_integer<std::uint8_t>(*at);
  head.size_bytes = 1;
  if (first <= 0x7f) {
    head.type = WireType::integer;
    head.number = first;
    return head;
  }
  if (first >= 0xe0) {
    head.type = WireType::integer;
    head.negative = true;
    head.number = static_cast<std::uint64_t>(sign_extended(first, 1));
    return head;
  }
  if (first <= 0x8f) {
    head.type = WireType::map;
    head.number = first & 0x0f;
  } else if (first <= 0x9f) {
    head.type = WireType::array;
    head.number = first & 0x0f;
  } else if (first <= 0xbf) {
    head.type = WireType::str;
    head.number = first & 0x1f;
  } else {
    const LongForm form = kLongForms[first - 0xc0];
    const bool fixed_ext = first >= 0xd4 && first <= 0xd8;
    head.type = form.type;
    head.size_bytes = static_cast<std::uint8_t>(1 + form.number_bytes + (form.type == WireType::ext ? 1 : 0));
    if (left < head.size_bytes) {
      head.cut = true;
      return head;
    }
    head.number = big_endian(at + 1, form.number_bytes);
    if (form.type == WireType::boolean) head.number = first & 1;
    if (form.type == WireType::integer && first >= 0xd0) {
      const std::int64_t value = sign_extended(head.number, form.number_bytes);
      head.number = static_cast<std::uint64_t>(value);
      head.negative = value < 0;
    }
    if (fixed_ext) head.number = std::uint64_t{1} << (first - 0xd4);
    if (form.type == WireType::ext) head.ext_type = std::to_integer<std::int8_t>(at[head.size_bytes - 1]);
  }
  const std::size_t behind = left - head.size_bytes;
  if (head.type == WireType::str || head.type == WireType::bin || head.type == WireType::ext ||
      head.type == WireType::array) {
    head.cut = head.number > behind;  // each element has at least one byte
  } else if (head.type == WireType::map) {
    head.cut = head.number > behind / 2;
  }
  return head;
}

void Decoder::fail(std::string_view expected, std::string_view found) const {
  throw DecodeError("cannot decode: expected " + std::string(expected) + " at byte " + std::to_string(position_) +
                    " of " + std::to_string(bytes_.size()) + ", found " + std::string(found));
}

void Decoder::wrong(std::string_view expected) const {
  const Head found = head();
  std::string text(to_string(found.type));
  if (found.cut) {
    text += " that the message is too short for (" + std::to_string(remaining()) + " bytes are left";
    if (remaining() >= found.size_bytes) text += ", it claims " + std::to_string(found.number);
    text += ")";
  } else {
    switch (found.type) {
      case WireType::integer:
        text += " " + (found.negative ? std::to_string(static_cast<std::int64_t>(found.number))
                                      : std::to_string(found.number));
        break;
      case WireType::str:
      case WireType::bin: text += " of " + std::to_string(found.number) + " bytes"; break;
      case WireType::array:
      case WireType::map: text += " of " + std::to_string(found.number); break;
      case WireType::ext:
        text += " of type " + std::to_string(found.ext_type) + " and " + std::to_string(found.number) + " bytes";
        break;
      case WireType::invalid: text += " (0x" + base::hex_bytes(bytes_.data() + position_, 1) + ")"; break;
      default: break;
    }
  }
  fail(expected, text);
}

Decoder::Head Decoder::expect(WireType type, std::string_view expected) const {
  const Head found = head();
  if (found.type != type || found.cut) [[unlikely]]
    wrong(expected);
  return found;
}

std::span<const std::byte> Decoder::take(const Head& head) noexcept {
  const auto payload = bytes_.subspan(position_ + head.size_bytes, static_cast<std::size_t>(head.number));
  position_ += head.size_bytes + payload.size();
  return payload;
}

WireType Decoder::peek() const noexcept { return head().type; }

void Decoder::nil() { position_ += expect(WireType::nil, "nil").size_bytes; }

bool Decoder::try_nil() noexcept {
  if (peek() != WireType::nil) return false;
  ++position_;
  return true;
}

bool Decoder::boolean() {
  const Head found = expect(WireType::boolean, "a boolean");
  position_ += found.size_bytes;
  return found.number != 0;
}

std::int64_t Decoder::sint_between(std::int64_t lowest, std::int64_t highest) {
  const Head found = head();
  const auto value = static_cast<std::int64_t>(found.number);
  const bool too_large = !found.negative && found.number > static_cast<std::uint64_t>(highest);
  if (found.type != WireType::integer || found.cut || too_large || value < lowest) [[unlikely]] {
    wrong("an integer from " + std::to_string(lowest) + " to " + std::to_string(highest));
  }
  position_ += found.size_bytes;
  return value;
}

std::uint64_t Decoder::uint_up_to(std::uint64_t highest) {
  const Head found = head();
  if (found.type != WireType::integer || found.cut || found.negative || found.number > highest) [[unlikely]] {
    wrong("an integer from 0 to " + std::to_string(highest));
  }
  position_ += found.size_bytes;
  return found.number;
}

std::int64_t Decoder::sint() { return integer<std::int64_t>(); }

std::uint64_t Decoder::uint() { return integer<std::uint64_t>(); }

double Decoder::f64() {
  constexpr std::string_view kExpected = "a floating-point number";
  const Head found = head();
  if (found.cut) wrong(kExpected);
  double value = 0;
  if (found.type == WireType::floating) {
    value = found.size_bytes == 5 ? double{std::bit_cast<float>(static_cast<std::uint32_t>(found.number))}
                                  : std::bit_cast<double>(found.number);
  } else if (found.type == WireType::integer) {
    if ((found.negative ? 0 - found.number : found.number) > kExactDouble) wrong(kExpected);
    value = found.negative ? static_cast<double>(static_cast<std::int64_t>(found.number))
                           : static_cast<double>(found.number);
  } else {
    wrong(kExpected);
  }
  position_ += found.size_bytes;
  return value;
}

float Decoder::f32() {
  constexpr std::string_view kExpected = "a floating-point number in the range of float";
  const Head found = head();
  if (found.type == WireType::floating && found.size_bytes == 5 && !found.cut) {
    position_ += found.size_bytes;
    return std::bit_cast<float>(static_cast<std::uint32_t>(found.number));  // a NaN keeps its payload
  }
  const std::size_t before = position_;
  const double value = f64();
  const bool fits = found.type == WireType::integer
                        ? std::abs(value) <= kExactFloat
                        : !std::isfinite(value) || std::abs(value) <= std::numeric_limits<float>::max();
  if (!fits) {
    position_ = before;
    wrong(kExpected);
  }
  return static_cast<float>(value);
}

std::string_view Decoder::str() {
  const auto text = take(expect(WireType::str, "a string"));
  return {reinterpret_cast<const char*>(text.data()), text.size()};
}

std::span<const std::byte> Decoder::bin() { return take(expect(WireType::bin, "a byte string")); }

std::size_t Decoder::array_header() {
  const Head found = expect(WireType::array, "an array");
  position_ += found.size_bytes;
  return static_cast<std::size_t>(found.number);
}

std::size_t Decoder::map_header() {
  const Head found = expect(WireType::map, "a map");
  position_ += found.size_bytes;
  return static_cast<std::size_t>(found.number);
}

Ext Decoder::ext() {
  const Head found = expect(WireType::ext, "an extension value");
  return {found.ext_type, take(found)};
}

std::span<const std::byte> Decoder::ext(std::int8_t type) {
  const Head found = head();
  if (found.type != WireType::ext || found.cut || found.ext_type != type) [[unlikely]] {
    wrong("an extension value of type " + std::to_string(type));
  }
  return take(found);
}

Handle Decoder::handle() {
  const Head found = head();
  if (found.type != WireType::ext || found.cut || found.ext_type != kExtHandle) [[unlikely]] {
    wrong("the handle of a shared object (extension type " + std::to_string(kExtHandle) + ")");
  }
  const std::size_t before = position_;
  const auto text = take(found);
  try {
    return Handle(std::string_view(reinterpret_cast<const char*>(text.data()), text.size()));
  } catch (const HandleError& error) {
    position_ = before;
    fail("the handle of a shared object", error.what());
  }
}

int Decoder::descriptor() {
  const Head found = head();
  if (found.type != WireType::ext || found.cut || found.ext_type != kExtDescriptor) [[unlikely]] {
    wrong("a descriptor (extension type " + std::to_string(kExtDescriptor) + ")");
  }
  const std::size_t before = position_;
  const auto index = take(found);
  const std::size_t which = index.size() == 1 ? std::to_integer<std::size_t>(index[0]) : descriptors_.size();
  if (which >= descriptors_.size() || descriptors_[which] < 0) {
    position_ = before;
    fail("one of the " + std::to_string(descriptors_.size()) + " descriptors that came with the message",
         index.size() != 1 ? "no number" : "number " + std::to_string(which) + ", which did not come or is taken");
  }
  return std::exchange(descriptors_[which], -1);
}

void Decoder::expect_array(std::size_t count, std::string_view what) {
  const Head found = head();
  if (found.type != WireType::array || found.cut || found.number != count) [[unlikely]] {
    wrong("an array of " + std::to_string(count) + " for " + std::string(what));
  }
  position_ += found.size_bytes;
}

template <class OnExt>
void Decoder::pass_over(OnExt on_ext) {
  const std::size_t before = position_;
  // Values still to pass over. Heads are checked against the bytes left, so the sum stays below 2 bytes_.size()².
  std::uint64_t pending = 1;
  while (pending > 0) {
    --pending;
    const Head found = head();
    if (found.type == WireType::end || found.type == WireType::invalid || found.cut) {
      const std::size_t at = std::exchange(position_, before);
      throw DecodeError("cannot pass over a value at byte " + std::to_string(before) + " of " +
                        std::to_string(bytes_.size()) + ": at byte " + std::to_string(at) + " there is " +
                        std::string(found.cut ? "a value that the message is too short for" : to_string(found.type)));
    }
    switch (found.type) {
      case WireType::str:
      case WireType::bin: (void)take(found); break;
      case WireType::ext: on_ext(); break;
      case WireType::array:
        position_ += found.size_bytes;
        pending += found.number;
        break;
      case WireType::map:
        position_ += found.size_bytes;
        pending += 2 * found.number;
        break;
      default: position_ += found.size_bytes; break;
    }
  }
}

void Decoder::skip() {
  pass_over([this] { (void)ext(); });
}

std::span<const std::byte> Decoder::value(const std::function<void(const Ext&)>& on_ext) {
  const std::size_t before = position_;
  pass_over([&] { on_ext(ext()); });
  return bytes_.subspan(before, position_ - before);
}

void Decoder::finish() const {
  if (remaining() != 0) fail("the end of the message", std::to_string(remaining()) + " more bytes");
}

void Decoder::throw_too_deep() {
  --depth_;  // the Level was not constructed, so its destructor will not do it
  fail("at most " + std::to_string(kMaxDepth) + " levels of nesting", "one more");
}

}  // namespace brood::inline v1::detail
