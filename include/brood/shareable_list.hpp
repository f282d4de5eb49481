// ShareableList: a list of fixed length whose items may be of different types.                     (room: shared)
//
// Complete example: examples/33_shareable_list.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "brood/detail/list_core.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

struct ShareableListOptions {
  /// Every slot takes text and bytes of at least this length, whatever is in it at first.
  std::size_t slot_bytes = 0;
};

/// A list in shared memory whose length is fixed; an item is none, a bool, an integer, a floating-point number, text, or
/// bytes, and may be replaced by one of another type.
///
/// A slot takes text and bytes up to a capacity that is fixed when the list is made: 8 bytes, or the next multiple of 8
/// above the length of its first item, as Python rounds, or ShareableListOptions. Real lengths are stored: a NUL at the end
/// stays. Text is bytes; nothing is said about their encoding.
///
/// Each item is read and written as a whole. A write goes to the slot's other copy and becomes the item in one store; a
/// reader takes no lock, and reads again if the item was replaced meanwhile. Of several items nothing is promised: items()
/// and == may see some old and some new.
///
/// Shape:      one segment: 32 bytes and twice (8 bytes and the capacity) for each slot.
/// Threads:    safe.     Processes: safe, through the handle.
/// Crash:      a process killed in set() has replaced the item or not; nothing needs recovery and nobody waits for it.
/// Lifetime:   as of Lock.
/// Source:     Python multiprocessing.shared_memory.ShareableList, without its losses (trailing NULs, text that is not
///             ASCII, indices below -size, and readers between the two steps of a change).
class ShareableList {
 public:
  using Item = detail::ListItem;    ///< std::variant of std::monostate (none), bool, std::int64_t, double, text, bytes
  using Bytes = detail::ListBytes;  ///< std::vector<std::byte>
  using value_type = Item;

  /// A new list without a name. Errors: NoSpace, PermissionDenied, OsError.
  explicit ShareableList(std::span<const Item> items, ShareableListOptions options = {});
  ShareableList(std::initializer_list<Item> items,
                ShareableListOptions options = {})  // NOLINT(google-explicit-constructor)
      : ShareableList(std::span<const Item>(items.begin(), items.size()), options) {}
  /// With a name. Errors: as above; AlreadyExists, UsageError (a bad name).
  [[nodiscard]] static ShareableList create(std::string_view name, std::span<const Item> items,
                                            ShareableListOptions options = {});
  [[nodiscard]] static ShareableList create(std::string_view name, std::initializer_list<Item> items,
                                            ShareableListOptions options = {}) {
    return create(name, std::span<const Item>(items.begin(), items.size()), options);
  }
  /// That of the name, made if there is none; an existing one keeps its items.
  /// Errors: as above; TypeMismatch if it has another length.
  [[nodiscard]] static ShareableList open_or_create(std::string_view name, std::span<const Item> items,
                                                    ShareableListOptions options = {});
  [[nodiscard]] static ShareableList open_or_create(std::string_view name, std::initializer_list<Item> items,
                                                    ShareableListOptions options = {}) {
    return open_or_create(name, std::span<const Item>(items.begin(), items.size()), options);
  }
  /// Errors: HandleError (malformed, stale), TypeMismatch (another kind, damaged), PermissionDenied, OsError.
  [[nodiscard]] static ShareableList open(const Handle& handle);
  [[nodiscard]] static ShareableList open_named(std::string_view name);
  /// Takes the name away; who has the list open keeps it. False if there was none of that name.
  static bool remove(std::string_view name);

  [[nodiscard]] std::size_t size() const { return core_.size(); }
  [[nodiscard]] bool empty() const { return size() == 0; }
  /// The item; a negative index counts from the end. Errors: UsageError (no such index), TypeMismatch (damaged).
  [[nodiscard]] Item get(std::int64_t index) const { return core_.get(index); }
  [[nodiscard]] Item operator[](std::int64_t index) const { return core_.get(index); }
  /// The item as an alternative of Item: `list.get<std::string>(2)`. Errors: as get(); TypeMismatch if it is of another
  /// type.
  template <class T>
  [[nodiscard]] T get(std::int64_t index) const {
    Item item = core_.get(index);
    if (T* found = std::get_if<T>(&item)) return std::move(*found);
    throw_other_type(index, item, Item(T{}));
  }
  /// Replaces the item. Errors: UsageError if it does not fit into its slot (or there is no such index); the old one stays.
  void set(std::int64_t index, const Item& item) { core_.set(index, item); }
  /// Makes the item `next(item)` and returns it; nobody replaces it in between. `next` must not change this list. If it
  /// throws, nothing has changed. Errors: as set().
  Item update(std::int64_t index, const std::function<Item(const Item&)>& next) { return core_.update(index, next); }

  /// How many items are equal to this one: of the same type and value. (In Python, 1 and True and 1.0 are equal.)
  [[nodiscard]] std::size_t count(const Item& item) const;
  /// Index of the first. Errors: UsageError if there is none; find() answers instead.
  [[nodiscard]] std::size_t index(const Item& item) const;
  [[nodiscard]] std::optional<std::size_t> find(const Item& item) const;
  /// A copy of all items.
  [[nodiscard]] std::vector<Item> items() const;
  /// A new list without a name, of the same items; of each slot the capacity is what its item needs, or `options`.
  [[nodiscard]] ShareableList copy(ShareableListOptions options = {}) const {
    return ShareableList(std::span<const Item>(items()), options);
  }

  /// The most bytes of text that the slot takes. Errors: as get().
  [[nodiscard]] std::size_t capacity(std::int64_t index) const { return core_.capacity(index); }
  /// What is in the slots, with capacities: `int double text(8) none`.
  [[nodiscard]] std::string format() const { return core_.format(); }

  /// Goes through copies of the items.
  class Iterator {
   public:
    using value_type = Item;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;
    Iterator() = default;
    [[nodiscard]] Item operator*() const { return list_->get(at_); }
    Iterator& operator++() noexcept {
      ++at_;
      return *this;
    }
    Iterator operator++(int) noexcept {
      Iterator before = *this;
      ++at_;
      return before;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) noexcept { return a.at_ == b.at_; }

   private:
    friend class ShareableList;
    Iterator(const ShareableList* list, std::int64_t at) noexcept : list_(list), at_(at) {}
    const ShareableList* list_ = nullptr;
    std::int64_t at_ = 0;
  };
  [[nodiscard]] Iterator begin() const { return {this, 0}; }
  [[nodiscard]] Iterator end() const { return {this, static_cast<std::int64_t>(size())}; }

  /// Same length, and equal items.
  friend bool operator==(const ShareableList& a, const ShareableList& b) { return a.items() == b.items(); }
  [[nodiscard]] Handle handle() const { return core_.handle(); }
  /// `<ShareableList brood:shareable_list:… [1, 2.5, true, "text", b"\x00", none]>`
  friend std::ostream& operator<<(std::ostream& out, const ShareableList& list);

 private:
  explicit ShareableList(detail::ListCore core) noexcept : core_(std::move(core)) {}
  [[noreturn]] void throw_other_type(std::int64_t index, const Item& found, const Item& wanted) const;
  detail::ListCore core_;
};

}  // namespace brood::inline v1
