// Functions for a Pool's workers: what they take and give, and how they are called there.            (room: pool)
#pragma once

// clang-format off: version 14 understands neither concepts nor && between traits

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <span>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "brood/detail/callable.hpp"
#include "brood/detail/method.hpp"

namespace brood::inline v1::detail {

/// A function that is known when the program is compiled, as a type.
template <auto Given>
struct Fixed {};

template <class F>
struct PoolTarget {  // a lambda without captures, or a pointer
  using Pointer = F;
  static constexpr bool kFixed = false;
  static constexpr TargetProblem kProblem = target_problem<F>();
};
template <auto Given>
struct PoolTarget<Fixed<Given>> {
  using Pointer = std::remove_cv_t<decltype(Given)>;
  static constexpr bool kFixed = true;
  static constexpr TargetProblem kProblem = target_problem<Pointer>();
};

/// A non-const reference to what cannot be sent back is the worker's state; so is whatever comes first of one parameter too
/// many.
template <class F, class... Args>
struct PoolCall {
  using Pointer = typename PoolTarget<F>::Pointer;
  using All = typename CallOf<Pointer, Args...>::Parameters;

  template <class List>
  struct Split;
  template <class... P>
  struct Split<TypeList<P...>> {
    static constexpr bool kStateful = false;
    using State = void;
    using Parameters = TypeList<P...>;
  };
  template <class S, class... P>
  requires(sizeof...(P) == sizeof...(Args)) struct Split<TypeList<S, P...>> {
    static constexpr bool kStateful = true;
    using State = S;
    using Parameters = TypeList<P...>;
  };
  static constexpr bool kStateful = Split<All>::kStateful;
  using State = std::remove_cvref_t<typename Split<All>::State>;
  using Parameters = typename Split<All>::Parameters;
};

/// For a generic lambda: how it takes what was decoded (as unpack_typed).
template <class Pointer, class List>
struct PoolPassed {
  using type = List;
};
template <class Pointer, class... S>
requires(std::is_class_v<Pointer> && !HasOneCallOperator<Pointer>) struct PoolPassed<Pointer, TypeList<S...>> {
  static constexpr auto pick() {
    if constexpr (kGenericTakesValues<Pointer, S...>) return TypeList<std::conditional_t<Shareable<S>, S&, S>...>{};
    else if constexpr (kGenericTakesConst<Pointer, S...>) {
      return TypeList<std::conditional_t<Shareable<S>, S&, const S&>...>{};
    } else {
      return TypeList<S...>{};
    }
  }
  using type = decltype(pick());
};

template <class F, class... Args>
using PoolParameters =
    typename PoolPassed<typename PoolTarget<F>::Pointer, typename PoolCall<F, Args...>::Parameters>::type;

/// Stands for the result of a call that was refused, so that what is done with it is no further error.
struct Refused {
  template <class T>
  operator T() const;  // NOLINT(google-explicit-constructor)
  [[nodiscard]] Refused get() const;
  [[nodiscard]] Refused* begin() const;
  [[nodiscard]] Refused* end() const;
};

template <class F, class... Args>
struct InvokedOr {
  using type = Refused;
};
template <class F, class... Args>
requires(std::is_invocable_v<F, Args...>) struct InvokedOr<F, Args...> {
  using type = std::invoke_result_t<F, Args...>;
};
template <class Pointer, class State, class List>
struct PoolResultOf;
template <class Pointer, class State, class... P>
struct PoolResultOf<Pointer, State, TypeList<P...>> : InvokedOr<Pointer&, State&, P...> {};
template <class Pointer, class... P>
struct PoolResultOf<Pointer, void, TypeList<P...>> : InvokedOr<Pointer&, P...> {};
/// What F(args…) gives here; Refused if it cannot be called like that.
template <class F, class... Args>
using pool_result_t =
    std::remove_cvref_t<typename PoolResultOf<typename PoolTarget<F>::Pointer, typename PoolCall<F, Args...>::State,
                                              PoolParameters<F, Args...>>::type>;

template <class F, class... Args>
constexpr bool require_pool_target() {
  using Pointer = typename PoolTarget<F>::Pointer;
  if constexpr (require_target<Pointer>()) {
    using All = typename CallOf<Pointer, Args...>::Parameters;
    constexpr bool kFits = []<class... P>(TypeList<P...>) {
      return sizeof...(P) == sizeof...(Args) || sizeof...(P) == sizeof...(Args) + 1;
    }(All{});
    static_assert(kFits,
                  "brood: the number of arguments differs from the number of the task's parameters (one more is the "
                  "worker's state; default arguments do not travel; starmap takes tuples apart, map does not)");
    if constexpr (kFits) {
      constexpr bool kTravels = []<class... P>(TypeList<P...>) {
        return (require_parameter<P>() && ...);
      }(PoolParameters<F, Args...>{});
      constexpr bool kCallable = !std::is_same_v<pool_result_t<F, Args...>, Refused>;
      static_assert(!kTravels || kCallable, "brood: the target cannot be called with these arguments");
      return kTravels && kCallable;
    } else {
      return false;
    }
  } else {
    return false;
  }
}

template <class R>
constexpr bool require_task_result() {
  if constexpr (std::is_void_v<R>) return true;
  else {
    static_assert(!std::is_pointer_v<R>,
                  "brood: the task returns a pointer into the worker's memory; return the value that it points to");
    static_assert(
        std::is_pointer_v<R> || Transferable<R>,
        "brood: the task returns a type that cannot travel (brood/serialize.hpp says what can); give the pool "
        "a lambda that makes a value of it");
    return Transferable<R>;
  }
}

template <class Range>
constexpr bool require_items() {
  static_assert(std::ranges::input_range<Range>,
                "brood: the items of a map are no range: pass a container, a view, a generator, or {1, 2, 3}; for one "
                "call there is submit(f, x)");
  return std::ranges::input_range<Range>;
}
template <class Range>
struct ItemOf {
  using type = int;  // whatever: it was refused
};
template <std::ranges::input_range Range>
struct ItemOf<Range> {
  using type = std::ranges::range_reference_t<Range>;
};
template <class Range>
using item_reference_t = typename ItemOf<Range>::type;

template <class Item>
inline constexpr bool kIsTuple = requires {
  std::tuple_size<std::remove_cvref_t<Item>>::value;
};
template <class Item>
constexpr std::size_t star_size() {
  if constexpr (kIsTuple<Item>) return std::tuple_size_v<std::remove_cvref_t<Item>>;
  else return 0;
}
template <class Item>
constexpr bool require_tuple() {
  static_assert(kIsTuple<Item>,
                "brood: starmap takes items that are tuples, pairs or arrays, whose parts are the arguments");
  return kIsTuple<Item>;
}

template <class F, class... A>
decltype(auto) call_pool_target(const void* target, A&&... args) {
  if constexpr (kIsFunctionPointer<F>) {
    return reinterpret_cast<F>(const_cast<void*>(target))(std::forward<A>(args)...);
  } else {
    (void)target;
    return F{}(std::forward<A>(args)...);
  }
}
template <class F>
struct PoolCaller {
  template <class... A>
  static decltype(auto) call(const void* target, A&&... args) {
    return call_pool_target<F>(target, std::forward<A>(args)...);
  }
};
template <auto Given>
struct PoolCaller<Fixed<Given>> {
  template <class... A>
  static decltype(auto) call(const void* /*target*/, A&&... args) {
    return Given(std::forward<A>(args)...);
  }
};

/// Runs in a worker: decodes the arguments of one item, calls, encodes the result, and gives what must live until that has
/// been sent.
using PoolInvoke = std::shared_ptr<const void> (*)(const void* target, void* state, Decoder& in, Encoder& out);

template <class F, class State, class... P>
[[gnu::visibility("hidden")]] std::shared_ptr<const void> pool_invoke(const void* target, void* state, Decoder& in,
                                                                      Encoder& out) {
  // Braces: decoded from left to right.
  std::tuple<std::remove_cvref_t<P>...> arguments{detail::decode<std::remove_cvref_t<P>>(in)...};
  in.finish();
  std::apply([](auto&... argument) { (arrived(argument), ...); }, arguments);
  const auto call = [&]<std::size_t... I>(std::index_sequence<I...> /*all*/)->decltype(auto) {
    if constexpr (std::is_void_v<State>) {
      return PoolCaller<F>::call(target, pass<P>(std::get<I>(arguments))...);
    } else {
      return PoolCaller<F>::call(target, *static_cast<State*>(state), pass<P>(std::get<I>(arguments))...);
    }
  };
  constexpr std::index_sequence_for<P...> kAll;
  (void)state;
  return encode_result<decltype(call(kAll))>(out, [&]() -> decltype(auto) { return call(kAll); });
}

/// Which function a task runs.
struct PoolFunction {
  const void* invoke = nullptr;           ///< a PoolInvoke
  const void* target = nullptr;           ///< null if the type of the PoolInvoke says it
  const std::type_info* state = nullptr;  ///< what it wants of the worker; null: nothing
};

template <class F, class State, class... P>
[[gnu::visibility("hidden")]] const void* pool_invoker(TypeList<P...> /*parameters*/) {
  return reinterpret_cast<const void*>(&pool_invoke<F, State, P...>);
}

/// Errors: UsageError (a null pointer).
template <class F, class... Args>
[[nodiscard, gnu::visibility("hidden")]] PoolFunction pool_function(const typename PoolTarget<F>::Pointer& f) {
  using Call = PoolCall<F, Args...>;
  PoolFunction out;
  using State = std::conditional_t<Call::kStateful, typename Call::State, void>;
  if constexpr (Call::kStateful) out.state = &typeid(typename Call::State);
  out.invoke = pool_invoker<F, State>(PoolParameters<F, Args...>{});
  if constexpr (kIsFunctionPointer<F>) {
    if (f == nullptr) throw_null_target();
    out.target = reinterpret_cast<const void*>(f);
  } else {
    (void)f;
  }
  return out;
}

template <class... P, class... Args>
void encode_pool_arguments(Encoder& out, TypeList<P...> /*parameters*/, Args&&... args) {
  (encode_argument<P>(out, std::forward<Args>(args)), ...);
}

// --- the state of a worker -------------------------------------------------------------------------------------------

/// What an initializer has returned, with the arguments that it had.
class WorkerState {
 public:
  WorkerState() = default;
  WorkerState(const WorkerState&) = delete;
  WorkerState& operator=(const WorkerState&) = delete;
  virtual ~WorkerState();
  [[nodiscard]] virtual void* object() noexcept = 0;  ///< null: it returned nothing
};
using MakeState = std::unique_ptr<WorkerState> (*)(const void* target, Decoder& in);

/// References that the state keeps to shared arguments stay good.
template <class F, class... P>
class TypedState final : public WorkerState {
 public:
  TypedState(const void* target, Decoder& in) : arguments_{detail::decode<std::remove_cvref_t<P>>(in)...} {
    std::apply([](auto&... argument) { (arrived(argument), ...); }, arguments_);
    run(target, std::index_sequence_for<P...>{});
  }
  [[nodiscard]] void* object() noexcept override {
    if constexpr (std::is_void_v<Result>) return nullptr;
    else return object_.get();
  }

