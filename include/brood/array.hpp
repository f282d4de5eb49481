// Array: a fixed number of plain elements in shared memory, with a lock; RawArray and RawValue: without. (room: shared)
//
// Complete example: examples/31_shared_array.cpp
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <ostream>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "brood/array_view.hpp"
#include "brood/deadline.hpp"
#include "brood/detail/array_core.hpp"
#include "brood/detail/codec.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"
#include "brood/rlock.hpp"

namespace brood::inline v1 {

struct ArrayOptions {
  /// What becomes of the array's lock when the process that holds it dies. `heal` suits elements that are stored in one
  /// instruction (up to 8 bytes), or of which a half-made change does no harm.
  OwnerDeath on_owner_death = OwnerDeath::report;
};

namespace detail {

template <class T>
constexpr ArrayCore::Type array_type() noexcept {
  return {kPayloadType<T>, sizeof(T)};
}

/// What a new array can be filled with.
template <class R, class T>
concept ElementsFor = std::ranges::input_range<R> && std::convertible_to<std::ranges::range_reference_t<R>, T> &&
    !(std::same_as<T, char> && std::is_array_v<std::remove_reference_t<R>>);  // a literal has a NUL too many

/// The elements of a range in one piece: where they are, or copied.
template <class T, class R>
class InOnePiece {
  static constexpr bool kLies = std::ranges::contiguous_range<R> && std::ranges::sized_range<R> &&
                                std::same_as<std::remove_cvref_t<std::ranges::range_reference_t<R>>, T>;

 public:
  explicit InOnePiece(R& range) {
    if constexpr (kLies) {
      elements_ = {std::ranges::data(range), std::ranges::size(range)};
    } else if constexpr (std::same_as<T, bool>) {
      for (auto&& element : range) copy_.push_back(static_cast<bool>(element) ? std::byte{1} : std::byte{0});
      elements_ = {reinterpret_cast<const bool*>(copy_.data()), copy_.size()};
    } else {
      for (auto&& element : range) copy_.push_back(static_cast<T>(element));
      elements_ = copy_;
    }
  }
  [[nodiscard]] std::span<const T> span() const noexcept { return elements_; }

 private:
  /// A std::vector<bool> has no bools.
  std::vector<std::conditional_t<std::same_as<T, bool>, std::byte, T>> copy_;
  std::span<const T> elements_;
};

/// Direct access to elements, without any lock. `E` is T, or const T.
template <class E>
class ArrayAccess {
  using T = std::remove_const_t<E>;
  static_assert(raw_layout<T>, "brood: arrays hold plain data without pointers; send other types through a Queue");
  static_assert(alignof(T) <= ArrayCore::kAlignment, "brood: arrays hold elements aligned to 64 bytes at most");

 public:
  using value_type = T;

  [[nodiscard]] std::size_t size() const { return core_.size(); }
  [[nodiscard]] bool empty() const { return size() == 0; }

  /// The element itself, unchecked and without the lock: for one thread of one process at a time, or under lock().
  [[nodiscard]] E& operator[](std::size_t index) { return data()[index]; }
  [[nodiscard]] const T& operator[](std::size_t index) const { return data()[index]; }
  /// The same, checked; a negative index counts from the end. Errors: UsageError.
  [[nodiscard]] E& at(std::int64_t index) { return data()[core_.index(index)]; }
  [[nodiscard]] const T& at(std::int64_t index) const { return data()[core_.index(index)]; }
  /// All elements where they lie, without the lock.
  [[nodiscard]] std::span<E> span() { return {data(), core_.size()}; }
  [[nodiscard]] std::span<const T> span() const { return {data(), core_.size()}; }
  [[nodiscard]] E* begin() { return data(); }
  [[nodiscard]] E* end() { return data() + core_.size(); }
  [[nodiscard]] const T* begin() const { return data(); }
  [[nodiscard]] const T* end() const { return data() + core_.size(); }
  /// The elements as a matrix, or as a block of more dimensions, row by row and without the lock:
  /// `auto m = a.view(3, 4); m(2, 1) = 7;`. Errors: UsageError unless the product of the extents is size().
  template <std::integral... I>
  requires(sizeof...(I) >= 1) [[nodiscard]] ArrayView<E, sizeof...(I)> view(I... extents) {
    return {span(), {static_cast<std::size_t>(extents)...}};
  }
  template <std::integral... I>
  requires(sizeof...(I) >= 1) [[nodiscard]] ArrayView<const T, sizeof...(I)> view(I... extents) const {
    return {span(), {static_cast<std::size_t>(extents)...}};
  }

