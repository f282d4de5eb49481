// Values of std as values of brood::shared, and back.                                              (room: shared)
#pragma once

#include <array>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "brood/shared/types.hpp"

namespace brood::inline v1::detail {

/// The std type of a shared one, and the shared type of a std one; all others are the same in both.
template <class T>
struct StdOf {
  using type = T;
};
template <class T>
struct SharedOf {
  using type = T;
};
template <class T>
using std_of = typename StdOf<T>::type;  // NOLINT(readability-identifier-naming)
template <class T>
using shared_of = typename SharedOf<T>::type;  // NOLINT(readability-identifier-naming)

template <>
struct StdOf<shared::string> {
  using type = std::string;
};
template <>
struct SharedOf<std::string> {
  using type = shared::string;
};
template <class E>
struct StdOf<shared::vector<E>> {
  using type = std::vector<std_of<E>>;
};
template <class E>
struct SharedOf<std::vector<E>> {
  using type = shared::vector<shared_of<E>>;
};
template <class E>
struct StdOf<shared::deque<E>> {
  using type = std::deque<std_of<E>>;
};
template <class E>
struct SharedOf<std::deque<E>> {
  using type = shared::deque<shared_of<E>>;
};
template <class K, class V>
struct StdOf<shared::map<K, V>> {
  using type = std::map<std_of<K>, std_of<V>>;
};
template <class K, class V>
struct SharedOf<std::map<K, V>> {
  using type = shared::map<shared_of<K>, shared_of<V>>;
};
template <class E>
struct StdOf<shared::set<E>> {
  using type = std::set<std_of<E>>;
};
template <class E>
struct SharedOf<std::set<E>> {
  using type = shared::set<shared_of<E>>;
};
template <class K, class V>
struct StdOf<shared::unordered_map<K, V>> {
  using type = std::unordered_map<std_of<K>, std_of<V>>;
};
template <class K, class V>
struct SharedOf<std::unordered_map<K, V>> {
  using type = shared::unordered_map<shared_of<K>, shared_of<V>>;
};
template <class E>
struct StdOf<shared::unordered_set<E>> {
  using type = std::unordered_set<std_of<E>>;
};
template <class E>
struct SharedOf<std::unordered_set<E>> {
  using type = shared::unordered_set<shared_of<E>>;
};
template <class A, class B>
struct StdOf<std::pair<A, B>> {
  using type = std::pair<std_of<A>, std_of<B>>;
};
template <class A, class B>
struct SharedOf<std::pair<A, B>> {
  using type = std::pair<shared_of<A>, shared_of<B>>;
};
template <class E>
struct StdOf<std::optional<E>> {
  using type = std::optional<std_of<E>>;
};
template <class E>
struct SharedOf<std::optional<E>> {
  using type = std::optional<shared_of<E>>;
};
template <class E, std::size_t N>
struct StdOf<std::array<E, N>> {
  using type = std::array<std_of<E>, N>;
};
template <class E, std::size_t N>
struct SharedOf<std::array<E, N>> {
  using type = std::array<shared_of<E>, N>;
};

/// Exactly one of the types that StdOf and SharedOf translate.
template <class T>
inline constexpr bool kIsTranslated = !std::is_same_v<std_of<T>, T> || !std::is_same_v<shared_of<T>, T>;
template <class T>
inline constexpr bool kIsPair = false;
template <class A, class B>
inline constexpr bool kIsPair<std::pair<A, B>> = true;

template <class To, class From, class Memory>
[[nodiscard]] To convert(const From& from, const Memory& memory);

/// In place of the memory: all is made in this process's own.
struct OwnMemory {};

/// An empty To, in this memory if it is a shared one.
template <class To, class Memory>
[[nodiscard]] To empty_of(const Memory& memory) {
  // Of memory of this process there is nothing to say but 0.
  if constexpr (!std::is_arithmetic_v<Memory> && std::is_constructible_v<To, const Memory&>) return To(memory);
  else return To();
}

/// A To of equal contents. `memory`: of shared values that are made.
template <class To, class From, class Memory>
To convert(const From& from, const Memory& memory) {
  if constexpr (std::is_same_v<To, shared::string>) {
    return To(std::string_view(from), memory);
  } else if constexpr (std::is_same_v<To, std::string>) {
    return To(std::string_view(from));
  } else if constexpr (std::is_same_v<To, From> && !kIsTranslated<To>) {
    static_assert(std::is_trivially_copyable_v<To>,
                  "brood: Vector, Map … and to_std() know plain data, text, and std's containers of these; structs of "
                  "brood::shared's types go into a Container<T>, and are copied out member by member");
    return from;
  } else if constexpr (kIsPair<To>) {
    return To(convert<typename To::first_type>(from.first, memory),
              convert<typename To::second_type>(from.second, memory));
  } else if constexpr (requires { from.has_value(); }) {
    if (!from.has_value()) return To();
    return To(convert<typename To::value_type>(*from, memory));
  } else if constexpr (requires { typename To::mapped_type; }) {
    To to = empty_of<To>(memory);
    for (const auto& [key, value] : from)
      to.emplace(convert<typename To::key_type>(key, memory), convert<typename To::mapped_type>(value, memory));
    return to;
  } else if constexpr (requires { typename To::key_type; }) {
    To to = empty_of<To>(memory);
    for (const auto& element : from) to.emplace(convert<typename To::key_type>(element, memory));
    return to;
  } else if constexpr (requires(To & to) { to.push_back(std::declval<typename To::value_type>()); }) {
    To to = empty_of<To>(memory);
    if constexpr (requires { to.reserve(from.size()); }) to.reserve(from.size());
    for (const auto& element : from) to.push_back(convert<typename To::value_type>(element, memory));
    return to;
  } else {
    To to{};
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = convert<typename To::value_type>(from[i], memory);
    return to;
  }
}

}  // namespace brood::inline v1::detail

namespace brood::inline v1::shared {

/// A copy of shared contents in memory of this process: of std::string, std::vector, std::map … in place of those of
/// brood::shared, on all levels. (Structs of your own stay what they are: copy their members one by one.)
template <class T>
[[nodiscard]] detail::std_of<T> to_std(const T& contents) {
  return detail::convert<detail::std_of<T>>(contents, detail::OwnMemory());
}

}  // namespace brood::inline v1::shared
