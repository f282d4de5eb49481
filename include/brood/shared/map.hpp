// Map, UnorderedMap: a std::map in shared memory, changed by transactions.                         (room: shared)
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "brood/shared/wrapper.hpp"

namespace brood::inline v1::shared {

/// What Map and UnorderedMap have in common. K and V are as in std: std::string, std::vector<int>, plain data …
template <class Self, class K, class V, class Contents>
class Mapping : public Wrapper<Self, Contents> {
  using Base = Wrapper<Self, Contents>;
  using Key = typename Contents::key_type;
  using Value = typename Contents::mapped_type;
  /// How a key is asked for: text without a copy of it.
  using Wanted = std::conditional_t<std::is_same_v<K, std::string>, std::string_view, const K&>;

 public:
  using key_type = K;
  using mapped_type = V;
  using Base::Base;

  /// True if the key is new.
  bool insert_or_assign(Wanted key, const V& value) {
    const auto guard = this->write();
    auto at = find_in(*guard, key);
    if (at != guard->end()) {
      at->second = detail::convert<Value>(value, guard.memory());
      return false;
    }
    guard->emplace(detail::convert<Key>(key, guard.memory()), detail::convert<Value>(value, guard.memory()));
    return true;
  }
  /// False, and nothing happens, if the key is there.
  bool insert(Wanted key, const V& value) {
    const auto guard = this->write();
    if (find_in(*guard, key) != guard->end()) return false;
    guard->emplace(detail::convert<Key>(key, guard.memory()), detail::convert<Value>(value, guard.memory()));
    return true;
  }
  /// A copy of the value.
  [[nodiscard]] std::optional<V> find(Wanted key) const {
    const auto guard = this->read();
    const auto at = find_in(*guard, key);
    if (at == guard->end()) return std::nullopt;
    return std::optional<V>(detail::convert<V>(at->second, detail::OwnMemory()));
  }
  /// Errors: std::out_of_range.
  [[nodiscard]] V at(Wanted key) const {
    const auto guard = this->read();
    const auto at = find_in(*guard, key);
    if (at == guard->end()) throw std::out_of_range("brood: the key is not in the shared map");
    return detail::convert<V>(at->second, detail::OwnMemory());
  }
  [[nodiscard]] bool contains(Wanted key) const {
    const auto guard = this->read();
    return find_in(*guard, key) != guard->end();
  }
  /// True if it was there.
  bool erase(Wanted key) {
    const auto guard = this->write();
    const auto at = find_in(*guard, key);
    if (at == guard->end()) return false;
    guard->erase(at);
    return true;
  }
  /// The value, taken out.
  std::optional<V> take(Wanted key) {
    const auto guard = this->write();
    const auto at = find_in(*guard, key);
    if (at == guard->end()) return std::nullopt;
    std::optional<V> value(detail::convert<V>(at->second, detail::OwnMemory()));
    guard->erase(at);
    return value;
  }
  /// Change the value of a key, a new one if there is none, in one transaction: `change(Value&)`, whose strings and
  /// containers are brood::shared's; returns what that returns.
  template <class Change>
  auto update(Wanted key, Change&& change) {
    const auto guard = this->write();
    auto at = find_in(*guard, key);
    if (at == guard->end()) {
      at = guard->emplace(detail::convert<Key>(key, guard.memory()), detail::empty_of<Value>(guard.memory())).first;
    }
    return std::invoke(std::forward<Change>(change), at->second);
  }
  /// visit(const Key&, const Value&) for each. Commits of others wait meanwhile.
  template <class Visit>
  void for_each(Visit&& visit) const {
    const auto guard = this->read();
    for (const auto& [key, value] : *guard) std::invoke(visit, key, value);
  }

 private:
  template <class Map>
  static auto find_in(Map& map, Wanted key) {
    if constexpr (std::is_same_v<Wanted, const Key&>) return map.find(key);
    else if constexpr (requires { map.key_eq(); }) return map.find(key, map.hash_function(), map.key_eq());
    else return map.find(key);
  }
};

/// In the order of the keys.
template <class K, class V>
class Map : public Mapping<Map<K, V>, K, V, detail::shared_of<std::map<K, V>>> {
 public:
  using Mapping<Map<K, V>, K, V, detail::shared_of<std::map<K, V>>>::Mapping;
};

/// In no order, found by hash.
template <class K, class V>
class UnorderedMap : public Mapping<UnorderedMap<K, V>, K, V, detail::shared_of<std::unordered_map<K, V>>> {
 public:
  using Mapping<UnorderedMap<K, V>, K, V, detail::shared_of<std::unordered_map<K, V>>>::Mapping;
};

}  // namespace brood::inline v1::shared
