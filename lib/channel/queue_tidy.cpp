// What gc() needs a queue for.
#include <algorithm>
#include <vector>

#include "brood/error.hpp"
#include "channel/broadcast_writer.hpp"
#include "channel/item_table.hpp"
#include "channel/message_pins.hpp"
#include "channel/queue_segment.hpp"
#include "channel/records.hpp"
#include "channel/side_lock.hpp"
#include "channel/tidy.hpp"
#include "registry/objects.hpp"

namespace brood::inline v1::channel {
namespace {

using detail::Object;

/// Both locks held: appends the numbers of the messages with handles in the ring.
void add_messages_in_ring(QueueBody& body, std::vector<std::uint64_t>& out) {
  const Ring ring(body);
  for_each_record(body, [&](std::uint64_t header, std::uint64_t position) {
    if ((header & record::kHasPins) != 0)
      out.push_back(Taken::of_record(ring, position, record::size_of(header)).message);
  });
}

/// Both locks held: numbers of the messages with handles that can still be received, sorted.
std::vector<std::uint64_t> messages_with_pins(QueueBody& body, Kind kind) {
  std::vector<std::uint64_t> out;
  if (has_table(kind)) ItemTable(body).add_messages_with_pins(out);
  if (static_cast<Shutdown>(body.shutdown.load()) != Shutdown::immediate) add_messages_in_ring(body, out);
  if (body.chunks.load() != 0) out.push_back(kChunksPin);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

/// A killing inside may have left pins of a message that was never put, or was taken. Nobody but the holder of
/// both locks can know that no living process is just about to need them.
std::size_t tidy_pins(const Handle& queue, std::uint64_t fingerprint) {
  const Kind kind = queue.kind();
  if (kind != Kind::queue && !has_table(kind) && kind != Kind::broadcast) return 0;  // not ours
  return tidy_if_possible([&]() -> std::size_t {
    if (kind == Kind::broadcast) return tidy_broadcast_pins(queue, fingerprint);
    const Object object = sound(registry::open(queue, kind, {fingerprint, {}}));
    QueueBody& body = body_of(object);
    const SideLock producers(body, body.producers, context_of(object), Deadline::now());
    if (producers.timed_out()) return 0;
    if (producers.healed()) repair_tail(body);
    const SideLock consumers(body, body.consumers, context_of(object), Deadline::now());
    if (consumers.timed_out()) return 0;
    settle_items(body, kind);
    ChunkAccess access;
    if (ChunkStore* const chunks = access.find(body.chunks)) {
      chunks->settle(chunks_in_ring(body));
      chunks->trim();
    }
    if ((body.unsure.load() & kPinsUnsure) == 0) return 0;
    const std::size_t dropped = shm::drop_pins(object.id(), messages_with_pins(body, kind));
    body.unsure.fetch_and(~kPinsUnsure);
    return dropped;
  });
}

}  // namespace brood::inline v1::channel
