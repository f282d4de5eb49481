// The untyped half of a call that travels: [version, unpacker, target or nil, arguments].
#include "brood/detail/callable.hpp"

#include "brood/error.hpp"
#include "os/function_id.hpp"

namespace brood::inline v1::detail {

namespace {
constexpr std::uint32_t kCallVersion = 1;
}

UnpackedCall::~UnpackedCall() = default;

void UnpackedCall::operator()() {
  if (state_ != State::ready)
    throw UsageError("an unpacked call can run only once: its arguments have been moved away");
  state_ = State::entered;
  run();
  state_ = State::returned;
}

void UnpackedCall::throw_no_result(std::string_view why) {
  throw UsageError("there is no result to send back: " + std::string(why));
}

void begin_call(Encoder& out, PackedCall& call, const void* unpacker, const void* target) {
  const os::FunctionId place = os::identify(unpacker);
  call.in_main_program = place.is_main_program;
  call.module_path = place.path;
  call.module_build_id = place.build_id;
  out.array_header(4);
  out.uint(kCallVersion);
  detail::encode(out, place);
  if (target == nullptr) return out.nil();
  const os::FunctionId function = os::identify(target);
  // Both must be found again.
  call.in_main_program = call.in_main_program || function.is_main_program;
  detail::encode(out, function);
}

void throw_null_target() {
  throw UsageError("the target is a null pointer to a function; pass a function of the program or of a library");
}

void finish_call(Encoder& out, PackedCall& call) {
  call.bytes = out.take_bytes();
  call.handles = out.take_handles();
}

std::unique_ptr<UnpackedCall> unpack_call(std::span<const std::byte> packed) {
  Decoder in(packed);
  in.expect_array(4, "a packed call");
  if (const auto version = in.integer<std::uint32_t>(); version != kCallVersion) {
    in.fail("a packed call of version " + std::to_string(kCallVersion), "version " + std::to_string(version));
  }
  const auto place = detail::decode<os::FunctionId>(in);
  const void* target = nullptr;
  if (!in.try_nil()) target = os::resolve(detail::decode<os::FunctionId>(in));
  const auto unpack = reinterpret_cast<Unpacker>(const_cast<void*>(os::resolve(place)));
  std::unique_ptr<UnpackedCall> call = unpack(in, target);
  in.finish();
  return call;
}

}  // namespace brood::inline v1::detail
