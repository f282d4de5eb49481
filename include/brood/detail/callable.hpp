// A call that travels: which function, and its arguments.                                          (room: wire)
//
// What crosses is the place of one instance of `unpack_typed` in the program image (build id + offset), made for the
// type of the target and of its parameters. A lambda without captures needs no more: its type says everything. For a
// function pointer the function's own place goes along. No registration, no names.
//
//   sender      PackedCall call = pack_call(work, queue, 7);       // encodes for the parameters of `work`
//   receiver    std::unique_ptr<UnpackedCall> ready = unpack_call(bytes);    // opens queue; failures are start()'s
//               (*ready)();                                                  // runs work(queue, 7)
#pragma once

// clang-format off: version 14 understands neither concepts nor && between traits

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "brood/detail/codec.hpp"

namespace brood::inline v1::detail {

/// A call, ready to be sent.
struct PackedCall {
  std::vector<std::byte> bytes;  ///< for unpack_call
  std::vector<Handle> handles;   ///< shared objects among the arguments; whoever sends the call pins them on the way
  bool in_main_program = true;   ///< the target, or the code that packed the call, is part of the program itself
  std::string module_path;       ///< file that holds the code that packed the call
  std::string module_build_id;   ///< its build id
};

/// A call whose arguments have arrived and whose shared objects are open.
///
/// The arguments live as long as this object, so that references to them outlast the call; after the target threw, the
/// owner decides when they go.
class UnpackedCall {
 public:
  virtual ~UnpackedCall();
  UnpackedCall(const UnpackedCall&) = delete;
  UnpackedCall& operator=(const UnpackedCall&) = delete;
  /// Calls the target. Once: arguments taken by value have been moved away. Errors: whatever the target throws;
  /// UsageError at a second call.
  void operator()();
  /// Encodes what the target returned (nil for void) — for a Pool; Process ignores it.
  /// Errors: UsageError before the call has returned, or if the result's type cannot travel.
  virtual void encode_result(Encoder& out) const = 0;

 protected:
  UnpackedCall() = default;
  [[nodiscard]] bool has_returned() const noexcept { return state_ == State::returned; }
  [[noreturn]] static void throw_no_result(std::string_view why);

