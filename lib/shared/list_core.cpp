#include "brood/detail/list_core.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <ostream>

#include "brood/error.hpp"
#include "os/files.hpp"
#include "registry/objects.hpp"
#include "shm/segment.hpp"
#include "sync/lock_body.hpp"

namespace brood::inline v1::detail {
namespace {

constexpr std::size_t kUnit = 8;  ///< copies are made of words of so many bytes
using Word = std::atomic<std::uint64_t>;

/// The writers' lock, then the entries, then the copies: two of each slot, a word with type and length before each.
struct ListBody {
  sync::LockBody lock;  ///< writers only
  std::uint64_t count;
  std::uint64_t fill[7];
};
static_assert(sizeof(ListBody) == shm::smallest_body(Kind::shareable_list));

struct Entry {
  /// How often the item was replaced; its last bit says which copy is the item. Storing it is the commit.
  Word version;
  std::uint64_t offset;    ///< of the first copy, in the body
  std::uint64_t capacity;  ///< bytes, a multiple of kUnit
  std::uint64_t fill;
};
static_assert(sizeof(Entry) == 32);

/// Type (8 bits) | length in bytes (56).
constexpr int kTypeShift = 56;
constexpr std::uint64_t kLengthMask = (std::uint64_t{1} << kTypeShift) - 1;
constexpr std::uint64_t head_of(std::size_t type, std::size_t length) noexcept {
  return static_cast<std::uint64_t>(type) << kTypeShift | length;
}

// Places in ListItem, which are types in segments as well.
enum Type : std::size_t { kNone = 0, kBool = 1, kInt = 2, kDouble = 3, kText = 4, kBytes = 5, kTypes = 6 };
static_assert(std::variant_size_v<ListItem> == kTypes);
static_assert(std::is_same_v<std::variant_alternative_t<kText, ListItem>, std::string>);

ListBody& body_of(const Object& object) { return *static_cast<ListBody*>(object.body()); }
std::byte* begin_of(const Object& object) { return static_cast<std::byte*>(object.body()); }
Entry* entries_of(void* body) { return reinterpret_cast<Entry*>(static_cast<ListBody*>(body) + 1); }

/// The bytes of an item, as they lie in a copy.
std::span<const std::byte> bytes_of(const ListItem& item, std::uint64_t& number) {
  switch (item.index()) {
    case kBool: number = std::get<bool>(item) ? 1 : 0; break;
    case kInt: number = static_cast<std::uint64_t>(std::get<std::int64_t>(item)); break;
    case kDouble: number = std::bit_cast<std::uint64_t>(std::get<double>(item)); break;
    case kText: return std::as_bytes(std::span(std::get<std::string>(item)));
    case kBytes: return std::get<ListBytes>(item);
    default: return {};
  }
  return std::as_bytes(std::span(&number, 1));
}

std::size_t length_of(const ListItem& item) {
  std::uint64_t ignored = 0;
  return bytes_of(item, ignored).size();
}

/// As Python: at least one unit, and always room for one byte more. (There, of characters.)
std::size_t capacity_for(const ListItem& item, std::size_t slot_bytes) {
  const bool is_text = item.index() == kText || item.index() == kBytes;
  const std::size_t natural = is_text ? kUnit * (length_of(item) / kUnit + 1) : kUnit;
  return std::max(natural, os::round_up(slot_bytes, kUnit));
}

// SYNC list-item: a copy's words are stored with release and loaded with acquire. So a reader that has met a word of a later
// write finds the version of the write before that one when it looks at the version again, and begins anew.
void store_copy(Word* copy, const ListItem& item) noexcept {
  std::uint64_t number = 0;
  const auto bytes = bytes_of(item, number);
  copy[0].store(head_of(item.index(), bytes.size()), std::memory_order_release);
  for (std::size_t at = 0; at < bytes.size(); at += kUnit) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min(kUnit, bytes.size() - at));
    copy[1 + at / kUnit].store(word, std::memory_order_release);
  }
}

}  // namespace

struct ListCore::Slot {
  std::int64_t index;
  Entry& entry;
  std::byte* first;
  std::size_t capacity;
  [[nodiscard]] Word* copy(std::uint64_t version) const noexcept {
    return reinterpret_cast<Word*>(first + version % 2 * (sizeof(Word) + capacity));
  }
};

// --- making and opening ----------------------------------------------------------------------------------------------

