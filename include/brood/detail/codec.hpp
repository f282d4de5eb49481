// Values to bytes and back: detail::encode(out, value) and detail::decode<T>(in). (room: wire)
//
// The shape of the type (codec_shape.hpp) picks the branch, the untyped core (Encoder, Decoder) does the work.
// A raw type (codec_raw.hpp) is one memcpy; everything else goes part by part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include "brood/detail/codec_check.hpp"
#include "brood/detail/codec_raw.hpp"
#include "brood/detail/codec_shape.hpp"
#include "brood/detail/copy_bytes.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/serialize.hpp"

namespace brood::inline v1 {
namespace detail {

template <class T>
void encode(Encoder& out, const T& value);
template <class T>
[[nodiscard]] T decode(Decoder& in);

// The parts that need no template.                                                           (lib/wire/values.cpp)
void encode_error_code(Encoder& out, const std::error_code& code);
[[nodiscard]] std::error_code decode_error_code(Decoder& in);
void encode_long_double(Encoder& out, long double value);
[[nodiscard]] long double decode_long_double(Decoder& in);
void store_fingerprint(std::byte* to, std::uint64_t fingerprint) noexcept;
/// The payload behind the fingerprint. Errors: DecodeError if it is another fingerprint or not a multiple of `unit`.
[[nodiscard]] std::span<const std::byte> take_raw(Decoder& in, std::int8_t ext_type, std::uint64_t fingerprint,
                                                  std::size_t unit, std::string (*name)());
[[noreturn]] void throw_bad_bool(const Decoder& in, std::string (*name)());
[[noreturn]] void throw_duplicate(const Decoder& in);
[[noreturn]] void throw_valueless();
[[noreturn]] void throw_bad_variant(const Decoder& in, std::size_t index, std::size_t count);
[[noreturn]] void throw_archive_short(const Decoder& in, std::size_t count);
[[noreturn]] void throw_archive_long(const Decoder& in, std::size_t left);
inline constexpr std::size_t kFingerprintBytes = 8;

/// Bytes that MessagePack knows as such: they travel as bin, which other languages read.
template <class T>
inline constexpr bool kIsByte = std::is_same_v<T, std::byte> || std::is_same_v<T, char> ||
                                std::is_same_v<T, signed char> || std::is_same_v<T, unsigned char>;
template <class T>
inline constexpr bool kGoesInBlocks = raw_layout<T> && !std::is_same_v<T, bool>;
template <class T>
concept Contiguous = requires(T& c) {
  c.data();
  c.resize(std::size_t{});
};
/// True if an encoded T may be nothing but nil, so that an optional of it needs a wrapper to be told from an empty one.
template <class T>
inline constexpr bool kMayBeNil =
    kShape<T> == Shape::optional || kShape<T> == Shape::owner || kShape<T> == Shape::codec;

// --- the archives that serialize members see -------------------------------------------------------------------------

template <class Archive, class T>
void call_serialize(Archive& ar, T& value) {
  if constexpr (requires { value.serialize(ar); }) value.serialize(ar);
  else if constexpr (requires { value.serialize(ar, 0U); }) value.serialize(ar, 0U);
  else if constexpr (requires { serialize(ar, value); }) serialize(ar, value);
  else serialize(ar, value, 0U);
}

/// Writes what serialize names, as one array.
class SaveArchive {
 public:
  using is_saving = std::true_type;
  using is_loading = std::false_type;
  explicit SaveArchive(Encoder& out) : out_(out), at_(out.begin_array()) {}
  template <class... T>
  SaveArchive& operator()(const T&... values) {
    ((detail::encode(out_, values), ++count_), ...);
    return *this;
  }
  template <class T>
  SaveArchive& operator&(const T& value) {
    return (*this)(value);
  }
  void finish() { out_.end_array(at_, count_); }

