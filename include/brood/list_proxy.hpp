// ListProxy, ArrayProxy, SetProxy, ValueProxy: values that a Manager keeps.                      (room: manager)
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "brood/detail/served_access.hpp"
#include "brood/proxy.hpp"

namespace brood::inline v1 {
namespace detail {

/// Runs in the server: fn(all values, more…); what it leaves in them is stored.
template <auto F, class T, class R, class... P>
[[gnu::visibility("hidden")]] std::shared_ptr<const void> apply_to_list(void* object, Decoder& in, Encoder& out) {
  auto& list = *static_cast<ListAccess*>(object);
  in.expect_array(sizeof...(P), "the arguments of the function");
  std::tuple<std::remove_cvref_t<P>...> arguments{detail::decode<std::remove_cvref_t<P>>(in)...};
  in.finish();
  constexpr bool kOne = std::is_same_v<typename MethodShape<std::remove_cv_t<decltype(F)>>::Class, T>;
  using Subject = std::conditional_t<kOne, T, std::vector<T>>;
  const auto value_at = [&](std::size_t i) {
    Decoder value(list.value_at(i));
    return detail::decode<T>(value);
  };
  const auto subject = [&]() -> Subject {
    if constexpr (kOne) return value_at(0);
    else {
      std::vector<T> all;
      all.reserve(list.size());
      for (std::size_t i = 0; i < list.size(); ++i) all.push_back(value_at(i));
      return all;
    }
  };
  Subject values = subject();
  const auto change = [&]<std::size_t... I>(std::index_sequence<I...> /*all*/)->R {
    return std::invoke(F, values, pass<P>(std::get<I>(arguments))...);
  };
  const auto store = [&] {
    if constexpr (kOne) {
      Encoder changed;
      detail::encode(changed, std::as_const(values));
      list.assign(0, changed);
    } else {
      std::vector<Encoder> changed(values.size());
      for (std::size_t i = 0; i < values.size(); ++i) detail::encode(changed[i], std::as_const(values[i]));
      list.assign(changed);
    }
  };
  return encode_result<R>(out, [&]() -> R {
    if constexpr (std::is_void_v<R>) {
      change(std::index_sequence_for<P...>{});
      store();
    } else {
      R result = change(std::index_sequence_for<P...>{});
      store();
      return result;
    }
  });
}

template <auto F, class T>
struct ListApply {
  using Shape = MethodShape<std::remove_cv_t<decltype(F)>>;
  using Result = std::remove_cvref_t<typename Shape::Result>;
  template <class List>
  struct With;
  template <class... P>
  struct With<TypeList<P...>> {
    static constexpr Invoke kInvoke = &apply_to_list<F, T, Result, P...>;
  };
  using Of = With<typename Shape::Parameters>;
};

template <auto F, class T>
[[nodiscard, gnu::visibility("hidden")]] MethodKey list_apply_key() {
  static constinit std::atomic<std::uint32_t> number = 0;
  return numbered(number, reinterpret_cast<const void*>(ListApply<F, T>::Of::kInvoke));
}

/// What lists and arrays have in common.
template <class T>
class SequenceProxy : public ProxyBase {
 public:
  using value_type = T;

  /// -1 is the last. Errors: std::out_of_range.
  [[nodiscard]] T at(std::int64_t index) const { return core_.template call<T>("get", index); }
  [[nodiscard]] T operator[](std::int64_t index) const { return at(index); }
  void set(std::int64_t index, const T& value) const { core_.template call<void>("set", index, value); }
  /// The values from `from` up to, but not including, `to`; negative ones count from the end, and beyond an end means that end.
  [[nodiscard]] std::vector<T> slice(std::int64_t from, std::int64_t to) const {
    return core_.template call<EachValue<T>>("slice", from, to).values;
  }
  /// Other values in their place.
  void set_slice(std::int64_t from, std::int64_t to, const std::vector<T>& values) const {
    core_.template call<void>("set_slice", from, to, EachValue<T>{values});
  }
  [[nodiscard]] std::size_t size() const { return core_.template call<std::size_t>("size"); }
  [[nodiscard]] bool empty() const { return size() == 0; }
  /// A copy of everything, as it is at one instant. Iterate over that.
  [[nodiscard]] std::vector<T> snapshot() const { return core_.template call<EachValue<T>>("snapshot").values; }
  /// Where the first such value is. Values are equal if their encodings are.
  [[nodiscard]] std::optional<std::size_t> index(const T& value) const {
    return core_.template call<std::optional<std::size_t>>("index", value);
  }
  [[nodiscard]] std::size_t count(const T& value) const { return core_.template call<std::size_t>("count", value); }
  void reverse() const { core_.template call<void>("reverse"); }

  /// Change all of it where it is: apply<[](std::vector<T>& all) { std::ranges::sort(all); }>(). Runs in the server, with the list
  /// locked, so briefly. Returns what the function does; if it throws, nothing has changed.
  template <auto F, class... Args>
  [[gnu::visibility("hidden")]] auto apply(Args&&... args) const -> typename ListApply<F, T>::Result {
    return core_.template call_placed<typename ListApply<F, T>::Result>(
        list_apply_key<F, T>(), typename ListApply<F, T>::Shape::Parameters{}, std::forward<Args>(args)...);
  }
  void sort() const {
    apply<[](std::vector<T>& all) { std::sort(all.begin(), all.end()); }>();
  }

