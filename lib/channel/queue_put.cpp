#include <string>

#include "absl/cleanup/cleanup.h"
#include "brood/detail/queue_core.hpp"
#include "brood/error.hpp"
#include "channel/item_table.hpp"
#include "channel/message_pins.hpp"
#include "channel/records.hpp"
#include "channel/side_lock.hpp"

namespace brood::inline v1::detail {
namespace {

using namespace channel;  // the parts of a queue; this file is its producers' side
using registry::Sleeper;

/// About 20 µs: twice what a sleep and wake-up costs.
constinit sync::SpinBudget g_not_full_spin(1400);

/// Producers' lock held: discards the oldest items until `units` more fit. No room if the consumers' lock cannot be had.
Room drop_oldest(QueueBody& body, const Object& object, Cursor tail, std::uint64_t units, Deadline deadline) {
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
    discard_oldest(body, ring);
    body.dropped.fetch_add(1);  // killed before this, one is missing in the count
  }
}

}  // namespace

void QueueCore::check_fits(const Piece& piece) const {
  const std::uint64_t size = pin_prefix_bytes(piece.handles.size()) + piece.payload.size();
  const std::uint64_t most_units = body_of(object_).most_units;
  if (record::units_for(size) + 1 <= most_units && record::size_of(size) == size) return;
  throw NoSpace(handle().str() + ": a message of " + std::to_string(piece.payload.size()) +
                    " bytes can never fit, the queue's byte budget is " + std::to_string(most_units * 8) +
                    "; make the queue with a larger QueueOptions::byte_budget (4 GiB a message at most)",
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
        if (!room.enough() && policy == WhenFull::drop_oldest) room = drop_oldest(body, object_, tail, units, deadline);
        if (!room.enough()) break;
        Pins pins(body, object_, piece.handles);
        pins.make();
        append(body, tail, pins.prefix(), piece.payload);
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
  return put_pieces(
             1,
             [&](std::size_t) {
               return Piece{payload, handles};
             },
             deadline) == 1;
}

std::size_t QueueCore::put_many(const Batch& batch, Deadline deadline) {
  if (batch.each != 0) {
    return put_pieces(
        batch.bytes.size() / batch.each,
        [&](std::size_t i) {
          return Piece{batch.bytes.subspan(i * batch.each, batch.each), {}};
        },
        deadline);
  }
  return put_pieces(
      batch.ends.size(),
      [&](std::size_t i) {
        const Batch::End begin = i == 0 ? Batch::End{0, 0} : batch.ends[i - 1];
        const Batch::End end = batch.ends[i];
        return Piece{batch.bytes.subspan(begin.bytes, end.bytes - begin.bytes),
                     batch.handles.subspan(begin.handles, end.handles - begin.handles)};
      },
      deadline);
}

void QueueCore::refused() const {
  if (is_shut_down()) throw_closed("it was shut down, nothing can be put any more");
  if (when_full() == WhenFull::fail)
    throw Full(handle().str() + ": the queue is full, and its policy (WhenFull::fail) is not to wait");
}

}  // namespace brood::inline v1::detail
