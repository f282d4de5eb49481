#include "brood/callback.hpp"

#include <atomic>

#include "call/line.hpp"

namespace brood::inline v1::detail {
namespace {

constinit std::atomic<std::uint64_t> g_next = call::kFirstLent;

call::Line& current_line() {
  if (auto* const line = call::Line::of_this_thread()) return *line;
  throw UsageError(
      "a Callback travels only as an argument of a call to an object in another process (Remote, Manager), not through "
      "a "
      "Queue, a Connection or to a Process: its answers need a way back");
}

}  // namespace

CallbackCore::CallbackCore(Function function)
    : function_(std::make_shared<Function>(std::move(function))), number_(g_next.fetch_add(1)) {}

void CallbackCore::encode(Encoder& out) const {
  call::Line& line = current_line();
  if (!is_here()) throw UsageError("a Callback of another process cannot be passed on; pass one that calls it");
  line.lend(number_, function_);
  call::Line::keep_for_call(function_);
  out.uint(number_);
}

CallbackCore CallbackCore::decode(Decoder& in) {
  CallbackCore made;
  made.line_ = current_line().weak_from_this();
  made.number_ = in.uint();
  if (made.number_ < call::kFirstLent) in.fail("the number of a Callback", std::to_string(made.number_));
  return made;
}

std::shared_ptr<call::Line> CallbackCore::line() const {
  if (auto line = line_.lock()) return line;
  throw PeerGone("the Callback cannot be called any more: the conversation by which it came is over");
}

}  // namespace brood::inline v1::detail
