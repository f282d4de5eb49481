// QueueBody: what lies in a queue's segment, in front of its ring.
#pragma once

#include <atomic>
#include <cstdint>

#include "brood/handle.hpp"
#include "channel/wake_word.hpp"
#include "sync/lock_body.hpp"

namespace brood::inline v1::channel {

/// A place in the endless stream of records, with the number of records before it, in one word: position in units of
/// 8 bytes (36) | count (28). One store moves both, so bytes and items can never disagree.
struct Cursor {
  static constexpr unsigned kCountBits = 28;
  static constexpr std::uint64_t kCountMask = (1ULL << kCountBits) - 1;
  static constexpr std::uint64_t kPositionMask = (1ULL << 36) - 1;

  std::uint64_t position = 0;
  std::uint64_t count = 0;

  static Cursor unpack(std::uint64_t word) noexcept { return {word >> kCountBits, word & kCountMask}; }
  [[nodiscard]] std::uint64_t pack() const noexcept { return position << kCountBits | count; }
  [[nodiscard]] Cursor after(std::uint64_t units) const noexcept {
    return {(position + units) & kPositionMask, (count + 1) & kCountMask};
  }
  /// Units and items from `earlier` to here. Both wrap, and so do the differences.
  [[nodiscard]] std::uint64_t units_since(Cursor earlier) const noexcept {
    return (position - earlier.position) & kPositionMask;
  }
  [[nodiscard]] std::uint64_t items_since(Cursor earlier) const noexcept {
    return (count - earlier.count) & kCountMask;
  }
};

/// A record is a header of one unit and the payload, padded to whole units. The header is also its ready flag: a header
/// of zero is not committed.
///
///   63        62        61         60 .... 32   31 ....... 0
///   committed has pins  in chunk       0        payload bytes
///
/// With `in chunk` the payload (behind its pins) is a ChunkRef: the message itself lies in a chunk.
namespace record {
inline constexpr std::uint64_t kCommitted = 1ULL << 63;
inline constexpr std::uint64_t kHasPins = 1ULL << 62;
inline constexpr std::uint64_t kInChunk = 1ULL << 61;
constexpr std::uint64_t size_of(std::uint64_t header) noexcept { return header & 0xffffffffULL; }
constexpr std::uint64_t units_for(std::uint64_t payload_bytes) noexcept { return 1 + (payload_bytes + 7) / 8; }
}  // namespace record

/// In front of the payload of a record that carries handles.
struct PinPrefix {
  std::uint64_t message;  ///< number under which the objects are pinned
  std::uint64_t count;    ///< of the identities that follow, 8 bytes each
};

enum class Shutdown : std::uint32_t { open = 0, draining = 1, immediate = 2 };

/// Has items outside of the ring: item_table.hpp.
constexpr bool has_table(Kind kind) noexcept { return kind == Kind::work_queue || kind == Kind::priority_queue; }

/// gc() has to compare pins and records.
inline constexpr std::uint32_t kPinsUnsure = 1;
/// Whoever has the consumers' lock next has to rebuild the table of items, if there is one.
inline constexpr std::uint32_t kItemsUnsure = 2;

struct QueueBody {
  // Producers.
  alignas(64) sync::LockBody producers;
  std::atomic<std::uint64_t> tail;        ///< end of the last record that its producer finished
  std::atomic<std::uint64_t> known_head;  ///< head as last seen by a producer
  std::atomic<std::uint64_t> pins_made;   ///< messages with handles so far
  // Consumers.
  alignas(64) sync::LockBody consumers;
  alignas(64) std::atomic<std::uint64_t> head;  ///< start of the oldest record; storing it takes the record
  // Both.
  alignas(64) WakeWord not_empty;
  alignas(64) WakeWord not_full;
  alignas(64) std::atomic<std::uint64_t> ring_units;  ///< power of two; grows
  std::atomic<std::uint32_t> shutdown;
  std::atomic<std::uint32_t> unsure;   ///< what a killing inside one of the locks has left to others: k…Unsure
  std::uint64_t capacity_items;        ///< 0 = as many as fit
  std::uint64_t most_units;            ///< the byte budget
  std::uint64_t when_full;             ///< a WhenFull
  std::atomic<std::uint64_t> dropped;  ///< items that the policy has cost
  std::atomic<std::uint64_t> chunks;   ///< identity of the ChunkStore; 0 until one is needed
  // The ring follows at kRingOffset.
};

}  // namespace brood::inline v1::channel