 private:
  Encoder& out_;
  std::size_t at_;
  std::size_t count_ = 0;
};

/// Reads what serialize names, out of one array.
class LoadArchive {
 public:
  using is_saving = std::false_type;
  using is_loading = std::true_type;
  explicit LoadArchive(Decoder& in) : in_(in), count_(in.array_header()), left_(count_) {}
  template <class... T>
  LoadArchive& operator()(T&... values) {
    (load(values), ...);
    return *this;
  }
  template <class T>
  LoadArchive& operator&(T& value) {
    return (*this)(value);
  }
  void finish() {
    if (left_ != 0) throw_archive_long(in_, left_);
  }

 private:
  template <class T>
  void load(T& value) {
    if (left_ == 0) throw_archive_short(in_, count_);
    --left_;
    value = detail::decode<T>(in_);
  }
  Decoder& in_;
  std::size_t count_;
  std::size_t left_;
};

// --- encode ----------------------------------------------------------------------------------------------------------

template <class T>
void encode_raw(Encoder& out, const T& value) {
  const std::span<std::byte> space = out.ext_space(kExtRaw, kFingerprintBytes + sizeof(T));
  store_fingerprint(space.data(), type_fingerprint<T>());
  store_raw(space.data() + kFingerprintBytes, value);
}

template <class T>
void encode_sequence(Encoder& out, const T& values) {
  using Item = typename T::value_type;
  if constexpr (kIsByte<Item> && Contiguous<T>) {
    out.bin(std::as_bytes(std::span(values.data(), values.size())));
  } else if constexpr (kGoesInBlocks<Item>) {
    const std::span<std::byte> space = out.ext_space(kExtBlock, kFingerprintBytes + values.size() * sizeof(Item));
    store_fingerprint(space.data(), type_fingerprint<Item>());
    std::byte* to = space.data() + kFingerprintBytes;
    if constexpr (padding_free<Item> && Contiguous<T>) {
      copy_bytes(to, values.data(), values.size() * sizeof(Item));
    } else {
      for (const Item& value : values) {
        store_raw(to, value);
        to += sizeof(Item);
      }
    }
  } else {
    out.array_header(values.size());
    for (const auto& value : values) encode<Item>(out, value);
  }
}

template <class T, std::size_t... I>
void encode_tuple(Encoder& out, const T& value, std::index_sequence<I...>) {
  out.array_header(sizeof...(I));
  (detail::encode(out, std::get<I>(value)), ...);
}

template <class T>
void encode_optional(Encoder& out, const T* value) {
  if (value == nullptr) return out.nil();
  if constexpr (kMayBeNil<T>) out.array_header(1);
  detail::encode(out, *value);
}

template <class T>
void encode_variant(Encoder& out, const T& value) {
  if (value.valueless_by_exception()) throw_valueless();
  out.array_header(2);
  out.uint(value.index());
  std::visit([&](const auto& alternative) { detail::encode(out, alternative); }, value);
}

template <class T>
void encode_bits(Encoder& out, const T& bits) {
  std::string packed((bits.size() + 7) / 8, '\0');
  for (std::size_t i = 0; i < bits.size(); ++i) {
    if (bits.test(i)) packed[i / 8] = static_cast<char>(static_cast<unsigned char>(packed[i / 8]) | (1U << (i % 8)));
  }
  out.bin(std::as_bytes(std::span(packed)));
}

/// What is made of other values and so nests one level deeper.
template <class T>
void encode_parts(Encoder& out, const T& value) {
  constexpr Shape kThis = kShape<T>;
  const Encoder::Level level(out);
  if constexpr (kThis == Shape::codec) {
    Codec<T>::encode(out, value);
  } else if constexpr (kThis == Shape::serialize) {
    SaveArchive ar(out);
    call_serialize(
        ar, const_cast<T&>(value));  // one function for both directions, so it cannot be const; saving only reads
    ar.finish();
  } else if constexpr (kThis == Shape::sequence) {
    encode_sequence(out, value);
  } else if constexpr (kThis == Shape::set) {
    out.array_header(value.size());
    for (const auto& key : value) detail::encode(out, key);
  } else if constexpr (kThis == Shape::map) {
    out.map_header(value.size());
    for (const auto& [key, mapped] : value) {
      detail::encode(out, key);
      detail::encode(out, mapped);
    }
  } else if constexpr (kThis == Shape::array) {
    out.array_header(value.size());
    for (const auto& part : value) detail::encode(out, part);
  } else if constexpr (kThis == Shape::tuple) {
    encode_tuple(out, value, std::make_index_sequence<std::tuple_size_v<T>>{});
  } else if constexpr (kThis == Shape::optional) {
    encode_optional<typename T::value_type>(out, value.has_value() ? &*value : nullptr);
  } else if constexpr (kThis == Shape::owner) {
    encode_optional<std::remove_cv_t<typename T::element_type>>(out, value ? &*value : nullptr);
  } else if constexpr (kThis == Shape::variant) {
    encode_variant(out, value);
  } else {
    static_assert(kThis == Shape::aggregate);
    out.array_header(kFieldCount<T>);
    for_each_field(value, [&](const auto& part) { detail::encode(out, part); });
  }
}

template <class T>
void encode_dispatch(Encoder& out, const T& value) {
  constexpr Shape kThis = kShape<T>;
  if constexpr (kThis == Shape::boolean) out.boolean(value);
  else if constexpr (kThis == Shape::integer && std::is_signed_v<T>) out.sint(value);
  else if constexpr (kThis == Shape::integer) out.uint(value);
  else if constexpr (kThis == Shape::enumeration) encode_dispatch(out, static_cast<std::underlying_type_t<T>>(value));
  else if constexpr (kThis == Shape::floating && sizeof(T) == 4) out.f32(value);
  else if constexpr (kThis == Shape::floating) out.f64(value);
  else if constexpr (kThis == Shape::long_double) encode_long_double(out, value);
  else if constexpr (kThis == Shape::shareable) out.handle(value.handle());
  else if constexpr (kThis == Shape::string) out.str({reinterpret_cast<const char*>(value.data()), value.size()});
  else if constexpr (kThis == Shape::path) out.str(value.native());
  else if constexpr (kThis == Shape::duration) detail::encode(out, value.count());
  else if constexpr (kThis == Shape::time_point) detail::encode(out, value.time_since_epoch());
  else if constexpr (kThis == Shape::error_code) encode_error_code(out, value);
  else if constexpr (kThis == Shape::bits) encode_bits(out, value);
  else if constexpr (kThis == Shape::complex) {
    out.array_header(2);
    detail::encode(out, value.real());
    detail::encode(out, value.imag());
  } else if constexpr (raw_layout<T> && !std::is_empty_v<T>) encode_raw(out, value);
  else encode_parts(out, value);
}

/// Appends one value. Errors: UsageError if it nests deeper than kMaxDepth levels; what its own encoding throws.
template <class T>
void encode(Encoder& out, const T& value) {
  if constexpr (require_travels<T>()) encode_dispatch<std::remove_cv_t<T>>(out, value);
}

// --- decode ----------------------------------------------------------------------------------------------------------

template <class T>
T decode_raw(Decoder& in) {
  const std::span<const std::byte> bytes = take_raw(in, kExtRaw, type_fingerprint<T>(), sizeof(T), &type_name<T>);
  if (!raw_bytes_are_valid<T>(bytes.data())) throw_bad_bool(in, &type_name<T>);
  return load_raw<T>(bytes.data());
}

template <class T>
T decode_block(Decoder& in) {
  using Item = typename T::value_type;
  const std::span<const std::byte> bytes =
      take_raw(in, kExtBlock, type_fingerprint<Item>(), sizeof(Item), &type_name<T>);
  T values;
  if constexpr (padding_free<Item> && !holds_bool<Item>() && Contiguous<T> && std::is_default_constructible_v<Item>) {
    values.resize(bytes.size() / sizeof(Item));
    copy_bytes(values.data(), bytes.data(), bytes.size());
  } else {
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(Item)) {
      if (!raw_bytes_are_valid<Item>(bytes.data() + at)) throw_bad_bool(in, &type_name<T>);
      values.push_back(load_raw<Item>(bytes.data() + at));
    }
  }
  return values;
}

template <class T>
T decode_sequence(Decoder& in) {
  using Item = typename T::value_type;
  if constexpr (kIsByte<Item> && Contiguous<T>) {
    const std::span<const std::byte> bytes = in.bin();
    T values(bytes.size());
    copy_bytes(values.data(), bytes.data(), bytes.size());
    return values;
  } else {
    if constexpr (kGoesInBlocks<Item>) {
      if (in.peek() == WireType::ext) return decode_block<T>(in);
    }
    const std::size_t count = in.array_header();
    T values;
    // Room for no more than the message itself occupies: large items may be small on the wire, and a count is cheap to
    // lie.
    if constexpr (requires { values.reserve(count); }) {
      const std::size_t most = in.remaining() / sizeof(Item) + 1;
      values.reserve(count < most ? count : most);
    }
    for (std::size_t i = 0; i < count; ++i) values.push_back(detail::decode<Item>(in));
    return values;
  }
}

template <class T>
T decode_keyed(Decoder& in) {
  using Key = typename T::key_type;
  T out;
  const std::size_t count = kShape<T> == Shape::map ? in.map_header() : in.array_header();
  for (std::size_t i = 0; i < count; ++i) {
    Key key = detail::decode<Key>(in);
    if constexpr (kShape<T> == Shape::map) out.emplace(std::move(key), detail::decode<typename T::mapped_type>(in));
    else out.emplace(std::move(key));
    if (out.size() != i + 1) throw_duplicate(in);
  }
  return out;
}

template <class T, class... F>
T decode_fields(Decoder& in, TypeList<F...>) {
  return T{detail::decode<std::remove_cv_t<F>>(in)...};  // braces: left to right
}
template <class T, std::size_t... I>
T decode_tuple(Decoder& in, std::index_sequence<I...>) {
  return T{detail::decode<std::remove_cv_t<std::tuple_element_t<I, T>>>(in)...};
}
template <class T, std::size_t... I>
T decode_array(Decoder& in, std::index_sequence<I...>) {
  return T{{((void)I, detail::decode<typename T::value_type>(in))...}};
}

template <class T>
T decode_wrapped(Decoder& in) {
  if constexpr (kMayBeNil<T>) in.expect_array(1, "an optional value that may itself be empty");
  return detail::decode<T>(in);
}

template <class T, std::size_t I = 0>
T decode_alternative(Decoder& in, std::size_t index) {
  if constexpr (I == std::variant_size_v<T>) {
    throw_bad_variant(in, index, I);
  } else {
    if (index == I) return T(std::in_place_index<I>, detail::decode<std::variant_alternative_t<I, T>>(in));
    return decode_alternative<T, I + 1>(in, index);
  }
}

template <class T>
T decode_bits(Decoder& in) {
  T bits;
  const std::size_t before = in.remaining();
  const std::span<const std::byte> packed = in.bin();
  if (packed.size() != (bits.size() + 7) / 8 || before == 0)
    in.fail("the bytes of a bitset", "another number of bytes");
  for (std::size_t i = 0; i < packed.size() * 8; ++i) {
    if ((std::to_integer<unsigned>(packed[i / 8]) >> (i % 8) & 1U) == 0) continue;
    if (i >= bits.size()) in.fail("zeros behind the last bit of a bitset", "a one");
    bits.set(i);
  }
  return bits;
}

template <class T>
T decode_serialized(Decoder& in) {
  T value{};
  LoadArchive ar(in);
  call_serialize(ar, value);
  ar.finish();
  return value;
}

template <class T>
T decode_parts(Decoder& in) {
  constexpr Shape kThis = kShape<T>;
  const Decoder::Level level(in);
  if constexpr (kThis == Shape::codec) {
    return Codec<T>::decode(in);
  } else if constexpr (kThis == Shape::serialize) {
    return decode_serialized<T>(in);
  } else if constexpr (kThis == Shape::sequence) {
    return decode_sequence<T>(in);
  } else if constexpr (kThis == Shape::set || kThis == Shape::map) {
    return decode_keyed<T>(in);
  } else if constexpr (kThis == Shape::array) {
    in.expect_array(std::tuple_size_v<T>, "std::array");
    return decode_array<T>(in, std::make_index_sequence<std::tuple_size_v<T>>{});
  } else if constexpr (kThis == Shape::tuple) {
    in.expect_array(std::tuple_size_v<T>, "a tuple");
    return decode_tuple<T>(in, std::make_index_sequence<std::tuple_size_v<T>>{});
  } else if constexpr (kThis == Shape::optional) {
    if (in.try_nil()) return T{};
    return T(decode_wrapped<typename T::value_type>(in));
  } else if constexpr (kThis == Shape::owner) {
    if (in.try_nil()) return T{};
    using Element = std::remove_cv_t<typename T::element_type>;
    return T(new Element(decode_wrapped<Element>(in)));
  } else if constexpr (kThis == Shape::variant) {
    in.expect_array(2, "a variant (index and value)");
    const auto index = in.integer<std::uint32_t>();
    return decode_alternative<T>(in, index);
  } else {
    static_assert(kThis == Shape::aggregate);
    in.expect_array(kFieldCount<T>, compiler_type_name<T>());
    return decode_fields<T>(in, FieldTypes<T>{});
  }
}

template <class T>
T decode_dispatch(Decoder& in) {
  constexpr Shape kThis = kShape<T>;
  if constexpr (kThis == Shape::boolean) return in.boolean();
  else if constexpr (kThis == Shape::integer) return in.integer<T>();
  else if constexpr (kThis == Shape::enumeration) return static_cast<T>(decode_dispatch<std::underlying_type_t<T>>(in));
  else if constexpr (kThis == Shape::floating && sizeof(T) == 4) return in.f32();
  else if constexpr (kThis == Shape::floating) return in.f64();
  else if constexpr (kThis == Shape::long_double) return decode_long_double(in);
  else if constexpr (kThis == Shape::shareable) return T::open(in.handle());
  else if constexpr (kThis == Shape::string) {
    const std::string_view text = in.str();
    return T(reinterpret_cast<const typename T::value_type*>(text.data()), text.size());
  } else if constexpr (kThis == Shape::path) return T(std::string(in.str()));
  else if constexpr (kThis == Shape::duration) return T(detail::decode<typename T::rep>(in));
  else if constexpr (kThis == Shape::time_point) return T(detail::decode<TimePointDuration<T>>(in));
  else if constexpr (kThis == Shape::error_code) return decode_error_code(in);
  else if constexpr (kThis == Shape::bits) return decode_bits<T>(in);
  else if constexpr (kThis == Shape::complex) {
    in.expect_array(2, "a complex number");
    const auto real = detail::decode<typename T::value_type>(in);
    return T(real, detail::decode<typename T::value_type>(in));
  } else if constexpr (raw_layout<T> && !std::is_empty_v<T>) return decode_raw<T>(in);
  else return decode_parts<T>(in);
}

/// Reads one value; call in.finish() when nothing may follow.
/// Errors: DecodeError; for a shared object what T::open throws; what the user's own decoding throws.
template <class T>
T decode(Decoder& in) {
  static_assert(std::is_same_v<T, std::remove_cvref_t<T>> || kRefusal<T> != Refusal::none,
                "brood: decode a plain type, without const");
  if constexpr (require_travels<T>()) return decode_dispatch<T>(in);
  else throw DecodeError("brood: a type that cannot travel");  // never compiled: require_travels has said why
}

}  // namespace detail

// For the user's own Codecs.
using detail::decode;
using detail::encode;

}  // namespace brood::inline v1
