#include "channel/item_table.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>

#include "brood/detail/copy_bytes.hpp"
#include "brood/error.hpp"
#include "channel/message_pins.hpp"
#include "channel/records.hpp"
#include "channel/ring.hpp"
#include "os/files.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::channel {
namespace {

constexpr std::uint32_t kFirstBlocks = 1024;  // 64 KiB
constexpr std::uint32_t kBitsPerWord = 64;

std::uint32_t blocks_for(std::uint64_t size_bytes) noexcept {
  return static_cast<std::uint32_t>((size_bytes + kBlockBytes - 1) / kBlockBytes);
}

std::int64_t monotonic_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Handle handle_of(QueueBody& body) { return {static_cast<Kind>(shm::header_of(&body).kind), shm::header_of(&body).id}; }

/// Gives memory to what lies between two offsets of an area.
void populate(QueueBody& body, void* area, std::size_t from, std::size_t to) {
  const std::size_t page = os::page_size();
  const auto begin = reinterpret_cast<std::uintptr_t>(area) + from;
  const std::uintptr_t first = begin / page * page;
  const std::size_t size = reinterpret_cast<std::uintptr_t>(area) + to - first;
  if (const int error = os::populate(reinterpret_cast<void*>(first), os::round_up(size, page)); error != 0) {
    throw NoSpace(handle_of(body).str() + ": no room to keep an item until it is finished (" + std::to_string(size) +
                  " bytes), the filesystem of the domain is full; finish items, free objects (brood::gc()), or "
                  "enlarge it");
  }
}

}  // namespace

TableAreas TableAreas::of(std::size_t ring_bytes, std::uint64_t most_items, std::uint64_t most_blocks) noexcept {
  TableAreas areas{};
  areas.items = kRingOffset + ring_bytes;
  areas.heap = areas.items + most_items * sizeof(Item);
  areas.bitmap = areas.heap + most_items * sizeof(std::uint32_t);
  areas.arena = areas.bitmap + os::round_up(most_blocks / 8, os::page_size());
  areas.end = areas.arena + most_blocks * kBlockBytes;
  return areas;
}

ItemTable::ItemTable(QueueBody& body) noexcept : body_(body), work_(table_of(body)) {
  auto* const base = reinterpret_cast<std::byte*>(&body);
  const TableAreas areas = TableAreas::of(body.most_units * 8, work_.most_items, work_.most_blocks);
  items_ = reinterpret_cast<Item*>(base + areas.items);
  heap_ = reinterpret_cast<std::uint32_t*>(base + areas.heap);
  bitmap_ = reinterpret_cast<std::uint64_t*>(base + areas.bitmap);
  arena_ = base + areas.arena;
}

void ItemTable::settle() {
  if ((body_.unsure.load(std::memory_order_relaxed) & kItemsUnsure) != 0) [[unlikely]]
    rebuild();
  if (work_.deaths_seen.load(std::memory_order_relaxed) != registry::death_word().load()) [[unlikely]]
    take_back_of_dead();
}

/// Can be killed anywhere and done again: whoever comes next finds the queue unsure still.
void ItemTable::rebuild() noexcept {
  std::memset(bitmap_, 0, work_.blocks.load() / 8);
  work_.leased.store(0);
  work_.in_line.store(0);
  work_.letters.store(0);
  work_.search_from.store(0);
  work_.first_free.store(kNoItem);
  for (std::uint32_t index = work_.used.load(); index-- > 0;) {
    Item& item = items_[index];
    ItemWord now = word(index);
    if (now.phase == Phase::settled) {
      drop_pins(index);
      now = {};
      item.word.store(now.pack());
    }
    if (now.phase == Phase::free) {
      item.tid_or_next = work_.first_free.load();
      work_.first_free.store(index);
      continue;
    }
    // Its taker was killed before it moved the head: it is out of the ring all the same.
    if (item.moving.load() != 0) {
      const Cursor head = Cursor::unpack(body_.head.load());
      if (head.pack() == item.from)
        body_.head.store(head.after(record::units_for(record::size_of(item.header))).pack());
      item.moving.store(0);
    }
    mark(item.first_block, item.blocks, true);
    if (now.phase == Phase::leased && !now.letter) work_.leased.fetch_add(1);
    if (now.phase == Phase::dead || now.letter) work_.letters.fetch_add(1);
    if (now.phase == Phase::in_line) push(index);
  }
  work_.freed.fetch_add(1);
  body_.unsure.fetch_and(~kItemsUnsure);
}

