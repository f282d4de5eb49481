// Records: what is done to a queue's ring with its locks held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "brood/handle.hpp"
#include "channel/chunk_store.hpp"
#include "channel/queue_body.hpp"
#include "channel/ring.hpp"

namespace brood::inline v1::channel {

/// Of an unlimited queue, too: a difference of two counts of more than half their range reads as "behind".
inline constexpr std::size_t kMostItems = Cursor::kCountMask / 2;

inline bool is_committed(std::uint64_t header) noexcept { return (header & record::kCommitted) != 0; }

/// Producers' lock held: a producer that was killed between committing its record and storing the tail left the tail
/// behind. Walks the records to the first that is not committed. Can be killed and done again.
void repair_tail(QueueBody& body) noexcept;

/// Items between two cursors that may have been read at different times.
std::uint64_t items_between(Cursor tail, Cursor head) noexcept;

inline std::uint64_t most_items(const QueueBody& body) noexcept {
  return body.capacity_items == 0 ? kMostItems : body.capacity_items;
}

struct Room {
  bool items = false;
  bool units = false;
  [[nodiscard]] bool enough() const noexcept { return items && units; }
};
/// Is there room for a record of `units` behind `tail`?
Room room_for(const QueueBody& body, Cursor tail, Cursor head, std::uint64_t units, std::uint64_t ring_units) noexcept;

/// Without a lock: would an attempt to put a record of `units` succeed, or say that it is over?
bool can_append(const QueueBody& body, std::uint64_t units) noexcept;

/// Both locks held: doubles the ring until `needed` more units fit. The store of ring_units is the commit.
/// Errors: NoSpace.
void grow(QueueBody& body, const Handle& handle, std::uint64_t needed);

/// Producers' lock held. Writes one record at the tail and commits it. `kind_of_payload`: 0, or record::kInChunk.
void append(QueueBody& body, Cursor tail, std::span<const std::byte> prefix, std::span<const std::byte> payload,
            std::uint64_t kind_of_payload) noexcept;

/// Both locks held: `visit(header, position)` for every record in the ring.
template <class Visit>
void for_each_record(QueueBody& body, Visit visit) {
  const Ring ring(body);
  Cursor at = Cursor::unpack(body.head.load());
  for (std::uint64_t walked = 0; walked < ring.units();) {
    const std::uint64_t header = ring.header(at.position).load(std::memory_order_acquire);
    if (!is_committed(header)) break;
    visit(header, at.position);
    const std::uint64_t units = record::units_for(record::size_of(header));
    at = at.after(units);
    walked += units;
  }
}

/// What a record with record::kInChunk says. Errors: DecodeError (it is damaged).
[[nodiscard]] ChunkRef chunk_ref(const Ring& ring, std::uint64_t position, std::uint64_t header);
/// Both locks held: sorted, what the records in the ring name. Errors: DecodeError.
[[nodiscard]] std::vector<ChunkStore::Index> chunks_in_ring(QueueBody& body);

/// Consumers' lock held, and the oldest record is committed: takes it away, read by nobody. Can be killed and done again.
/// Errors: DecodeError (damaged record).
void discard_oldest(QueueBody& body, const Ring& ring, ChunkStore* chunks);

/// Without a lock: something can be taken from the ring.
inline bool can_read(const QueueBody& body) noexcept {
  return Ring(const_cast<QueueBody&>(body)).peek(Cursor::unpack(body.head.load(std::memory_order_acquire)).position);
}

}  // namespace brood::inline v1::channel
