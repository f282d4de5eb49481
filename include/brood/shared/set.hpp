// Set: a std::set in shared memory, changed by transactions.                                       (room: shared)
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "brood/shared/wrapper.hpp"

namespace brood::inline v1::shared {

/// E is as in std: std::string, std::pair<int, int>, an integer …
template <class E>
class Set : public Wrapper<Set<E>, detail::shared_of<std::set<E>>> {
  using Base = Wrapper<Set<E>, detail::shared_of<std::set<E>>>;
  using Element = detail::shared_of<E>;
  using Wanted = std::conditional_t<std::is_same_v<E, std::string>, std::string_view, const E&>;

 public:
  using value_type = E;
  using Base::Base;

  /// True if it is new.
  bool insert(Wanted value) {
    const auto guard = this->write();
    return guard->insert(detail::convert<Element>(value, guard.memory())).second;
  }
  /// True if it was there.
  bool erase(Wanted value) {
    const auto guard = this->write();
    const auto at = guard->find(value);
    if (at == guard->end()) return false;
    guard->erase(at);
    return true;
  }
  [[nodiscard]] bool contains(Wanted value) const {
    const auto guard = this->read();
    return guard->find(value) != guard->end();
  }
  /// visit(const Element&) for each, in order. Commits of others wait meanwhile.
  template <class Visit>
  void for_each(Visit&& visit) const {
    const auto guard = this->read();
    for (const auto& element : *guard) std::invoke(visit, element);
  }
};

}  // namespace brood::inline v1::shared