ListCore ListCore::make(const Plan& plan) {
  constexpr std::size_t kMost = std::numeric_limits<std::int64_t>::max() / 4;
  std::size_t bytes = sizeof(ListBody) + plan.items.size() * sizeof(Entry);
  for (const ListItem& item : plan.items) {
    // What nobody has room for stays the most there is, so that making it says NoSpace.
    bytes = std::min(kMost, bytes + 2 * (sizeof(Word) + capacity_for(item, std::min(plan.slot_bytes, kMost / 4))));
  }
  const shm::CreateRequest request{.kind = Kind::shareable_list,
                                   .name = plan.named ? shm::given_name(plan.name) : std::string_view(),
                                   .body_bytes = bytes};
  const auto initialise = [&](void* memory) {
    auto& body = *static_cast<ListBody*>(memory);
    body.lock.policy.store(static_cast<std::uint32_t>(OwnerDeath::heal));
    body.count = plan.items.size();
    Entry* entry = entries_of(memory);
    std::size_t offset = sizeof(ListBody) + plan.items.size() * sizeof(Entry);
    for (const ListItem& item : plan.items) {
      entry->offset = offset;
      entry->capacity = capacity_for(item, plan.slot_bytes);
      store_copy(reinterpret_cast<Word*>(static_cast<std::byte*>(memory) + offset), item);
      offset += 2 * (sizeof(Word) + entry->capacity);
      ++entry;
    }
  };
  ListCore made(plan.open_existing ? registry::open_or_create(request, initialise)
                                   : registry::create(request, initialise));
  if (made.size() != plan.items.size()) {
    throw TypeMismatch(made.handle().str() + " has " + std::to_string(made.size()) + " items, " +
                       std::to_string(plan.items.size()) +
                       " were expected; open it with open_named(), or remove() it first");
  }
  return made;
}

ListCore ListCore::open(const Handle& handle) { return ListCore(registry::open(handle, Kind::shareable_list)); }
ListCore ListCore::open_named(std::string_view name) {
  return ListCore(registry::open_named(name, Kind::shareable_list));
}
bool remove_list(std::string_view name) { return shm::remove_named(name, Kind::shareable_list); }

ListCore::ListCore(Object object) : object_(std::move(object)) {
  body_bytes_ = shm::header_of(object_.body()).size_bytes - shm::kBodyOffset;
  const std::uint64_t count = body_of(object_).count;
  const std::size_t room = (body_bytes_ - sizeof(ListBody)) / sizeof(Entry);
  if (count > room)
    throw_damaged("it says that it has " + std::to_string(count) + " items, and there is room for " +
                  std::to_string(room));
  size_ = count;
}

void ListCore::throw_damaged(const std::string& how) const {
  throw TypeMismatch(handle().str() + ": its segment is damaged (" + how + "); remove it");
}

/// Looks at the entry each time: it costs two comparisons, and then no byte of the segment is believed.
ListCore::Slot ListCore::slot_at(std::int64_t index) const {
  const auto count = static_cast<std::int64_t>(size());
  const std::int64_t at = index < 0 ? index + count : index;
  if (at < 0 || at >= count) {
    throw UsageError(handle().str() + " has " + std::to_string(count) + (count == 1 ? " item" : " items") +
                     ", there is none at index " + std::to_string(index) +
                     "; valid are 0 to size()-1, and -1 to -size() from the end");
  }
  Entry& entry = entries_of(object_.body())[at];
  const std::uint64_t offset = entry.offset;
  const std::uint64_t capacity = entry.capacity;
  const std::uint64_t first = sizeof(ListBody) + size_ * sizeof(Entry);
  if (offset < first || offset > body_bytes_ || offset % kUnit != 0 || capacity % kUnit != 0 || capacity < kUnit ||
      capacity > body_bytes_ || body_bytes_ - offset < 2 * (sizeof(Word) + capacity)) {
    throw_damaged("slot " + std::to_string(at) + " does not lie inside of it");
  }
  return {at, entry, begin_of(object_) + offset, capacity};
}

// --- items -----------------------------------------------------------------------------------------------------------

namespace {

/// Attempts without a lock before a reader takes the writers' lock: somebody writes without a pause.
constexpr int kAttempts = 64;

}  // namespace