void ItemTable::take_back_of_dead() noexcept {
  // Read first: who dies meanwhile is found the next time.
  const std::uint32_t deaths = registry::death_word().load();
  const std::uint32_t used = work_.used.load();
  for (std::uint32_t index = 0; index < used; ++index) {
    const ItemWord now = word(index);
    if (now.phase == Phase::leased && !registry::is_alive(now.owner)) give_back(index);
  }
  if (static_cast<Shutdown>(body_.shutdown.load()) == Shutdown::immediate) discard_line();
  work_.deaths_seen.store(deaths);
}

ItemTable::Outcome ItemTable::take(bool by_call, std::uint32_t& index, bool& from_ring) {
  from_ring = false;
  if (work_.in_line.load(std::memory_order_relaxed) != 0) {
    index = pop();
    lease_to_caller(index, {.by_call = by_call, .deliveries = word(index).deliveries});
    return Outcome::taken;
  }
  const Ring ring(body_);
  const std::uint64_t packed = body_.head.load(std::memory_order_relaxed);
  const Cursor head = Cursor::unpack(packed);
  // SYNC record-ready: acquire, see append.
  const std::uint64_t header = ring.header(head.position).load(std::memory_order_acquire);
  if (!is_committed(header)) return Outcome::nothing;
  const std::uint64_t size = record::size_of(header);
  const std::uint64_t units = record::units_for(size);
  if (units + 1 > ring.units())
    throw DecodeError(handle_of(body_).str() + ": a record is damaged (" + std::to_string(size) + " bytes)");
  index = reserve(size);
  if (index == kNoItem) return Outcome::starved;
  Item& item = items_[index];
  ring.read(head.position, 8, arena_ + item.first_block * kBlockBytes, size);
  item.header = header;
  if (has_pins(index)) check_pins(index);
  item.sequence = work_.came.fetch_add(1, std::memory_order_relaxed);
  item.priority = 0;
  item.from = packed;
  item.moving.store(1, std::memory_order_relaxed);
  lease_to_caller(index, {.by_call = by_call});  // the commit: killed after it, rebuild() moves the head
  // SYNC record-taken: release, so that no producer writes where we still read.
  body_.head.store(head.after(units).pack(), std::memory_order_release);
  item.moving.store(0, std::memory_order_release);
  from_ring = true;
  return Outcome::taken;
}

bool ItemTable::has_room_for_next() {
  const Ring ring(body_);
  const std::uint64_t header =
      ring.header(Cursor::unpack(body_.head.load(std::memory_order_relaxed)).position).load(std::memory_order_acquire);
  const std::uint64_t size = record::size_of(header);
  if (!is_committed(header) || record::units_for(size) + 1 > ring.units()) return true;  // take() says what is wrong
  const std::uint32_t from = work_.search_from.load(std::memory_order_relaxed);
  const bool fits = free_item() && allocate(blocks_for(size));
  work_.search_from.store(from, std::memory_order_relaxed);
  return fits;
}

