// Addresses of this program in words.
#pragma once

#include <cstdint>
#include <string>

namespace fault {

/// "function at file:line", or the module and offset.
[[nodiscard]] std::string describe_address(std::uintptr_t address);

}  // namespace fault
