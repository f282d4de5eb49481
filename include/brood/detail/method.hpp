// Methods that are called from another process: what they take and give, and how they are called there.   (room: call)
#pragma once

// clang-format off: version 14 understands neither concepts nor && between traits

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "brood/detail/callable.hpp"

namespace brood::inline v1::detail {

/// A member function, a data member, or a function (or lambda without captures) whose first parameter is the object.
template <class M>
struct MethodShape {
  static constexpr bool kKnown = false;
  using Class = void;
  using Result = void;
  using Parameters = TypeList<>;
};
template <class R, class C, class... P>
struct MemberFunction {
  static constexpr bool kKnown = true;
  using Class = C;
  using Result = R;
  using Parameters = TypeList<P...>;
};
template <class R, class C, class... P>
struct MethodShape<R (C::*)(P...)> : MemberFunction<R, C, P...> {};
template <class R, class C, class... P>
struct MethodShape<R (C::*)(P...) const> : MemberFunction<R, C, P...> {};
template <class R, class C, class... P>
struct MethodShape<R (C::*)(P...) noexcept> : MemberFunction<R, C, P...> {};
template <class R, class C, class... P>
struct MethodShape<R (C::*)(P...) const noexcept> : MemberFunction<R, C, P...> {};
template <class R, class C, class... P>
struct MethodShape<R (C::*)(P...)&> : MemberFunction<R, C, P...> {};
template <class R, class C, class... P>
struct MethodShape<R (C::*)(P...) const&> : MemberFunction<R, C, P...> {};
template <class D, class C>
requires(!std::is_function_v<D>) struct MethodShape<D C::*> : MemberFunction<D, C> {
};
template <class R, class A, class... P>
struct MethodShape<R (*)(A, P...)> : MemberFunction<R, std::remove_cvref_t<A>, P...> {};
template <class R, class A, class... P>
struct MethodShape<R (*)(A, P...) noexcept> : MemberFunction<R, std::remove_cvref_t<A>, P...> {};
template <class F>
requires(StatelessCallable<F>&& HasOneCallOperator<F>) struct MethodShape<F> : MethodShape<decltype(+F{})> {
};

/// What M is for an object of type A.
template <auto M, class A>
struct MethodOf {
  using Shape = MethodShape<std::remove_cv_t<decltype(M)>>;
  using Result = std::remove_cvref_t<typename Shape::Result>;
  using Parameters = typename Shape::Parameters;
};

template <auto M, class A>
constexpr bool require_method() {
  using Found = typename MethodOf<M, A>::Shape;
  constexpr bool kIsOfA = std::is_base_of_v<typename Found::Class, A> || std::is_same_v<typename Found::Class, A>;
  static_assert(
      Found::kKnown,
      "brood: call<M> takes &Class::function, &Class::data, or a function or lambda without captures whose first "
      "parameter is a reference to the object, none of them overloaded, generic or with C varargs");
  static_assert(!Found::kKnown || kIsOfA, "brood: the method in call<M> belongs to another class than the object");
  return Found::kKnown && kIsOfA;
}

template <class R>
constexpr bool require_result() {
  if constexpr (std::is_void_v<R>) return true;
  else {
    static_assert(
        !std::is_pointer_v<R>,
        "brood: the method returns a pointer into the other process; return a value, or call a lambda that does: "
        "call<[](A& a) { return *a.find(); }>()");
    static_assert(
        std::is_pointer_v<R> || Transferable<R>,
        "brood: the method returns a type that cannot travel (brood/serialize.hpp says what can); call a lambda "
        "that makes a value of it: call<[](A& a) { return a.f().size(); }>()");
    return Transferable<R>;
  }
}

/// Calls, and encodes the result. Shared objects in it can be opened by the other end only while somebody has them open: a
/// result with any is given back, to be kept until the message that carries them has been sent.
template <class R, class Call>
[[nodiscard]] std::shared_ptr<const void> encode_result(Encoder& out, Call call) {
  if constexpr (std::is_void_v<R>) {
    call();
    out.nil();
  } else if constexpr (std::is_reference_v<R>) {
    detail::encode(out, static_cast<const std::remove_cvref_t<R>&>(call()));
  } else {
    using Result = std::remove_cv_t<R>;
    Result result = call();
    detail::encode(out, std::as_const(result));
    if constexpr (std::is_move_constructible_v<Result>) {
      if (!out.handles().empty()) return std::make_shared<Result>(std::move(result));
    }
  }
  return nullptr;
}

/// Runs in the process of the object: decodes the arguments, calls, encodes the result, and gives what must live until that
/// has been sent.
using Invoke = std::shared_ptr<const void> (*)(void* object, Decoder& arguments, Encoder& result);

template <auto M, class A, class... P>
[[nodiscard]] std::shared_ptr<const void> invoke_with(A& object, Decoder& in, Encoder& out,
                                                      TypeList<P...> /*parameters*/) {
  in.expect_array(sizeof...(P), "the arguments of the call");
  // Braces: decoded from left to right.
  std::tuple<std::remove_cvref_t<P>...> arguments{detail::decode<std::remove_cvref_t<P>>(in)...};
  in.finish();
  std::apply([](auto&... argument) { (arrived(argument), ...); }, arguments);
  const auto call = [&]<std::size_t... I>(std::index_sequence<I...> /*all*/)->decltype(auto) {
    return std::invoke(M, object, pass<P>(std::get<I>(arguments))...);
  };
  constexpr std::index_sequence_for<P...> kAll;
  return encode_result<decltype(call(kAll))>(out, [&]() -> decltype(auto) { return call(kAll); });
}

/// Hidden, so that each library finds its own instance.
template <auto M, class A>
[[gnu::visibility("hidden")]] std::shared_ptr<const void> invoke_method(void* object, Decoder& in, Encoder& out) {
  return invoke_with<M, A>(*static_cast<A*>(object), in, out, typename MethodOf<M, A>::Parameters{});
}

/// What is called. By place: a number for each method that this process calls, so that where it is need be said only once in
/// a conversation. By name: what the other end knows under it.
struct MethodKey {
  std::uint32_t number = 0;
  const void* invoke = nullptr;
  std::string_view name = {};
};
/// `number`: the method's own, 0 before its first use.
[[nodiscard]] MethodKey numbered(std::atomic<std::uint32_t>& number, const void* invoke) noexcept;

template <auto M, class A>
[[nodiscard, gnu::visibility("hidden")]] MethodKey method_key() {
  static constinit std::atomic<std::uint32_t> number = 0;
  return numbered(number, reinterpret_cast<const void*>(&invoke_method<M, A>));
}

template <class... P, class... Args>
void encode_arguments(Encoder& out, TypeList<P...> /*parameters*/, Args&&... args) {
  static_assert(
      sizeof...(P) == sizeof...(Args),
      "brood: the number of arguments differs from the number of the method's parameters (default arguments do "
      "not travel)");
  if constexpr (sizeof...(P) == sizeof...(Args)) {
    out.array_header(sizeof...(P));
    (encode_argument<P>(out, std::forward<Args>(args)), ...);
  }
}

// --- objects that are made in another process ------------------------------------------------------------------------

/// An object, with the arguments that its constructor had.
class Hosted {
 public:
  Hosted() = default;
  Hosted(const Hosted&) = delete;
  Hosted& operator=(const Hosted&) = delete;
  virtual ~Hosted();
  [[nodiscard]] virtual void* object() noexcept = 0;
};

template <class A, class... S>
inline constexpr bool kConstructible = std::is_constructible_v<A, S...>;

/// References that the object keeps to its shared arguments stay good.
template <class A, class... S>
class TypedHosted final : public Hosted {
 public:
  explicit TypedHosted(Decoder& in)
      : arguments_{detail::decode<S>(in)...}, object_(make(std::index_sequence_for<S...>{})) {}
  [[nodiscard]] void* object() noexcept override { return &object_; }

