// A barrier's action as text in the segment, since every process has the function at another address.
#pragma once

#include <string>
#include <string_view>

namespace brood::inline v1::sync {

/// Build id, offset and module of the function. Errors: UsageError if it belongs to no module.
[[nodiscard]] std::string action_text(void (*action)());
/// Finds the function again and calls it.
/// Errors: StartError (another program or build), DecodeError (damaged text), what the action throws.
void run_action(std::string_view text);

}  // namespace brood::inline v1::sync