 private:
  using Result = std::remove_cvref_t<std::invoke_result_t<F&, P...>>;
  template <std::size_t... I>
  void run(const void* target, std::index_sequence<I...> /*all*/) {
    if constexpr (std::is_void_v<Result>) {
      call_pool_target<F>(target, pass<P>(std::get<I>(arguments_))...);
    } else {
      object_.reset(new Result(call_pool_target<F>(target, pass<P>(std::get<I>(arguments_))...)));
    }
  }
  std::tuple<std::remove_cvref_t<P>...> arguments_;
  std::unique_ptr<std::conditional_t<std::is_void_v<Result>, char, Result>> object_;  // destroyed first
};

template <class F, class... P>
[[gnu::visibility("hidden")]] std::unique_ptr<WorkerState> make_worker_state(const void* target, Decoder& in) {
  in.expect_array(sizeof...(P), "the arguments of the initializer");
  return std::make_unique<TypedState<F, P...>>(target, in);
}

template <class F, class... P>
[[gnu::visibility("hidden")]] const void* state_maker(TypeList<P...> /*parameters*/) {
  return reinterpret_cast<const void*>(&make_worker_state<F, P...>);
}

template <class F, class... Args>
using StateParameters = typename PoolPassed<F, typename CallOf<F, Args...>::Parameters>::type;

/// How a worker makes its state: bytes, and the shared objects among the arguments.
template <class F, class... Args>
[[nodiscard, gnu::visibility("hidden")]] PackedCall pack_state_maker(F&& f, Args&&... args) {
  using Target = std::decay_t<F>;
  PackedCall out;
  if constexpr (require_target<Target>()) {
    using Parameters = StateParameters<Target, Args...>;
    constexpr bool kFits = []<class... P>(TypeList<P...>) { return sizeof...(P) == sizeof...(Args); }(Parameters{});
    static_assert(kFits, "brood: the number of arguments differs from the number of the initializer's parameters");
    if constexpr (kFits) {
      const void* target = nullptr;
      if constexpr (kIsFunctionPointer<Target>) {
        const Target pointer = f;
        if (pointer == nullptr) throw_null_target();
        target = reinterpret_cast<const void*>(pointer);
      }
      Encoder encoder;
      begin_call(encoder, out, state_maker<Target>(Parameters{}), target);
      encoder.array_header(sizeof...(Args));
      encode_pool_arguments(encoder, Parameters{}, std::forward<Args>(args)...);
      finish_call(encoder, out);
    }
  }
  return out;
}
template <class F, class List>
struct StateResult;
template <class F, class... P>
struct StateResult<F, TypeList<P...>> {
  using type = std::remove_cvref_t<std::invoke_result_t<F&, P...>>;
};
template <class F, class... Args>
[[nodiscard]] const std::type_info* state_type() {
  if constexpr (target_problem<F>() == TargetProblem::none) {
    using Result = typename StateResult<F, StateParameters<F, Args...>>::type;
    return std::is_void_v<Result> ? nullptr : &typeid(Result);
  } else {
    return nullptr;
  }
}
/// Errors: StartError (another program or build), DecodeError.
void require_state_maker(std::span<const std::byte> packed);
/// In the worker. Errors: the same, and whatever the initializer throws.
[[nodiscard]] std::unique_ptr<WorkerState> make_state(std::span<const std::byte> packed);

}  // namespace brood::inline v1::detail
