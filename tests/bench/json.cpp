#include "json.hpp"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace bench {
namespace {

class Parser {
 public:
  explicit Parser(const std::string& text) : text_(text) {}

  std::vector<JsonObject> rows() {
    std::vector<JsonObject> rows;
    expect('[');
    if (!next_is(']')) {
      do rows.push_back(object());
      while (next_is(','));
      expect(']');
    }
    skip_space();
    if (at_ != text_.size()) fail("the end");
    return rows;
  }

 private:
  JsonObject object() {
    JsonObject object;
    expect('{');
    if (next_is('}')) return object;
    do {
      const std::string key = string();
      expect(':');
      skip_space();
      const bool text = at_ < text_.size() && text_[at_] == '"';
      if (!object.emplace(key, text ? std::variant<double, std::string>(string()) : number()).second)
        fail("a key that is new");
    } while (next_is(','));
    expect('}');
    return object;
  }

  std::string string() {
    expect('"');
    std::string out;
    for (; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (static_cast<unsigned char>(text_[at_]) < 0x20) fail("no control character");
      if (text_[at_] == '\\') {
        ++at_;
        if (at_ == text_.size() || (text_[at_] != '"' && text_[at_] != '\\')) fail("an escape of \" or \\");
      }
      out += text_[at_];
    }
    if (at_ == text_.size()) fail("the end of the string");
    ++at_;
    return out;
  }

  double number() {
    // strtod also takes what JSON has not: inf, nan, hexadecimal, a leading plus.
    const std::size_t end = text_.find_first_not_of("0123456789+-.eE", at_);
    const std::string digits = text_.substr(at_, end - at_);
    char* rest = nullptr;
    const double value = std::strtod(digits.c_str(), &rest);
    if (digits.empty() || digits[0] == '+' || *rest != '\0') fail("a number");
    at_ += digits.size();
    return value;
  }

  void skip_space() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }
  bool next_is(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!next_is(c)) fail(std::string(1, c));
  }
  [[noreturn]] void fail(const std::string& wanted) const {
    throw std::runtime_error("JSON: expected " + wanted + " at offset " + std::to_string(at_));
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

}  // namespace

std::vector<JsonObject> parse_rows(const std::string& text) { return Parser(text).rows(); }

}  // namespace bench
