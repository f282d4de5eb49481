#include "sync/barrier_action.hpp"

#include "base/hex.hpp"
#include "brood/error.hpp"
#include "os/function_id.hpp"

namespace brood::inline v1::sync {
namespace {
// main program? | offset | build id | path, separated by one space each; the path comes last and may hold any
// character.
constexpr char kSeparator = ' ';
}  // namespace

std::string action_text(void (*action)()) {
  const os::FunctionId id = os::identify(reinterpret_cast<const void*>(action));
  std::string text(1, id.is_main_program ? 'm' : 'l');
  text.append(1, kSeparator)
      .append(base::hex16(id.offset))
      .append(1, kSeparator)
      .append(id.build_id)
      .append(1, kSeparator);
  return id.is_main_program ? text : text.append(id.path);
}

void run_action(std::string_view text) {
  constexpr std::size_t kBuildIdAt = 2 + base::kHexDigits + 1;
  const auto offset = text.size() > kBuildIdAt ? base::parse_hex16(text.substr(2, base::kHexDigits)) : std::nullopt;
  const auto end = text.find(kSeparator, kBuildIdAt);
  if (!offset || end == std::string_view::npos)
    throw DecodeError("a barrier's segment is damaged: its action reads '" + std::string(text) + "'");
  const os::FunctionId id{.build_id = std::string(text.substr(kBuildIdAt, end - kBuildIdAt)),
                          .offset = *offset,
                          .is_main_program = text.front() == 'm',
                          .path = std::string(text.substr(end + 1))};
  reinterpret_cast<void (*)()>(const_cast<void*>(os::resolve(id)))();
}

}  // namespace brood::inline v1::sync
