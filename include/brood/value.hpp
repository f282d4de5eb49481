// Value: one piece of plain data in shared memory, changed as a whole or not at all.               (room: shared)
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <optional>
#include <ostream>
#include <string_view>
#include <utility>

#include "brood/deadline.hpp"
#include "brood/detail/codec.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/detail/value_core.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

/// A shared T with a recursive lock. T is plain data: scalars, enums, and structs or std::arrays of these, without
/// pointers.
///
/// A change happens to a copy, which becomes the value in one store when the lock is released. So a process that dies
/// while it changes the value has changed nothing, a change that throws is undone, and the lock never needs recovery.
///
/// The lock is always the Value's own: that nothing needs recovery rests on nobody but the Value's changes being guarded by
/// it. For one lock over several data, put them into one struct, or take Arrays, which accept an RLock; without any lock
/// there is RawValue, and Atomic for what the processor changes in one instruction.
///
/// Shape:      one segment: a page, or as many as two copies of T take.
/// Threads:    safe.     Processes: safe, through the handle.
/// Crash:      the value is the last one committed; the next taker gets the lock.
/// Source:     Python multiprocessing.Value; the two copies: lib/shared/README.md.
template <class T>
class Value {
  static_assert(detail::raw_layout<T>,
                "brood: Value<T> holds plain data without pointers; send other types through a Queue");

 public:
  using value_type = T;

  /// Errors: NoSpace, PermissionDenied, OsError.
  explicit Value(const T& initial = T{}) : core_(detail::ValueCore::create(type(), &initial)) {}
  [[nodiscard]] static Value create(std::string_view name, const T& initial = T{}) {
    return Value(detail::ValueCore::create_named(name, type(), &initial));
  }
  /// An existing one keeps its value. Errors: TypeMismatch if it holds another type.
  [[nodiscard]] static Value open_or_create(std::string_view name, const T& initial = T{}) {
    return Value(detail::ValueCore::open_or_create(name, type(), &initial));
  }
  [[nodiscard]] static Value open(const Handle& handle) { return Value(detail::ValueCore::open(handle, type())); }
  [[nodiscard]] static Value open_named(std::string_view name) {
    return Value(detail::ValueCore::open_named(name, type()));
  }
  static bool remove(std::string_view name) { return detail::remove_value(name); }

  /// Access to the value by scope: `*total.lock() += 5`. Commits at the end of its scope; if that is left by an
  /// exception, the change is undone. A guard taken by a thread that has one already is part of the outer one.
  class Guard {
   public:
    Guard(Guard&& other) noexcept
        : core_(std::exchange(other.core_, nullptr)), value_(other.value_), exceptions_(other.exceptions_) {}
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
      if (core_ == nullptr) return;
      if (std::uncaught_exceptions() > exceptions_) core_->abandon();
      else core_->commit();
    }
    [[nodiscard]] T& operator*() const noexcept { return *value_; }
    [[nodiscard]] T* operator->() const noexcept { return value_; }
    /// Undo the change and give the lock back now.
    void abandon() noexcept {
      if (auto* core = std::exchange(core_, nullptr)) core->abandon();
    }

   private:
    friend class Value;
    Guard(detail::ValueCore& core, T* value) noexcept
        : core_(&core), value_(value), exceptions_(std::uncaught_exceptions()) {}
    detail::ValueCore* core_;
    T* value_;
    int exceptions_;
  };

  [[nodiscard]] Guard lock() { return Guard(core_, static_cast<T*>(core_.begin(Deadline::never()))); }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<Guard> try_lock_for(std::chrono::duration<Rep, Period> timeout) {
    if (void* value = core_.begin(Deadline::after(timeout))) return Guard(core_, static_cast<T*>(value));
    return std::nullopt;
  }
  [[nodiscard]] bool locked() const { return core_.locked(); }

  /// Change the value under the lock; returns what `change(T&)` returns. If it throws, nothing has changed.
  template <class Change>
  decltype(auto) with(Change&& change) {
    const Guard guard = lock();
    return std::invoke(std::forward<Change>(change), *guard);
  }
  /// A copy of the value. Sleeps while another thread or process holds lock(), for its change may be about to be
  /// committed.
  [[nodiscard]] T get() const {
    std::array<std::byte, sizeof(T)> bytes;
    core_.read(bytes.data(), bytes.size());
    return detail::load_raw<T>(bytes.data());
  }
  void set(const T& value) { *lock() = value; }
  /// Adds under the lock; returns the new value. (`v.set(v.get() + x)` would lose what others add in between.)
  T add(const T& by) requires requires(T value) { value = static_cast<T>(value + by); }
  {
    return with([&](T& value) { return value = static_cast<T>(value + by); });
  }
  /// Makes the value `next(value)`, under the lock; returns the new one. If `next` throws, nothing has changed.
  template <class Next>
  T update(Next&& next) {
    return with([&](T& value) { return value = std::invoke(std::forward<Next>(next), std::as_const(value)); });
  }
  /// Returns what was there.
  T exchange(const T& value) {
    return with([&](T& now) { return std::exchange(now, value); });
  }
  /// A new, unnamed Value of the same content.
  [[nodiscard]] Value copy() const { return Value(get()); }

  [[nodiscard]] Handle handle() const { return core_.handle(); }
  friend std::ostream& operator<<(std::ostream& out, const Value& value) {
    return out << "<Value " << value.handle() << " of " << type().payload.name() << '>';
  }

 private:
  explicit Value(detail::ValueCore core) noexcept : core_(std::move(core)) {}
  [[nodiscard]] static constexpr detail::ValueCore::Type type() noexcept {
    return {detail::kPayloadType<T>, sizeof(T)};
  }
  detail::ValueCore core_;
};

}  // namespace brood::inline v1
