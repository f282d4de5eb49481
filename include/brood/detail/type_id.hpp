// What a type is called in messages, and a number for its structure that other programs agree on.   (room: wire)
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "brood/detail/codec_raw.hpp"
#include "brood/detail/codec_shape.hpp"

namespace brood::inline v1::detail {

template <class T>
constexpr std::string_view pretty_function() noexcept {
  return __PRETTY_FUNCTION__;
}

/// The compiler's spelling of T, cut out of the name of a function template.
template <class T>
constexpr std::string_view compiler_type_name() noexcept {
  constexpr std::string_view kText = pretty_function<T>();
  constexpr std::string_view kMark = "T = ";
  constexpr std::size_t kBegin = kText.find(kMark) + kMark.size();
  // g++ goes on with "; std::string_view = …]", clang ends with "]".
  constexpr std::size_t kSemicolon = kText.find("; std::string_view", kBegin);
  constexpr std::size_t kEnd = kSemicolon == std::string_view::npos ? kText.rfind(']') : kSemicolon;
  return kText.substr(kBegin, kEnd - kBegin);
}

/// The last identifier of a type's name without namespaces and template arguments: the part on which compilers agree.
template <class T>
constexpr std::string_view plain_type_name() noexcept {
  std::string_view name = compiler_type_name<T>();
  name = name.substr(0, name.find('<'));
  const std::size_t colon = name.rfind(':');
  return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

/// Makes a compiler's spelling readable: `std::string` for the basic_string it stands for, no allocators, no inline
/// namespaces, at most 60 characters.                                                      (lib/wire/type_name.cpp)
[[nodiscard]] std::string readable_type_name(std::string_view compiler_spelling);

/// A short name of T for messages.
template <class T>
[[nodiscard]] std::string type_name() {
  return readable_type_name(compiler_type_name<T>());
}

// --- fingerprints ----------------------------------------------------------------------------------------------------

/// FNV-1a over the description of a structure, 64 bits.
class StructureHash {
 public:
  constexpr StructureHash& number(std::uint64_t n) {
    for (int i = 0; i < 8; ++i) byte(static_cast<unsigned char>(n >> (8 * i)));
    return *this;
  }
  constexpr StructureHash& text(std::string_view s) {
    for (char c : s) byte(static_cast<unsigned char>(c));
    return number(s.size());
  }
  constexpr StructureHash& kind(char c) {
    byte(static_cast<unsigned char>(c));
    return *this;
  }
  [[nodiscard]] constexpr std::uint64_t value() const { return hash_; }

 private:
  constexpr void byte(unsigned char b) { hash_ = (hash_ ^ b) * 1099511628211ULL; }
  std::uint64_t hash_ = 14695981039346656037ULL;
};

/// Position of T among the types that are being described right now, counted from the innermost; -1 if it is not.
template <class T, class... Open>
constexpr int open_index() {
  int index = 0;
  const bool found = ((std::is_same_v<T, Open> || (++index, false)) || ...);
  return found ? index : -1;
}

template <class T, class... Open>
constexpr void describe(StructureHash& hash);

template <class... Open, class... F>
constexpr void describe_all(StructureHash& hash, TypeList<F...>) {
  (describe<std::remove_cv_t<F>, Open...>(hash), ...);
}
template <class... Open, class... F>
constexpr void describe_fields(StructureHash& hash, TypeList<F...> fields) {
  hash.number(sizeof...(F));
  ((hash.number(sizeof(F)).number(alignof(F))), ...);  // with the struct's own size these fix every offset
  describe_all<Open...>(hash, fields);
}
template <class... Open, template <class...> class Template, class... A>
constexpr void describe_arguments(StructureHash& hash, const Template<A...>*) {
  hash.number(sizeof...(A));
  describe_all<Open...>(hash, TypeList<A...>{});
}

template <class T, class... Open>
constexpr void describe(StructureHash& hash) {
  constexpr Shape kThis = kShape<T>;
  if constexpr (kThis == Shape::boolean) {
    hash.kind('?');
  } else if constexpr (kThis == Shape::integer) {
    hash.kind(std::is_signed_v<T> ? 'i' : 'u').number(sizeof(T));
  } else if constexpr (kThis == Shape::floating || kThis == Shape::long_double) {
    hash.kind('f').number(sizeof(T));
  } else if constexpr (kThis == Shape::enumeration) {
    hash.kind('e');
    describe<std::underlying_type_t<T>>(hash);
  } else if constexpr (kThis == Shape::codec) {
    hash.kind('C').text(plain_type_name<T>());
    if constexpr (requires { Codec<T>::fingerprint; }) hash.number(Codec<T>::fingerprint);
  } else if constexpr (kThis == Shape::shareable) {
    hash.kind('H').text(plain_type_name<T>());
  } else if constexpr (kThis == Shape::serialize) {
    hash.kind('Z').text(plain_type_name<T>()).number(sizeof(T));
  } else if constexpr (kThis == Shape::string) {
    hash.kind('s');
  } else if constexpr (kThis == Shape::path) {
    hash.kind('P');
  } else if constexpr (kThis == Shape::error_code) {
    hash.kind('E');
  } else if constexpr (kThis == Shape::bits) {
    hash.kind('B').number(T{}.size());
  } else if constexpr (kThis == Shape::complex) {
    hash.kind('c').number(sizeof(typename T::value_type));
  } else if constexpr (kThis == Shape::duration) {
    hash.kind('d')
        .number(static_cast<std::uint64_t>(T::period::num))
        .number(static_cast<std::uint64_t>(T::period::den));
    describe<typename T::rep>(hash);
  } else if constexpr (kThis == Shape::time_point) {
    hash.kind('p').number(T::clock::is_steady);
    describe<TimePointDuration<T>>(hash);
  } else if constexpr (kThis == Shape::array) {
    hash.kind('A').number(std::tuple_size_v<T>);
    describe<typename T::value_type, Open...>(hash);
  } else if constexpr (kThis == Shape::sequence) {
    hash.kind('[');
    describe<typename T::value_type, Open...>(hash);
  } else if constexpr (kThis == Shape::set) {
    hash.kind('S');
    describe<typename T::key_type, Open...>(hash);
  } else if constexpr (kThis == Shape::map) {
    hash.kind('m');
    describe<typename T::key_type, Open...>(hash);
    describe<typename T::mapped_type, Open...>(hash);
  } else if constexpr (kThis == Shape::optional) {
    hash.kind('o');
    describe<typename T::value_type, Open...>(hash);
  } else if constexpr (kThis == Shape::owner) {
    hash.kind('o');
    describe<std::remove_cv_t<typename T::element_type>, Open...>(hash);
  } else if constexpr (kThis == Shape::tuple || kThis == Shape::variant) {
    hash.kind(kThis == Shape::tuple ? 't' : 'v');
    describe_arguments<Open...>(hash, static_cast<const T*>(nullptr));
  } else if constexpr (constexpr int kOpen = open_index<T, Open...>(); kOpen >= 0) {
    hash.kind('^').number(kOpen);  // a type that contains itself
  } else if constexpr (raw_layout<T>) {
    hash.kind('R').number(sizeof(T)).number(alignof(T));
    describe_fields<T, Open...>(hash, FieldTypes<T>{});
  } else if constexpr (ReflectedAggregate<T>) {
    // Only the kinds count here: the fields travel one by one, wherever each program keeps them.
    hash.kind('{').number(kFieldCount<T>);
    describe_all<T, Open...>(hash, FieldTypes<T>{});
  } else {
    hash.kind('!').text(plain_type_name<T>());  // refused elsewhere, with a reason
  }
}

template <class T>
constexpr std::uint64_t compute_fingerprint() {
  StructureHash hash;
  hash.kind(std::endian::native == std::endian::little ? '<' : '>');
  describe<std::remove_cv_t<T>>(hash);
  return hash.value();
}

/// A number for the structure of T: kinds, sizes and order of all fields, recursively, and the byte order. The same in
/// every program and under every compiler of one platform; another structure has another number. Names of plain structs
/// and of fields do not count; of types with a Codec or serialize, the name counts (and Codec<T>::fingerprint if
/// given).
template <class T>
[[nodiscard]] constexpr std::uint64_t type_fingerprint() {
  constexpr std::uint64_t kValue = compute_fingerprint<T>();
  return kValue;
}

/// What an object holds, as its segment says it. A constant: what is made at its first use stays half made for ever in a
/// child that another thread forks meanwhile.
struct PayloadType {
  std::uint64_t fingerprint;
  std::string_view compiler_spelling;
  [[nodiscard]] std::string name() const { return readable_type_name(compiler_spelling); }
};
template <class T>
inline constexpr PayloadType kPayloadType{type_fingerprint<T>(), compiler_type_name<T>()};

}  // namespace brood::inline v1::detail
