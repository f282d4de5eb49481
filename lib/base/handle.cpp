#include "brood/handle.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <ostream>

#include "base/hex.hpp"
#include "brood/error.hpp"

namespace brood::inline v1 {
namespace {

constexpr std::string_view kPrefix = "brood:";
constexpr std::size_t kMaxName = 120;
/// By the kind's number.
constexpr std::array<std::string_view, 21> kKinds = {
    "none",    "lock",   "rlock", "semaphore",  "bounded_semaphore", "event",      "condition",
    "barrier", "queue",  "value", "work_queue", "priority_queue",    "connection", "broadcast",
    "chunks",  "memory", "array", "atomic",     "shareable_list",    "container",  "managed"};

[[noreturn]] void malformed(std::string_view text, const char* why) {
  constexpr std::size_t kShown = 80;
  std::string shown;
  for (const char c : text.substr(0, kShown)) shown += (c >= ' ' && c < '\x7f') ? c : '?';
  throw HandleError("malformed handle '" + shown + (text.size() > kShown ? "…" : "") + "': " + why +
                    "; expected brood:<kind>:<16 hex digits>[:<name>], as printed by handle().str(); by its name alone "
                    "an object is opened with open_named()");
}

}  // namespace

std::string_view to_string(Kind kind) noexcept {
  const auto i = static_cast<std::size_t>(kind);
  return i < kKinds.size() && !kKinds[i].empty() ? kKinds[i] : kKinds[0];
}

Kind kind_from(std::string_view word) noexcept {
  if (word.empty()) return Kind::none;
  const auto* it = std::find(kKinds.begin(), kKinds.end(), word);
  return it == kKinds.end() ? Kind::none : static_cast<Kind>(it - kKinds.begin());
}

bool is_valid_name(std::string_view name) noexcept {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '-';
  };
  return !name.empty() && name.size() <= kMaxName && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), allowed);
}

Handle::Handle(std::string_view text) {
  std::string_view rest = text;
  if (rest.substr(0, kPrefix.size()) != kPrefix) malformed(text, "it does not begin with 'brood:'");
  rest.remove_prefix(kPrefix.size());
  const auto colon = rest.find(':');
  kind_ = kind_from(rest.substr(0, colon));
  if (colon == std::string_view::npos || kind_ == Kind::none) malformed(text, "it names no known kind of object");
  rest.remove_prefix(colon + 1);
  const auto id = base::parse_hex16(rest.substr(0, base::kHexDigits));
  if (!id) malformed(text, "the identity is not 16 lower-case hex digits");
  id_ = *id;
  rest.remove_prefix(base::kHexDigits);
  if (rest.empty()) return;
  if (rest.front() != ':' || !is_valid_name(rest.substr(1)))
    malformed(text, "what follows the identity is no valid name");
  name_ = rest.substr(1);
}

std::string Handle::str() const {
  std::string text(kPrefix);
  text.append(to_string(kind_)).append(":").append(base::hex16(id_));
  if (!name_.empty()) text.append(":").append(name_);
  return text;
}

std::ostream& operator<<(std::ostream& out, const Handle& handle) { return out << handle.str(); }

}  // namespace brood::inline v1
