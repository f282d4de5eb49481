#include <cstring>
#include <optional>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "brood/detail/copy_bytes.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/error.hpp"
#include "channel/chunk_store.hpp"
#include "channel/item_table.hpp"
#include "channel/message_pins.hpp"
#include "channel/records.hpp"
#include "channel/side_lock.hpp"
#include "os/files.hpp"

namespace brood::inline v1::detail {
namespace {

using namespace channel;  // the parts of a queue; this file is its producers' side
using registry::Sleeper;

/// About 20 µs: twice what a sleep and wake-up costs.
constinit sync::SpinBudget g_not_full_spin(1400);

/// Of what lies in a chunk.
constexpr std::size_t kAlignment = 64;

/// Producers' lock held: discards the oldest items until `units` more fit. No room if the consumers' lock cannot be had.
Room drop_oldest(QueueBody& body, const Object& object, ChunkAccess& chunks, Cursor tail, std::uint64_t units,
                 Deadline deadline) {
  const SideLock consumers(body, body.consumers, context_of(object), deadline);
  if (consumers.timed_out()) return {};
  settle_items(body, kind_of(object));
  const Ring ring(body);
  for (;;) {
    const std::uint64_t packed = body.head.load(std::memory_order_acquire);
    const Cursor head = Cursor::unpack(packed);
    const Room room = room_for(body, tail, head, units, ring.units());
    if (room.enough() || head.position == tail.position) {
      body.known_head.store(packed, std::memory_order_relaxed);
      return room;
    }
    discard_oldest(body, ring, chunks.find(body.chunks));
    body.dropped.fetch_add(1);  // killed before this, one is missing in the count
  }
}

}  // namespace

void QueueCore::check_fits(const Piece& piece) const {
  const std::uint64_t size = pin_prefix_bytes(piece.handles.size()) + piece.payload.size();
  if (record::units_for(size) + 1 <= body_of(object_).most_units && record::size_of(size) == size) return;
  throw_too_large(piece.payload.size());
}
void QueueCore::throw_too_large(std::size_t size_bytes) const {
  throw NoSpace(handle().str() + ": a message of " + std::to_string(size_bytes) +
                    " bytes can never fit, the queue's byte budget is " + std::to_string(byte_budget()) +
                    "; make the queue with a larger QueueOptions::byte_budget",
                EMSGSIZE);
}

template <class PieceAt>
std::size_t QueueCore::put_pieces(std::size_t count, PieceAt piece_at, Deadline deadline) {
  check_open();
  QueueBody& body = body_of(object_);
  const auto policy = static_cast<WhenFull>(body.when_full);
  if (policy != WhenFull::block) deadline = Deadline::now();
  const auto units_of = [&](const Piece& piece) {
    return record::units_for(pin_prefix_bytes(piece.handles.size()) + piece.payload.size());
  };
  std::size_t done = 0;
  Sleeper sleeper(registry::Operation::put, kind_of(object_), object_.id(), deadline);
  const auto may_append = [&] { return can_append(body, units_of(piece_at(std::min(done, count - 1)))); };
  // However we go: a wake-up that came to us and was not used is handed on.
  const absl::Cleanup baton = [&] { pass_baton(body.not_full, sleeper, may_append); };
  for (;;) {
    {
      bool appended = false;
      // After the unlock, and also when the queue cannot grow any more in the middle of a batch.
      const absl::Cleanup wake = [&] {
        if (appended) body.not_empty.notify();
      };
      SideLock lock(body, body.producers, context_of(object_), deadline);
      if (lock.timed_out()) break;
      if (lock.healed()) repair_tail(body);
      if (body.shutdown.load(std::memory_order_relaxed) != 0) {
        if (done != 0) break;
        throw_closed("it was shut down, nothing can be put any more");
      }
      for (; done < count; ++done) {
        const Piece piece = piece_at(done);
        check_fits(piece);
        const std::uint64_t units = units_of(piece);
        const Cursor tail = Cursor::unpack(body.tail.load(std::memory_order_relaxed));
        Room room = room_for(body, tail, Cursor::unpack(body.known_head.load(std::memory_order_relaxed)), units,
                             body.ring_units.load(std::memory_order_relaxed));
        if (!room.enough()) {
          // SYNC record-taken: acquire pairs with the release in get_with; the space behind head is ours to write.
          const std::uint64_t head = body.head.load(std::memory_order_acquire);
          body.known_head.store(head, std::memory_order_relaxed);
          room = room_for(body, tail, Cursor::unpack(head), units, body.ring_units.load(std::memory_order_relaxed));
        }
        if (room.items && !room.units && body.ring_units.load() < body.most_units) {
          const SideLock other(body, body.consumers, context_of(object_), deadline);
          if (!other.timed_out()) {
            settle_items(body, kind_of(object_));
            grow(body, handle(), units + 1);
            room = room_for(body, tail, Cursor::unpack(body.head.load(std::memory_order_acquire)), units,
                            body.ring_units.load());
          }
        }
        if (!room.enough() && policy == WhenFull::drop_oldest)
          room = drop_oldest(body, object_, *chunks_, tail, units, deadline);
        if (!room.enough()) break;
        Pins pins(body, object_, piece.handles);
        pins.make();
        if (piece.chunk != nullptr) (**chunks_).put_into_ring(piece.chunk->index());
        append(body, tail, pins.prefix(), piece.payload, piece.chunk != nullptr ? record::kInChunk : 0);
        pins.committed();
        appended = true;
      }
    }
    if (done == count) return done;
    if (policy == WhenFull::drop_newest) body.dropped.fetch_add(count - done);
    if (deadline.is_poll() || !wait_until_ready(body.not_full, sleeper, g_not_full_spin, may_append)) break;
  }
  return done;
}

bool QueueCore::put(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline) {
  const Piece piece{payload, handles};
  if (goes_in_chunk(payload.size())) return put_large(piece, deadline);
  return put_pieces(
             1, [&](std::size_t) { return piece; }, deadline) == 1;
}

std::size_t QueueCore::put_many(const Batch& batch, Deadline deadline) {
  const std::size_t count = batch.each != 0 ? batch.bytes.size() / batch.each : batch.ends.size();
  const auto piece_at = [&](std::size_t i) {
    if (batch.each != 0) return Piece{batch.bytes.subspan(i * batch.each, batch.each), {}};
    const Batch::End begin = i == 0 ? Batch::End{0, 0} : batch.ends[i - 1];
    const Batch::End end = batch.ends[i];
    return Piece{batch.bytes.subspan(begin.bytes, end.bytes - begin.bytes),
                 batch.handles.subspan(begin.handles, end.handles - begin.handles)};
  };
  // Large ones one by one, what lies between them together.
  std::size_t done = 0;
  while (done < count) {
    std::size_t end = done;
    while (end < count && !goes_in_chunk(piece_at(end).payload.size())) ++end;
    const std::size_t put = end == done ? (put_large(piece_at(done), deadline) ? 1 : 0)
                                        : put_pieces(
                                              end - done, [&](std::size_t i) { return piece_at(done + i); }, deadline);
    if (put == 0 || (done += put) < end) break;
  }
  return done;
}

// --- chunks --------------------------------------------------------------------------------------------------------------

bool QueueCore::goes_in_chunk(std::size_t size_bytes) const {
  return size_bytes >= kChunkFrom && kind_of(object_) == Kind::queue;
}

/// The copy is made before any lock is taken.
bool QueueCore::put_large(const Piece& piece, Deadline deadline) {
  // Its end lies on a boundary, so that the elements of an array behind a header are aligned.
  const std::size_t size = piece.payload.size();
  const std::size_t skip = os::round_up(size, kAlignment) - size;
  Chunk chunk = allocate_for_item(size + skip, deadline);
  if (!chunk) return false;
  detail::copy_bytes(chunk.data() + skip, piece.payload.data(), size);
  return put_chunk(chunk, skip, size, piece.handles, deadline);
}

bool QueueCore::put_chunk(Chunk& chunk, std::size_t skip, std::size_t size_bytes, std::span<const Handle> handles,
                          Deadline deadline) {
  if (!(*chunk.of()).is_held(chunk.index()))
    throw UsageError(handle().str() + ": this memory was lent to the parent process, who alone can put it");
  if ((*chunk.of()).id() != body_of(object_).chunks.load())
    throw UsageError(handle().str() + ": this memory was lent by another queue, put it there");
  (void)chunks_->find(body_of(object_).chunks);
  const ChunkRef ref{chunk.index(), static_cast<std::uint32_t>(skip), size_bytes};
  const Piece piece{std::as_bytes(std::span(&ref, 1)), handles, &chunk};
  if (put_pieces(
          1, [&](std::size_t) { return piece; }, deadline) == 0)
    return false;
  chunk.forget();
  return true;
}

Chunk QueueCore::allocate(std::size_t size_bytes, Deadline deadline) {
  check_open();
  QueueBody& body = body_of(object_);
  if (size_bytes > body.most_units * 8) throw_too_large(size_bytes);
  const auto policy = static_cast<WhenFull>(body.when_full);
  if (policy != WhenFull::block) deadline = Deadline::now();
  ChunkStore* store = chunks_->find(body.chunks);
  if (store == nullptr) {
    const SideLock producers(body, body.producers, context_of(object_), deadline);
    if (producers.timed_out()) return {};
    if (producers.healed()) repair_tail(body);
    store = &chunks_->make(body.chunks, object_, body.most_units * 8);
  }
  Sleeper sleeper(registry::Operation::put, kind_of(object_), object_.id(), deadline);
  std::uint32_t seen = 0;
  std::optional<ChunkStore::Seeker> seeker;
  const auto may_allocate = [&] {
    return store->given_back() != seen || store->has_news() || body.shutdown.load(std::memory_order_acquire) != 0;
  };
  for (;;) {
    if (body.shutdown.load(std::memory_order_acquire) != 0)
      throw_closed("it was shut down, nothing can be put any more");
    seen = store->given_back();
    // Chunks of the dead are found before more memory is taken.
    const bool news = store->has_news();
    auto index = store->allocate(size_bytes, !news, deadline);
    if (!index && news) {
      settle_chunks(deadline);
      index = store->allocate(size_bytes, true, deadline);
    }
    if (index) return {chunks_, *index};
    if (policy == WhenFull::drop_oldest && make_room_by_dropping(deadline)) continue;
    if (deadline.is_poll()) return {};
    if (!seeker) {
      seeker.emplace(*store);
      continue;  // what came back until now was not counted
    }
    if (!wait_until_ready(store->room(), sleeper, g_not_full_spin, may_allocate)) return {};
  }
}

Chunk QueueCore::allocate_for_item(std::size_t size_bytes, Deadline deadline) {
  Chunk chunk = allocate(size_bytes, deadline);
  if (!chunk && when_full() == WhenFull::drop_newest) body_of(object_).dropped.fetch_add(1);
  return chunk;
}

ChunkStore* QueueCore::chunk_store() const { return chunks_->find(body_of(object_).chunks); }

void QueueCore::settle_chunks(Deadline deadline) {
  QueueBody& body = body_of(object_);
  const SideLock producers(body, body.producers, context_of(object_), deadline);
  if (producers.timed_out()) return;
  if (producers.healed()) repair_tail(body);
  const SideLock consumers(body, body.consumers, context_of(object_), deadline);
  if (consumers.timed_out()) return;
  settle_items(body, kind_of(object_));
  (**chunks_).settle(chunks_in_ring(body));
}

/// Discards the oldest item. False if there is none, or the lock cannot be had.
bool QueueCore::make_room_by_dropping(Deadline deadline) {
  QueueBody& body = body_of(object_);
  const SideLock producers(body, body.producers, context_of(object_), deadline);
  if (producers.timed_out()) return false;
  if (producers.healed()) repair_tail(body);
  const SideLock consumers(body, body.consumers, context_of(object_), deadline);
  if (consumers.timed_out() || !can_read(body)) return false;
  discard_oldest(body, Ring(body), &**chunks_);
  body.dropped.fetch_add(1);  // killed before this, one is missing in the count
  return true;
}

void QueueCore::refused() const {
  if (is_shut_down()) throw_closed("it was shut down, nothing can be put any more");
  if (when_full() == WhenFull::fail)
    throw Full(handle().str() + ": the queue is full, and its policy (WhenFull::fail) is not to wait");
}

void QueueCore::refused_loan() const {
  refused();
  throw Full(handle().str() + ": no memory to lend, and the queue's policy (" + std::string(to_string(when_full())) +
             ") is not to wait");
}

}  // namespace brood::inline v1::detail