ListItem ListCore::read(const Slot& slot) const {
  std::string bytes;  // of text and bytes; a number is in `number`
  for (int attempt = 0;; ++attempt) {
    // No writer while we hold it: then the version stays as it is.
    std::optional<sync::InternalGuard> no_writer;
    if (attempt >= kAttempts && !sync::held_by_caller(body_of(object_).lock))
      no_writer.emplace(body_of(object_).lock, sync::LockContext{Kind::shareable_list, object_.id()});
    // SYNC list-item: acquire pairs with the release of the commit.
    const std::uint64_t version = slot.entry.version.load(std::memory_order_acquire);
    const Word* const copy = slot.copy(version);
    const std::uint64_t head = copy[0].load(std::memory_order_acquire);
    const std::size_t type = head >> kTypeShift;
    const std::size_t length = head & kLengthMask;
    const bool is_text = type == kText || type == kBytes;
    const bool is_sound = type < kTypes && (is_text ? length <= slot.capacity : length == (type == kNone ? 0 : kUnit));
    std::uint64_t number = 0;
    if (is_sound) {
      if (is_text) bytes.resize(length);
      for (std::size_t at = 0; at < length; at += kUnit) {
        number = copy[1 + at / kUnit].load(std::memory_order_acquire);
        if (is_text) std::memcpy(bytes.data() + at, &number, std::min(kUnit, length - at));
      }
    }
    if (slot.entry.version.load(std::memory_order_relaxed) != version) {
      if (no_writer) throw_damaged("slot " + std::to_string(slot.index) + " changes without its lock");
      continue;
    }
    if (!is_sound || (type == kBool && number > 1)) {
      throw_damaged("slot " + std::to_string(slot.index) + " holds type " + std::to_string(type) + " of " +
                    std::to_string(length) + " bytes");
    }
    switch (type) {
      case kBool: return number != 0;
      case kInt: return static_cast<std::int64_t>(number);
      case kDouble: return std::bit_cast<double>(number);
      case kText: return bytes;
      case kBytes: {
        const auto raw = std::as_bytes(std::span(bytes));
        return ListBytes(raw.begin(), raw.end());
      }
      default: return std::monostate{};
    }
  }
}

ListItem ListCore::get(std::int64_t index) const { return read(slot_at(index)); }

/// Under the writers' lock.
void ListCore::write(const Slot& slot, const ListItem& item) {
  if (const std::size_t length = length_of(item); length > slot.capacity) {
    throw UsageError(handle().str() + ": slot " + std::to_string(slot.index) + " takes " +
                     std::to_string(slot.capacity) + " bytes, the " + std::string(item_word(item.index())) + " has " +
                     std::to_string(length) +
                     "; the item stays as it was. Make the list with longer slots (ShareableListOptions::slot_bytes)");
  }
  const std::uint64_t version = slot.entry.version.load(std::memory_order_relaxed);
  store_copy(slot.copy(version + 1), item);
  // SYNC list-item: the commit. Release publishes the copy; killed before it, the item is the old one.
  slot.entry.version.store(version + 1, std::memory_order_release);
}

void ListCore::set(std::int64_t index, const ListItem& item) {
  const Slot slot = slot_at(index);
  if (sync::held_by_caller(body_of(object_).lock)) throw UsageError(handle().str() + ": set() inside of update()");
  const sync::InternalGuard guard(body_of(object_).lock, {Kind::shareable_list, object_.id()});
  write(slot, item);
}

ListItem ListCore::update(std::int64_t index, const std::function<ListItem(const ListItem&)>& next) {
  const Slot slot = slot_at(index);
  if (sync::held_by_caller(body_of(object_).lock)) throw UsageError(handle().str() + ": update() inside of update()");
  const sync::InternalGuard guard(body_of(object_).lock, {Kind::shareable_list, object_.id()});
  ListItem item = next(read(slot));
  write(slot, item);
  return item;
}

std::size_t ListCore::capacity(std::int64_t index) const { return slot_at(index).capacity; }

std::string ListCore::format() const {
  std::string out;
  for (std::size_t i = 0; i < size(); ++i) {
    const Slot slot = slot_at(static_cast<std::int64_t>(i));
    const std::size_t type = read(slot).index();
    if (!out.empty()) out += ' ';
    out += item_word(type);
    if (type == kText || type == kBytes) out += '(' + std::to_string(slot.capacity) + ')';
  }
  return out;
}

std::string_view item_word(std::size_t alternative) noexcept {
  constexpr std::string_view kWords[] = {"none", "bool", "int", "double", "text", "bytes"};
  return alternative < kTypes ? kWords[alternative] : "?";
}

namespace {

void print_quoted(std::ostream& out, std::span<const std::byte> bytes, bool is_text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out << '"';
  for (const std::byte byte : bytes) {
    const auto c = static_cast<unsigned char>(byte);
    if (c == '"' || c == '\\') out << '\\' << static_cast<char>(c);
    else if (c == '\n') out << "\\n";
    else if (c < ' ' || c == 0x7f || (!is_text && c > 0x7f)) out << "\\x" << kHex[c / 16] << kHex[c % 16];
    else out << static_cast<char>(c);
  }
  out << '"';
}

}  // namespace

void print_item(std::ostream& out, const ListItem& item) {
  switch (item.index()) {
    case kBool: out << (std::get<bool>(item) ? "true" : "false"); break;
    case kInt: out << std::get<std::int64_t>(item); break;
    case kDouble: out << std::get<double>(item); break;
    case kText: print_quoted(out, std::as_bytes(std::span(std::get<std::string>(item))), true); break;
    case kBytes: print_quoted(out << 'b', std::get<ListBytes>(item), false); break;
    default: out << "none";
  }
}

}  // namespace brood::inline v1::detail
