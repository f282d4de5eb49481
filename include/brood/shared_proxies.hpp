// SharedDictProxy, SharedListProxy: what a Manager keeps, in shared memory, where its machine's processes read and write it
// without asking the server.                                                                      (room: manager)
//
//   #include <brood/shared_proxies.hpp>
//   auto prices = manager.shared_dict<std::string, double>();
//   prices.set("tea", 2.5);                                       // a transaction of shared::Map, here
//
// Needs Boost 1.81 or later (headers only), as brood/shared/map.hpp does.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "brood/error.hpp"
#include "brood/manager.hpp"
#include "brood/proxy.hpp"
#include "brood/shared/map.hpp"
#include "brood/shared/vector.hpp"

namespace brood::inline v1 {
namespace detail {

/// A managed object that is a handle: who has a proxy of it opens what that names.
template <class Container>
class SharedProxyForms : public ProxyBase {
 public:
  using container_type = Container;
  /// The container itself, for its other calls: several changes as one transaction, looks without copies.
  [[nodiscard]] Container& container() const {
    (void)this->core().link();  // UsageError: moved from
    return *container_;
  }
  [[nodiscard]] std::size_t size() const { return container().size(); }
  [[nodiscard]] bool empty() const { return container().empty(); }
  void clear() const { container().clear(); }
  /// A copy of everything, as it is at one instant.
  [[nodiscard]] auto snapshot() const { return container().snapshot(); }

 protected:
  explicit SharedProxyForms(ProxyCore core) : ProxyBase(std::move(core)), container_(open(core_)) {}

 private:
  [[nodiscard]] static std::shared_ptr<Container> open(const ProxyCore& core) {
    const auto handle = core.call<SharedHandle>("get");
    try {
      return std::make_shared<Container>(Container::open(handle.handle));
    } catch (const HandleError& error) {
      throw HandleError(
          "this object of the manager lies in shared memory, which only processes of its machine and domain "
          "can use; others need a dict or a list: " +
          std::string(error.what()));
    }
  }
  std::shared_ptr<Container> container_;
};

}  // namespace detail

/// manager.shared_dict<std::string, long>(): a shared::Map (brood/shared/map.hpp) that a manager keeps alive, publishes and
/// passes on. Every call is one transaction of that map, done by the caller: the server has no part in it, and may even be
/// busy. K and V must be what a shared::Map holds.
///
/// Errors:  of all calls: those of shared::Container (NoSpace when its budget is used up). Of getting such a proxy: HandleError
///          in a process that has no part in the manager's domain, on another machine for instance.
/// Threads: safe. Processes: those of the manager's domain.
/// Crash:   who is killed in a call has made it or not. The map lives until the last process that has a proxy has dropped it or
///          died, or the server ends; those who have it then can go on with it. A journal keeps the object, not what is in it.
template <class K, class V>
class SharedDictProxy : public detail::SharedProxyForms<shared::Map<K, V>> {
 public:
  using key_type = K;
  using mapped_type = V;
  explicit SharedDictProxy(detail::ProxyCore core) : detail::SharedProxyForms<shared::Map<K, V>>(std::move(core)) {}
  [[nodiscard]] static std::string type() {
    return "shared dict<" + detail::type_name<K>() + ", " + detail::type_name<V>() + ">";
  }

  [[nodiscard]] std::optional<V> get(const K& key) const { return this->container().find(key); }
  /// Errors: std::out_of_range.
  [[nodiscard]] V at(const K& key) const { return this->container().at(key); }
  void set(const K& key, const V& value) const { (void)this->container().insert_or_assign(key, value); }
  /// False if the key is there already; then nothing changes.
  bool insert(const K& key, const V& value) const { return this->container().insert(key, value); }
  [[nodiscard]] bool contains(const K& key) const { return this->container().contains(key); }
  bool erase(const K& key) const { return this->container().erase(key); }
  std::optional<V> pop(const K& key) const { return this->container().take(key); }
  /// Change a value where it is, here: `change(Value&)`, whose strings and containers are brood::shared's; a key that is not there
  /// begins empty. Returns what that returns; if it throws, nothing has changed.
  template <class Change>
  auto update(const K& key, Change&& change) const {
    return this->container().update(key, std::forward<Change>(change));
  }
  [[nodiscard]] std::vector<std::pair<K, V>> items() const {
    std::vector<std::pair<K, V>> out;
    for (auto& [key, value] : this->snapshot()) out.emplace_back(key, std::move(value));
    return out;
  }
  friend std::ostream& operator<<(std::ostream& out, const SharedDictProxy& dict) {
    return out << dict.core().printed(type());
  }
};

/// manager.shared_list<double>(): a shared::Vector that a manager keeps; all else as SharedDictProxy.
template <class T>
class SharedListProxy : public detail::SharedProxyForms<shared::Vector<T>> {
 public:
  using value_type = T;
  explicit SharedListProxy(detail::ProxyCore core) : detail::SharedProxyForms<shared::Vector<T>>(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "shared list<" + detail::type_name<T>() + ">"; }

  /// Errors: std::out_of_range.
  [[nodiscard]] T at(std::size_t index) const { return this->container().at(index); }
  void set(std::size_t index, const T& value) const { this->container().set(index, value); }
  void push_back(const T& value) const { this->container().push_back(value); }
  void append(const T& value) const { push_back(value); }
  std::optional<T> pop() const { return this->container().pop_back(); }
  template <class Change>
  auto update(std::size_t index, Change&& change) const {
    return this->container().update(index, std::forward<Change>(change));
  }
  friend std::ostream& operator<<(std::ostream& out, const SharedListProxy& list) {
    return out << list.core().printed(type());
  }
};

}  // namespace brood::inline v1
