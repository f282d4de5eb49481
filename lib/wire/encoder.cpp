// Encoder: MessagePack's write side.
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "brood/serialize.hpp"

namespace brood::inline v1::detail {

namespace {
constexpr std::size_t kMost = std::numeric_limits<std::uint32_t>::max();

std::uint32_t checked_size(std::size_t size, const char* what) {
  if (size > kMost) {
    throw UsageError("cannot encode a " + std::string(what) + " of " + std::to_string(size) +
                     ": MessagePack ends at 4294967295; send it in parts, or through brood::SharedMemory");
  }
  return static_cast<std::uint32_t>(size);
}

constexpr std::uint64_t to_big_endian(std::uint64_t value) { return __builtin_bswap64(value); }
constexpr std::uint32_t to_big_endian(std::uint32_t value) { return __builtin_bswap32(value); }
constexpr std::uint16_t to_big_endian(std::uint16_t value) { return __builtin_bswap16(value); }
constexpr std::uint8_t to_big_endian(std::uint8_t value) { return value; }
static_assert(std::endian::native == std::endian::little, "the byte swaps below assume a little-endian machine");
}  // namespace

void Encoder::append(const void* data, std::size_t size_bytes) {
  const auto* from = static_cast<const std::byte*>(data);
  // In pieces, for the reason of copy_bytes(); resize() and one copy would write zeros first.
  constexpr std::size_t kPiece = 2048;
  for (; size_bytes > kPiece; size_bytes -= kPiece, from += kPiece) bytes_.insert(bytes_.end(), from, from + kPiece);
  bytes_.insert(bytes_.end(), from, from + size_bytes);
}

void Encoder::lead(unsigned char byte) { bytes_.push_back(std::byte{byte}); }

template <class Unsigned>
void Encoder::lead_and_number(unsigned char byte, Unsigned number) {
  std::byte both[1 + sizeof(Unsigned)];
  both[0] = std::byte{byte};
  const Unsigned swapped = to_big_endian(number);
  std::memcpy(both + 1, &swapped, sizeof swapped);
  append(both, sizeof both);
}

void Encoder::nil() { lead(0xc0); }

void Encoder::boolean(bool value) { lead(value ? 0xc3 : 0xc2); }

void Encoder::uint(std::uint64_t value) {
  if (value <= 0x7f) lead(static_cast<unsigned char>(value));
  else if (value <= 0xff) lead_and_number(0xcc, static_cast<std::uint8_t>(value));
  else if (value <= 0xffff) lead_and_number(0xcd, static_cast<std::uint16_t>(value));
  else if (value <= 0xffffffff) lead_and_number(0xce, static_cast<std::uint32_t>(value));
  else lead_and_number(0xcf, value);
}

void Encoder::sint(std::int64_t value) {
  if (value >= 0) uint(static_cast<std::uint64_t>(value));
  else if (value >= -32) lead(static_cast<unsigned char>(value));
  else if (value >= INT8_MIN) lead_and_number(0xd0, static_cast<std::uint8_t>(value));
  else if (value >= INT16_MIN) lead_and_number(0xd1, static_cast<std::uint16_t>(value));
  else if (value >= INT32_MIN) lead_and_number(0xd2, static_cast<std::uint32_t>(value));
  else lead_and_number(0xd3, static_cast<std::uint64_t>(value));
}

void Encoder::f32(float value) { lead_and_number(0xca, std::bit_cast<std::uint32_t>(value)); }

void Encoder::f64(double value) { lead_and_number(0xcb, std::bit_cast<std::uint64_t>(value)); }

void Encoder::str(std::string_view text) {
  const std::uint32_t size = checked_size(text.size(), "string");
  if (size <= 31) lead(static_cast<unsigned char>(0xa0 | size));
  else if (size <= 0xff) lead_and_number(0xd9, static_cast<std::uint8_t>(size));
  else if (size <= 0xffff) lead_and_number(0xda, static_cast<std::uint16_t>(size));
  else lead_and_number(0xdb, size);
  append(text.data(), size);
}

void Encoder::bin(std::span<const std::byte> bytes) {
  const std::uint32_t size = checked_size(bytes.size(), "byte string");
  if (size <= 0xff) lead_and_number(0xc4, static_cast<std::uint8_t>(size));
  else if (size <= 0xffff) lead_and_number(0xc5, static_cast<std::uint16_t>(size));
  else lead_and_number(0xc6, size);
  append(bytes.data(), size);
}

void Encoder::array_header(std::size_t count) {
  const std::uint32_t size = checked_size(count, "container");
  if (size <= 15) lead(static_cast<unsigned char>(0x90 | size));
  else if (size <= 0xffff) lead_and_number(0xdc, static_cast<std::uint16_t>(size));
  else lead_and_number(0xdd, size);
}

void Encoder::map_header(std::size_t count) {
  const std::uint32_t size = checked_size(count, "container");
  if (size <= 15) lead(static_cast<unsigned char>(0x80 | size));
  else if (size <= 0xffff) lead_and_number(0xde, static_cast<std::uint16_t>(size));
  else lead_and_number(0xdf, size);
}

void Encoder::ext_header(std::int8_t type, std::size_t size_bytes) {
  const std::uint32_t size = checked_size(size_bytes, "block");
  if (std::has_single_bit(size) && size <= 16) lead(static_cast<unsigned char>(0xd4 + std::countr_zero(size)));
  else if (size <= 0xff) lead_and_number(0xc7, static_cast<std::uint8_t>(size));
  else if (size <= 0xffff) lead_and_number(0xc8, static_cast<std::uint16_t>(size));
  else lead_and_number(0xc9, size);
  lead(static_cast<unsigned char>(type));
}

void Encoder::ext(std::int8_t type, std::span<const std::byte> bytes) {
  ext_header(type, bytes.size());
  append(bytes.data(), bytes.size());
}

std::span<std::byte> Encoder::ext_space(std::int8_t type, std::size_t size_bytes) {
  ext_header(type, size_bytes);
  const std::size_t at = bytes_.size();
  bytes_.resize(at + size_bytes);
  return std::span(bytes_).subspan(at);
}

std::size_t Encoder::begin_array() {
  const std::size_t at = bytes_.size();
  lead_and_number(0xdd, std::uint32_t{0});  // the longest form: its room is fixed before the count is known
  return at;
}

void Encoder::end_array(std::size_t at, std::size_t count) {
  const std::uint32_t swapped = to_big_endian(checked_size(count, "container"));
  std::memcpy(bytes_.data() + at + 1, &swapped, sizeof swapped);
}

void Encoder::handle(const Handle& handle) {
  const std::string text = handle.str();
  ext(kExtHandle, std::as_bytes(std::span(text)));
  handles_.push_back(handle);
}

void Encoder::descriptor(int fd) {
  if (!carries_descriptors_)
    throw UsageError(
        "a descriptor cannot be sent here: descriptors travel over Unix-socket connections only (brood/listener.hpp)");
  if (fd < 0) throw UsageError("cannot send a Descriptor that holds nothing; send an optional of it");
  if (descriptors_.size() == kMostDescriptors)
    throw UsageError("one message can carry at most " + std::to_string(kMostDescriptors) +
                     " descriptors; send several messages");
  const auto index = static_cast<std::byte>(descriptors_.size());
  ext(kExtDescriptor, {&index, 1});
  descriptors_.push_back(fd);
}

void Encoder::value(std::span<const std::byte> bytes, std::span<const Handle> handles) {
  append(bytes.data(), bytes.size());
  handles_.insert(handles_.end(), handles.begin(), handles.end());
}
std::vector<std::byte> Encoder::take_bytes() noexcept { return std::exchange(bytes_, {}); }

std::vector<Handle> Encoder::take_handles() noexcept { return std::exchange(handles_, {}); }

void Encoder::clear() noexcept {
  bytes_.clear();
  handles_.clear();
  descriptors_.clear();
  carries_descriptors_ = false;
}

void Encoder::throw_too_deep() {
  --depth_;  // the Level was not constructed, so its destructor will not do it
  throw UsageError("cannot encode a value that nests deeper than " + std::to_string(kMaxDepth) +
                   " levels: no reader would accept it; flatten it, for example a list into a vector");
}

}  // namespace brood::inline v1::detail