 protected:
  using ProxyBase::ProxyBase;
};

}  // namespace detail

/// A list in a manager's server: manager.list<int>({1, 2, 3}).
///
/// Each call is done whole, at one instant, or not at all. at() gives a copy: to share nested containers put proxies in.
/// Threads: safe. Processes: any. Crash: as DictProxy. Source: Python multiprocessing.managers.ListProxy.
template <class T>
class ListProxy : public detail::SequenceProxy<T> {
 public:
  explicit ListProxy(detail::ProxyCore core) noexcept : detail::SequenceProxy<T>(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "list<" + detail::type_name<T>() + ">"; }

  void push_back(const T& value) const { this->core().template call<void>("push_back", value); }
  void append(const T& value) const { push_back(value); }
  /// All values of a range, in one call.
  template <class Range>
  void extend(const Range& values) const {
    this->core().template call<void>("extend", detail::EachValue<T>{std::vector<T>(values.begin(), values.end())});
  }
  /// Before the value at `index`; beyond an end means that end.
  void insert(std::int64_t index, const T& value) const { this->core().template call<void>("insert", index, value); }
  /// Take one out. Errors: std::out_of_range (empty, no such index).
  T pop(std::int64_t index = -1) const { return this->core().template call<T>("pop", index); }
  /// How many were erased.
  std::size_t erase(std::int64_t from, std::int64_t to) const {
    return this->core().template call<std::size_t>("erase", from, to);
  }
  /// Erase the first such value; false if there is none.
  bool remove(const T& value) const { return this->core().template call<bool>("remove", value); }
  void clear() const { this->core().template call<void>("clear"); }
  friend std::ostream& operator<<(std::ostream& out, const ListProxy& list) {
    return out << list.core().printed(type());
  }
};

/// A list whose length stays: manager.array<double>(100).
template <class T>
class ArrayProxy : public detail::SequenceProxy<T> {
 public:
  explicit ArrayProxy(detail::ProxyCore core) noexcept : detail::SequenceProxy<T>(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "Array<" + detail::type_name<T>() + ">"; }
  friend std::ostream& operator<<(std::ostream& out, const ArrayProxy& array) {
    return out << array.core().printed(type());
  }
};

/// One value: manager.value<long>(5).
template <class T>
class ValueProxy : public detail::ProxyBase {
 public:
  using value_type = T;
  explicit ValueProxy(detail::ProxyCore core) noexcept : ProxyBase(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "Value<" + detail::type_name<T>() + ">"; }

  [[nodiscard]] T get() const { return core_.template call<T>("get"); }
  void set(const T& value) const { core_.template call<void>("set", value); }
  /// Set it, and give what it was.
  T exchange(const T& value) const { return core_.template call<T>("exchange", value); }
  bool compare_exchange(const T& expected, const T& desired) const {
    return core_.template call<bool>("compare_exchange", expected, desired);
  }
  /// Change it where it is: update<[](long& n) { return ++n; }>(). Runs in the server. If the function throws, nothing has changed.
  template <auto F, class... Args>
  [[gnu::visibility("hidden")]] auto update(Args&&... args) const -> typename detail::ListApply<F, T>::Result {
    using Apply = typename detail::ListApply<F, T>;
    return core_.template call_placed<typename Apply::Result>(
        detail::list_apply_key<F, T>(), typename Apply::Shape::Parameters{}, std::forward<Args>(args)...);
  }
  friend std::ostream& operator<<(std::ostream& out, const ValueProxy& value) {
    return out << value.core_.printed(type());
  }
};

/// A set: manager.set<std::string>(). Values are equal if their encodings are; they are in the order in which they came.
/// Source: Python multiprocessing.managers.SetProxy (3.14).
template <class T>
class SetProxy : public detail::ProxyBase {
 public:
  using value_type = T;
  explicit SetProxy(detail::ProxyCore core) noexcept : ProxyBase(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "set<" + detail::type_name<T>() + ">"; }

  /// False if it is there already.
  bool add(const T& value) const { return core_.template call<bool>("add", value); }
  /// False if it was not there.
  bool discard(const T& value) const { return core_.template call<bool>("discard", value); }
  /// Errors: std::out_of_range if it is not there.
  void remove(const T& value) const {
    if (!discard(value)) throw std::out_of_range("the managed set has no such value");
  }
  [[nodiscard]] bool contains(const T& value) const { return core_.template call<bool>("contains", value); }
  /// Take one out; nothing if there is none.
  std::optional<T> pop() const { return std::move(core_.template call<detail::MaybeOne<T>>("pop").value); }
  [[nodiscard]] std::size_t size() const { return core_.template call<std::size_t>("size"); }
  [[nodiscard]] bool empty() const { return size() == 0; }
  void clear() const { core_.template call<void>("clear"); }
  [[nodiscard]] std::set<T> snapshot() const {
    auto all = core_.template call<detail::EachValue<T>>("snapshot").values;
    return {std::make_move_iterator(all.begin()), std::make_move_iterator(all.end())};
  }

  // In place, in one call: with the values of any range.
  template <class Range>
  void update(const Range& values) const {
    core_.template call<void>("update", each(values));
  }
  template <class Range>
  void difference_update(const Range& values) const {
    core_.template call<void>("difference_update", each(values));
  }
  template <class Range>
  void intersection_update(const Range& values) const {
    core_.template call<void>("intersection_update", each(values));
  }
  template <class Range>
  void symmetric_difference_update(const Range& values) const {
    core_.template call<void>("symmetric_difference_update", each(values));
  }
  friend std::ostream& operator<<(std::ostream& out, const SetProxy& set) { return out << set.core_.printed(type()); }

 private:
  template <class Range>
  [[nodiscard]] static detail::EachValue<T> each(const Range& values) {
    return {std::vector<T>(values.begin(), values.end())};
  }
};

}  // namespace brood::inline v1
