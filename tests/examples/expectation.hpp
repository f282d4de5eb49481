// What an example promises to print, as it stands in the first comment of its source.
#pragma once

#include <string>
#include <vector>

namespace examples {

/// In the source's first comment:
///
///     // Output:
///     //   hello 7
///     //   bye
///
/// After `// Output` may stand, in parentheses and separated by commas: `any order` (lines of several processes), and
/// `regular expressions` (each line is one, ECMAScript, and must match a whole line). The output ends with the comment.
/// The indentation that all its lines share is not part of it.
struct Expectation {
  bool any_order = false;
  bool regular_expressions = false;
  std::vector<std::string> lines;
};

/// Errors: std::runtime_error if there is no such part, it is empty, or its parentheses say something else.
[[nodiscard]] Expectation read_expectation(const std::string& source);

/// Empty if `output` is what was promised; else what is wrong with it, for people.
[[nodiscard]] std::string compare(const Expectation& expected, const std::string& output);

}  // namespace examples