 private:
  virtual void run() = 0;
  enum class State : std::uint8_t { ready, entered, returned } state_ = State::ready;
};

/// Finds the target in this program, decodes the arguments and opens the shared objects.
/// Errors: StartError if the sender is another program or build (both build ids are named); DecodeError;
///         what opening a shared object throws (HandleError, TypeMismatch, …).
[[nodiscard]] std::unique_ptr<UnpackedCall> unpack_call(std::span<const std::byte> packed);

// --- the target's signature ------------------------------------------------------------------------------------------

template <class T>
inline constexpr bool kIsFunctionPointer = std::is_pointer_v<T>&& std::is_function_v<std::remove_pointer_t<T>>;

template <class Signature>
struct SignatureOf {
  static constexpr bool kKnown = false;
};
template <class R, class... P>
struct SignatureOf<R(P...)> {
  static constexpr bool kKnown = true;
  using Result = R;
  using Parameters = TypeList<P...>;
};
template <class R, class... P>
struct SignatureOf<R(P...) noexcept> : SignatureOf<R(P...)> {};
template <class R, class C, class... P>
struct SignatureOf<R (C::*)(P...)> : SignatureOf<R(P...)> {};
template <class R, class C, class... P>
struct SignatureOf<R (C::*)(P...) const> : SignatureOf<R(P...)> {};
template <class R, class C, class... P>
struct SignatureOf<R (C::*)(P...) noexcept> : SignatureOf<R(P...)> {};
template <class R, class C, class... P>
struct SignatureOf<R (C::*)(P...) const noexcept> : SignatureOf<R(P...)> {};

template <class F>
concept HasOneCallOperator = requires {
  &F::operator();
};
/// A lambda without captures, or another empty function class: its type alone is the function.
template <class F>
concept StatelessCallable = std::is_class_v<F> && std::is_empty_v<F> && std::is_default_constructible_v<F>;

enum class TargetProblem : std::uint8_t { none, function_object, member_pointer, variadic, captures, not_callable };

template <class F>
constexpr TargetProblem target_problem() {
  if constexpr (std::is_member_pointer_v<F>) return TargetProblem::member_pointer;
  else if constexpr (kIsFunctionPointer<F>) {
    return SignatureOf<std::remove_pointer_t<F>>::kKnown ? TargetProblem::none : TargetProblem::variadic;
  } else if constexpr (FunctionObjectLike<F>) return TargetProblem::function_object;
  else if constexpr (!std::is_class_v<F>) return TargetProblem::not_callable;
  else if constexpr (!StatelessCallable<F>) return TargetProblem::captures;
  else if constexpr (HasOneCallOperator<F>) {
    return SignatureOf<decltype(&F::operator())>::kKnown ? TargetProblem::none : TargetProblem::variadic;
  } else return TargetProblem::none;  // generic: asked with the arguments
}

template <class F>
constexpr bool require_target() {
  constexpr TargetProblem kWhy = target_problem<F>();
  static_assert(
      kWhy != TargetProblem::function_object,
      "brood: the target is a std::function, and what is in it cannot be found again in another process; pass "
      "the function itself, or a lambda without captures, and its data as arguments");
  static_assert(
      kWhy != TargetProblem::member_pointer,
      "brood: the target is a pointer to a member, which needs an object of this process; pass a lambda without "
      "captures that takes the object as an argument and calls the member");
  static_assert(kWhy != TargetProblem::variadic,
                "brood: the target takes C varargs or its call operator is qualified with & or volatile; pass a plain "
                "function or a lambda");
  static_assert(
      kWhy != TargetProblem::captures,
      "brood: the target is a lambda with captures (or an object with data), and captures would refer to this "
      "process; pass them as arguments: Process([](Lock& lock, int n) { … }, lock, n)");
  static_assert(kWhy != TargetProblem::not_callable,
                "brood: the target is not callable; pass a function or a lambda without captures");
  return kWhy == TargetProblem::none;
}

// --- the types that cross --------------------------------------------------------------------------------------------

template <class A>
inline constexpr bool kIsText =
    std::is_same_v<std::decay_t<A>, const char*> || std::is_same_v<std::decay_t<A>, char*> ||
    std::is_same_v<std::remove_cvref_t<A>, std::string_view>;
/// What an argument is for a generic lambda: itself, decayed; text becomes a std::string.
template <class A>
using GenericParameter = std::conditional_t<kIsText<A>, std::string, std::decay_t<A>>;

template <class F, class... Args>
struct CallOf {  // generic lambda
  using Parameters = TypeList<GenericParameter<Args>...>;
};
template <class F, class... Args>
requires kIsFunctionPointer<F>
struct CallOf<F, Args...> {
  using Parameters = typename SignatureOf<std::remove_pointer_t<F>>::Parameters;
};
template <class F, class... Args>
requires HasOneCallOperator<F>
struct CallOf<F, Args...> {
  using Parameters = typename SignatureOf<decltype(&F::operator())>::Parameters;
};

/// A writable reference to a value would change the copy that the receiver has; a shared object is itself a reference.
template <class P>
inline constexpr bool kLosesWrites =
    std::is_lvalue_reference_v<P> && !std::is_const_v<std::remove_reference_t<P>> && !Shareable<std::remove_cvref_t<P>>;

template <class P>
constexpr bool require_parameter() {
  static_assert(
      !kLosesWrites<P>,
      "brood: a parameter of the target is a non-const reference to a value, so what it writes would be lost with "
      "the child's copy; take it by value or const&, and hand results back through brood::Value or brood::Queue");
  if constexpr (kLosesWrites<P>) return false;
  else return require_travels<std::remove_cvref_t<P>>();
}

template <class T>
inline constexpr bool kIsReferenceWrapper = false;
template <class T>
inline constexpr bool kIsReferenceWrapper<std::reference_wrapper<T>> = true;

// --- sending ---------------------------------------------------------------------------------------------------------

template <class Stored, class A>
constexpr bool require_argument() {
  using Plain = std::remove_cvref_t<A>;
  constexpr bool kTemporaryObject = Shareable<Plain> && std::is_rvalue_reference_v<A&&>;
  static_assert(!kTemporaryObject,
                "brood: a temporary (or moved) shared object is passed to a call in another process, and would be gone "
                "before it is opened there; give it a name here, keep it until the other has it, and pass that name");
  constexpr bool kWrapped = kIsReferenceWrapper<Plain> && Shareable<Stored>;
  static_assert(
      !kWrapped,
      "brood: an argument is a std::ref of a shared object; pass the object itself, which travels as a handle");
  constexpr bool kConverts = std::is_same_v<Plain, Stored> || std::is_convertible_v<A&&, Stored> ||
                             (std::is_same_v<Stored, std::string> && kIsText<A>);
  static_assert(kTemporaryObject || kWrapped || kConverts,
                "brood: an argument cannot be converted to the type of the target's parameter at its place");
  return !kTemporaryObject && !kWrapped && kConverts;
}

/// Encodes one argument as the type of its parameter, as a plain call would convert it.
template <class P, class A>
void encode_argument(Encoder& out, A&& argument) {
  using Stored = std::remove_cvref_t<P>;
  if constexpr (require_parameter<P>() && require_argument<Stored, A>()) {
    if constexpr (std::is_same_v<std::remove_cvref_t<A>, Stored>) detail::encode(out, std::as_const(argument));
    else if constexpr (std::is_integral_v<Stored> && std::is_integral_v<std::remove_cvref_t<A>> &&
                       sizeof(argument) <= sizeof(Stored)) {
      // f(1) for an unsigned parameter is no reason for a warning (clang's -Wsign-conversion) in here.
      detail::encode(out, static_cast<Stored>(argument));
    } else if constexpr (std::is_convertible_v<A&&, Stored>) {
      const Stored converted = std::forward<A>(argument);
      detail::encode(out, converted);
    } else {
      detail::encode(out, Stored(argument));
    }
  }
}

// The untyped half.                                                                        (lib/wire/callable.cpp)
/// Begins a packed call: where the unpacking instance and, unless null, the target are. The arguments follow.
void begin_call(Encoder& out, PackedCall& call, const void* unpacker, const void* target);
void finish_call(Encoder& out, PackedCall& call);
[[noreturn]] void throw_null_target();

using Unpacker = std::unique_ptr<UnpackedCall> (*)(Decoder& in, const void* target);

// --- receiving -------------------------------------------------------------------------------------------------------

/// How a stored argument reaches a parameter: shared objects and const references as they lie, values are moved out.
template <class P, class Stored>
constexpr decltype(auto) pass(Stored& stored) noexcept {
  if constexpr (std::is_lvalue_reference_v<P>) return static_cast<Stored&>(stored);
  else return static_cast<Stored&&>(stored);
}

/// A shared object that counts its users (a Barrier its parties) counts this process from now on, before the target
/// uses it: if we die before, it is told.
template <class Stored>
void arrived(Stored& argument) {
  if constexpr (Shareable<Stored> && requires { argument.enrol(); }) argument.enrol();
}

/// F is a function pointer type or a stateless class; P are the parameters.
template <class F, class... P>
class TypedCall final : public UnpackedCall {
 public:
  TypedCall(Decoder& in, const void* target)
      : target_(target), arguments_{detail::decode<std::remove_cvref_t<P>>(in)...} {
    std::apply([](auto&... argument) { (arrived(argument), ...); }, arguments_);
  }

