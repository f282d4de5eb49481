#include "remote/host.hpp"

#include <unistd.h>

#include <exception>
#include <memory>
#include <thread>
#include <utility>

#include "brood/detail/call_line.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/error.hpp"
#include "brood/remote_error.hpp"
#include "call/line.hpp"
#include "os/thrown_from.hpp"
#include "process/bootstrap.hpp"
#include "process/current.hpp"

namespace brood::inline v1::remote {
namespace {

/// What travels through the pipe of a Remote.
enum class CallMessage : std::uint8_t {};

/// A killed creator is seen as the end of the conversation. Who does not come back to it is ended.
constexpr std::int64_t kGraceNs = 1'000'000'000;

struct Making {
  const std::vector<std::byte>& constructor;
  std::unique_ptr<detail::Hosted> made = {};
};

}  // namespace

LineEnd LineEnd::open(const Handle& handle) {
  return {detail::ConnectionCore::open(handle, detail::kPayloadType<CallMessage>)};
}

std::pair<LineEnd, LineEnd> make_line() {
  auto [one, other] = detail::ConnectionCore::make_pipe({}, detail::kPayloadType<CallMessage>);
  return {LineEnd{std::move(one)}, LineEnd{std::move(other)}};
}

void run_host(LineEnd& end, unsigned threads, const std::vector<std::byte>& constructor) {
  process::end_with_parent(kGraceNs);
  Making making{constructor};
  Encoder first;
  os::ThrownFrom from;
  bool is_made = false;
  try {
    os::call_and_note_throw(
        [](void* context) {
          auto& todo = *static_cast<Making*>(context);
          todo.made = detail::unpack_hosted(todo.constructor);
        },
        &making, from);
    first.boolean(true);
    is_made = true;
  } catch (...) {
    first.clear();
    detail::encode_exception(
        first, std::current_exception(),
        {.pid = ::getpid(), .process_name = process::current().name, .stack = describe(from, "  ")});
  }
  try {
    (void)end.connection.send(first.bytes(), first.handles(), Deadline::never());
  } catch (const PeerGone&) {
    return;  // nobody is there any more
  }
  if (!is_made) return;

  const auto line = std::make_shared<call::Line>(
      std::move(end.connection),
      [object = making.made->object()](call::Line& /*line*/, const call::Line::Asked& asked, Decoder& in,
                                       Encoder& out) {
        if (asked.method == nullptr) throw UsageError("the object of a Remote has no methods that are known by name");
        return asked.method->function()(object, in, out);
      },
      [](const std::exception_ptr& /*why*/) {
        return std::make_exception_ptr(PeerGone("the process that made this Remote is gone, or has stopped it"));
      });
  {
    std::vector<std::jthread> others;
    for (unsigned i = 1; i < threads; ++i) others.emplace_back([&] { line->serve(); });
    line->serve();
  }
  making.made.reset();  // may call back
}

void expect_made(detail::ConnectionCore& connection) {
  const detail::SpareReceived first;
  (void)connection.receive(*first, Deadline::never());
  Decoder in(first->bytes(), first->descriptors());
  if (in.peek() == detail::WireType::boolean) return;
  std::rethrow_exception(detail::decode_exception(in));
}

}  // namespace brood::inline v1::remote