  /// The text by which any process of the domain reopens this array.
  [[nodiscard]] Handle handle() const { return core_.handle(); }

 protected:
  explicit ArrayAccess(ArrayCore core) noexcept : core_(std::move(core)) {}
  ArrayAccess(ArrayAccess&&) noexcept = default;
  ArrayAccess& operator=(ArrayAccess&&) noexcept = default;
  ~ArrayAccess() = default;
  [[nodiscard]] E* data() const { return reinterpret_cast<E*>(core_.data()); }

  ArrayCore core_;
};

/// Copies in and out: under the lock if there is one, each call for itself.
template <class T, bool kLocks>
class ArrayCopies : public ArrayAccess<T> {
 public:
  /// A copy of one element; a negative index counts from the end. Errors: UsageError; OwnerDied if there is a lock.
  [[nodiscard]] T get(std::int64_t index) const {
    const std::size_t at = core_.index(index);
    const ArrayHold held = hold();
    return checked(at);
  }
  void set(std::int64_t index, const T& value) {
    const std::size_t at = core_.index(index);
    const ArrayHold held = hold();
    put(at, value);
  }
  /// A copy of the elements `from` … `to`-1, as Python slices: negative ends count from the end, and what lies outside is
  /// left out.
  [[nodiscard]] std::vector<T> slice(std::int64_t from, std::int64_t to) const {
    const auto part = core_.slice(from, to);
    std::vector<T> out;
    out.reserve(part.count);
    const ArrayHold held = hold();
    for (std::size_t i = 0; i < part.count; ++i) out.push_back(checked(part.from + i));
    return out;
  }
  /// All elements.
  [[nodiscard]] std::vector<T> to_vector() const { return slice(0, static_cast<std::int64_t>(core_.size())); }

  /// Overwrites as many elements as there are values, from `from` on.
  /// Errors: UsageError if they do not fit in; nothing was changed.
  template <ElementsFor<T> R>
  void assign(std::int64_t from, R&& values) {
    const InOnePiece<T, std::remove_reference_t<R>> piece(values);
    put_all(core_.index_for(from, piece.span().size()), piece.span());
  }
  void assign(std::int64_t from, std::initializer_list<T> values) {
    assign<const std::initializer_list<T>&>(from, values);
  }
  /// Overwrites the slice `from` … `to`. Errors: UsageError unless it has as many elements; nothing was changed.
  template <ElementsFor<T> R>
  void assign(std::int64_t from, std::int64_t to, R&& values) {
    const InOnePiece<T, std::remove_reference_t<R>> piece(values);
    const auto part = core_.slice(from, to);
    if (part.count != piece.span().size()) core_.throw_slice_length(from, to, part.count, piece.span().size());
    put_all(part.from, piece.span());
  }
  void assign(std::int64_t from, std::int64_t to, std::initializer_list<T> values) {
    assign<const std::initializer_list<T>&>(from, to, values);
  }
  void fill(const T& value) {
    const ArrayHold held = hold();
    for (std::size_t i = 0; i < core_.size(); ++i) put(i, value);
  }

