// SharedObject: what shared types without a payload have in common: handle, open, remove.     (room: registry)
#pragma once

#include <string_view>
#include <utility>

#include "brood/detail/object.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1::detail {

struct WaitAccess;  // brood/wait.hpp

[[nodiscard]] Object open_object(const Handle& handle, Kind kind);
[[nodiscard]] Object open_object_named(std::string_view name, Kind kind);
bool remove_object(std::string_view name, Kind kind);

/// Base of `T`, which has a private constructor from Object and befriends this class. Move-only.
template <class T, Kind K>
class SharedObject {
 public:
  /// Reopens the object in this process, or a second time in this process.
  /// Errors: HandleError (malformed, stale), TypeMismatch (another kind, another layout), PermissionDenied, OsError.
  [[nodiscard]] static T open(const Handle& handle) { return T(open_object(handle, K)); }
  /// Errors: as open(); HandleError if there is no object of that name.
  [[nodiscard]] static T open_named(std::string_view name) { return T(open_object_named(name, K)); }
  /// Takes the name away; who has the object open keeps it. False if there was none.
  /// Errors: TypeMismatch if the name belongs to an object of another kind.
  static bool remove(std::string_view name) { return remove_object(name, K); }

  /// The text by which any process of the domain reopens this object.
  [[nodiscard]] Handle handle() const { return object_.handle(); }

 protected:
  explicit SharedObject(Object object) noexcept : object_(std::move(object)) {}
  SharedObject(SharedObject&&) noexcept = default;
  SharedObject& operator=(SharedObject&&) noexcept = default;
  ~SharedObject() = default;

  Object object_;

 private:
  friend struct WaitAccess;
};

}  // namespace brood::inline v1::detail
