// ListCore: slots of fixed capacity, each with two copies of its item.                             (room: shared)
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "brood/detail/object.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1::detail {

using ListBytes = std::vector<std::byte>;
using ListItem = std::variant<std::monostate, bool, std::int64_t, double, std::string, ListBytes>;

class ListCore {
 public:
  struct Plan {
    bool named = false;
    std::string_view name = {};
    bool open_existing = false;
    std::span<const ListItem> items = {};
    std::size_t slot_bytes = 0;
  };
  [[nodiscard]] static ListCore make(const Plan& plan);
  [[nodiscard]] static ListCore open(const Handle& handle);
  [[nodiscard]] static ListCore open_named(std::string_view name);

  /// Errors: UsageError if this object was moved from.
  [[nodiscard]] std::size_t size() const {
    (void)object_.body();
    return size_;
  }
  [[nodiscard]] ListItem get(std::int64_t index) const;
  void set(std::int64_t index, const ListItem& item);
  ListItem update(std::int64_t index, const std::function<ListItem(const ListItem&)>& next);
  [[nodiscard]] std::size_t capacity(std::int64_t index) const;
  [[nodiscard]] std::string format() const;
  [[nodiscard]] Handle handle() const { return object_.handle(); }

 private:
  explicit ListCore(Object object);
  /// A slot, as far as its entry in the segment can be believed. Errors: TypeMismatch (damaged).
  struct Slot;
  [[nodiscard]] Slot slot_at(std::int64_t index) const;
  [[nodiscard]] ListItem read(const Slot& slot) const;
  void write(const Slot& slot, const ListItem& item);
  [[noreturn]] void throw_damaged(const std::string& how) const;

  Object object_;
  std::size_t size_ = 0;
  std::size_t body_bytes_ = 0;
};

bool remove_list(std::string_view name);
/// `[1, 2.5, true, "text", b"\x00", none]`
void print_item(std::ostream& out, const ListItem& item);
/// "int", "text", …
[[nodiscard]] std::string_view item_word(std::size_t alternative) noexcept;

}  // namespace brood::inline v1::detail
