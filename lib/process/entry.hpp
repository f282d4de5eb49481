// How an executed child knows that it is one.
#pragma once

namespace brood::inline v1::process {

/// Holds the number of the inherited socket, nothing else, and is removed before anything of the user's runs in main.
inline constexpr const char* kEntryVariable = "BROOD_ENTER";

}  // namespace brood::inline v1::process
