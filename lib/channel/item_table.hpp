// ItemTable: items that are not in a ring: those of a work queue that are in somebody's hands or came back, and all of a
// priority queue. See README.md, "Items in a table".
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "channel/queue_body.hpp"
#include "channel/wake_word.hpp"
#include "registry/registry.hpp"

namespace brood::inline v1::channel {

enum class Phase : std::uint32_t {
  free = 0,     ///< no item
  leased = 1,   ///< in the hands of its owner
  in_line = 2,  ///< to be taken, before anything in the ring
  dead = 3,     ///< a dead letter
  settled = 4,  ///< finished; its pins are being dropped
};

/// The state of an item. One store changes all of it:
///
///   59 ...... 40   39 .. 37   36      35       34 .. 32   31 30   29 .... 0
///   deliveries        0       letter  by call  phase        0     owner
struct ItemWord {
  static constexpr std::uint32_t kMostDeliveries = (1U << 20) - 1;

  registry::Id owner = registry::kNobody;
  Phase phase = Phase::free;
  bool by_call = false;  ///< taken by get() of a JoinableQueue: task_done() finishes it
  bool letter = false;   ///< leased from the dead letters: goes back to them
  std::uint32_t deliveries = 0;

  static ItemWord unpack(std::uint64_t word) noexcept {
    return {static_cast<registry::Id>(word) & registry::kIdMask, static_cast<Phase>(word >> 32 & 7),
            (word >> 35 & 1) != 0, (word >> 36 & 1) != 0, static_cast<std::uint32_t>(word >> 40) & kMostDeliveries};
  }
  [[nodiscard]] std::uint64_t pack() const noexcept {
    return static_cast<std::uint64_t>(deliveries) << 40 | static_cast<std::uint64_t>(letter) << 36 |
           static_cast<std::uint64_t>(by_call) << 35 | static_cast<std::uint64_t>(phase) << 32 | owner;
  }
  [[nodiscard]] bool is_owned_by(registry::Id id) const noexcept { return phase == Phase::leased && owner == id; }
};

/// One item. All but the word is written while the word says `free`, or by the holder of the consumers' lock.
struct alignas(64) Item {
  std::atomic<std::uint64_t> word;    ///< an ItemWord
  std::uint64_t sequence;             ///< how many items came before it
  std::int64_t priority;              ///< lower ones come first
  std::uint64_t header;               ///< of its record
  std::uint64_t from;                 ///< head when it was taken from the ring
  std::atomic<std::uint32_t> moving;  ///< 1 until head has moved on from there
  std::uint32_t first_block;          ///< of the arena
  std::uint32_t blocks;
  std::uint32_t tid_or_next;  ///< thread of the last owner; of a free one: the next free one
  std::int64_t since_ns;      ///< CLOCK_MONOTONIC of the last delivery
};
static_assert(sizeof(Item) == 64);

inline constexpr std::uint32_t kNoItem = ~std::uint32_t{0};
/// Most items of a work queue in the hands of workers at a time, dead letters included; and of a priority queue.
inline constexpr std::uint32_t kMostLeased = 1U << 16;
inline constexpr std::uint32_t kMostPrioritised = 1U << 24;
inline constexpr std::size_t kBlockBytes = 64;
/// Where TableBody lies, behind a queue's own words and in front of its ring.
inline constexpr std::size_t kTableOffset = 1024;
static_assert(sizeof(QueueBody) <= kTableOffset);

struct TableBody {
  std::uint64_t max_deliveries;       ///< 0 = no limit
  std::uint64_t most_items;           ///< in the table
  std::uint64_t most_blocks;          ///< of the arena
  std::atomic<std::uint64_t> came;    ///< items that came into the table so far
  std::atomic<std::uint32_t> used;    ///< items below this index have memory
  std::atomic<std::uint32_t> blocks;  ///< blocks of the arena that have memory
  // From here on everything follows from the items' words; who heals the consumers' lock counts it anew.
  std::atomic<std::uint32_t> leased;  ///< without dead letters
  std::atomic<std::uint32_t> in_line;
  std::atomic<std::uint32_t> letters;  ///< dead letters, those in somebody's hands too
  std::atomic<std::uint32_t> first_free;
  std::atomic<std::uint32_t> search_from;  ///< the block behind the one that was given out last
  // What waiters look at.
  std::atomic<std::uint32_t> deaths_seen;  ///< death word up to which the leases of the dead have come back
  std::atomic<std::uint32_t> freed;        ///< moves on with every item that leaves the table
  std::atomic<std::uint32_t> starved;      ///< 1: somebody waits for that
  WakeWord idle;                           ///< those in join()
};

/// What follows the ring: items | heap of those in line | bitmap of the arena | arena.
struct TableAreas {
  std::size_t items;
  std::size_t heap;
  std::size_t bitmap;
  std::size_t arena;
  std::size_t end;
  /// Offsets from the body.
  static TableAreas of(std::size_t ring_bytes, std::uint64_t most_items, std::uint64_t most_blocks) noexcept;
};

/// All but the queries with the consumers' lock held. Every step may be the last: what counts is an item's word, and for
/// one on its way from the ring the head; the rest is rebuilt by settle() after a killing.
class ItemTable {
 public:
  explicit ItemTable(QueueBody& body) noexcept;