  /// Of chars: the text up to the first NUL.
  [[nodiscard]] std::string text() const requires std::same_as<T, char> {
    const ArrayHold held = hold();
    const std::string_view all(this->data(), core_.size());
    return std::string(all.substr(0, all.find('\0')));
  }
  /// Of chars: the text, and NULs behind it to the end. (In Python what is behind a shorter text stays there.)
  /// Errors: UsageError if it is too long; nothing was changed.
  void set_text(std::string_view text) requires std::same_as<T, char> {
    if (text.size() > core_.size()) core_.throw_text_length(text.size());
    const ArrayHold held = hold();
    std::memset(this->data() + text.size(), 0, core_.size() - text.size());
    copy_bytes(this->data(), text.data(), text.size());
  }

 protected:
  using ArrayAccess<T>::ArrayAccess;
  using ArrayAccess<T>::core_;

 private:
  [[nodiscard]] ArrayHold hold() const {
    if constexpr (kLocks) return core_.lock();
    else return ArrayHold();
  }
  [[nodiscard]] const std::byte* bytes_at(std::size_t index) const { return core_.data() + index * sizeof(T); }
  [[nodiscard]] T checked(std::size_t index) const {
    if (!raw_bytes_are_valid<T>(bytes_at(index))) core_.throw_damaged_element();
    return load_raw<T>(bytes_at(index));
  }
  void put(std::size_t index, const T& value) { store_raw(core_.data() + index * sizeof(T), value); }
  void put_all(std::size_t from, std::span<const T> values) {
    const ArrayHold held = hold();
    for (std::size_t i = 0; i < values.size(); ++i) put(from + i, values[i]);
  }
};

}  // namespace detail

/// A number of elements of plain data, fixed when it is made, and a recursive lock. T is as of Value.
///
/// `get`, `set`, `slice`, `assign`, `fill` and `text` take the lock, each for itself; what belongs together goes through
/// `lock()` or `with()`. `operator[]`, `at`, `span`, `view` and iteration go to the memory directly.
///
/// Shape:      one segment: 512 bytes and the elements; no descriptor stays open.
/// Threads:    safe, but for direct access.     Processes: the same, through the handle.
/// Crash:      a process killed while it holds the lock leaves elements half changed: whoever locks next gets OwnerDied
///             until one process has repaired them in recover(). See ArrayOptions.
/// Lifetime:   as of Lock. A lock that was given lives as long as the array.
/// Source:     Python multiprocessing.Array; the guard is lib/shared/README.md's.
template <class T>
class Array : public detail::ArrayCopies<T, true> {
  using Base = detail::ArrayCopies<T, true>;
  using Plan = detail::ArrayCore::Plan;

 public:
  /// `size` zeros. Errors: UsageError (negative), NoSpace, PermissionDenied, OsError.
  explicit Array(std::int64_t size, ArrayOptions options = {})
      : Array(make({.count = size, .on_owner_death = options.on_owner_death})) {}
  Array(std::initializer_list<T> elements, ArrayOptions options = {})  // NOLINT(google-explicit-constructor)
      : Array(make_of<const std::initializer_list<T>>(elements, {.on_owner_death = options.on_owner_death})) {}
  template <detail::ElementsFor<T> R>
  requires(!std::same_as<std::remove_cvref_t<R>, Array>) explicit Array(R&& elements, ArrayOptions options = {})
      : Array(make_of(elements, {.on_owner_death = options.on_owner_death})) {}
  /// Of chars: the text, without a NUL behind it.
  explicit Array(std::string_view text, ArrayOptions options = {}) requires std::same_as<T, char>
      : Array(make_of(text, {.on_owner_death = options.on_owner_death})) {}
  /// With a lock that other arrays, or you, use as well: whoever holds it holds them all. It travels with the array.
  Array(const RLock& lock, std::int64_t size) : Array(make({.count = size, .given = &lock})) {}
  Array(const RLock& lock, std::initializer_list<T> elements)
      : Array(make_of<const std::initializer_list<T>>(elements, {.given = &lock})) {}
  template <detail::ElementsFor<T> R>
  Array(const RLock& lock, R&& elements) : Array(make_of(elements, {.given = &lock})) {}

