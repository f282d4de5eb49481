// Can a T travel? If not, exactly one readable line says why.                                      (room: wire)
#pragma once

// clang-format off: version 14 understands neither concepts nor && between traits

#include <string_view>
#include <type_traits>

#include "brood/detail/codec_raw.hpp"
#include "brood/detail/codec_shape.hpp"
#include "brood/detail/type_id.hpp"

namespace brood::inline v1 {
namespace detail {

enum class Refusal : std::uint8_t {
  none,
  reference,
  pointer,
  view,
  function_object,
  closure,
  thread,
  mutex,
  shared_pointer,
  polymorphic,
  union_type,
  c_array,
  base_class,
  immovable,
  too_many_fields,
  bad_codec,
  no_default,
  unknown,
};

// Things people try to send, recognised by their members because their headers are not included here.
template <class T>
concept ViewLike = requires(const T& v, T& m) {
  m.remove_prefix(std::size_t{});
  v.data();
}
|| requires(const T& v) {
  v.subspan(std::size_t{}, std::size_t{});
  v.data();
};
template <class T>
concept FunctionObjectLike = requires(const T& f) {
  typename T::result_type;
  f.target_type();
};
template <class T>
concept ThreadLike = requires(T& t) {
  t.joinable();
  t.detach();
}
|| requires(T& t) {
  t.joinable();
  t.request_stop();
};
template <class T>
concept MutexLike = requires(T& m) {
  m.lock();
  m.unlock();
}
&&!std::is_move_constructible_v<T>;
template <class T>
concept SharedPointerLike = requires(const T& p) {
  typename T::element_type;
  p.use_count();
};
template <class T>
constexpr bool is_closure() noexcept {
  // g++ writes "main()::<lambda(int)>", clang "(lambda at main.cpp:3:9)"; neither can be the name of a type of the
  // user.
  constexpr std::string_view kName = compiler_type_name<T>();
  constexpr std::string_view kTail = kName.substr(kName.rfind(':') == std::string_view::npos ? 0 : kName.rfind(':'));
  return std::is_class_v<T> &&
         (kName.find("<lambda(") != std::string_view::npos || kName.find("(lambda at ") != std::string_view::npos ||
          kTail.find("<lambda") != std::string_view::npos);
}

template <class T, class... Open>
constexpr Refusal refusal();

template <class... Open, class... F>
constexpr Refusal first_refusal(TypeList<F...>) {
  Refusal first = Refusal::none;
  ((first == Refusal::none ? void(first = refusal<F, Open...>()) : void()), ...);
  return first;
}
template <class... Open, template <class...> class Template, class... A>
constexpr Refusal arguments_refusal(const Template<A...>*) {
  return first_refusal<Open...>(TypeList<A...>{});
}

template <class T, class... Open>
constexpr Refusal aggregate_refusal() {
  constexpr FieldsProblem kProblem = kFieldsProblem<T>;
  if constexpr (kProblem == FieldsProblem::base_class) return Refusal::base_class;
  else if constexpr (kProblem == FieldsProblem::c_array) return Refusal::c_array;
  else if constexpr (kProblem == FieldsProblem::immovable) return Refusal::immovable;
  else if constexpr (kProblem == FieldsProblem::too_many) return Refusal::too_many_fields;
  else if constexpr (kProblem == FieldsProblem::unknown) return Refusal::unknown;
  else if constexpr (kHasReferenceField<T>) return Refusal::reference;
  else return first_refusal<T, Open...>(FieldTypes<T>{});
}

template <class T>
constexpr Refusal stranger_refusal() {
  if constexpr (std::is_union_v<T>) return Refusal::union_type;
  else if constexpr (!std::is_class_v<T>) return Refusal::unknown;
  else if constexpr (ViewLike<T>) return Refusal::view;
  else if constexpr (FunctionObjectLike<T>) return Refusal::function_object;
  else if constexpr (ThreadLike<T>) return Refusal::thread;
  else if constexpr (MutexLike<T>) return Refusal::mutex;
  else if constexpr (SharedPointerLike<T>) return Refusal::shared_pointer;
  else if constexpr (is_closure<T>()) return Refusal::closure;
  else if constexpr (!std::is_move_constructible_v<T>) return Refusal::immovable;
  else return Refusal::unknown;
}

template <class Given, class... Open>
constexpr Refusal refusal() {
  using T = std::remove_cv_t<Given>;
  if constexpr (std::is_reference_v<T>) {
    return Refusal::reference;
  } else if constexpr (std::is_pointer_v<T> || std::is_member_pointer_v<T> || std::is_null_pointer_v<T> ||
                       std::is_function_v<T>) {
    return Refusal::pointer;
  } else if constexpr (std::is_array_v<T>) {
    return Refusal::c_array;
  } else if constexpr (open_index<T, Open...>() >= 0) {
    return Refusal::none;  // a type that contains itself: judged where it was opened
  } else {
    constexpr Shape kThis = kShape<T>;
    if constexpr (kThis == Shape::refused) return stranger_refusal<T>();
    else if constexpr (kThis == Shape::codec) return UsableCodec<T> ? Refusal::none : Refusal::bad_codec;
    else if constexpr (kThis == Shape::serialize) {
      return std::is_default_constructible_v<T> && std::is_move_constructible_v<T> ? Refusal::none
                                                                                   : Refusal::no_default;
    } else if constexpr (kThis == Shape::array || kThis == Shape::sequence || kThis == Shape::optional) {
      return refusal<typename T::value_type, Open...>();
    } else if constexpr (kThis == Shape::owner) {
      using Element = std::remove_cv_t<typename T::element_type>;
      if constexpr (std::is_polymorphic_v<Element> && !std::is_final_v<Element>) return Refusal::polymorphic;
      else return refusal<Element, Open...>();
    } else if constexpr (kThis == Shape::set) {
      return refusal<typename T::key_type, Open...>();
    } else if constexpr (kThis == Shape::map) {
      return first_refusal<Open...>(TypeList<typename T::key_type, typename T::mapped_type>{});
    } else if constexpr (kThis == Shape::tuple || kThis == Shape::variant) {
      return arguments_refusal<Open...>(static_cast<const T*>(nullptr));
    } else if constexpr (kThis == Shape::aggregate) {
      if constexpr (ViewLike<T>) return Refusal::view;
      else if constexpr (MutexLike<T>) return Refusal::mutex;
      else return aggregate_refusal<T, Open...>();
    } else {
      return Refusal::none;
    }
  }
}
template <class T>
inline constexpr Refusal kRefusal = refusal<T>();

/// Compiles if a T can travel; else stops with one line. Returns whether it can, so that callers can leave out the code
/// that would only add a page of follow-up errors.
template <class T>
constexpr bool require_travels() {
  constexpr Refusal kWhy = kRefusal<T>;
  static_assert(
      kWhy != Refusal::reference,
      "brood: T cannot travel to another process: it is or holds a reference, which would refer to the sender's "
      "memory; hold a value instead, or a shared object such as brood::Value");
  static_assert(
      kWhy != Refusal::pointer,
      "brood: T cannot travel to another process: it is or holds a raw pointer, which means nothing there; send "
      "the value itself, a std::unique_ptr or std::optional of it, or a shared object such as brood::Value");
  static_assert(kWhy != Refusal::view,
                "brood: T cannot travel to another process: it is or holds a std::string_view or std::span, which only "
                "looks at the sender's memory; use std::string or std::vector");
  static_assert(
      kWhy != Refusal::function_object,
      "brood: T cannot travel to another process: it is or holds a std::function, whose contents are unknown; "
      "pass a function or a lambda without captures as the target, and data as arguments");
  static_assert(
      kWhy != Refusal::closure,
      "brood: T cannot travel to another process: it is or holds a lambda; only the target of a call may be one, "
      "and only without captures");
  static_assert(kWhy != Refusal::thread,
                "brood: T cannot travel to another process: it is or holds a thread, which belongs to the process that "
                "made it; use brood::Process");
  static_assert(kWhy != Refusal::mutex,
                "brood: T cannot travel to another process: it is or holds a mutex of this process; use brood::Lock or "
                "brood::RLock");
  static_assert(
      kWhy != Refusal::shared_pointer,
      "brood: T cannot travel to another process: it is or holds a std::shared_ptr or weak_ptr, and ownership is "
      "not shared between processes; send the value, a std::unique_ptr, or a shared object of brood");
  static_assert(
      kWhy != Refusal::polymorphic,
      "brood: T cannot travel to another process: it holds a std::unique_ptr to a polymorphic class, and the "
      "class of the object behind it is not known to the receiver; use std::variant, or write a brood::Codec");
  static_assert(kWhy != Refusal::union_type,
                "brood: T cannot travel to another process: it is or holds a union, and nothing tells which member is "
                "alive; use std::variant, or write a brood::Codec");
  static_assert(
      kWhy != Refusal::c_array,
      "brood: T cannot travel to another process: it is or holds a C array; use std::array, or std::string for "
      "text");
  static_assert(
      kWhy != Refusal::base_class,
      "brood: T cannot travel to another process: it is or holds a struct with a base class, whose fields cannot "
      "be listed; make the base a member, or give the struct a serialize member or a brood::Codec");
  static_assert(
      kWhy != Refusal::immovable,
      "brood: T cannot travel to another process: it or one of its members cannot be moved (a mutex, an atomic, "
      "a condition variable?); use brood's shared objects, or give it a brood::Codec");
  static_assert(
      kWhy != Refusal::too_many_fields,
      "brood: T cannot travel to another process: it has more than 100 fields; group some of them in structs, or "
      "give it a serialize member");
  static_assert(
      kWhy != Refusal::bad_codec,
      "brood: T cannot travel to another process: its brood::Codec lacks `static void encode(brood::Encoder&, "
      "const T&)` or `static T decode(brood::Decoder&)`");
  static_assert(
      kWhy != Refusal::no_default,
      "brood: T cannot travel to another process: it has a serialize member but cannot be default-constructed "
      "and moved, which reading needs; give it a default constructor or a brood::Codec");
  static_assert(
      kWhy != Refusal::unknown,
      "brood: T cannot travel to another process: it is neither Serializable (values, standard containers, plain "
      "structs of these) nor Shareable (handle() and open()); give it a serialize member or pass a shared object");
  return kWhy == Refusal::none;
}

}  // namespace detail

/// A value whose bytes can travel to another process and be read there.
template <class T>
concept Serializable =
    !std::is_reference_v<T> && !Shareable<std::remove_cv_t<T>> && detail::kRefusal<T> == detail::Refusal::none;

/// What may be an argument, an item or a result: a value or a shared object.
template <class T>
concept Transferable = Serializable<T> || Shareable<std::remove_cv_t<T>>;

}  // namespace brood::inline v1
