// Which of the known shapes a type has, and so how it travels. First match wins; the order is the lookup order of
// lib/wire/README.md.                                                                              (room: wire)
//
// Standard types are recognised by what they can do and not by their names, so that sending an int does not make every
// program parse <filesystem>, <chrono>, <map> and <functional>; containers of other libraries come along for nothing.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "brood/detail/codec_fields.hpp"
#include "brood/serialize.hpp"

namespace brood::inline v1::detail {

class SaveArchive;
class LoadArchive;

enum class Shape : std::uint8_t {
  refused,
  codec,
  shareable,
  boolean,
  integer,
  enumeration,
  floating,
  long_double,
  serialize,
  string,
  sequence,
  map,
  set,
  array,
  tuple,
  optional,
  owner,
  variant,
  duration,
  time_point,
  path,
  error_code,
  bits,
  complex,
  aggregate,
};

template <class T>
concept HasCodec = requires {
  sizeof(Codec<T>);
};
template <class T>
concept UsableCodec = requires(Encoder& out, Decoder& in, const T& value) {
  Codec<T>::encode(out, value);
  { Codec<T>::decode(in) } -> std::same_as<T>;
};

// The body of serialize is not looked at here, only whether there is one.
template <class T>
concept HasSerializeMember = requires(T& value, SaveArchive& ar) {
  value.serialize(ar);
};
template <class T>
concept HasVersionedSerializeMember = requires(T& value, SaveArchive& ar) {
  value.serialize(ar, 0U);
};
template <class T>
concept HasSerializeFunction = requires(T& value, SaveArchive& ar) {
  serialize(ar, value);
};
template <class T>
concept HasVersionedSerializeFunction = requires(T& value, SaveArchive& ar) {
  serialize(ar, value, 0U);
};
template <class T>
concept HasSerialize = std::is_class_v<T> &&(HasSerializeMember<T> || HasVersionedSerializeMember<T> ||
                                             HasSerializeFunction<T> || HasVersionedSerializeFunction<T>);

template <class T, template <class...> class Template>
inline constexpr bool kIsInstance = false;
template <class... A, template <class...> class Template>
inline constexpr bool kIsInstance<Template<A...>, Template> = true;

template <class T>
inline constexpr bool kIsStdArray = false;
template <class T, std::size_t N>
inline constexpr bool kIsStdArray<std::array<T, N>> = true;

template <class T>
concept StringLike = kIsInstance<T, std::basic_string> && sizeof(typename T::value_type) == 1;
template <class T>
concept SizedRange = requires(const T& c) {
  typename T::value_type;
  { c.size() } -> std::convertible_to<std::size_t>;
  c.begin();
  c.end();
};
template <class T>
concept SequenceLike =
    SizedRange<T> && std::default_initializable<T> && !StringLike<T> && requires(T & c, typename T::value_type& v) {
  c.push_back(std::move(v));
};
template <class T>
concept MapLike = SizedRange<T> && std::default_initializable<T> &&
    requires(T& c, typename T::key_type& k, typename T::mapped_type& v) {
  c.emplace(std::move(k), std::move(v));
};
template <class T>
concept SetLike =
    SizedRange<T> && std::default_initializable<T> && !MapLike<T> && requires(T & c, typename T::key_type& k) {
  c.emplace(std::move(k));
};
template <class T>
concept OptionalLike = std::default_initializable<T> && !requires(const T& o) {
  o.error();
}
&&requires(T& o, const T& c, typename T::value_type& v) {
  { c.has_value() } -> std::same_as<bool>;
  o.emplace(std::move(v));
  *c;
};
template <class T>
concept OwnerLike = requires(T& o, const T& c) {
  typename T::deleter_type;
  typename T::element_type;
  o.release();
  *c;
}
&&!std::is_array_v<typename T::element_type>;
template <class T>
concept DurationLike = requires(const T& d) {
  typename T::rep;
  T::period::num;
  T::period::den;
  { d.count() } -> std::same_as<typename T::rep>;
};
template <class T>
concept TimePointLike = requires(const T& t) {
  T::clock::is_steady;
  { t.time_since_epoch() } -> DurationLike;
  T(t.time_since_epoch());
};
template <class T>
concept PathLike = requires(const T& p) {
  T::preferred_separator;
  { p.native() } -> std::convertible_to<std::string_view>;
  T(std::string());
};
template <class T>
concept BitsLike = std::default_initializable<T> && requires(T& b, const T& c) {
  c.to_ullong();
  c.test(std::size_t{});
  b.set(std::size_t{});
  std::integral_constant<std::size_t, T{}.size()>{};
};
template <class T>
concept ComplexLike = !AggregateClass<T> && requires(const T& c) {
  requires std::is_floating_point_v<typename T::value_type>;
  { c.real() } -> std::convertible_to<typename T::value_type>;
  { c.imag() } -> std::convertible_to<typename T::value_type>;
  T(typename T::value_type{}, typename T::value_type{});
};

template <class T>
constexpr Shape shape_of() {
  static_assert(std::is_same_v<T, std::remove_cvref_t<T>>);
  if constexpr (std::is_same_v<T, bool>) return Shape::boolean;
  else if constexpr (std::is_integral_v<T>) return Shape::integer;
  else if constexpr (std::is_same_v<T, long double>) return Shape::long_double;
  else if constexpr (std::is_floating_point_v<T>) return Shape::floating;
  else if constexpr (HasCodec<T>) return Shape::codec;
  else if constexpr (std::is_enum_v<T>) return Shape::enumeration;
  else if constexpr (!std::is_class_v<T>) return Shape::refused;
  else if constexpr (Shareable<T>) return Shape::shareable;
  else if constexpr (HasSerialize<T>) return Shape::serialize;
  else if constexpr (StringLike<T>) return Shape::string;
  else if constexpr (PathLike<T>) return Shape::path;
  else if constexpr (kIsStdArray<T>) return Shape::array;
  else if constexpr (SequenceLike<T>) return Shape::sequence;
  else if constexpr (MapLike<T>) return Shape::map;
  else if constexpr (SetLike<T>) return Shape::set;
  else if constexpr (kIsInstance<T, std::tuple> || kIsInstance<T, std::pair>) return Shape::tuple;
  else if constexpr (kIsInstance<T, std::variant>) return Shape::variant;
  else if constexpr (OptionalLike<T>) return Shape::optional;
  else if constexpr (OwnerLike<T>) return Shape::owner;
  else if constexpr (TimePointLike<T>) return Shape::time_point;
  else if constexpr (DurationLike<T>) return Shape::duration;
  else if constexpr (std::is_same_v<T, std::error_code>) return Shape::error_code;
  else if constexpr (BitsLike<T>) return Shape::bits;
  else if constexpr (ComplexLike<T>) return Shape::complex;
  else if constexpr (AggregateClass<T>) return Shape::aggregate;
  else return Shape::refused;
}
template <class T>
inline constexpr Shape kShape = shape_of<T>();

template <class T>
using TimePointDuration = decltype(std::declval<const T&>().time_since_epoch());

}  // namespace brood::inline v1::detail