std::uint32_t ItemTable::insert(std::int64_t priority, std::span<const std::byte> prefix,
                                std::span<const std::byte> payload) {
  const std::size_t size = prefix.size() + payload.size();
  const std::uint32_t index = reserve(size);
  if (index == kNoItem) return kNoItem;
  Item& item = items_[index];
  std::byte* const place = arena_ + item.first_block * kBlockBytes;
  detail::copy_bytes(place, prefix.data(), prefix.size());
  detail::copy_bytes(place + prefix.size(), payload.data(), payload.size());
  item.header = record::kCommitted | (prefix.empty() ? 0 : record::kHasPins) | size;
  item.sequence = work_.came.fetch_add(1, std::memory_order_relaxed);
  item.priority = priority;
  item.moving.store(0, std::memory_order_relaxed);
  item.word.store(ItemWord{.phase = Phase::in_line}.pack(), std::memory_order_release);  // the commit
  push(index);
  return index;
}

std::uint32_t ItemTable::first_in_line() const noexcept {
  return work_.in_line.load(std::memory_order_relaxed) == 0 ? kNoItem : heap_[0];
}

std::uint32_t ItemTable::take_letter() {
  if (work_.letters.load(std::memory_order_relaxed) == 0) return kNoItem;
  std::uint32_t oldest = kNoItem;
  const std::uint32_t used = work_.used.load();
  for (std::uint32_t index = 0; index < used; ++index) {
    if (word(index).phase == Phase::dead && (oldest == kNoItem || comes_first(index, oldest))) oldest = index;
  }
  if (oldest == kNoItem) return kNoItem;
  // A look at a dead letter is no delivery.
  lease_to_caller(oldest, {.letter = true, .deliveries = word(oldest).deliveries - 1});
  return oldest;
}

std::uint32_t ItemTable::oldest_by_call() const noexcept {
  const registry::Id me = registry::self();
  const std::uint32_t tid = registry::self_tid(me);
  std::uint32_t oldest = kNoItem;
  const std::uint32_t used = work_.used.load();
  for (std::uint32_t index = 0; index < used; ++index) {
    const ItemWord now = word(index);
    if (!now.is_owned_by(me) || !now.by_call) continue;
    const auto rank = [&](std::uint32_t of) {
      return std::pair(items_[of].tid_or_next == tid ? 0 : 1, items_[of].sequence);
    };
    if (oldest == kNoItem || rank(index) < rank(oldest)) oldest = index;
  }
  return oldest;
}

bool ItemTable::holds_any(registry::Id owner) const noexcept {
  const std::uint32_t used = work_.used.load();
  for (std::uint32_t index = 0; index < used; ++index) {
    if (const ItemWord now = word(index); now.is_owned_by(owner) && !now.letter) return true;
  }
  return false;
}

void ItemTable::finish(std::uint32_t index) noexcept {
  const ItemWord before = word(index);
  if (before.phase == Phase::in_line) pop();  // it is the first
  else let_go(before);
  if (before.letter) work_.letters.fetch_sub(1, std::memory_order_relaxed);
  free(index);
}

void ItemTable::give_back(std::uint32_t index) noexcept {
  const ItemWord before = word(index);
  if (before.letter || (work_.max_deliveries != 0 && before.deliveries >= work_.max_deliveries)) {
    condemn(index);
    return;
  }
  let_go(before);
  items_[index].word.store(ItemWord{.phase = Phase::in_line, .deliveries = before.deliveries}.pack(),
                           std::memory_order_release);
  push(index);
}

void ItemTable::condemn(std::uint32_t index) noexcept {
  const ItemWord before = word(index);
  let_go(before);
  items_[index].word.store(ItemWord{.phase = Phase::dead, .deliveries = before.deliveries}.pack(),
                           std::memory_order_release);
  if (!before.letter) work_.letters.fetch_add(1, std::memory_order_relaxed);
}

void ItemTable::forgive(std::uint32_t index) noexcept {
  const ItemWord before = word(index);
  let_go(before);
  if (before.letter) work_.letters.fetch_sub(1, std::memory_order_relaxed);
  items_[index].word.store(ItemWord{.phase = Phase::in_line}.pack(), std::memory_order_release);
  push(index);
}

void ItemTable::discard_line() noexcept {
  while (work_.in_line.load() != 0) free(pop());
}

