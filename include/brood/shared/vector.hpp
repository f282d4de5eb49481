// Vector, Deque: a std::vector in shared memory, changed by transactions.                          (room: shared)
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "brood/shared/wrapper.hpp"

namespace brood::inline v1::shared {

/// What Vector and Deque have in common. E is as in std: std::string, std::vector<int>, a struct of plain data …
template <class Self, class E, class Contents>
class Sequence : public Wrapper<Self, Contents> {
  using Base = Wrapper<Self, Contents>;
  using Element = typename Contents::value_type;

 public:
  using value_type = E;
  using Base::Base;

  void push_back(const E& value) {
    const auto guard = this->write();
    guard->push_back(detail::convert<Element>(value, guard.memory()));
  }
  /// The last one, taken out; nothing if it is empty.
  std::optional<E> pop_back() {
    const auto guard = this->write();
    if (guard->empty()) return std::nullopt;
    std::optional<E> last(detail::convert<E>(guard->back(), detail::OwnMemory()));
    guard->pop_back();
    return last;
  }
  /// A copy of one element. Errors: std::out_of_range.
  [[nodiscard]] E at(std::size_t index) const {
    const auto guard = this->read();
    check(*guard, index);
    return detail::convert<E>((*guard)[index], detail::OwnMemory());
  }
  /// Errors: std::out_of_range.
  void set(std::size_t index, const E& value) {
    const auto guard = this->write();
    check(*guard, index);
    (*guard)[index] = detail::convert<Element>(value, guard.memory());
  }
  /// Change one element in place: `change(Element&)`, whose strings and containers are brood::shared's; returns what that
  /// returns. Errors: std::out_of_range.
  template <class Change>
  auto update(std::size_t index, Change&& change) {
    const auto guard = this->write();
    check(*guard, index);
    return std::invoke(std::forward<Change>(change), (*guard)[index]);
  }
  /// Errors: std::out_of_range.
  void erase(std::size_t index) {
    const auto guard = this->write();
    check(*guard, index);
    guard->erase(guard->begin() + static_cast<std::ptrdiff_t>(index));
  }
  /// All of `values` at the end, in one transaction.
  template <class Range>
  void append(const Range& values) {
    const auto guard = this->write();
    for (const auto& value : values) guard->push_back(detail::convert<Element>(value, guard.memory()));
  }
  void resize(std::size_t size) { this->write()->resize(size); }
  /// visit(const Element&) for each, in order. Commits of others wait meanwhile.
  template <class Visit>
  void for_each(Visit&& visit) const {
    const auto guard = this->read();
    for (const auto& element : *guard) std::invoke(visit, element);
  }

 private:
  static void check(const Contents& contents, std::size_t index) {
    if (index < contents.size()) return;
    throw std::out_of_range("brood: element " + std::to_string(index) + " of a shared sequence of " +
                            std::to_string(contents.size()));
  }
};

template <class E>
class Vector : public Sequence<Vector<E>, E, detail::shared_of<std::vector<E>>> {
 public:
  using Sequence<Vector<E>, E, detail::shared_of<std::vector<E>>>::Sequence;
};

template <class E>
class Deque : public Sequence<Deque<E>, E, detail::shared_of<std::deque<E>>> {
 public:
  using Sequence<Deque<E>, E, detail::shared_of<std::deque<E>>>::Sequence;

  void push_front(const E& value) {
    const auto guard = this->write();
    guard->push_front(detail::convert<detail::shared_of<E>>(value, guard.memory()));
  }
  /// The first one, taken out; nothing if it is empty.
  std::optional<E> pop_front() {
    const auto guard = this->write();
    if (guard->empty()) return std::nullopt;
    std::optional<E> first(detail::convert<E>(guard->front(), detail::OwnMemory()));
    guard->pop_front();
    return first;
  }
};

}  // namespace brood::inline v1::shared
