// The domain: the directory whose processes share objects, and cleaning up after the killed.       (room: shm)
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace brood::inline v1 {

/// Directory that holds this process's shared objects: $BROOD_DOMAIN, else /dev/shm/brood-<uid>.
///
/// It belongs to one user and is closed to all others. Children started by brood inherit it. It is made at the first
/// shared object and removed with the last one.
[[nodiscard]] const std::string& domain_directory();

/// Choose the domain by hand, before the first shared object of this process.
/// Errors: UsageError if the domain is in use already, or the path is empty or not absolute.
void set_domain_directory(std::string_view path);

/// What gc() has freed.
struct GcReport {
  std::size_t objects = 0;  ///< unnamed objects whose last user was killed
  std::size_t pins = 0;     ///< marks of handles in messages that can not be received any more
  std::size_t bytes = 0;    ///< memory given back
};

/// Free what killed processes left behind. Objects in use, named objects and handles in transit are never touched.
///
/// Needed rarely: the last user that ends normally frees an object, and each process that joins the domain cleans up
/// after deaths. Threads, processes: safe, several may run at once; a killed gc leaves nothing half done.
/// Errors: PermissionDenied, OsError: the directory is not this user's alone, so nothing in it is touched.
GcReport gc();

}  // namespace brood::inline v1
