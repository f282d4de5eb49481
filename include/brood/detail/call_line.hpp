// CallLine: one end of a conversation in calls and answers.                                        (room: call)
//
// Both ends may call: the answer to a call may be a call back.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/codec.hpp"
#include "brood/detail/connection_core.hpp"
#include "brood/detail/future_core.hpp"
#include "brood/detail/method.hpp"
#include "brood/detail/queue_items.hpp"

namespace brood::inline v1 {

namespace call {
class Line;  // lib/call/line.hpp
}  // namespace call

namespace detail {

/// A function that the other end may call. Gives what must live until its result has been sent.
using CallbackFunction = std::function<std::shared_ptr<const void>(Decoder& arguments, Encoder& result)>;

/// What must live until a call has been answered: functions that are its arguments.
using Kept = std::vector<std::shared_ptr<const void>>;

/// A call in the making: encode the arguments, then send it one way or the other.
class CallRequest {
 public:
  /// Of a method of object number `object` at the other end. Errors: what `line` throws if the conversation is over.
  CallRequest(call::Line& line, std::uint64_t object, const MethodKey& method);
  [[nodiscard]] Encoder& arguments() noexcept { return *encoder_; }
  [[nodiscard]] call::Line& line() const noexcept { return line_; }

  /// Sends it and waits; the answer is in `into`, and a decoder of it stands before the result. False if there was none until
  /// the deadline: the call goes on, and its answer will be dropped.
  /// Errors: what the other end threw; PeerGone.
  [[nodiscard]] bool call(Received& into, std::size_t& result_at, Deadline deadline);
  /// Sends it; the answer settles `future`.
  void begin(std::shared_ptr<FutureCore> future);

 private:
  friend class EncodesFor;
  call::Line& line_;
  Kept kept_;
  SpareEncoder encoder_;
  std::uint64_t id_;
  std::uint32_t announces_ = 0;
};

/// While it lives, what this thread encodes is part of that call: a Callback needs to know.
class EncodesFor {
 public:
  explicit EncodesFor(CallRequest& request) noexcept;
  ~EncodesFor();
  EncodesFor(const EncodesFor&) = delete;
  EncodesFor& operator=(const EncodesFor&) = delete;

 private:
  call::Line* line_before_;
  Kept* kept_before_;
};

/// While it lives, what this thread decodes came by that line.
class DecodesFrom {
 public:
  explicit DecodesFrom(call::Line& line) noexcept;
  ~DecodesFrom();
  DecodesFrom(const DecodesFrom&) = delete;
  DecodesFrom& operator=(const DecodesFrom&) = delete;

 private:
  call::Line* before_;
};

template <class Parameters, class... Args>
void encode_arguments_for(CallRequest& request, Parameters parameters, Args&&... args) {
  const EncodesFor mark(request);
  encode_arguments(request.arguments(), parameters, std::forward<Args>(args)...);
}

/// Calls and waits. Errors: also TimeoutError.
template <class R>
R call_and_decode(CallRequest& request, Deadline deadline) {
  const SpareReceived answer;
  std::size_t at = 0;
  if (!request.call(*answer, at, deadline)) throw TimeoutError("the call has not been answered in time; it goes on");
  if constexpr (!std::is_void_v<R>) {
    const DecodesFrom mark(request.line());
    Decoder in(answer->bytes().subspan(at), answer->descriptors());
    R result = detail::decode<R>(in);
    in.finish();
    return result;
  }
}

}  // namespace detail
}  // namespace brood::inline v1
