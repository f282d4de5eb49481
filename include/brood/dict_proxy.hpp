// DictProxy, NamespaceProxy: keys and values that a Manager keeps.                                (room: manager)
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "brood/detail/served_access.hpp"
#include "brood/proxy.hpp"

namespace brood::inline v1 {
namespace detail {

/// Runs in the server: fn(value of the key, more…); a key that is not there begins as V{}.
template <auto F, class K, class V, class R, class... P>
[[gnu::visibility("hidden")]] std::shared_ptr<const void> update_in_dict(void* object, Decoder& in, Encoder& out) {
  auto& dict = *static_cast<DictAccess*>(object);
  in.expect_array(1 + sizeof...(P), "a key and the arguments of the function");
  const std::span<const std::byte> key = in.value([](const Ext&) {});
  std::tuple<std::remove_cvref_t<P>...> arguments{detail::decode<std::remove_cvref_t<P>>(in)...};
  in.finish();
  V value{};
  if (const auto bytes = dict.value_of(key)) {
    Decoder present(*bytes);
    value = detail::decode<V>(present);
  }
  const auto change = [&]<std::size_t... I>(std::index_sequence<I...> /*all*/)->R {
    return std::invoke(F, value, pass<P>(std::get<I>(arguments))...);
  };
  const auto store = [&] {
    Encoder changed;
    detail::encode(changed, std::as_const(value));
    dict.assign(key, changed);
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

template <auto F, class K, class V>
struct DictUpdate {
  using Shape = MethodShape<std::remove_cv_t<decltype(F)>>;
  using Result = std::remove_cvref_t<typename Shape::Result>;
  template <class List>
  struct With;
  template <class... P>
  struct With<TypeList<P...>> {
    using All = TypeList<const K&, P...>;
    static constexpr Invoke kInvoke = &update_in_dict<F, K, V, Result, P...>;
  };
  using Of = With<typename Shape::Parameters>;
};

template <auto F, class K, class V>
[[nodiscard, gnu::visibility("hidden")]] MethodKey dict_update_key() {
  static constinit std::atomic<std::uint32_t> number = 0;
  return numbered(number, reinterpret_cast<const void*>(DictUpdate<F, K, V>::Of::kInvoke));
}

}  // namespace detail

/// A dictionary in a manager's server: manager.dict<std::string, long>(). Keys are equal if their encodings are. Items are in the
/// order in which their keys came.
///
/// Each call is done whole, at one instant, or not at all: `dict.set(k, *dict.get(k) + 1)` are two, and others may come between;
/// `dict.update<[](long& n) { ++n; }>(k)` is one. What get() gives is a copy: to share nested containers put proxies in
/// (DictProxy<std::string, ListProxy<int>>).
///
/// Threads: safe. Processes: any. Crash: as Proxy; whoever is killed in a call has made it or not.
/// Source: Python multiprocessing.managers.DictProxy.
template <class K, class V>
class DictProxy : public detail::ProxyBase {
 public:
  using key_type = K;
  using mapped_type = V;
  explicit DictProxy(detail::ProxyCore core) noexcept : ProxyBase(std::move(core)) {}
  [[nodiscard]] static std::string type() {
    return "dict<" + detail::type_name<K>() + ", " + detail::type_name<V>() + ">";
  }

  /// The value of a key, if it is there.
  [[nodiscard]] std::optional<V> get(const K& key) const { return maybe(core_.template call<Maybe>("get", key)); }
  /// Errors: std::out_of_range.
  [[nodiscard]] V at(const K& key) const {
    if (auto value = get(key)) return *std::move(value);
    throw std::out_of_range("the managed dict has no such key");
  }
  void set(const K& key, const V& value) const { core_.template call<void>("set", key, value); }
  /// False if the key is there already; then nothing changes.
  bool insert(const K& key, const V& value) const { return core_.template call<bool>("insert", key, value); }
  /// The value that the key has, or gets.
  V set_default(const K& key, const V& value) const { return core_.template call<V>("set_default", key, value); }
  /// Changes the value if it is as expected (nothing: not there) to what is desired (nothing: erased).
  bool compare_exchange(const K& key, const std::optional<V>& expected, const std::optional<V>& desired) const {
    return core_.template call<bool>("compare_exchange", key, wrapped(expected), wrapped(desired));
  }
  /// Change a value where it is: update<[](long& n, long by) { n += by; }>(key, 5). Runs in the server, with the dict locked, so
  /// briefly, and it must not use this dict; a key that is not there begins as V{}. Returns what the function does; if it throws,
  /// nothing has changed.
  template <auto F, class... Args>
  [[gnu::visibility("hidden")]] auto update(const K& key, Args&&... args) const ->
      typename detail::DictUpdate<F, K, V>::Result {
    using Of = typename detail::DictUpdate<F, K, V>;
    return core_.template call_placed<typename Of::Result>(detail::dict_update_key<F, K, V>(), typename Of::Of::All{},
                                                           key, std::forward<Args>(args)...);
  }
  [[nodiscard]] bool contains(const K& key) const { return core_.template call<bool>("contains", key); }
  bool erase(const K& key) const { return core_.template call<bool>("erase", key); }
  /// Erase, and give the value.
  std::optional<V> pop(const K& key) const { return maybe(core_.template call<Maybe>("pop", key)); }
  /// Erase the newest item, and give it; nothing if there is none.
  std::optional<std::pair<K, V>> pop_item() const {
    return core_.template call<std::optional<std::pair<K, V>>>("pop_item");
  }
  [[nodiscard]] std::size_t size() const { return core_.template call<std::size_t>("size"); }
  [[nodiscard]] bool empty() const { return size() == 0; }
  void clear() const { core_.template call<void>("clear"); }
  /// All items of a map, or pairs: in one call.
  template <class Items>
  void merge(const Items& items) const {
    core_.template call<void>("update", detail::EachValue<std::pair<K, V>>{{items.begin(), items.end()}});
  }
  [[nodiscard]] std::vector<K> keys() const { return core_.template call<detail::EachValue<K>>("keys").values; }
  [[nodiscard]] std::vector<V> values() const { return core_.template call<detail::EachValue<V>>("values").values; }
  [[nodiscard]] std::vector<std::pair<K, V>> items() const {
    return core_.template call<detail::EachValue<std::pair<K, V>>>("items").values;
  }
  /// A copy of everything, as it is at one instant. Iterate over that.
  [[nodiscard]] std::map<K, V> snapshot() const {
    std::map<K, V> out;
    for (auto& [key, value] : items()) out.insert_or_assign(std::move(key), std::move(value));
    return out;
  }
  friend std::ostream& operator<<(std::ostream& out, const DictProxy& dict) {
    return out << dict.core_.printed(type());
  }

 private:
  using Maybe = detail::MaybeOne<V>;
  [[nodiscard]] static std::optional<V> maybe(detail::MaybeOne<V> value) { return std::move(value.value); }
  [[nodiscard]] static detail::MaybeOne<V> wrapped(const std::optional<V>& value) { return {value}; }
};

/// Variables by name, of any types: ns.set("x", 5), ns.get<int>("x").
/// Source: Python multiprocessing.managers.NamespaceProxy.
class NamespaceProxy : public detail::ProxyBase {
 public:
  explicit NamespaceProxy(detail::ProxyCore core) noexcept : ProxyBase(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "Namespace"; }

  template <class T>
  void set(const std::string& name, const T& value) const {
    core_.call<void>("set", name, value);
  }
  /// Errors: std::out_of_range if there is none of the name; DecodeError if it is of another type.
  template <class T>
  [[nodiscard]] T get(const std::string& name) const {
    auto found = core_.call<detail::MaybeOne<T>>("get", name);
    if (!found.value) throw std::out_of_range("the managed Namespace has no variable '" + name + "'");
    return *std::move(found.value);
  }
  template <class T>
  [[nodiscard]] std::optional<T> try_get(const std::string& name) const {
    return core_.call<detail::MaybeOne<T>>("get", name).value;
  }
  /// As DictProxy::update().
  template <auto F, class T, class... Args>
  [[gnu::visibility("hidden")]] auto update(const std::string& name, Args&&... args) const ->
      typename detail::DictUpdate<F, std::string, T>::Result {
    using Of = typename detail::DictUpdate<F, std::string, T>;
    return core_.call_placed<typename Of::Result>(detail::dict_update_key<F, std::string, T>(), typename Of::Of::All{},
                                                  name, std::forward<Args>(args)...);
  }
  [[nodiscard]] bool contains(const std::string& name) const { return core_.call<bool>("contains", name); }
  bool erase(const std::string& name) const { return core_.call<bool>("erase", name); }
  [[nodiscard]] std::vector<std::string> names() const {
    return core_.call<detail::EachValue<std::string>>("keys").values;
  }
  friend std::ostream& operator<<(std::ostream& out, const NamespaceProxy& names) {
    return out << names.core_.printed(type());
  }
};

}  // namespace brood::inline v1