std::span<const std::byte> ItemTable::record_bytes(std::uint32_t index) const noexcept {
  const Item& item = items_[index];
  return {arena_ + item.first_block * kBlockBytes, record::size_of(item.header)};
}

std::span<const std::byte> ItemTable::payload(std::uint32_t index) const {
  const std::span<const std::byte> bytes = record_bytes(index);
  if (!has_pins(index)) return bytes;
  return bytes.subspan(pin_prefix_bytes(Taken::parse(bytes).ids.size()));
}

bool ItemTable::is_all_done() const noexcept {
  return work_.leased.load() == 0 && work_.in_line.load() == 0 && !can_read(body_);
}

void ItemTable::add_messages_with_pins(std::vector<std::uint64_t>& out) const {
  const std::uint32_t used = work_.used.load();
  for (std::uint32_t index = 0; index < used; ++index) {
    if (word(index).phase == Phase::free || !has_pins(index)) continue;
    out.push_back(Taken::parse(record_bytes(index)).message);
  }
}

/// A record whose pins cannot be read is no item. Errors: DecodeError.
void ItemTable::check_pins(std::uint32_t index) {
  try {
    (void)Taken::parse(record_bytes(index));
  } catch (const DecodeError&) {
    items_[index].header = 0;
    free(index);
    throw;
  }
}

std::uint32_t ItemTable::reserve(std::size_t size_bytes) {
  const std::optional<std::uint32_t> index = free_item();
  if (!index) return kNoItem;
  const std::uint32_t blocks = blocks_for(size_bytes);
  const std::optional<std::uint32_t> first = allocate(blocks);
  if (!first) return kNoItem;
  Item& item = items_[*index];
  work_.first_free.store(item.tid_or_next, std::memory_order_relaxed);
  mark(*first, blocks, true);
  item.first_block = *first;
  item.blocks = blocks;
  return *index;
}

/// The first of the free ones; one more is made if there is none.
std::optional<std::uint32_t> ItemTable::free_item() {
  if (const std::uint32_t first = work_.first_free.load(std::memory_order_relaxed); first != kNoItem) return first;
  const std::uint32_t used = work_.used.load();
  if (used == work_.most_items) return std::nullopt;
  if (used * sizeof(Item) % os::page_size() == 0)
    populate(body_, items_, used * sizeof(Item), (used + 1) * sizeof(Item));
  if (used * sizeof(std::uint32_t) % os::page_size() == 0)
    populate(body_, heap_, used * sizeof(std::uint32_t), (used + 1) * sizeof(std::uint32_t));
  items_[used].tid_or_next = kNoItem;
  work_.used.store(used + 1);
  work_.first_free.store(used);
  return used;
}

std::optional<std::uint32_t> ItemTable::allocate(std::uint32_t blocks) {
  if (blocks == 0) return 0;
  for (;;) {
    const std::uint32_t all = work_.blocks.load();
    const std::uint32_t from = std::min(work_.search_from.load(std::memory_order_relaxed), all);
    std::optional<std::uint32_t> first = find_run(from, all, blocks);
    if (!first) first = find_run(0, all, blocks);
    if (first) {
      work_.search_from.store(*first + blocks, std::memory_order_relaxed);
      return first;
    }
    const auto most = static_cast<std::uint32_t>(work_.most_blocks);
    if (all == most) return std::nullopt;
    const std::uint32_t more = std::min(most, std::max({kFirstBlocks, 2 * all, std::bit_ceil(all + blocks)}));
    populate(body_, arena_, all * kBlockBytes, more * kBlockBytes);
    populate(body_, bitmap_, all / 8, more / 8);
    work_.blocks.store(more);
  }
}

