#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "base/hex.hpp"
#include "brood/detail/copy_bytes.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/error.hpp"
#include "channel/chunk_store.hpp"
#include "channel/message_pins.hpp"
#include "channel/records.hpp"
#include "channel/side_lock.hpp"

namespace brood::inline v1::detail {
namespace {

using namespace channel;  // the parts of a queue; this file is its consumers' side
using registry::Sleeper;

/// A batch is not taken longer under one lock than this takes.
constexpr std::size_t kBatchBytes = std::size_t{1} << 20;

/// About 20 µs: twice what a sleep and wake-up costs.
constinit sync::SpinBudget g_not_empty_spin(1400);

bool can_take(const QueueBody& body) noexcept {
  return can_read(body) || body.shutdown.load(std::memory_order_acquire) != 0;
}

}  // namespace

template <class Take>
bool QueueCore::get_with(std::size_t most, Deadline deadline, Take take) {
  check_open();
  QueueBody& body = body_of(object_);
  Sleeper sleeper(registry::Operation::get, kind_of(object_), object_.id(), deadline);
  const auto may_take = [&] { return can_take(body); };
  const absl::Cleanup baton = [&] { pass_baton(body.not_empty, sleeper, may_take); };
  for (;;) {
    // Read before the queue is found empty: who has seen the shutdown sees all that was put before it.
    const auto shut = static_cast<Shutdown>(body.shutdown.load(std::memory_order_acquire));
    if (shut == Shutdown::immediate) throw_closed("it was shut down and its items were discarded");
    std::size_t count = 0;
    std::vector<Taken> with_pins;
    {
      SideLock lock(body, body.consumers, context_of(object_), deadline);
      if (lock.timed_out()) break;
      const Ring ring(body);
      for (; count < most; ++count) {
        const Cursor head = Cursor::unpack(body.head.load(std::memory_order_relaxed));
        // SYNC record-ready: acquire, see append.
        const std::uint64_t header = ring.header(head.position).load(std::memory_order_acquire);
        if (!is_committed(header)) break;
        const std::uint64_t size = record::size_of(header);
        const std::uint64_t units = record::units_for(size);
        if (units + 1 > ring.units()) {
          if (count != 0) break;  // what came before it is delivered first
          throw DecodeError(handle().str() + ": a record is damaged (" + std::to_string(size) + " bytes)");
        }
        const bool has_pins = (header & record::kHasPins) != 0;
        std::optional<Taken> taken;
        try {
          taken = take(ring, head.position, header);
        } catch (...) {
          // Not swallowed: what came before it is delivered first; it stays, is the first of the next call, and throws again.
          if (count == 0) throw;
        }
        if (!taken) break;
        // SYNC record-taken: release, so that no producer writes where we still read. This is the commit: killed before
        // it, the item stays; killed after it, the item was ours.
        body.head.store(head.after(units).pack(), std::memory_order_release);
        if (has_pins) {
          shm::header_of(&body).pins_spent.store(taken->message + 1);
          with_pins.push_back(*std::move(taken));
        }
      }
    }
    if (count != 0) {
      body.not_full.notify_every();
      for (const Taken& one : with_pins) one.unpin(object_.id());
      return true;
    }
    if (shut == Shutdown::draining) throw_closed("it was shut down and all its items are taken");
    if (deadline.is_poll() || !wait_until_ready(body.not_empty, sleeper, g_not_empty_spin, may_take)) break;
  }
  return false;
}

bool QueueCore::get_many(Message& into, std::size_t most, Deadline deadline) {
  into.clear();
  std::size_t bytes = 0;
  const auto take = [&](const Ring& ring, std::uint64_t position, std::uint64_t header) -> std::optional<Taken> {
    const std::uint64_t size = record::size_of(header);
    Taken taken;
    if ((header & record::kHasPins) != 0) taken = Taken::of_record(ring, position, size);
    if (into.holds_enough(taken.ids.size())) return std::nullopt;
    if ((header & record::kInChunk) != 0) {
      const ChunkRef ref = chunk_ref(ring, position, header);
      if (into.items() != 0 && bytes + ref.size_bytes > kBatchBytes) return std::nullopt;
      bytes += ref.size_bytes;
      into.prepare_item(taken.ids);
      into.add_item(take_chunk(ref), ref.skip, ref.size_bytes);
      return taken;
    }
    if (into.items() != 0 && bytes + size > kBatchBytes) return std::nullopt;
    bytes += size;
    ring.read(position, 8, into.make_room(size), size);
    into.add_item(size, pin_prefix_bytes(taken.ids.size()), taken.ids);
    return taken;
  };
  return get_with(most, deadline, take);
}

/// Consumers' lock held. Killed before the record is taken, it is in the ring still, whatever the chunk's word says.
Chunk QueueCore::take_chunk(const ChunkRef& ref) {
  ChunkStore* const chunks = chunks_->find(body_of(object_).chunks);
  if (chunks == nullptr) throw DecodeError(handle().str() + ": a record names a chunk, but the queue has none");
  chunks->check(ref);
  chunks->prefetch(ref);
  chunks->take_from_ring(ref.index);
  return {chunks_, ref.index};
}

bool QueueCore::get_raw(std::span<std::byte> into, Deadline deadline) {
  std::optional<std::uint64_t> wrong_size;
  Chunk chunk;
  std::size_t skip = 0;
  const auto take = [&](const Ring& ring, std::uint64_t position, std::uint64_t header) -> std::optional<Taken> {
    std::uint64_t size = record::size_of(header);
    const bool has_pins = (header & record::kHasPins) != 0;
    Taken taken;
    if (has_pins) taken = Taken::of_record(ring, position, size);
    if ((header & record::kInChunk) != 0) {
      const ChunkRef ref = chunk_ref(ring, position, header);
      chunk = take_chunk(ref);
      skip = ref.skip;
      size = ref.size_bytes;
    }
    if (size != into.size() || has_pins) wrong_size = size;
    else if (!chunk) ring.read(position, 8, into.data(), into.size());
    return taken;
  };
  const bool got = get_with(1, deadline, take);
  if (got && chunk && !wrong_size) detail::copy_bytes(into.data(), chunk.data() + skip, into.size());
  if (wrong_size)
    throw DecodeError(handle().str() + ": took an item of " + std::to_string(*wrong_size) +
                      " bytes where its type has another size");
  return got;
}

}  // namespace brood::inline v1::detail
