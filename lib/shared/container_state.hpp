// ContainerState: one attachment to a container, and the transaction of this process in it.
#pragma once

#include <chrono>

#include "brood/detail/container_core.hpp"
#include "brood/detail/object.hpp"
#include "registry/registry.hpp"
#include "shared/container_accesses.hpp"
#include "shared/container_body.hpp"

namespace brood::inline v1::detail {

struct ContainerState : std::enable_shared_from_this<ContainerState> {
  explicit ContainerState(Object attached)
      : object(std::move(attached)),
        view(shared::View::of(object.body(), shm::private_body(object))),
        view_in_place(shared::View::of(object.body(), object.body())) {}

  [[nodiscard]] sync::LockContext context() const noexcept { return {Kind::container, object.id()}; }
  [[nodiscard]] const shared::View& view_of(ContainerCore::Writing which) const noexcept {
    return which == ContainerCore::Writing::in_place ? view_in_place : view;
  }

  const Object object;
  const shared::View view;
  const shared::View view_in_place;

  // Only whoever holds the lock touches these.
  registry::Id private_of = registry::kNobody;  ///< the process whose changes the private view may have
  std::uint64_t kept_at = 0;                    ///< the number of the commit to which pages kept in it belong; 0: none
  std::chrono::steady_clock::time_point begun;
  std::uint32_t depth = 0;  ///< accesses of its thread, one inside of the other
  bool is_doomed = false;   ///< one of them was abandoned
  ContainerCore::Writing how = ContainerCore::Writing::transaction;
};

}  // namespace brood::inline v1::detail