  /// With a name. Errors: as above; AlreadyExists.
  [[nodiscard]] static Array create(std::string_view name, std::int64_t size, ArrayOptions options = {}) {
    return Array(make({.named = true, .name = name, .count = size, .on_owner_death = options.on_owner_death}));
  }
  template <detail::ElementsFor<T> R>
  [[nodiscard]] static Array create(std::string_view name, R&& elements, ArrayOptions options = {}) {
    return Array(make_of(elements, {.named = true, .name = name, .on_owner_death = options.on_owner_death}));
  }
  /// The lock must have a name, too.
  [[nodiscard]] static Array create(std::string_view name, const RLock& lock, std::int64_t size) {
    return Array(make({.named = true, .name = name, .count = size, .given = &lock}));
  }
  /// An existing one keeps its elements and its lock. Errors: TypeMismatch if it has another type or size.
  [[nodiscard]] static Array open_or_create(std::string_view name, std::int64_t size, ArrayOptions options = {}) {
    return Array(make(
        {.named = true, .name = name, .open_existing = true, .count = size, .on_owner_death = options.on_owner_death}));
  }
  /// Errors: HandleError, TypeMismatch (another kind, other elements, made without a lock), PermissionDenied, OsError.
  [[nodiscard]] static Array open(const Handle& handle) {
    return Array(detail::ArrayCore::open(handle, kType, detail::ArrayCore::As::locked));
  }
  [[nodiscard]] static Array open_named(std::string_view name) {
    return Array(detail::ArrayCore::open_named(name, kType, detail::ArrayCore::As::locked));
  }
  static bool remove(std::string_view name) { return detail::remove_array(name); }

  /// The elements while the lock is held, until the end of its scope: `for (double& x : samples.lock()) x += 1;`.
  /// Stays valid when the Array is moved, not when it is destroyed.
  class Guard {
   public:
    [[nodiscard]] T& operator[](std::size_t index) const noexcept { return elements_[index]; }
    [[nodiscard]] T* begin() const noexcept { return elements_.data(); }
    [[nodiscard]] T* end() const noexcept { return elements_.data() + elements_.size(); }
    [[nodiscard]] std::size_t size() const noexcept { return elements_.size(); }
    [[nodiscard]] std::span<T> span() const noexcept { return elements_; }
    template <std::integral... I>
    requires(sizeof...(I) >= 1) [[nodiscard]] ArrayView<T, sizeof...(I)> view(I... extents) const {
      return {elements_, {static_cast<std::size_t>(extents)...}};
    }
    /// Gives the lock back now; the guard has no elements any more.
    void unlock() noexcept {
      elements_ = {};
      hold_.release();
    }

   private:
    friend class Array;
    Guard(detail::ArrayHold hold, std::span<T> elements) noexcept : hold_(std::move(hold)), elements_(elements) {}
    detail::ArrayHold hold_;
    std::span<T> elements_;
  };

  /// Take the lock, once more if this thread holds it. Errors: OwnerDied — not held.
  [[nodiscard]] Guard lock() { return Guard(core_.lock(), this->span()); }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<Guard> try_lock_for(std::chrono::duration<Rep, Period> timeout) {
    detail::ArrayHold hold;
    if (!core_.lock_before(Deadline::after(timeout), hold)) return std::nullopt;
    return Guard(std::move(hold), this->span());
  }
  [[nodiscard]] std::optional<Guard> try_lock() { return try_lock_for(std::chrono::seconds(0)); }
  /// True while any living process holds the lock.
  [[nodiscard]] bool locked() const { return core_.locked(); }
  /// Runs `change(std::span<T>)` under the lock; returns what it returns. (No undo: a Value has that.)
  template <class Change>
  decltype(auto) with(Change&& change) {
    const Guard guard = lock();
    return std::invoke(std::forward<Change>(change), guard.span());
  }
  /// After OwnerDied: runs `repair(std::span<T>)` while holding the lock, then the array is as usual; returns true. As
  /// Lock::recover.
  template <class Repair>
  bool recover(Repair&& repair) {
    return core_.recover([&] { std::invoke(repair, this->span()); });
  }

