// ValueCore: a lock and two copies of some bytes; Value<T> adds the type.                          (room: shared)
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "brood/deadline.hpp"
#include "brood/detail/object.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1::detail {

class ValueCore {
 public:
  struct Type {
    PayloadType payload;
    std::size_t size_bytes;
  };
  [[nodiscard]] static ValueCore create(const Type& type, const void* initial);
  [[nodiscard]] static ValueCore create_named(std::string_view name, const Type& type, const void* initial);
  [[nodiscard]] static ValueCore open_or_create(std::string_view name, const Type& type, const void* initial);
  [[nodiscard]] static ValueCore open(const Handle& handle, const Type& type);
  [[nodiscard]] static ValueCore open_named(std::string_view name, const Type& type);

  /// Locks and returns the working copy; null if the deadline passed. Nests within one thread.
  [[nodiscard]] void* begin(Deadline deadline);
  /// Unlocks; the outermost commit makes the working copy the value, in one store.
  void commit() noexcept;
  /// Unlocks; at the outermost level the value stays as it was.
  void abandon() noexcept;
  /// A consistent copy.
  void read(void* into, std::size_t size_bytes) const;

  [[nodiscard]] bool locked() const;
  [[nodiscard]] Handle handle() const { return object_.handle(); }

 private:
  explicit ValueCore(Object object) noexcept : object_(std::move(object)) {}
  Object object_;
};

bool remove_value(std::string_view name);

}  // namespace brood::inline v1::detail
