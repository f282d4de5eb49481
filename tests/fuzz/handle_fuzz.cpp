// Hostile text against Handle: it is refused with HandleError, or it is a handle whose text says the same again.
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "brood/error.hpp"
#include "brood/handle.hpp"
#include "fuzz/replay.hpp"

namespace {
[[noreturn]] void fault(const char* what) {
  std::fprintf(stderr, "handle_fuzz: %s\n", what);
  std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const brood::Handle handle(text);
    const std::string canonical = handle.str();
    if (canonical != text) fault("accepted a text that is not the handle's own");
    if (canonical.size() > 180) fault("longer than promised");
    const brood::Handle again(canonical);
    if (!(again == handle) || again.name() != handle.name()) fault("another handle comes back");
    if (!handle.name().empty() && !brood::is_valid_name(handle.name())) fault("a name that is not valid");
  } catch (const brood::HandleError&) {}
  return 0;
}