  /// A new, unnamed array of the same elements, with a lock of its own.
  [[nodiscard]] Array copy() const { return Array(this->to_vector()); }

  friend std::ostream& operator<<(std::ostream& out, const Array& array) {
    array.core_.print(out, "Array", kType.payload);
    return out;
  }

 private:
  using Base::core_;
  static constexpr detail::ArrayCore::Type kType = detail::array_type<T>();
  explicit Array(detail::ArrayCore core) noexcept : Base(std::move(core)) {}
  static detail::ArrayCore make(const Plan& plan) { return detail::ArrayCore::make(kType, plan); }
  template <class R>
  static detail::ArrayCore make_of(R& elements, Plan plan) {
    const detail::InOnePiece<T, std::remove_reference_t<R>> piece(elements);
    plan.count = static_cast<std::int64_t>(piece.span().size());
    plan.initial = piece.span().data();
    return make(plan);
  }
};

/// The same without a lock: a piece of typed shared memory. Keep order by other means: a Lock, a Barrier, a part of the
/// elements for each process.
///
/// Shape, Lifetime: as Array.
/// Threads, Processes: as any memory: two that touch one element at a time, one of them writing, are a data race.
/// Crash:      whoever is killed leaves its elements as far as it had come.
/// Source:     Python multiprocessing.RawArray.
template <class T>
class RawArray : public detail::ArrayCopies<T, false> {
  using Base = detail::ArrayCopies<T, false>;
  using Plan = detail::ArrayCore::Plan;

 public:
  explicit RawArray(std::int64_t size) : RawArray(make({.count = size, .raw = true})) {}
  RawArray(std::initializer_list<T> elements)  // NOLINT(google-explicit-constructor)
      : RawArray(make_of<const std::initializer_list<T>>(elements, {.raw = true})) {}
  template <detail::ElementsFor<T> R>
  requires(!std::same_as<std::remove_cvref_t<R>, RawArray>) explicit RawArray(R&& elements)
      : RawArray(make_of(elements, {.raw = true})) {}
  [[nodiscard]] static RawArray create(std::string_view name, std::int64_t size) {
    return RawArray(make({.named = true, .name = name, .count = size, .raw = true}));
  }
  template <detail::ElementsFor<T> R>
  [[nodiscard]] static RawArray create(std::string_view name, R&& elements) {
    return RawArray(make_of(elements, {.named = true, .name = name, .raw = true}));
  }
  [[nodiscard]] static RawArray open_or_create(std::string_view name, std::int64_t size) {
    return RawArray(make({.named = true, .name = name, .open_existing = true, .count = size, .raw = true}));
  }
  [[nodiscard]] static RawArray open(const Handle& handle) {
    return RawArray(detail::ArrayCore::open(handle, kType, detail::ArrayCore::As::raw));
  }
  [[nodiscard]] static RawArray open_named(std::string_view name) {
    return RawArray(detail::ArrayCore::open_named(name, kType, detail::ArrayCore::As::raw));
  }
  static bool remove(std::string_view name) { return detail::remove_array(name); }

  [[nodiscard]] RawArray copy() const { return RawArray(this->to_vector()); }

  friend std::ostream& operator<<(std::ostream& out, const RawArray& array) {
    array.core_.print(out, "RawArray", kType.payload);
    return out;
  }

