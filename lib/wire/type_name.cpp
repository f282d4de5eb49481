// Compilers' spellings of types, made readable.
#include "brood/detail/type_id.hpp"

namespace brood::inline v1::detail {

namespace {

constexpr std::size_t kLongestName = 60;

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

/// Where the template argument that begins at `at` ends: at the comma or bracket of its own level.
std::size_t end_of_argument(std::string_view text, std::size_t at) {
  int open = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '<' || c == '(') ++open;
    if ((c == '>' || c == ')' || c == ',') && open == 0) break;
    if (c == '>' || c == ')') --open;
  }
  return at;
}

/// Removes every template argument that begins with this text, such as ", std::allocator<".
void drop_arguments(std::string& text, std::string_view beginning) {
  for (std::size_t at = 0; (at = text.find(beginning, at)) != std::string::npos;) {
    text.erase(at, end_of_argument(text, at + 2) - at);
  }
}

}  // namespace

std::string readable_type_name(std::string_view compiler_spelling) {
  std::string text(compiler_spelling);
  replace_all(text, "std::__cxx11::", "std::");
  replace_all(text, "std::__debug::", "std::");
  replace_all(text, "brood::v1::", "brood::");
  replace_all(text, "{anonymous}", "(anonymous)");
  replace_all(text, "(anonymous namespace)", "(anonymous)");
  for (const char* standard : {", std::allocator<", ", std::char_traits<", ", std::less<", ", std::hash<",
                               ", std::equal_to<", ", std::default_delete<"}) {
    drop_arguments(text, standard);
  }
  replace_all(text, " >", ">");
  replace_all(text, "std::basic_string<char>", "std::string");
  if (text.size() > kLongestName) text = text.substr(0, kLongestName - 3) + "...";
  return text;
}

}  // namespace brood::inline v1::detail
