// AtomicCore: eight bytes for one atomic, and a bell for those who wait for its change.             (room: shared)
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/object.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1::detail {

class AtomicCore {
 public:
  static constexpr std::size_t kMostBytes = 8;

  [[nodiscard]] static AtomicCore create(const PayloadType& type, const void* initial, std::size_t size_bytes);
  [[nodiscard]] static AtomicCore create_named(std::string_view name, const PayloadType& type, const void* initial,
                                               std::size_t size_bytes);
  [[nodiscard]] static AtomicCore open_or_create(std::string_view name, const PayloadType& type, const void* initial,
                                                 std::size_t size_bytes);
  [[nodiscard]] static AtomicCore open(const Handle& handle, const PayloadType& type);
  [[nodiscard]] static AtomicCore open_named(std::string_view name, const PayloadType& type);

  /// Where the value lies. Errors: UsageError if this object was moved from.
  [[nodiscard]] void* to_read() const { return object_.body(); }
  /// The same before a change. This process is known to the domain from now on: if it is killed between the change and the
  /// notification, its death is what wakes the sleepers.
  [[nodiscard]] void* to_write();

  /// Sleeps until `has_changed()`; false after the deadline.
  [[nodiscard]] bool wait_before(const std::function<bool()>& has_changed, Deadline deadline) const;
  void notify_one();
  void notify_all();

  [[nodiscard]] Handle handle() const { return object_.handle(); }

 private:
  explicit AtomicCore(Object object) noexcept : object_(std::move(object)) {}
  Object object_;
};

bool remove_atomic(std::string_view name);

}  // namespace brood::inline v1::detail