 private:
  using Base::core_;
  static constexpr detail::ArrayCore::Type kType = detail::array_type<T>();
  explicit RawArray(detail::ArrayCore core) noexcept : Base(std::move(core)) {}
  static detail::ArrayCore make(const Plan& plan) { return detail::ArrayCore::make(kType, plan); }
  template <class R>
  static detail::ArrayCore make_of(R& elements, Plan plan) {
    const detail::InOnePiece<T, std::remove_reference_t<R>> piece(elements);
    plan.count = static_cast<std::int64_t>(piece.span().size());
    plan.initial = piece.span().data();
    return make(plan);
  }
};

/// An Array or RawArray that this process can only read: the kernel refuses every store to its memory. It cannot take the
/// lock either, which would be a store: what it reads may be in the middle of a change.
///
/// Threads:    safe as far as nobody writes.     Processes: the same; arrives read-only wherever it is sent.
/// Source:     none in Python; shm_open(O_RDONLY).
template <class T>
class ReadOnlyArray : public detail::ArrayAccess<const T> {
 public:
  [[nodiscard]] static ReadOnlyArray open(const Handle& handle) {
    return ReadOnlyArray(detail::ArrayCore::open(handle, kType, detail::ArrayCore::As::read_only));
  }
  [[nodiscard]] static ReadOnlyArray open_named(std::string_view name) {
    return ReadOnlyArray(detail::ArrayCore::open_named(name, kType, detail::ArrayCore::As::read_only));
  }
  friend std::ostream& operator<<(std::ostream& out, const ReadOnlyArray& array) {
    array.core_.print(out, "ReadOnlyArray", kType.payload);
    return out;
  }

 private:
  static constexpr detail::ArrayCore::Type kType = detail::array_type<T>();
  explicit ReadOnlyArray(detail::ArrayCore core) noexcept : detail::ArrayAccess<const T>(std::move(core)) {}
};

/// One shared T without a lock: `*value` is the object itself. A RawArray of one element, and can be opened as such.
///
/// Threads, Processes, Crash: as RawArray. For counters and flags take an Atomic, for all else a Value.
/// Source:     Python multiprocessing.RawValue.
template <class T>
class RawValue {
 public:
  using value_type = T;
  explicit RawValue(const T& initial = T{}) : element_(std::span<const T>(&initial, 1)) {}
  /// Errors: as RawArray; TypeMismatch if it has not exactly one element.
  [[nodiscard]] static RawValue open(const Handle& handle) { return RawValue(RawArray<T>::open(handle)); }
  [[nodiscard]] static RawValue open_named(std::string_view name) { return RawValue(RawArray<T>::open_named(name)); }
  [[nodiscard]] static RawValue create(std::string_view name, const T& initial = T{}) {
    return RawValue(RawArray<T>::create(name, std::span<const T>(&initial, 1)));
  }
  static bool remove(std::string_view name) { return detail::remove_array(name); }

  [[nodiscard]] T& operator*() { return element_[0]; }
  [[nodiscard]] const T& operator*() const { return element_[0]; }
  [[nodiscard]] T* operator->() { return &element_[0]; }
  [[nodiscard]] const T* operator->() const { return &element_[0]; }
  [[nodiscard]] T get() const { return element_.get(0); }
  void set(const T& value) { element_.set(0, value); }
  [[nodiscard]] RawValue copy() const { return RawValue(get()); }

  [[nodiscard]] Handle handle() const { return element_.handle(); }
  friend std::ostream& operator<<(std::ostream& out, const RawValue& value) {
    return out << "<RawValue " << value.handle() << " of " << detail::kPayloadType<T>.name() << '>';
  }

 private:
  explicit RawValue(RawArray<T> element) : element_(std::move(element)) {
    if (element_.size() == 1) return;
    throw TypeMismatch(element_.handle().str() + " has " + std::to_string(element_.size()) +
                       " elements, a RawValue has one; open it as a RawArray");
  }
  RawArray<T> element_;
};

}  // namespace brood::inline v1
