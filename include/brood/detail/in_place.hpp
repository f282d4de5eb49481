// Types whose values can be written and read where their message lies.                             (room: channel)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <type_traits>

#include "brood/detail/codec.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/error.hpp"
#include "brood/serialize.hpp"

namespace brood::inline v1::detail {

/// One plain value: its message is its bytes.
template <class T>
inline constexpr bool kIsOne = raw_layout<T> && !std::is_empty_v<T>;

template <class T>
constexpr bool is_run() {
  if constexpr (kIsOne<T> || !Contiguous<T>) {
    return false;
  } else if constexpr (kShape<T> == Shape::string) {
    return true;
  } else if constexpr (kShape<T> == Shape::sequence) {
    return kIsByte<typename T::value_type> || kGoesInBlocks<typename T::value_type>;
  } else {
    return false;
  }
}
/// Any number of plain values one after the other (std::vector, std::string): its message is a header and their bytes.
template <class T>
inline constexpr bool kIsRun = is_run<T>();

template <class T, bool IsRun>
struct ElementOf {
  using type = T;
};
template <class T>
struct ElementOf<T, true> {
  using type = typename T::value_type;
};

/// How a T lies in a message.
template <class T>
struct InPlace {
  static_assert(
      kIsOne<T> || kIsRun<T>,
      "brood: T cannot be written or read in place: it must be plain data, or a std::vector or std::string of "
      "plain data; put() and get() take any type that travels");
  using Element = typename ElementOf<T, kIsRun<T>>::type;

  /// What stands in front of the elements: the header of a MessagePack str, bin or ext of 32 bits length.
  static constexpr std::size_t kHeader = kIsOne<T>                                        ? 0
                                         : kShape<T> == Shape::string || kIsByte<Element> ? 5
                                                                                          : 6 + kFingerprintBytes;
  static constexpr std::size_t kMostElements =
      (std::numeric_limits<std::uint32_t>::max() - kFingerprintBytes) / sizeof(Element);

  static void write_header(std::byte* to, std::size_t elements) noexcept {
    if constexpr (kHeader != 0) {
      constexpr std::byte kStr32{0xdb};
      constexpr std::byte kBin32{0xc6};
      constexpr std::byte kExt32{0xc9};
      constexpr bool is_ext = kHeader != 5;
      *to++ = is_ext ? kExt32 : kShape<T> == Shape::string ? kStr32 : kBin32;
      const auto length = static_cast<std::uint32_t>(elements * sizeof(Element) + (is_ext ? kFingerprintBytes : 0));
      for (unsigned shift : {24U, 16U, 8U, 0U}) *to++ = static_cast<std::byte>(length >> shift);
      if constexpr (is_ext) {
        *to++ = static_cast<std::byte>(kExtBlock);
        store_fingerprint(to, type_fingerprint<Element>());
      }
    }
  }

  /// The bytes of the elements. Errors: DecodeError.
  [[nodiscard]] static std::span<const std::byte> elements_of(std::span<const std::byte> message) {
    std::span<const std::byte> bytes = message;
    if constexpr (kIsOne<T>) {
      if (message.size() != sizeof(T))
        throw DecodeError("received a message of " + std::to_string(message.size()) + " bytes, a " + type_name<T>() +
                          " has " + std::to_string(sizeof(T)));
    } else {
      Decoder in(message);
      if constexpr (kShape<T> == Shape::string) bytes = std::as_bytes(std::span(in.str()));
      else if constexpr (kIsByte<Element>) bytes = in.bin();
      else bytes = take_raw(in, kExtBlock, type_fingerprint<Element>(), sizeof(Element), &type_name<T>);
      in.finish();
    }
    if constexpr (holds_bool<Element>()) {
      for (std::size_t at = 0; at < bytes.size(); at += sizeof(Element)) {
        if (!raw_bytes_are_valid<Element>(bytes.data() + at))
          throw DecodeError("received bytes that are no " + type_name<Element>());
      }
    }
    return bytes;
  }
};

}  // namespace brood::inline v1::detail
