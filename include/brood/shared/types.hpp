// What the contents of a shared container are made of: string, vector, map and so on, in its memory.   (room: shared)
#pragma once

#include <boost/container/deque.hpp>
#include <boost/container/map.hpp>
#include <boost/container/set.hpp>
#include <boost/container/string.hpp>
#include <boost/container/vector.hpp>
#include <boost/container_hash/hash.hpp>
#include <boost/unordered_map.hpp>
#include <boost/unordered_set.hpp>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

#include "brood/shared/allocator.hpp"

namespace brood::inline v1::shared {

/// Text. Turns into a std::string_view by itself, and is made of one.
class string  // NOLINT(readability-identifier-naming)
    : public boost::container::basic_string<char, std::char_traits<char>, allocator<char>> {
  using Base = boost::container::basic_string<char, std::char_traits<char>, allocator<char>>;

 public:
  using allocator_type = Base::allocator_type;

  string() = default;
  explicit string(const allocator_type& memory) : Base(memory) {}
  string(std::string_view text,
         const allocator_type& memory = allocator_type())  // NOLINT: as std::string takes literals
      : Base(text.data(), text.size(), memory) {}
  string(const char* text, const allocator_type& memory = allocator_type())  // NOLINT
      : string(std::string_view(text), memory) {}
  string(const std::string& text, const allocator_type& memory = allocator_type())  // NOLINT
      : string(std::string_view(text), memory) {}
  string(const string& other) : Base(other.data(), other.size(), allocator_type()) {}
  string(const string& other, const allocator_type& memory) : Base(other.data(), other.size(), memory) {}
  string(string&& other) noexcept : Base(static_cast<Base&&>(other)) {}
  string(string&& other, const allocator_type& memory) : Base(static_cast<Base&&>(other), memory) {}
  string& operator=(const string& other) { return *this = std::string_view(other); }
  string& operator=(string&& other) {
    Base::operator=(static_cast<Base&&>(other));
    return *this;
  }
  string& operator=(std::string_view text) {
    Base::assign(text.data(), text.size());
    return *this;
  }
  string& operator=(const char* text) { return *this = std::string_view(text); }
  string& operator=(const std::string& text) { return *this = std::string_view(text); }
  ~string() = default;

  operator std::string_view() const noexcept { return {data(), size()}; }  // NOLINT(google-explicit-constructor)
  [[nodiscard]] std::string str() const { return {data(), size()}; }

  friend bool operator==(const string& a, const string& b) noexcept {
    return std::string_view(a) == std::string_view(b);
  }
  friend auto operator<=>(const string& a, const string& b) noexcept {
    return std::string_view(a) <=> std::string_view(b);
  }
  // As templates, so that they are no candidates for two of ours.
  template <class Text>
  requires(!std::is_same_v<Text, string> && std::is_convertible_v<const Text&, std::string_view>) friend bool
  operator==(const string& a, const Text& b) noexcept {
    return std::string_view(a) == std::string_view(b);
  }
  template <class Text>
  requires(!std::is_same_v<Text, string> && std::is_convertible_v<const Text&, std::string_view>) friend auto
  operator<=>(const string& a, const Text& b) noexcept {
    return std::string_view(a) <=> std::string_view(b);
  }
  friend std::ostream& operator<<(std::ostream& out, const string& text) { return out << std::string_view(text); }
  friend std::size_t hash_value(const string& text) noexcept {
    return boost::hash_range(text.data(), text.data() + text.size());
  }
};

/// Orders text of any kind, so that a map with keys of text is asked with a std::string_view and makes no copy of it.
struct less {  // NOLINT(readability-identifier-naming)
  using is_transparent = void;
  template <class A, class B>
  [[nodiscard]] bool operator()(const A& a, const B& b) const {
    return a < b;
  }
};
/// The same for hashing. Processes must agree on it, so it has no seed.
struct hash {  // NOLINT(readability-identifier-naming)
  using is_transparent = void;
  template <class A>
  [[nodiscard]] std::size_t operator()(const A& value) const {
    if constexpr (std::is_convertible_v<const A&, std::string_view>) {
      const std::string_view text(value);
      return boost::hash_range(text.data(), text.data() + text.size());
    } else {
      return boost::hash<A>()(value);
    }
  }
};
struct equal_to {  // NOLINT(readability-identifier-naming)
  using is_transparent = void;
  template <class A, class B>
  [[nodiscard]] bool operator()(const A& a, const B& b) const {
    return a == b;
  }
};

// NOLINTBEGIN(readability-identifier-naming)
template <class E>
using vector = boost::container::vector<E, scoped<E>>;
template <class E>
using deque = boost::container::deque<E, scoped<E>>;
template <class K, class V, class Less = less>
using map = boost::container::map<K, V, Less, scoped<std::pair<const K, V>>>;
template <class E, class Less = less>
using set = boost::container::set<E, Less, scoped<E>>;
template <class K, class V, class Hash = hash, class Equal = equal_to>
using unordered_map = boost::unordered_map<K, V, Hash, Equal, scoped<std::pair<const K, V>>>;
template <class E, class Hash = hash, class Equal = equal_to>
using unordered_set = boost::unordered_set<E, Hash, Equal, scoped<E>>;
// NOLINTEND(readability-identifier-naming)

}  // namespace brood::inline v1::shared
