#include "examples/expectation.hpp"

#include <algorithm>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string_view>

namespace examples {
namespace {

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// The text behind `//` of the lines with which the source begins.
std::vector<std::string> first_comment(const std::string& source) {
  std::vector<std::string> lines;
  for (const auto& line : split_lines(source)) {
    if (line.compare(0, 2, "//") != 0) break;
    lines.push_back(line.substr(2));
  }
  return lines;
}

void read_modes(const std::string& modes, Expectation& expected) {
  std::istringstream in(modes);
  for (std::string mode; std::getline(in, mode, ',');) {
    mode.erase(0, mode.find_first_not_of(' '));
    if (mode == "any order") {
      expected.any_order = true;
    } else if (mode == "regular expressions") {
      expected.regular_expressions = true;
    } else {
      throw std::runtime_error("'// Output (" + modes + "):': '" + mode +
                               "' is neither 'any order' nor 'regular expressions'");
    }
  }
}

void remove_shared_indentation(std::vector<std::string>& lines) {
  std::size_t shared = std::string::npos;
  for (const auto& line : lines) {
    const auto indentation = line.find_first_not_of(' ');
    if (indentation != std::string::npos) shared = std::min(shared, indentation);
  }
  for (auto& line : lines) line.erase(0, std::min(shared, line.size()));
}

bool matches(const Expectation& expected, const std::string& promised, const std::string& printed) {
  return expected.regular_expressions ? std::regex_match(printed, std::regex(promised)) : printed == promised;
}

}  // namespace

Expectation read_expectation(const std::string& source) {
  static const std::regex kStart(R"re(\s*Output(?: \(([^)]*)\))?:\s*)re");
  const auto comment = first_comment(source);
  Expectation expected;
  std::smatch match;
  const auto start = std::find_if(comment.begin(), comment.end(),
                                  [&](const std::string& line) { return std::regex_match(line, match, kStart); });
  if (start == comment.end()) throw std::runtime_error("the first comment has no line '// Output:'");
  if (match[1].matched) read_modes(match[1], expected);
  expected.lines.assign(start + 1, comment.end());
  remove_shared_indentation(expected.lines);
  if (expected.lines.empty()) throw std::runtime_error("nothing follows the line '// Output:' in the first comment");
  return expected;
}

std::string compare(const Expectation& expected, const std::string& output) {
  std::vector<std::string> printed = split_lines(output);
  std::ostringstream wrong;
  if (!output.empty() && output.back() != '\n') wrong << "the last line does not end with a newline\n";
  if (expected.any_order) {
    for (const auto& promised : expected.lines) {
      const auto found = std::find_if(printed.begin(), printed.end(),
                                      [&](const std::string& line) { return matches(expected, promised, line); });
      if (found == printed.end()) {
        wrong << "missing:  " << promised << '\n';
      } else {
        printed.erase(found);
      }
    }
    for (const auto& line : printed) wrong << "too much: " << line << '\n';
    return wrong.str();
  }
  for (std::size_t i = 0; i < std::max(printed.size(), expected.lines.size()); ++i) {
    if (i >= printed.size()) {
      wrong << "line " << i + 1 << " is missing:  " << expected.lines[i] << '\n';
    } else if (i >= expected.lines.size()) {
      wrong << "line " << i + 1 << " is too much: " << printed[i] << '\n';
    } else if (!matches(expected, expected.lines[i], printed[i])) {
      wrong << "line " << i + 1 << " promised: " << expected.lines[i] << "\n   and printed: " << printed[i] << '\n';
    }
  }
  return wrong.str();
}

}  // namespace examples
