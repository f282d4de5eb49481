// SharedMemory: raw bytes that any number of processes map.                                        (room: shared)
//
// Complete example: examples/32_shared_memory.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "brood/detail/memory_core.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

struct MemoryOptions {
  /// Ask for huge pages (2 MiB): fewer misses in the processor's page tables where large memory is used at random. The
  /// kernel may refuse; huge_bytes() says what it granted. Worth nothing below 2 MiB.
  bool huge_pages = false;
};

/// Memory that this process can only read: the kernel refuses every store to it, and the compiler those through bytes().
///
/// Threads, Processes, Lifetime: as SharedMemory; it arrives read-only wherever it is sent.
/// Source:     none in Python; shm_open(O_RDONLY).
class ReadOnlyMemory : public detail::MemoryFace<const std::byte> {
 public:
  /// Errors: as SharedMemory::open.
  [[nodiscard]] static ReadOnlyMemory open(const Handle& handle);
  [[nodiscard]] static ReadOnlyMemory open_named(std::string_view name);
  friend std::ostream& operator<<(std::ostream& out, const ReadOnlyMemory& memory);

 private:
  using MemoryFace::MemoryFace;
};

/// A piece of shared memory: bytes, without type and without lock. All of it is reserved when it is made, so that no store
/// to it can fail later.
///
///   state     bytes()  as()  view()   size()  name()  handle()   close()
///   open      the memory              yes                        → closed; refused while there are views
///   closed    UsageError              yes                        no effect
///
/// Shape:      one segment: 256 bytes and as many as asked for; no descriptor stays open.
/// Threads:    the object: safe but for moving and destroying it. Its bytes: as any memory; what two touch at a time
///             wants a lock, an Atomic, or a part for each.
/// Processes:  the same, through the handle.
/// Crash:      whoever is killed leaves its bytes as far as it had come; the memory stays for the others.
/// Lifetime:   without a name it is freed with its last user, also if that is killed; with a name it lives until remove().
/// Source:     Python multiprocessing.shared_memory.SharedMemory; unlike there, nobody's end takes it away from others.
class SharedMemory : public detail::MemoryFace<std::byte> {
 public:
  /// `size_bytes` zeros without a name. Errors: UsageError (0 or less), NoSpace, PermissionDenied, OsError.
  explicit SharedMemory(std::int64_t size_bytes, MemoryOptions options = {});
  /// With a name. Errors: as above; AlreadyExists, UsageError (a bad name).
  [[nodiscard]] static SharedMemory create(std::string_view name, std::int64_t size_bytes, MemoryOptions options = {});
  /// That of the name, made if there is none; an existing one keeps its bytes.
  /// Errors: as above; TypeMismatch if it has another size.
  [[nodiscard]] static SharedMemory open_or_create(std::string_view name, std::int64_t size_bytes,
                                                   MemoryOptions options = {});
  /// Reopens the memory, in this process or another. The size is what it was made with.
  /// Errors: HandleError (malformed, stale), TypeMismatch (another kind, damaged), PermissionDenied, OsError.
  [[nodiscard]] static SharedMemory open(const Handle& handle);
  /// Errors: as open(); HandleError if there is none of that name; UsageError (a bad name).
  [[nodiscard]] static SharedMemory open_named(std::string_view name);
  /// The same, to be read only.
  [[nodiscard]] static ReadOnlyMemory open_read_only(const Handle& handle) { return ReadOnlyMemory::open(handle); }
  [[nodiscard]] static ReadOnlyMemory open_read_only_named(std::string_view name) {
    return ReadOnlyMemory::open_named(name);
  }
  /// Takes the name away; who has the memory open keeps it, and it can not be opened any more. False if there was none.
  /// Errors: TypeMismatch if the name belongs to an object of another kind; UsageError (a bad name).
  /// Source: Python SharedMemory.unlink.
  static bool remove(std::string_view name);

  /// `<SharedMemory brood:memory:… of 4096 bytes>`
  friend std::ostream& operator<<(std::ostream& out, const SharedMemory& memory);

 private:
  using MemoryFace::MemoryFace;
};

}  // namespace brood::inline v1
