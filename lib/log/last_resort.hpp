// Standard error: where records go that cannot be brought to a sink. Past all buffers, and without a lock of anybody's.
#pragma once

#include <string>
#include <string_view>

#include "log/record.hpp"

namespace brood::inline v1::log {

/// One line of the library's own: "brood: " + text.
void tell(const std::string& text) noexcept;
void write_to_stderr(const Record& record);

/// write(2) until all of it is written. 0 or the error's number.
[[nodiscard]] int write_all(int fd, std::string_view bytes) noexcept;

}  // namespace brood::inline v1::log
