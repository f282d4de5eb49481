// Container: maps, vectors, strings and structs of them in shared memory, changed by transactions.     (room: shared)
//
// Needs Boost 1.81 or later (headers only). Not in brood.hpp: include it, or brood/shared/map.hpp and so on, where it is
// used. A complete example: examples/35_shared_map.cpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string_view>
#include <type_traits>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/container_core.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"
#include "brood/shared/layout.hpp"
#include "brood/shared/types.hpp"

namespace brood::inline v1::shared {

/// A shared T, made of brood::shared's string, vector, deque, map, set, unordered_map, unordered_set, of pairs, tuples,
/// optionals, std::arrays and structs of these, and of plain data.
///
/// A write happens to copies of the pages it touches, which become the contents in one store when its guard ends. So a
/// process that dies while it writes has changed nothing, a write that throws is undone, and nothing ever needs recovery.
/// Readers go on reading what was committed last; a commit waits until they have left.
///
///     brood::shared::Container<brood::shared::map<brood::shared::string, int>> ages;
///     (*ages.write())["ada"] = 36;
///     if (auto now = ages.read(); now->contains("ada")) …
///
/// Shape:      one segment. Memory for the contents grows up to the budget, and never shrinks; as much again is kept for
///             the journal. Address space: four times the budget.
/// Threads:    safe; a guard ends in the thread that made it. Processes: safe, through the handle.
/// Crash:      the contents are those of the last commit, whole; the next taker gets the lock.
///             Exception: change_in_place().
/// Lifetime:   references, iterators and values made of brood::shared's types must not outlive the guard. Where assertions
///             are on, a later write through one is reported and undone, as long as the contents are small (1 MiB).
/// Source:     shadow pages and redo logs of databases (J. Gray, A. Reuter, "Transaction Processing", 1993, ch. 9 and
///             10); the private mapping as the place for the new pages: M. Satyanarayanan et al., "Lightweight
///             Recoverable Virtual Memory", 1994; lib/shared/README.md.
template <class T>
class Container {
  static_assert(detail::may_be_shared<T>(),
                "brood: Container<T> holds brood::shared's string, vector, map …, plain data, and structs of these; "
                "std::string, std::vector, pointers and the like would lead into the memory of one process");
  static_assert(alignof(T) <= 64, "brood: Container<T>: the alignment of T may be at most 64");

 public:
  using value_type = T;

  /// Errors: NoSpace, PermissionDenied, OsError, UsageError (budget).
  explicit Container(const ContainerOptions& options = {}) : core_(detail::ContainerCore::create(type(), options)) {}
  /// Errors: also AlreadyExists.
  [[nodiscard]] static Container create(std::string_view name, const ContainerOptions& options = {}) {
    return Container(detail::ContainerCore::create_named(name, type(), options));
  }
  /// An existing one keeps its contents and its budget. Errors: also TypeMismatch if it holds another type.
  [[nodiscard]] static Container open_or_create(std::string_view name, const ContainerOptions& options = {}) {
    return Container(detail::ContainerCore::open_or_create(name, type(), options));
  }
  /// Errors: HandleError (stale), TypeMismatch (another type, another layout, damaged), PermissionDenied, OsError.
  [[nodiscard]] static Container open(const Handle& handle) {
    return Container(detail::ContainerCore::open(handle, type()));
  }
  [[nodiscard]] static Container open_named(std::string_view name) {
    return Container(detail::ContainerCore::open_named(name, type()));
  }
  /// Takes the name away; users keep the container until they close it. False if there was none.
  static bool remove(std::string_view name) { return detail::remove_container(name); }

  /// A transaction by scope. Commits at its end; if that is left by an exception, everything is undone. One inside of
  /// another of the same thread is a part of the outer one.
  ///
  /// The end never fails: memory for the commit is there before the contents grow into theirs.
  class WriteGuard {
   public:
    WriteGuard(WriteGuard&& other) noexcept = default;
    WriteGuard& operator=(WriteGuard&&) = delete;
    ~WriteGuard() { access_.finish_write(std::uncaught_exceptions() <= exceptions_); }
    /// Errors: UsageError after commit() or abandon(). What is done with the contents throws NoSpace when the budget or the
    /// filesystem is full.
    [[nodiscard]] T& operator*() const { return *static_cast<T*>(access_.root()); }
    [[nodiscard]] T* operator->() const { return static_cast<T*>(access_.root()); }
    /// The memory of this container, for what is made to be put into it while the thread writes to others too.
    [[nodiscard]] allocator<std::byte> memory() const { return allocator<std::byte>::of(access_.heap()); }
    /// Commit now. Inside of another guard the outer one's end counts.
    /// Errors: UsageError if a guard inside of this one was abandoned: everything is undone then.
    void commit() { access_.commit(); }
    /// Undo the change, and give the lock back now. Inside of another guard that one's changes go too, when it ends.
    void abandon() noexcept { access_.abandon(); }

   private:
    friend class Container;
    explicit WriteGuard(detail::ContainerAccess access) noexcept : access_(std::move(access)) {}
    detail::ContainerAccess access_;
    int exceptions_ = std::uncaught_exceptions();
  };

  /// A look at what was committed last. Others may read at the same time; a writer may work, and waits for the end of
  /// this before his commit becomes visible. Inside of a write of the same thread: a look at what that has done so far.
  class ReadGuard {
   public:
    ReadGuard(ReadGuard&& other) noexcept = default;
    ReadGuard& operator=(ReadGuard&&) = delete;
    ~ReadGuard() { access_.finish_read(); }
    [[nodiscard]] const T& operator*() const { return *static_cast<const T*>(access_.root()); }
    [[nodiscard]] const T* operator->() const { return static_cast<const T*>(access_.root()); }