  void encode_result(Encoder& out) const override {
    if (!has_returned()) throw_no_result("the call has not returned");
    if constexpr (std::is_void_v<Result>) out.nil();
    else if constexpr (kKeepsResult) detail::encode(out, *result_);
    else throw_no_result("the type of the result cannot travel");
  }

 private:
  void run() override {
    if constexpr (kKeepsResult) result_.emplace(call(std::index_sequence_for<P...>{}));
    else call(std::index_sequence_for<P...>{});
  }
  template <std::size_t... I>
  decltype(auto) call(std::index_sequence<I...>) {
    if constexpr (kIsFunctionPointer<F>) {
      return reinterpret_cast<F>(const_cast<void*>(target_))(pass<P>(std::get<I>(arguments_))...);
    } else {
      return F{}(pass<P>(std::get<I>(arguments_))...);
    }
  }
  using Result = decltype(std::declval<F&>()(pass<P>(std::declval<std::remove_cvref_t<P>&>())...));
  static constexpr bool kKeepsResult = [] {
    if constexpr (std::is_void_v<Result>) return false;
    else return Transferable<std::remove_cvref_t<Result>>;
  }();
  struct Nothing {};
  using Kept = std::conditional_t<kKeepsResult, std::optional<std::remove_cvref_t<Result>>, Nothing>;