/// The first of so many free blocks in a row.
std::optional<std::uint32_t> ItemTable::find_run(std::uint32_t from, std::uint32_t to,
                                                 std::uint32_t blocks) const noexcept {
  std::uint32_t run = 0;
  for (std::uint32_t block = from; block < to;) {
    const std::uint64_t bits = bitmap_[block / kBitsPerWord];
    if (block % kBitsPerWord == 0 && to - block >= kBitsPerWord && (bits == 0 || ~bits == 0)) {
      block += kBitsPerWord;
      run = bits == 0 ? run + kBitsPerWord : 0;
    } else {
      run = (bits >> block % kBitsPerWord & 1) == 0 ? run + 1 : 0;
      ++block;
    }
    if (run >= blocks) return block - run;
  }
  return std::nullopt;
}

void ItemTable::mark(std::uint32_t first, std::uint32_t count, bool in_use) noexcept {
  for (std::uint32_t block = first; block < first + count;) {
    const std::uint32_t bit = block % kBitsPerWord;
    const std::uint32_t here = std::min(kBitsPerWord - bit, first + count - block);
    const std::uint64_t mask = (here == kBitsPerWord ? ~std::uint64_t{0} : (std::uint64_t{1} << here) - 1) << bit;
    std::uint64_t& bits = bitmap_[block / kBitsPerWord];
    bits = in_use ? bits | mask : bits & ~mask;
    block += here;
  }
}

/// A heap whose top comes first.
void ItemTable::push(std::uint32_t index) noexcept {
  const std::uint32_t size = work_.in_line.load();
  heap_[size] = index;
  std::push_heap(heap_, heap_ + size + 1, [this](std::uint32_t a, std::uint32_t b) { return comes_first(b, a); });
  work_.in_line.store(size + 1);
}

std::uint32_t ItemTable::pop() noexcept {
  const std::uint32_t size = work_.in_line.load();
  std::pop_heap(heap_, heap_ + size, [this](std::uint32_t a, std::uint32_t b) { return comes_first(b, a); });
  work_.in_line.store(size - 1);
  return heap_[size - 1];
}

/// One delivery more than `next` says.
void ItemTable::lease_to_caller(std::uint32_t index, ItemWord next) noexcept {
  Item& item = items_[index];
  next.owner = registry::self();
  next.phase = Phase::leased;
  next.deliveries = std::min(next.deliveries + 1, ItemWord::kMostDeliveries);
  item.tid_or_next = registry::self_tid(next.owner);
  item.since_ns = monotonic_ns();
  // Counted before it is ours: a leave in between must know that there may be something to give back.
  registry::slot(next.owner).claims.fetch_add(1);
  if (!next.letter) work_.leased.fetch_add(1, std::memory_order_relaxed);
  item.word.store(next.pack(), std::memory_order_release);
}

/// Its owner, alive or dead, does not hold it any more.
void ItemTable::let_go(const ItemWord& before) noexcept {
  if (!before.letter) work_.leased.fetch_sub(1, std::memory_order_relaxed);
  if (before.owner == registry::self_if_joined()) registry::slot(before.owner).claims.fetch_sub(1);
}

void ItemTable::drop_pins(std::uint32_t index) const noexcept {
  if (!has_pins(index)) return;
  Taken::parse(record_bytes(index)).unpin(shm::header_of(&body_).id);
}

/// The store of the word is the commit; what follows is rebuilt after a killing. Pins go before that, marked, so that
/// somebody else can go on with them.
void ItemTable::free(std::uint32_t index) noexcept {
  Item& item = items_[index];
  if (has_pins(index)) {
    item.word.store(ItemWord{.phase = Phase::settled}.pack(), std::memory_order_release);
    drop_pins(index);
  }
  item.word.store(ItemWord{}.pack(), std::memory_order_release);
  mark(item.first_block, item.blocks, false);
  item.tid_or_next = work_.first_free.load(std::memory_order_relaxed);
  work_.first_free.store(index, std::memory_order_relaxed);
  work_.freed.fetch_add(1);
}

void settle_items(QueueBody& body, Kind kind) {
  if (has_table(kind)) ItemTable(body).settle();
}

}  // namespace brood::inline v1::channel