   private:
    friend class Container;
    explicit ReadGuard(detail::ContainerAccess access) noexcept : access_(std::move(access)) {}
    detail::ContainerAccess access_;
  };

  /// Sleeps while another thread or process writes.
  /// Errors: ContainerDamaged; UsageError if this thread reads the container: it would wait for itself.
  [[nodiscard]] WriteGuard write() { return WriteGuard(begin(Writing::transaction, Deadline::never())); }
  [[nodiscard]] std::optional<WriteGuard> try_write() { return try_write_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<WriteGuard> try_write_for(std::chrono::duration<Rep, Period> timeout) {
    return try_write_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] std::optional<WriteGuard> try_write_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [this](Deadline deadline) { return try_write_before(deadline); });
  }
  [[nodiscard]] std::optional<WriteGuard> try_write_before(Deadline deadline) {
    if (auto access = begin(Writing::transaction, deadline)) return WriteGuard(std::move(access));
    return std::nullopt;
  }

  /// Sleeps while a commit is under way, or a change in place. Errors: ContainerDamaged.
  [[nodiscard]] ReadGuard read() const { return ReadGuard(core_.begin_read(Deadline::never())); }
  [[nodiscard]] std::optional<ReadGuard> try_read() const { return try_read_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<ReadGuard> try_read_for(std::chrono::duration<Rep, Period> timeout) const {
    return try_read_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] std::optional<ReadGuard> try_read_until(std::chrono::time_point<Clock, Duration> when) const {
    return detail::attempt_until(when, [this](Deadline deadline) { return try_read_before(deadline); });
  }
  [[nodiscard]] std::optional<ReadGuard> try_read_before(Deadline deadline) const {
    if (auto access = core_.begin_read(deadline)) return ReadGuard(std::move(access));
    return std::nullopt;
  }

  /// One transaction: returns what `change(T&)` returns. If it throws, nothing has changed.
  template <class Change>
  decltype(auto) with(Change&& change) {
    static_assert(!std::is_reference_v<std::invoke_result_t<Change, T&>>,
                  "brood: a reference into the container must not leave its transaction; return a copy");
    const WriteGuard guard = write();
    return std::invoke(std::forward<Change>(change), *guard);
  }
  /// One look: returns what `look(const T&)` returns.
  template <class Look>
  decltype(auto) look(Look&& look_at) const {
    static_assert(!std::is_reference_v<std::invoke_result_t<Look, const T&>>,
                  "brood: a reference into the container must not leave its guard; return a copy");
    const ReadGuard guard = read();
    return std::invoke(std::forward<Look>(look_at), *guard);
  }

  /// As with(), for changes of so much that copies cost too much: directly to the shared memory. Readers wait.
  ///
  /// Errors:  as write(). What `change` did before it threw stays.
  /// Crash:   not safe. If the process dies in it, every later access throws ContainerDamaged until recover() or reset().
  template <class Change>
  decltype(auto) change_in_place(Change&& change) {
    static_assert(!std::is_reference_v<std::invoke_result_t<Change, T&>>,
                  "brood: a reference into the container must not leave its guard; return a copy");
    const WriteGuard guard(begin(Writing::in_place, Deadline::never()));
    return std::invoke(std::forward<Change>(change), *guard);
  }
  /// Repair what a process that died in change_in_place() left: `repair(T&)` is a transaction after which the container
  /// is as good as new; if it throws, it is as damaged as before. False, and nothing is called, if there is no damage.
  template <class Repair>
  bool recover(Repair&& repair) {
    auto access = begin(Writing::recovery, Deadline::never());
    if (!access) return false;
    const WriteGuard guard(std::move(access));
    std::invoke(std::forward<Repair>(repair), *guard);
    return true;
  }
  /// Make it empty, damaged or not, in one transaction.
  void reset() { const WriteGuard guard(begin(Writing::renewal, Deadline::never())); }

  /// Somebody writes right now.
  [[nodiscard]] bool locked() const { return core_.locked(); }
  [[nodiscard]] std::size_t budget_bytes() const { return core_.budget_bytes(); }
  /// Memory that the contents have had so far.
  [[nodiscard]] std::size_t reserved_bytes() const { return core_.reserved_bytes(); }

  [[nodiscard]] Handle handle() const { return core_.handle(); }
  friend std::ostream& operator<<(std::ostream& out, const Container& container) {
    return out << "<Container " << container.handle() << " of " << type().payload.name() << '>';
  }

 private:
  using Writing = detail::ContainerCore::Writing;
  explicit Container(detail::ContainerCore core) noexcept : core_(std::move(core)) {}
  [[nodiscard]] detail::ContainerAccess begin(Writing how, Deadline deadline) const {
    return core_.begin_write(type(), how, deadline);
  }
  static void make(void* at) {
    if constexpr (std::is_constructible_v<T, const allocator<std::byte>&>) new (at) T(allocator<std::byte>());
    else new (at) T();
  }
  [[nodiscard]] static constexpr detail::ContainerCore::Type type() noexcept {
    return {detail::kSharedPayload<T>, sizeof(T), &make};
  }
  detail::ContainerCore core_;
};

}  // namespace brood::inline v1::shared
