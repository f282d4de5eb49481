// The fields of a plain struct, found by the compiler.                                             (room: wire)
//
// Boost.PFR's structured-binding ladder gives access to the fields. Counting them is done here, because PFR's own count
// takes minutes for a struct that holds something without a default constructor (it tries every count up to eight times
// the size of the struct), and because base classes, C arrays and references must be refused in one readable line
// instead of a page of template backtrace.
#pragma once

#include <boost/pfr/detail/core17_generated.hpp>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace brood::inline v1::detail {

inline constexpr std::size_t kMaxFields = 100;  // what PFR's ladder offers

/// What a struct's initialiser may be made of: something that turns into any type. Only ever used unevaluated.
struct AnyLvalue {
  template <class U>
  operator U&() const&& noexcept;  // NOLINT(google-explicit-constructor)
  template <class U>
  operator U&() const& noexcept;  // NOLINT(google-explicit-constructor)
};
struct AnyPrvalue {
  template <class U>
  operator U() const&& noexcept;  // NOLINT(google-explicit-constructor)
};
/// Copyable structs want lvalues (std::optional's converting constructor makes prvalues ambiguous), others prvalues.
template <class T>
using AnyFor = std::conditional_t<std::is_copy_constructible_v<T>, AnyLvalue, AnyPrvalue>;
/// Turns into a base class of T only.
template <class U, class T>
concept ProperBaseOf = std::is_base_of_v<U, T> && !std::is_same_v<U, T>;
template <class T>
struct AnyBase {
  template <ProperBaseOf<T> U>
  operator U() const&& noexcept;  // NOLINT(google-explicit-constructor)
};

template <class Any, std::size_t>
using AnyAt = Any;

template <class T, class Before, class After>
struct Initialises;
template <class T, std::size_t... I, std::size_t... J>
struct Initialises<T, std::index_sequence<I...>, std::index_sequence<J...>> {
  /// T{any…} with as many as there are indices.
  static constexpr bool plain = requires { T{AnyAt<AnyFor<T>, I>{}..., AnyAt<AnyFor<T>, J>{}...}; };
  /// T{any…, {}, any…}: an empty pair of braces swallows a whole C array, but only one of any other member.
  static constexpr bool braced = requires { T{AnyAt<AnyFor<T>, I>{}..., {}, AnyAt<AnyFor<T>, J>{}...}; };
};
template <class T, std::size_t N>
inline constexpr bool kTakes = Initialises<T, std::make_index_sequence<N>, std::index_sequence<>>::plain;
template <class T, std::size_t Before, std::size_t After>
inline constexpr bool kTakesBraced =
    Initialises<T, std::make_index_sequence<Before>, std::make_index_sequence<After>>::braced;

/// The numbers of initialisers that T takes are one unbroken range (a gap-free tail of members may be left out), so the
/// search climbs and stops at the first refusal after an acceptance. C arrays count once for each element.
template <class T, std::size_t N = 0, bool Found = false>
constexpr std::size_t count_initialisers() {
  constexpr bool kMore = kTakes<T, N>;
  if constexpr (Found && !kMore) {
    return N - 1;
  } else if constexpr (N > kMaxFields || N > sizeof(T) * 8) {
    return kMore ? N : 0;
  } else {
    return count_initialisers<T, N + 1, kMore>();
  }
}

template <class T, std::size_t N, std::size_t At, std::size_t After>
constexpr bool some_array_at() {
  if constexpr (kTakesBraced<T, At, After>) {
    return true;
  } else if constexpr (After > 0) {
    return some_array_at<T, N, At, After - 1>();
  } else {
    return false;
  }
}
/// An array of n elements at this place: `{}` followed by all the other initialisers is too many, with n-1 fewer it
/// fits.
template <class T, std::size_t N, std::size_t At = 0>
constexpr bool has_array_from() {
  if constexpr (At >= N) {
    return false;
  } else if constexpr (kTakesBraced<T, At, N - At - 1>) {
    return has_array_from<T, N, At + 1>();
  } else if constexpr (N - At == 1) {
    return false;
  } else if constexpr (some_array_at<T, N, At, N - At - 2>()) {
    return true;
  } else {
    return has_array_from<T, N, At + 1>();
  }
}

