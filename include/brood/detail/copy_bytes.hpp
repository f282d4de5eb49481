// Copies of payloads: memcpy without its bad case.                                                   (room: base)
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace brood::inline v1::detail {

inline constexpr std::size_t kCopyPiece = 2048;

/// copy_bytes() of more than a piece.
[[gnu::noinline]] inline void copy_many_bytes(std::byte* to, const std::byte* from, std::size_t size_bytes) noexcept {
  const std::uintptr_t behind = (reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from)) & 4095;
  if (behind != 0 && behind < 64) {
    for (; size_bytes > kCopyPiece; size_bytes -= kCopyPiece) {
      std::size_t piece = kCopyPiece;
      asm("" : "+r"(piece));  // a size that the compiler knows, it would copy by `rep movs` in place
      std::memcpy(to, from, piece);
      to += kCopyPiece;
      from += kCopyPiece;
    }
  }
  std::memcpy(to, from, size_bytes);
}

/// As memcpy; of 0 bytes with any pointers. glibc copies from about 2 KiB on with `rep movsb` where the processor says that
/// it is fast. AMD Zen 3 says so, and is 20 times slower (2 instead of 45 GB/s, measured) where the destination lies 1 to
/// 31 bytes behind the source, counted within a page (glibc bug 30994); up to 63 it has half its speed. That is ours
/// whenever a header lies in front of a payload. Such copies go in pieces, which are made by vector instructions, at full
/// speed everywhere. All others stay whole.
inline void copy_bytes(void* into, const void* from, std::size_t size_bytes) noexcept {
  if (size_bytes > kCopyPiece) [[unlikely]]
    copy_many_bytes(static_cast<std::byte*>(into), static_cast<const std::byte*>(from), size_bytes);
  else if (size_bytes != 0) std::memcpy(into, from, size_bytes);
}

}  // namespace brood::inline v1::detail