 private:
  template <std::size_t... I>
  [[nodiscard]] A make(std::index_sequence<I...> /*all*/) {
    std::apply([](auto&... argument) { (arrived(argument), ...); }, arguments_);
    if constexpr (kConstructible<A, std::conditional_t<Shareable<S>, S&, S&&>...>) {
      return A(static_cast<std::conditional_t<Shareable<S>, S&, S&&>>(std::get<I>(arguments_))...);
    } else {
      return A{static_cast<std::conditional_t<Shareable<S>, S&, S&&>>(std::get<I>(arguments_))...};
    }
  }
  std::tuple<S...> arguments_;
  A object_;  // destroyed first
};

using MakeHosted = std::unique_ptr<Hosted> (*)(Decoder& in);

template <class A, class... S>
[[gnu::visibility("hidden")]] std::unique_ptr<Hosted> make_hosted(Decoder& in) {
  in.expect_array(sizeof...(S), "the arguments of the constructor");
  return std::make_unique<TypedHosted<A, S...>>(in);
}

template <class A, class... S>
constexpr bool require_constructible() {
  static_assert(!std::is_abstract_v<A>,
                "brood: an abstract class cannot be made in another process; name the derived one");
  constexpr bool kCanBeMade = kConstructible<A, std::conditional_t<Shareable<S>, S&, S&&>...> ||
                              requires(std::conditional_t<Shareable<S>, S&, S&&>... s) {
    A{static_cast<std::conditional_t<Shareable<S>, S&, S&&>>(s)...};
  };
  static_assert(
      kCanBeMade || std::is_abstract_v<A>,
      "brood: the object has no constructor for these arguments (text arrives as std::string, everything else as "
      "what it is, shared objects as lvalues)");
  return kCanBeMade;
}

/// How to make an A from `args` in another process of this program: its bytes, and the shared objects among them.
template <class A, class... Args>
[[nodiscard, gnu::visibility("hidden")]] PackedCall pack_hosted(Args&&... args) {
  PackedCall out;
  if constexpr (require_constructible<A, GenericParameter<Args>...>()) {
    if constexpr ((require_parameter<GenericParameter<Args>>() && ...)) {
      Encoder encoder;
      begin_call(encoder, out, reinterpret_cast<const void*>(&make_hosted<A, GenericParameter<Args>...>), nullptr);
      encoder.array_header(sizeof...(Args));
      (encode_argument<
           std::conditional_t<Shareable<GenericParameter<Args>>, GenericParameter<Args>&, GenericParameter<Args>>>(
           encoder, std::forward<Args>(args)),
       ...);
      finish_call(encoder, out);
    }
  }
  return out;
}
/// The inverse, in the other process. Errors: StartError (another program or build), DecodeError, whatever the constructor
/// throws.
[[nodiscard]] std::unique_ptr<Hosted> unpack_hosted(std::span<const std::byte> packed);

}  // namespace brood::inline v1::detail
