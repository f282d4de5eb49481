// DomainView: the tester's look at the domain from outside. It never joins, so its look disturbs nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "registry/layout.hpp"

namespace fault {

class DomainView {
 public:
  DomainView() = default;
  DomainView(const DomainView&) = delete;
  DomainView& operator=(const DomainView&) = delete;
  ~DomainView() { forget(); }

  /// All files in the domain directory, but not the registry.
  [[nodiscard]] static std::vector<std::string> objects();
  [[nodiscard]] static bool has_registry();

  /// Returns once no slot belongs to a dead process and the death word rests: from then on, no late broadcast of an
  /// earlier death can wake anybody and so hide a lost wake-up. False if that does not come about: an unburied death.
  bool await_quiet();

  [[nodiscard]] std::uint64_t deaths_by_tick();
  /// Slots that were ever used; grows if slots are lost.
  [[nodiscard]] std::uint32_t slots_used();
  /// Slots left by processes that were killed while they joined.
  [[nodiscard]] unsigned abandoned_slots();

 private:
  /// Null if there is no registry.
  const brood::registry::Registry* look();
  void forget() noexcept;
  [[nodiscard]] static bool has_unburied(const brood::registry::Registry& registry);

  const brood::registry::Registry* mapped_ = nullptr;
  std::uint64_t inode_ = 0;
};

}  // namespace fault
