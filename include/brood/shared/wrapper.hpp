// What Vector, Map, String … have in common: a Container with everyday calls.                      (room: shared)
#pragma once

#include <ostream>
#include <string_view>
#include <utility>

#include "brood/shared/container.hpp"
#include "brood/shared/convert.hpp"

namespace brood::inline v1::shared {

/// Base of `Self`. Every call is one transaction, or one look; several in one are `with(…)` or a guard of `write()`.
template <class Self, class Contents>
class Wrapper {
 public:
  using contents_type = Contents;
  /// The contents in memory of this process.
  using snapshot_type = detail::std_of<Contents>;
  using WriteGuard = typename Container<Contents>::WriteGuard;
  using ReadGuard = typename Container<Contents>::ReadGuard;

  /// Errors of these: as of Container.
  explicit Wrapper(const ContainerOptions& options = {}) : container_(options) {}
  [[nodiscard]] static Self create(std::string_view name, const ContainerOptions& options = {}) {
    return Self(Container<Contents>::create(name, options));
  }
  [[nodiscard]] static Self open_or_create(std::string_view name, const ContainerOptions& options = {}) {
    return Self(Container<Contents>::open_or_create(name, options));
  }
  [[nodiscard]] static Self open(const Handle& handle) { return Self(Container<Contents>::open(handle)); }
  [[nodiscard]] static Self open_named(std::string_view name) { return Self(Container<Contents>::open_named(name)); }
  static bool remove(std::string_view name) { return Container<Contents>::remove(name); }

  [[nodiscard]] WriteGuard write() { return container_.write(); }
  [[nodiscard]] ReadGuard read() const { return container_.read(); }
  template <class Change>
  decltype(auto) with(Change&& change) {
    return container_.with(std::forward<Change>(change));
  }
  template <class Look>
  decltype(auto) look(Look&& look_at) const {
    return container_.look(std::forward<Look>(look_at));
  }
  /// All of it, as it was at one instant.
  [[nodiscard]] snapshot_type snapshot() const { return to_std(*read()); }
  /// New contents in place of the old ones.
  void assign(const snapshot_type& contents) {
    const auto guard = write();
    *guard = detail::convert<Contents>(contents, guard.memory());
  }
  [[nodiscard]] std::size_t size() const { return read()->size(); }
  [[nodiscard]] bool empty() const { return read()->empty(); }
  void clear() { write()->clear(); }

  /// For the calls that are not here.
  [[nodiscard]] Container<Contents>& container() noexcept { return container_; }
  [[nodiscard]] const Container<Contents>& container() const noexcept { return container_; }
  [[nodiscard]] Handle handle() const { return container_.handle(); }
  friend std::ostream& operator<<(std::ostream& out, const Self& self) { return out << self.container(); }

 protected:
  explicit Wrapper(Container<Contents> container) noexcept : container_(std::move(container)) {}
  Wrapper(Wrapper&&) noexcept = default;
  Wrapper& operator=(Wrapper&&) noexcept = default;
  ~Wrapper() = default;

 private:
  Container<Contents> container_;
};

}  // namespace brood::inline v1::shared
