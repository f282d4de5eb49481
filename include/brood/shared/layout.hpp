// Which types may lie in a shared container, and a number for their layout.                        (room: shared)
#pragma once

#include <array>
#include <boost/version.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "brood/detail/codec_raw.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/shared/types.hpp"

namespace brood::inline v1::shared {

/// Say `template <> inline constexpr bool brood::shared::kMayLieInSharedMemory<Mine> = true;` of a class with private
/// members that holds no pointer, reference, handle, virtual function or container of another kind.
template <class T>
inline constexpr bool kMayLieInSharedMemory = false;

}  // namespace brood::inline v1::shared

namespace brood::inline v1::detail {

template <class T>
struct SharedParts {
  static constexpr bool known = false;
};
/// A container of brood::shared: its kind, and what is in it.
template <char kind_letter, class... Parts>
struct KnownParts {
  static constexpr bool known = true;
  static constexpr char kind = kind_letter;
  using parts = TypeList<Parts...>;
};
template <>
struct SharedParts<shared::string> : KnownParts<'s'> {};
template <class E>
struct SharedParts<shared::vector<E>> : KnownParts<'v', E> {};
template <class E>
struct SharedParts<shared::deque<E>> : KnownParts<'d', E> {};
template <class K, class V, class L>
struct SharedParts<boost::container::map<K, V, L, shared::scoped<std::pair<const K, V>>>> : KnownParts<'m', K, V> {};
template <class E, class L>
struct SharedParts<boost::container::set<E, L, shared::scoped<E>>> : KnownParts<'e', E> {};
template <class K, class V, class H, class Q>
struct SharedParts<boost::unordered_map<K, V, H, Q, shared::scoped<std::pair<const K, V>>>> : KnownParts<'u', K, V> {};
template <class E, class H, class Q>
struct SharedParts<boost::unordered_set<E, H, Q, shared::scoped<E>>> : KnownParts<'h', E> {};
template <class A, class B>
struct SharedParts<std::pair<A, B>> : KnownParts<'p', A, B> {};
template <class... A>
struct SharedParts<std::tuple<A...>> : KnownParts<'t', A...> {};
template <class E>
struct SharedParts<std::optional<E>> : KnownParts<'o', E> {};
template <class E, std::size_t N>
struct SharedParts<std::array<E, N>> : KnownParts<'a', E> {};

template <class T>
constexpr bool may_be_shared();
template <class... P>
constexpr bool all_may_be_shared(TypeList<P...>) {
  return (may_be_shared<std::remove_cv_t<P>>() && ...);
}
template <class T>
constexpr bool may_be_shared() {
  if constexpr (shared::kMayLieInSharedMemory<T> || raw_layout<T>) return true;
  else if constexpr (SharedParts<T>::known) return all_may_be_shared(typename SharedParts<T>::parts{});
  else if constexpr (ReflectedAggregate<T>) return !kHasReferenceField<T> && all_may_be_shared(FieldTypes<T>{});
  else return false;
}

template <class T>
constexpr void describe_shared(StructureHash& hash);
template <class... P>
constexpr void describe_shared_parts(StructureHash& hash, TypeList<P...>) {
  hash.number(sizeof...(P));
  (describe_shared<std::remove_cv_t<P>>(hash), ...);
}
template <class T>
constexpr void describe_shared(StructureHash& hash) {
  hash.number(sizeof(T)).number(alignof(T));
  if constexpr (SharedParts<T>::known) {
    hash.kind(SharedParts<T>::kind);
    describe_shared_parts(hash, typename SharedParts<T>::parts{});
    // An order or a hash of the user's own is a part of the layout.
    if constexpr (requires { typename T::key_compare; }) hash.text(plain_type_name<typename T::key_compare>());
    if constexpr (requires { typename T::hasher; }) hash.text(plain_type_name<typename T::hasher>());
  } else if constexpr (raw_layout<T>) {
    describe<T>(hash);
  } else if constexpr (ReflectedAggregate<T>) {
    hash.kind('{');
    describe_shared_parts(hash, FieldTypes<T>{});
  } else {
    hash.kind('K').text(plain_type_name<T>());
  }
}
template <class T>
constexpr std::uint64_t shared_fingerprint() {
  StructureHash hash;
  // Boost's containers lie in the segment as they are: another version of Boost may lay them out differently.
  hash.kind('S').number(BOOST_VERSION);
  describe_shared<T>(hash);
  return hash.value();
}
template <class T>
inline constexpr PayloadType kSharedPayload{shared_fingerprint<T>(), compiler_type_name<T>()};

}  // namespace brood::inline v1::detail
