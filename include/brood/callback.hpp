// Callback: a function of this process that an object in another process can call.                  (room: call)
//
//   brood::Callback<void(int)> progress([&bar](int percent) { bar.show(percent); });
//   index.call<&Index::build>(path, progress);            // Index::build(const std::string&, brood::Callback<void(int)>)
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "brood/detail/call_line.hpp"
#include "brood/detail/codec.hpp"
#include "brood/error.hpp"

namespace brood::inline v1 {

template <class Signature>
class Callback;

namespace detail {

/// A function of this process with the number by which others know it, or the way to one of another process.
class CallbackCore {
 public:
  using Function = CallbackFunction;
  explicit CallbackCore(Function function);
  [[nodiscard]] static CallbackCore decode(Decoder& in);
  void encode(Encoder& out) const;

  [[nodiscard]] bool is_here() const noexcept { return function_ != nullptr; }
  /// Errors: PeerGone if the conversation by which it came is over.
  [[nodiscard]] std::shared_ptr<call::Line> line() const;
  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }

 private:
  CallbackCore() = default;
  std::shared_ptr<Function> function_;
  std::weak_ptr<call::Line> line_;
  std::uint64_t number_ = 0;
};

}  // namespace detail

/// A function that is called in the process that made it, from wherever it was sent to as an argument of a call.
///
/// It is called in the thread that waits for the call which it was an argument of, while that waits; later, or during an
/// async() call, in the thread that receives the answers. What it throws is thrown by the far operator(). Far copies are
/// good until that call has been answered, and longer as long as there is a copy here (then HandleError), but no longer than the
/// two processes live and talk (PeerGone). So a lambda that is passed as it is can be called by that call; one that the other
/// side shall keep has a name here.
///
/// Threads: safe if the function is. Source: CORBA and COM callbacks; Python has no counterpart.
template <class R, class... P>
class Callback<R(P...)> {
 public:
  template <class F>
  requires(!std::same_as<std::remove_cvref_t<F>, Callback> && std::is_invocable_r_v<R, F&, P...>)
      Callback(F function)  // NOLINT(google-explicit-constructor): as std::function
      : here_(std::make_shared<std::function<R(P...)>>(std::move(function))),
        core_([here = here_](detail::Decoder& in, detail::Encoder& out) { return answer(*here, in, out); }) {}

  /// Call it, wherever it is. Errors: what the function throws; HandleError, PeerGone (see above).
  R operator()(P... args) const {
    if (core_.is_here()) return (*here_)(std::forward<P>(args)...);
    const std::shared_ptr<call::Line> line = core_.line();
    detail::CallRequest request(*line, core_.number(), {});
    detail::encode_arguments_for(request, detail::TypeList<P...>{}, std::forward<P>(args)...);
    return detail::call_and_decode<R>(request, Deadline::never());
  }

 private:
  friend struct Codec<Callback>;
  explicit Callback(detail::CallbackCore core) : core_(std::move(core)) {}

  static std::shared_ptr<const void> answer(const std::function<R(P...)>& function, detail::Decoder& in,
                                            detail::Encoder& out) {
    in.expect_array(sizeof...(P), "the arguments of a Callback");
    std::tuple<std::remove_cvref_t<P>...> arguments{detail::decode<std::remove_cvref_t<P>>(in)...};
    in.finish();
    return detail::encode_result<R>(out, [&]() -> R {
      return [&]<std::size_t... I>(std::index_sequence<I...> /*all*/)->R {
        return function(detail::pass<P>(std::get<I>(arguments))...);
      }
      (std::index_sequence_for<P...>{});
    });
  }

  std::shared_ptr<std::function<R(P...)>> here_;
  detail::CallbackCore core_;
};

template <class R, class... P>
struct Codec<Callback<R(P...)>> {
  static void encode(Encoder& out, const Callback<R(P...)>& callback) { callback.core_.encode(out); }
  static Callback<R(P...)> decode(Decoder& in) { return Callback<R(P...)>(detail::CallbackCore::decode(in)); }
};

}  // namespace brood::inline v1
