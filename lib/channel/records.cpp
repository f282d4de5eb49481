#include "channel/records.hpp"

#include <algorithm>
#include <bit>
#include <optional>
#include <string>

#include "brood/error.hpp"
#include "channel/message_pins.hpp"
#include "os/files.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::channel {

void repair_tail(QueueBody& body) noexcept {
  const Ring ring(body);
  Cursor tail = Cursor::unpack(body.tail.load());
  for (std::uint64_t walked = 0; walked < ring.units();) {
    const std::uint64_t header = ring.header(tail.position).load(std::memory_order_acquire);
    if (!is_committed(header)) break;
    const std::uint64_t units = record::units_for(record::size_of(header));
    tail = tail.after(units);
    walked += units;
  }
  body.tail.store(tail.pack(), std::memory_order_release);
}

std::uint64_t items_between(Cursor tail, Cursor head) noexcept {
  const std::uint64_t items = tail.items_since(head);
  return items > Cursor::kCountMask / 2 ? 0 : items;
}

Room room_for(const QueueBody& body, Cursor tail, Cursor head, std::uint64_t units, std::uint64_t ring_units) noexcept {
  const bool behind =
      tail.items_since(head) > Cursor::kCountMask / 2;  // head passed a tail that nobody has repaired yet
  const std::uint64_t used = behind ? 0 : tail.units_since(head);
  // One unit more: the header after the record, which is zeroed before the record is committed.
  return {items_between(tail, head) < most_items(body), used + units + 1 <= ring_units};
}

void grow(QueueBody& body, const Handle& handle, std::uint64_t needed) {
  const Ring ring(body);
  const Cursor head = Cursor::unpack(body.head.load());
  const Cursor tail = Cursor::unpack(body.tail.load());
  const std::uint64_t used = tail.units_since(head);
  const std::uint64_t wanted = std::min(body.most_units, std::bit_ceil(used + needed));
  if (wanted <= ring.units()) return;
  if (const int error = os::populate(ring.data() + ring.units() * 8, (wanted - ring.units()) * 8); error != 0) {
    throw NoSpace(
        handle.str() + ": cannot grow from " + std::to_string(ring.units() * 8) + " to " + std::to_string(wanted * 8) +
        " bytes, the filesystem of the domain is full; take items out, free objects (brood::gc()), or enlarge it");
  }
  ring.copy_to_larger(wanted, head.position, used + 1);
  // SYNC ring-size: release publishes the copied records; pairs with the acquire in Ring's constructor.
  body.ring_units.store(wanted, std::memory_order_release);
}

void append(QueueBody& body, Cursor tail, std::span<const std::byte> prefix, std::span<const std::byte> payload,
            std::uint64_t kind_of_payload) noexcept {
  const Ring ring(body);
  const std::uint64_t size = prefix.size() + payload.size();
  const std::uint64_t units = record::units_for(size);
  if (!prefix.empty()) ring.write(tail.position, 8, prefix.data(), prefix.size());
  if (!payload.empty()) ring.write(tail.position, 8 + prefix.size(), payload.data(), payload.size());
  // The next header must read as "not committed" before anybody can get there; only our own release below publishes it.
  ring.header(tail.position + units).store(0, std::memory_order_relaxed);
  const std::uint64_t flags = record::kCommitted | kind_of_payload | (prefix.empty() ? 0 : record::kHasPins);
  // SYNC record-ready: release publishes payload and next header; pairs with the acquire in get_with. This is the
  // commit: killed before it, nothing was put; killed after it, the item is in and the next producer moves the tail.
  ring.header(tail.position).store(flags | size, std::memory_order_release);
  body.tail.store(tail.after(units).pack(), std::memory_order_release);
}

ChunkRef chunk_ref(const Ring& ring, std::uint64_t position, std::uint64_t header) {
  const std::uint64_t size = record::size_of(header);
  std::uint64_t skip = 0;
  if ((header & record::kHasPins) != 0) skip = pin_prefix_bytes(Taken::of_record(ring, position, size).ids.size());
  ChunkRef ref{};
  if (size != skip + sizeof ref) throw DecodeError("a queue's record is damaged (a chunk's name of another size)");
  ring.read(position, 8 + skip, &ref, sizeof ref);
  return ref;
}

std::vector<ChunkStore::Index> chunks_in_ring(QueueBody& body) {
  std::vector<ChunkStore::Index> out;
  const Ring ring(body);
  for_each_record(body, [&](std::uint64_t header, std::uint64_t position) {
    if ((header & record::kInChunk) != 0) out.push_back(chunk_ref(ring, position, header).index);
  });
  std::sort(out.begin(), out.end());
  return out;
}

void discard_oldest(QueueBody& body, const Ring& ring, ChunkStore* chunks) {
  const Cursor head = Cursor::unpack(body.head.load());
  const std::uint64_t header = ring.header(head.position).load(std::memory_order_acquire);
  const std::uint64_t size = record::size_of(header);
  const bool has_pins = (header & record::kHasPins) != 0;
  Taken discarded;
  if (has_pins) discarded = Taken::of_record(ring, head.position, size);
  std::optional<ChunkRef> in_chunk;
  if ((header & record::kInChunk) != 0 && chunks != nullptr) {
    in_chunk = chunk_ref(ring, head.position, header);
    chunks->check(*in_chunk);
  }
  body.head.store(head.after(record::units_for(size)).pack(), std::memory_order_release);
  if (in_chunk) chunks->discard(in_chunk->index);  // killed before this: settle() finds that no record names it
  if (!has_pins) return;
  shm::SegmentHeader& segment = shm::header_of(&body);
  // Of a work queue, earlier messages may be in somebody's hands still.
  if (static_cast<Kind>(segment.kind) == Kind::queue) segment.pins_spent.store(discarded.message + 1);
  discarded.unpin(segment.id);
}

bool can_append(const QueueBody& body, std::uint64_t units) noexcept {
  if (body.shutdown.load(std::memory_order_acquire) != 0) return true;
  const std::uint64_t ring_units = body.ring_units.load(std::memory_order_acquire);
  const Cursor head = Cursor::unpack(body.head.load(std::memory_order_acquire));
  const Room room = room_for(body, Cursor::unpack(body.tail.load(std::memory_order_acquire)), head, units, ring_units);
  return room.items && (room.units || ring_units < body.most_units);
}

}  // namespace brood::inline v1::channel