  const void* target_;
  std::tuple<std::remove_cvref_t<P>...> arguments_;
  [[no_unique_address]] Kept result_;
};

/// Hidden, as everything is that leads from a Process to its address: each library finds its own instance. That of the
/// program, which the linker would take for both, is not there in a light child.
template <class F, class... P>
[[gnu::visibility("hidden")]] std::unique_ptr<UnpackedCall> unpack_typed(Decoder& in, const void* target) {
  in.expect_array(sizeof...(P), "the arguments of the call");
  return std::make_unique<TypedCall<F, P...>>(in, target);
}

/// A generic lambda's `auto&` cannot be asked what it wants: shared objects go in as lvalues, values as rvalues unless
/// only an lvalue is accepted; where that does not do, all as rvalues (`auto`, which the objects are moved into).
template <class F, class... S>
inline constexpr bool kGenericTakesValues = std::is_invocable_v<F&, std::conditional_t<Shareable<S>, S&, S&&>...>;
template <class F, class... S>
inline constexpr bool kGenericTakesConst = std::is_invocable_v<F&, std::conditional_t<Shareable<S>, S&, const S&>...>;

template <class F, class... S>
inline constexpr bool kGenericTakesAll = std::is_invocable_v<F&, S&&...>;

template <class F, class... S>
[[gnu::visibility("hidden")]] constexpr Unpacker generic_unpacker() {
  if constexpr (kGenericTakesValues<F, S...>) return &unpack_typed<F, std::conditional_t<Shareable<S>, S&, S>...>;
  else if constexpr (kGenericTakesConst<F, S...>)
    return &unpack_typed<F, std::conditional_t<Shareable<S>, S&, const S&>...>;
  else return &unpack_typed<F, S...>;
}

template <class F, class... S, class... Args>
[[gnu::visibility("hidden")]] void pack_generic(Encoder& out, PackedCall& call, TypeList<S...>, Args&&... args) {
  constexpr bool kCallable = kGenericTakesValues<F, S...> || kGenericTakesConst<F, S...> || kGenericTakesAll<F, S...>;
  static_assert(kCallable, "brood: the target cannot be called with these arguments");
  if constexpr (kCallable) {
    begin_call(out, call, reinterpret_cast<const void*>(generic_unpacker<F, S...>()), nullptr);
    out.array_header(sizeof...(S));
    (encode_argument<std::conditional_t<Shareable<S>, S&, S>>(out, std::forward<Args>(args)), ...);
  }
}

template <class F, class... P, class... Args>
[[gnu::visibility("hidden")]] void pack_typed(Encoder& out, PackedCall& call, const void* target, TypeList<P...>,
                                              Args&&... args) {
  static_assert(
      sizeof...(P) == sizeof...(Args),
      "brood: the number of arguments differs from the number of the target's parameters (default arguments do not "
      "travel)");
  if constexpr (sizeof...(P) == sizeof...(Args)) {
    if constexpr ((require_parameter<P>() && ...)) {
      begin_call(out, call, reinterpret_cast<const void*>(&unpack_typed<F, P...>), target);
      out.array_header(sizeof...(P));
      (encode_argument<P>(out, std::forward<Args>(args)), ...);
    }
  }
}

/// What F(args…) gives in the other process; for a Pool's futures.
template <class F, class... Args>
struct CallResult;
template <class F, class... Args>
requires(kIsFunctionPointer<F> || HasOneCallOperator<F>) struct CallResult<F, Args...> {
  template <class T>
  struct Of;
  template <class... P>
  struct Of<TypeList<P...>> {
    using type = std::invoke_result_t<F&, P...>;
  };
  using type = typename Of<typename CallOf<F, Args...>::Parameters>::type;
};
template <class F, class... Args>
requires(!kIsFunctionPointer<F> && !HasOneCallOperator<F>) struct CallResult<F, Args...> {
  template <class S>
  using Passed = std::conditional_t<Shareable<S>, S&, S>;
  using type = std::invoke_result_t<F&, Passed<GenericParameter<Args>>...>;
};
template <class F, class... Args>
using call_result_t = std::remove_cvref_t<typename CallResult<std::decay_t<F>, Args...>::type>;

/// Packs the call f(args…) for another process that runs the same program.
///
/// f is a function or a lambda without captures (a generic one too). Each argument is converted to the type of its
/// parameter, as in a plain call, and must be able to travel; what cannot is refused at compile time in one line.
/// Errors: UsageError if f is null or lies in no loaded module; what encoding an argument throws.
template <class F, class... Args>
[[gnu::visibility("hidden")]] PackedCall pack_call(F&& f, Args&&... args) {
  using Target = std::decay_t<F>;
  PackedCall call;
  if constexpr (require_target<Target>()) {
    Encoder out;
    using Parameters = typename CallOf<Target, Args...>::Parameters;
    if constexpr (kIsFunctionPointer<Target>) {
      const Target pointer = f;
      if (pointer == nullptr) throw_null_target();
      pack_typed<Target>(out, call, reinterpret_cast<const void*>(pointer), Parameters{}, std::forward<Args>(args)...);
    } else if constexpr (HasOneCallOperator<Target>) {
      pack_typed<Target>(out, call, nullptr, Parameters{}, std::forward<Args>(args)...);
    } else {
      pack_generic<Target>(out, call, Parameters{}, std::forward<Args>(args)...);
    }
    finish_call(out, call);
  }
  return call;
}

}  // namespace brood::inline v1::detail