template <class T>
concept AggregateClass = std::is_class_v<T> && std::is_aggregate_v<T> && !std::is_union_v<T>;

/// Why the fields of an aggregate cannot be listed; `ok` if they can.
enum class FieldsProblem { ok, base_class, c_array, immovable, too_many, unknown };

template <AggregateClass T>
constexpr FieldsProblem fields_problem() {
  if constexpr (std::is_empty_v<T>) {
    return FieldsProblem::ok;
  } else if constexpr (requires { T{AnyBase<T>{}}; }) {
    return FieldsProblem::base_class;
  } else if constexpr (!std::is_move_constructible_v<T>) {
    return FieldsProblem::immovable;
  } else {
    constexpr std::size_t kCount = count_initialisers<T>();
    if constexpr (kCount == 0) {
      return FieldsProblem::unknown;
    } else if constexpr (has_array_from<T, (kCount > kMaxFields ? kMaxFields : kCount)>()) {
      return FieldsProblem::c_array;
    } else if constexpr (kCount > kMaxFields) {
      return FieldsProblem::too_many;
    } else {
      return FieldsProblem::ok;
    }
  }
}
template <class T>
inline constexpr FieldsProblem kFieldsProblem = fields_problem<T>();

template <class T>
concept ReflectedAggregate = AggregateClass<T> && kFieldsProblem<T>
== FieldsProblem::ok;

template <class T>
inline constexpr std::size_t kFieldCount = count_initialisers<T>();
template <class T>
requires std::is_empty_v<T>
inline constexpr std::size_t kFieldCount<T> = 0;

/// References to all fields, in PFR's own light tuple.
template <class T>
constexpr auto tie_fields(T& object) noexcept {
  return boost::pfr::detail::tie_as_tuple(object, boost::pfr::detail::size_t_<kFieldCount<std::remove_const_t<T>>>{});
}
template <std::size_t I, class Tied>
constexpr auto& field(Tied& tied) noexcept {
  return boost::pfr::detail::sequence_tuple::get<I>(tied);
}

template <class... T>
struct TypeList {};

template <class T, class Index>
struct FieldTypesOf;
template <class T, std::size_t... I>
struct FieldTypesOf<T, std::index_sequence<I...>> {
  using Tied = decltype(tie_fields(std::declval<T&>()));
  using type = TypeList<std::remove_reference_t<decltype(field<I>(std::declval<Tied&>()))>...>;
};
/// TypeList of the fields' types, const where the field is.
template <ReflectedAggregate T>
using FieldTypes = typename FieldTypesOf<T, std::make_index_sequence<kFieldCount<T>>>::type;

/// f(field) for each field, in order of declaration.
template <class T, class F>
constexpr void for_each_field(T& object, F&& f) {
  auto tied = tie_fields(object);
  [&]<std::size_t... I>(std::index_sequence<I...>) { (f(field<I>(tied)), ...); }
  (std::make_index_sequence<kFieldCount<std::remove_const_t<T>>>{});
}

template <class List>
struct FieldsAsValues;
template <class... F>
struct FieldsAsValues<TypeList<F...>> {
  static constexpr bool kStandardLayout = (std::is_standard_layout_v<F> && ...);
  static constexpr bool kAssignable = ((!std::is_const_v<F> && std::is_move_assignable_v<F>)&&...);
  /// Size of a struct that holds these, each at the next place its alignment allows.
  static constexpr std::size_t size_bytes(std::size_t alignment) {
    std::size_t end = 0;
    ((end = (end + alignof(F) - 1) / alignof(F) * alignof(F) + sizeof(F)), ...);
    return (end + alignment - 1) / alignment * alignment;
  }
};

/// A reference member shows here as the type it refers to. But it takes the struct's standard layout away, makes it
/// unassignable, and has the size of a pointer; values of the listed types explain none of the three.
template <ReflectedAggregate T>
inline constexpr bool kHasReferenceField = [] {
  using Values = FieldsAsValues<FieldTypes<T>>;
  return !std::is_standard_layout_v<T> && !std::is_move_assignable_v<T> &&
         (Values::kStandardLayout || Values::kAssignable || Values::size_bytes(alignof(T)) != sizeof(T));
}();

}  // namespace brood::inline v1::detail
