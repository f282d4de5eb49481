// Types whose bytes are their value: they travel by memcpy.                                        (room: wire)
//
// Two dangers are handled here and nowhere else. Padding between fields would carry whatever lay on the sender's stack,
// so store_raw writes zeros there. A bool that is neither 0 nor 1 is undefined behaviour in the reader, so load_raw
// checks each one before it becomes a bool.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <type_traits>

#include "brood/detail/codec_shape.hpp"
#include "brood/detail/copy_bytes.hpp"

namespace brood::inline v1::detail {

template <class T>
constexpr bool raw_layout_of();

template <class... F>
constexpr bool all_raw(TypeList<F...>) {
  return (raw_layout_of<std::remove_cv_t<F>>() && ...);
}

template <class T>
constexpr bool raw_layout_of() {
  constexpr Shape kThis = kShape<T>;
  if constexpr (!std::is_trivially_copyable_v<T>) {
    return false;
  } else if constexpr (kThis == Shape::boolean || kThis == Shape::integer || kThis == Shape::enumeration ||
                       kThis == Shape::floating) {
    return true;
  } else if constexpr (kThis == Shape::array) {
    if constexpr (std::tuple_size_v<T> == 0) return false;
    else return raw_layout_of<typename T::value_type>();
  } else if constexpr (kThis == Shape::duration) {
    return sizeof(T) == sizeof(typename T::rep) && std::is_arithmetic_v<typename T::rep> &&
           raw_layout_of<typename T::rep>();
  } else if constexpr (kThis == Shape::time_point) {
    return sizeof(T) == sizeof(TimePointDuration<T>) && raw_layout_of<TimePointDuration<T>>();
  } else if constexpr (kThis == Shape::complex) {
    return sizeof(T) == 2 * sizeof(typename T::value_type) && raw_layout_of<typename T::value_type>();
  } else if constexpr (kThis == Shape::aggregate) {
    if constexpr (ReflectedAggregate<T>) {
      if constexpr (kHasReferenceField<T>) return false;
      else return all_raw(FieldTypes<T>{});
    } else {
      return false;
    }
  } else {
    return false;
  }
}

/// Whether a T may lie in shared memory and travel as its sizeof(T) bytes: a scalar, an enum, a std::array, a chrono
/// time, a complex number, or an aggregate of such; trivially copyable; no pointer, reference or handle anywhere
/// inside; no Codec or serialize of the user's in it, since those say more about the type than its bytes do.
template <class T>
inline constexpr bool raw_layout = raw_layout_of<std::remove_cv_t<T>>();

template <class T>
constexpr std::size_t dense_size();
template <class... F>
constexpr std::size_t dense_sum(TypeList<F...>) {
  return (std::size_t{0} + ... + dense_size<std::remove_cv_t<F>>());
}
template <class T>
constexpr std::size_t dense_size() {
  if constexpr (kShape<T> == Shape::array) return std::tuple_size_v<T> * dense_size<typename T::value_type>();
  else if constexpr (kShape<T> == Shape::aggregate) return dense_sum(FieldTypes<T>{});
  else return sizeof(T);
}
/// A raw T without any byte of padding.
template <class T>
inline constexpr bool padding_free = raw_layout<T>&& dense_size<std::remove_cv_t<T>>() == sizeof(T);

template <class T>
constexpr bool holds_bool();
template <class... F>
constexpr bool some_holds_bool(TypeList<F...>) {
  return (holds_bool<std::remove_cv_t<F>>() || ...);
}
template <class T>
constexpr bool holds_bool() {
  if constexpr (kShape<T> == Shape::boolean) return true;
  else if constexpr (kShape<T> == Shape::enumeration) return std::is_same_v<std::underlying_type_t<T>, bool>;
  else if constexpr (kShape<T> == Shape::array) return holds_bool<typename T::value_type>();
  else if constexpr (kShape<T> == Shape::aggregate) return some_holds_bool(FieldTypes<T>{});
  else return false;
}

template <class T>
void store_parts(std::byte* to, const T& value) noexcept {
  if constexpr (padding_free<T>) {
    copy_bytes(to, &value, sizeof(T));
  } else if constexpr (kShape<std::remove_cv_t<T>> == Shape::array) {
    for (std::size_t i = 0; i < std::tuple_size_v<T>; ++i) store_parts(to + i * sizeof(value[0]), value[i]);
  } else {
    for_each_field(value, [&](const auto& part) {
      store_parts(to + (reinterpret_cast<const std::byte*>(&part) - reinterpret_cast<const std::byte*>(&value)), part);
    });
  }
}

/// Writes the sizeof(T) bytes of a raw value; padding becomes zero.
template <class T>
void store_raw(std::byte* to, const T& value) noexcept {
  static_assert(raw_layout<T>);
  if constexpr (!padding_free<T>) std::memset(to, 0, sizeof(T));
  store_parts(to, value);
}

/// True if every bool that a T at these bytes would hold is 0 or 1. Offsets come from `model`, any object of the type.
template <class T>
bool bools_are_valid(const std::byte* from, const T& model) noexcept {
  using Plain = std::remove_cv_t<T>;
  if constexpr (!holds_bool<Plain>()) {
    return true;
  } else if constexpr (kShape<Plain> == Shape::array) {
    for (std::size_t i = 0; i < std::tuple_size_v<Plain>; ++i) {
      if (!bools_are_valid(from + i * sizeof(model[0]), model[i])) return false;
    }
    return true;
  } else if constexpr (kShape<Plain> == Shape::aggregate) {
    bool valid = true;
    for_each_field(model, [&](const auto& part) {
      const auto at = reinterpret_cast<const std::byte*>(&part) - reinterpret_cast<const std::byte*>(&model);
      valid = valid && bools_are_valid(from + at, part);
    });
    return valid;
  } else {
    return std::to_integer<unsigned>(*from) <= 1;
  }
}

/// Storage for a T that is filled by memcpy and so needs no constructor.
template <class T>
union RawSlot {
  RawSlot() noexcept {}  // NOLINT(modernize-use-equals-default): a defaulted one would be deleted for some T
  std::byte bytes[sizeof(T)];
  std::remove_const_t<T> value;
};

/// Its bytes may be written into a fresh T at once: there is no constructor whose work would be lost, and the T can be
/// returned without one more copy: from a function whose first line declares it (before GCC 14 not from an inner block).
template <class T>
inline constexpr bool kMayBeFilled =
    raw_layout<T> && !std::is_empty_v<T> && !std::is_const_v<T> && std::is_trivially_default_constructible_v<T>;

template <class T>
[[nodiscard]] std::span<std::byte> bytes_to_fill(T& value) noexcept {
  static_assert(kMayBeFilled<T>);
  return std::as_writable_bytes(std::span(&value, 1));
}

/// False if these sizeof(T) bytes cannot be a T: a bool in them is neither 0 nor 1. Reads no T.
template <class T>
[[nodiscard]] bool raw_bytes_are_valid(const std::byte* from) noexcept {
  if constexpr (holds_bool<std::remove_cv_t<T>>()) {
    RawSlot<T> model;
    std::memset(model.bytes, 0, sizeof(T));
    return bools_are_valid(from, model.value);
  } else {
    return true;
  }
}

/// The value of sizeof(T) bytes, at any alignment. The caller has asked raw_bytes_are_valid if it does not trust them.
template <class T>
[[nodiscard]] T load_raw(const std::byte* from) noexcept {
  static_assert(raw_layout<T>);
  RawSlot<T> slot;
  copy_bytes(slot.bytes, from, sizeof(T));
  return slot.value;
}
template <class T>
requires kMayBeFilled<T>
[[nodiscard]] T load_raw(const std::byte* from) noexcept {
  T value;
  copy_bytes(&value, from, sizeof(T));
  return value;
}

}  // namespace brood::inline v1::detail
