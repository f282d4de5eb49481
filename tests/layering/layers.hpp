// Who may include whom. The rules of lib/README.md, as a program.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace layering {

/// One line for each breach of the rules below `root` (the top of a checkout), "file:line: what and why"; empty if
/// clean.
[[nodiscard]] std::vector<std::string> breaches(const std::filesystem::path& root);

}  // namespace layering