  /// First of all: mends what a killed consumer left, and takes back what dead processes held.
  void settle();

  enum class Outcome : std::uint8_t { taken, nothing, starved };
  /// Leases the item that is first in line to the calling process: the oldest that came back, or the oldest of the ring.
  /// `starved`: there is one, but no room to keep it until it is finished.
  /// Errors: NoSpace, DecodeError (damaged record).
  Outcome take(bool by_call, std::uint32_t& index, bool& from_ring);
  /// Could the oldest item of the ring be kept until it is finished? Errors: as take().
  [[nodiscard]] bool has_room_for_next();
  /// The oldest dead letter; kNoItem if there is none.
  std::uint32_t take_letter();
  /// Puts a record into line. kNoItem if there is no room. Errors: NoSpace.
  std::uint32_t insert(std::int64_t priority, std::span<const std::byte> prefix, std::span<const std::byte> payload);
  /// The first in line; the caller reads it and lets finish() follow. kNoItem if there is none.
  [[nodiscard]] std::uint32_t first_in_line() const noexcept;

  /// The item that task_done() means: this thread's oldest, else this process's oldest; kNoItem.
  [[nodiscard]] std::uint32_t oldest_by_call() const noexcept;
  [[nodiscard]] bool holds_any(registry::Id owner) const noexcept;

  /// The item is done: it leaves the queue.
  void finish(std::uint32_t index) noexcept;
  /// Its owner does not finish it: first in line again, or a dead letter after the last delivery.
  void give_back(std::uint32_t index) noexcept;
  void condemn(std::uint32_t index) noexcept;
  /// First in line again, as if never delivered.
  void forgive(std::uint32_t index) noexcept;
  void discard_line() noexcept;

  [[nodiscard]] const Item& item(std::uint32_t index) const noexcept { return items_[index]; }
  [[nodiscard]] ItemWord word(std::uint32_t index) const noexcept {
    return ItemWord::unpack(items_[index].word.load(std::memory_order_acquire));
  }
  /// The item's record, and the part of it behind what stands in front for its pins.
  [[nodiscard]] std::span<const std::byte> record_bytes(std::uint32_t index) const noexcept;
  [[nodiscard]] std::span<const std::byte> payload(std::uint32_t index) const;
  [[nodiscard]] bool has_pins(std::uint32_t index) const noexcept {
    return (items_[index].header & record::kHasPins) != 0;
  }
  /// Is everything that was put finished, given up, or discarded?
  [[nodiscard]] bool is_all_done() const noexcept;
  /// Appends the numbers of the messages with pins that are kept here.
  void add_messages_with_pins(std::vector<std::uint64_t>& out) const;

 private:
  void rebuild() noexcept;
  void take_back_of_dead() noexcept;
  void check_pins(std::uint32_t index);
  std::uint32_t reserve(std::size_t size_bytes);
  std::optional<std::uint32_t> free_item();
  std::optional<std::uint32_t> allocate(std::uint32_t blocks);
  std::optional<std::uint32_t> find_run(std::uint32_t from, std::uint32_t to, std::uint32_t blocks) const noexcept;
  void mark(std::uint32_t first, std::uint32_t count, bool in_use) noexcept;
  void push(std::uint32_t index) noexcept;
  std::uint32_t pop() noexcept;
  void lease_to_caller(std::uint32_t index, ItemWord next) noexcept;
  void let_go(const ItemWord& before) noexcept;
  void drop_pins(std::uint32_t index) const noexcept;
  void free(std::uint32_t index) noexcept;
  [[nodiscard]] bool comes_first(std::uint32_t a, std::uint32_t b) const noexcept {
    const Item& one = items_[a];
    const Item& other = items_[b];
    return one.priority != other.priority ? one.priority < other.priority : one.sequence < other.sequence;
  }

  QueueBody& body_;
  TableBody& work_;
  Item* items_;
  std::uint32_t* heap_;
  std::uint64_t* bitmap_;
  std::byte* arena_;
};

inline TableBody& table_of(QueueBody& body) noexcept {
  return *reinterpret_cast<TableBody*>(reinterpret_cast<std::byte*>(&body) + kTableOffset);
}

/// Consumers' lock held, by whoever does not know whether this queue has a table: what ItemTable::settle does if it has.
void settle_items(QueueBody& body, Kind kind);

}  // namespace brood::inline v1::channel
