// SharedMemoryManager: keeps memory and lists that it made until it is shut down.                  (room: shared)
#pragma once

#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>
#include <utility>

#include "brood/detail/object.hpp"
#include "brood/handle.hpp"
#include "brood/shareable_list.hpp"
#include "brood/shared_memory.hpp"

namespace brood::inline v1 {

/// Makes SharedMemory and ShareableLists that live until shutdown(), also while nobody has them open. Any process to which
/// the manager was passed can make them.
///
///   state         shared_memory(), shareable_list()   start()      shutdown()   handle()
///   not started   NotStarted                          → running    no effect    NotStarted
///   running       make one                            UsageError   → shut down  yes
///   shut down     UsageError                          UsageError   no effect    yes
///
/// There is no server process, so none that could be interrupted, killed or left over: what keeps an object is a link of its
/// file, and what keeps the links is the manager's own segment. shutdown() and the end of the object that was started take
/// the links and the objects' files away: who has an object open keeps it, nobody can open it any more.
///
/// Shape:      one 4 KiB segment, and a hard link for each object.
/// Threads:    safe, but for start(), shutdown() and moving.    Processes: safe, through the handle; only the process that
///             started it can shut it down. A forked copy does not shut down what its parent started.
/// Crash:      when the process that started it is killed, the others go on; with the last of those who have the manager
///             open all its objects are gone (at once, or by the next gc()).
/// Source:     Python multiprocessing.managers.SharedMemoryManager.
class SharedMemoryManager {
 public:
  SharedMemoryManager() = default;
  /// One that is running already, until the end of its scope.
  [[nodiscard]] static SharedMemoryManager started();
  /// The same manager in another process. Errors: HandleError, TypeMismatch, PermissionDenied, OsError.
  [[nodiscard]] static SharedMemoryManager open(const Handle& handle);
  SharedMemoryManager(SharedMemoryManager&& other) noexcept
      : object_(std::move(other.object_)), starter_(std::exchange(other.starter_, 0)) {}
  SharedMemoryManager& operator=(SharedMemoryManager&& other) noexcept;
  /// Shuts down what this object has started.
  ~SharedMemoryManager();

  /// Errors: UsageError (it was started already), NoSpace, PermissionDenied, OsError.
  void start();
  /// Errors: UsageError in a process that has not started it.
  void shutdown();
  [[nodiscard]] bool is_running() const;

  /// Makes one. Errors: NotStarted, UsageError (shut down; see there), NoSpace, OsError.
  [[nodiscard]] SharedMemory shared_memory(std::int64_t size_bytes, MemoryOptions options = {});
  [[nodiscard]] ShareableList shareable_list(std::span<const ShareableList::Item> items,
                                             ShareableListOptions options = {});
  [[nodiscard]] ShareableList shareable_list(std::initializer_list<ShareableList::Item> items,
                                             ShareableListOptions options = {}) {
    return shareable_list(std::span<const ShareableList::Item>(items.begin(), items.size()), options);
  }

  /// Errors: NotStarted.
  [[nodiscard]] Handle handle() const;
  /// `<SharedMemoryManager brood:memory:… running>`
  friend std::ostream& operator<<(std::ostream& out, const SharedMemoryManager& manager);

 private:
  explicit SharedMemoryManager(detail::Object object) noexcept : object_(std::move(object)) {}
  void check_running() const;
  void keep(const Handle& made);
  void end() noexcept;
  detail::Object object_;  ///< empty until start()
  int starter_ = 0;        ///< pid of the process that started it by this object
};

}  // namespace brood::inline v1
