// As much of JSON as the benchmark writes: an array of objects with strings and numbers.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

namespace bench {

using JsonObject = std::map<std::string, std::variant<double, std::string>>;

/// Errors: std::runtime_error with the offset of what is not as above.
[[nodiscard]] std::vector<JsonObject> parse_rows(const std::string& text);

}  // namespace bench
