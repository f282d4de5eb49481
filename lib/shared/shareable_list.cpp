#include "brood/shareable_list.hpp"

#include <algorithm>
#include <ostream>
#include <sstream>

namespace brood::inline v1 {

ShareableList::ShareableList(std::span<const Item> items, ShareableListOptions options)
    : core_(detail::ListCore::make({.items = items, .slot_bytes = options.slot_bytes})) {}
ShareableList ShareableList::create(std::string_view name, std::span<const Item> items, ShareableListOptions options) {
  return ShareableList(
      detail::ListCore::make({.named = true, .name = name, .items = items, .slot_bytes = options.slot_bytes}));
}
ShareableList ShareableList::open_or_create(std::string_view name, std::span<const Item> items,
                                            ShareableListOptions options) {
  return ShareableList(detail::ListCore::make(
      {.named = true, .name = name, .open_existing = true, .items = items, .slot_bytes = options.slot_bytes}));
}
ShareableList ShareableList::open(const Handle& handle) { return ShareableList(detail::ListCore::open(handle)); }
ShareableList ShareableList::open_named(std::string_view name) {
  return ShareableList(detail::ListCore::open_named(name));
}
bool ShareableList::remove(std::string_view name) { return detail::remove_list(name); }

std::size_t ShareableList::count(const Item& item) const {
  return static_cast<std::size_t>(std::count(begin(), end(), item));
}

std::optional<std::size_t> ShareableList::find(const Item& item) const {
  const auto found = std::find(begin(), end(), item);
  if (found == end()) return std::nullopt;
  return static_cast<std::size_t>(found.at_);
}

std::size_t ShareableList::index(const Item& item) const {
  if (const auto found = find(item)) return *found;
  std::ostringstream what;
  what << handle() << ": there is no item ";
  detail::print_item(what, item);
  what << " of type " << detail::item_word(item.index()) << " in it; find() answers without throwing";
  throw UsageError(what.str());
}

std::vector<ShareableList::Item> ShareableList::items() const {
  std::vector<Item> out;
  out.reserve(size());
  for (std::size_t i = 0; i < size(); ++i) out.push_back(get(static_cast<std::int64_t>(i)));
  return out;
}

void ShareableList::throw_other_type(std::int64_t index, const Item& found, const Item& wanted) const {
  throw TypeMismatch(handle().str() + ": the item at index " + std::to_string(index) + " is of type " +
                     std::string(detail::item_word(found.index())) + ", not " +
                     std::string(detail::item_word(wanted.index())) + "; get() gives it as it is");
}

std::ostream& operator<<(std::ostream& out, const ShareableList& list) {
  out << "<ShareableList " << list.handle() << " [";
  bool first = true;
  for (const auto& item : list) {
    if (!first) out << ", ";
    first = false;
    detail::print_item(out, item);
  }
  return out << "]>";
}

}  // namespace brood::inline v1
