// The sending side of an end: into the other end's inbox.
#include <array>
#include <optional>

#include "absl/cleanup/cleanup.h"
#include "brood/error.hpp"
#include "channel/pipe_end.hpp"

namespace brood::inline v1::channel {
namespace {

/// About 20 µs: twice what a sleep and wake-up costs.
constinit sync::SpinBudget g_room_spin(1400);

/// Units taken in the inbox, as far as the head is known.
std::uint64_t used_units(const EndBody& inbox, std::uint64_t head) noexcept {
  return Place::unpack(inbox.tail.load(std::memory_order_relaxed)).position - head;
}

/// Head as it is now; acquire: the space before it is ours to write.
std::uint64_t look_at_head(EndBody& inbox) noexcept {
  // SYNC fragment-taken: pairs with the release that stores the head in pipe_receive.cpp.
  const std::uint64_t head = Place::unpack(inbox.head.load(std::memory_order_acquire)).position;
  inbox.known_head.store(head, std::memory_order_relaxed);
  return head;
}

/// Several pieces of memory as one.
class Gather {
 public:
  explicit Gather(std::span<const std::span<const std::byte>> parts) : parts_(parts) {}
  void write(const FragmentRing& ring, std::uint64_t position, std::size_t skip, std::size_t size_bytes) {
    while (size_bytes > 0) {
      const auto rest = parts_.front().subspan(done_);
      const std::size_t now = std::min(rest.size(), size_bytes);
      if (now != 0) ring.write(position, skip, rest.data(), now);
      skip += now;
      size_bytes -= now;
      done_ += now;
      if (done_ == parts_.front().size()) {
        parts_ = parts_.subspan(1);
        done_ = 0;
      }
    }
  }

 private:
  std::span<const std::span<const std::byte>> parts_;
  std::size_t done_ = 0;
};

}  // namespace

void PipeEnd::throw_broken_pipe() const {
  throw BrokenPipe(name().str() + ": cannot send, everybody who had the other end of the pipe has closed it or died");
}

void PipeEnd::repair_peer_inbox() {
  repair_senders_side(*peer_);
  ring(mine_.sent, mine_);  // a message may have been cut off
}

bool PipeEnd::make_room_slowly(std::uint64_t units, Deadline deadline) {
  EndBody& inbox = *peer_;
  const std::uint64_t most = inbox.inbox_units - fragment::kSpareUnits - units;
  if (used_units(inbox, look_at_head(inbox)) <= most) return true;
  return !deadline.is_poll() && wait_for_room(units, deadline);
}

/// Waits for a quarter of the ring: a sender that went on with every single fragment would meet the receiver at the full
/// edge each time.
bool PipeEnd::wait_for_room(std::uint64_t units, Deadline deadline) {
  EndBody& inbox = *peer_;
  const std::uint64_t most =
      std::min(inbox.inbox_units - inbox.inbox_units / 4, inbox.inbox_units - fragment::kSpareUnits - units);
  inbox.senders.stuck.store(1, std::memory_order_relaxed);
  const absl::Cleanup not_stuck = [&] { inbox.senders.stuck.store(0, std::memory_order_relaxed); };
  const auto ready = [&] { return peer_has_ended() || used_units(inbox, look_at_head(inbox)) <= most; };
  const auto look = [&](Search& search) { return peer_is_gone(&search); };
  if (!wait(inbox.taken, registry::Operation::put, deadline, g_room_spin, ready, look)) return false;
  if (peer_has_ended()) throw_broken_pipe();
  return true;
}

bool PipeEnd::send(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline) {
  here();
  if (peer_may_have_gone() && peer_is_gone(nullptr)) throw_broken_pipe();
  EndBody& inbox = *peer_;
  const FragmentRing ring_of_peer(inbox);
  {
    InLane lane(inbox.senders, inbox.senders_lock, asymmetric(), context(), deadline);
    if (lane.timed_out()) return false;
    if (lane.healed()) repair_peer_inbox();
    if (!handles.empty() || payload.size() > ring_of_peer.fragment_bytes()) {
      if (!send_large(payload, handles, deadline)) return false;
    } else {
      if (!make_room(fragment::units_for(payload.size()), deadline)) return false;
      const Place tail = Place::unpack(inbox.tail.load(std::memory_order_relaxed));
      if (!payload.empty()) ring_of_peer.write(tail.position, 0, payload.data(), payload.size());
      ring_of_peer.commit(inbox, tail, 0, payload.size());
    }
  }
  ring(mine_.sent, mine_);
  return true;
}

// --- messages in place -----------------------------------------------------------------------------------------------------

detail::Chunk PipeEnd::allocate(std::size_t size_bytes, Deadline deadline) {
  here();
  if (peer_may_have_gone() && peer_is_gone(nullptr)) throw_broken_pipe();
  EndBody& inbox = *peer_;
  if (size_bytes > inbox.loan_budget)
    throw NoSpace(name().str() + ": a message of " + std::to_string(size_bytes) + " bytes in place can never fit, " +
                      "the pipe lends " + std::to_string(inbox.loan_budget) +
                      "; send it by value, or make the pipe with a larger PipeOptions::loan_budget",
                  EMSGSIZE);
  ChunkStore* store = out_chunks_->find(inbox.chunks);
  if (store == nullptr) {
    const InLane lane(inbox.senders, inbox.senders_lock, asymmetric(), context(), deadline);
    if (lane.timed_out()) return {};
    if (lane.healed()) repair_peer_inbox();
    store = &out_chunks_->make(inbox.chunks, peer_object_, inbox.loan_budget);
  }
  std::optional<ChunkStore::Seeker> seeker;
  for (;;) {
    const std::uint32_t seen = store->given_back();
    // Chunks of the dead are found before more memory is taken.
    const bool news = store->has_news();
    auto index = store->allocate(size_bytes, !news, deadline);
    if (!index && news && settle_chunks(deadline)) index = store->allocate(size_bytes, true, deadline);
    if (index) return {out_chunks_, *index};
    if (deadline.is_poll()) return {};
    if (!seeker) {
      seeker.emplace(*store);
      continue;  // what came back until now was not counted
    }
    const auto ready = [&] { return store->given_back() != seen || store->has_news() || peer_has_ended(); };
    const auto look = [&](Search& search) { return peer_is_gone(&search); };
    if (!wait(inbox.taken, registry::Operation::put, deadline, g_room_spin, ready, look, &store->room())) return {};
    if (peer_has_ended()) throw_broken_pipe();
  }
}

/// False if the lanes could not be had.
bool PipeEnd::settle_chunks(Deadline deadline) {
  EndBody& inbox = *peer_;
  const InLane senders(inbox.senders, inbox.senders_lock, asymmetric(), context(), deadline);
  if (senders.timed_out()) return false;
  if (senders.healed()) repair_peer_inbox();
  const InLane receivers(inbox.receivers, inbox.receivers_lock, asymmetric(), context(), deadline);
  if (receivers.timed_out()) return false;
  if (receivers.healed()) inbox.pins_unsure.store(1);
  (**out_chunks_).settle(chunks_in_inbox(inbox));
  return true;
}

bool PipeEnd::send_chunk(detail::Chunk& chunk, std::size_t skip, std::size_t size_bytes, Deadline deadline) {
  here();
  if (peer_may_have_gone() && peer_is_gone(nullptr)) throw_broken_pipe();
  EndBody& inbox = *peer_;
  ChunkStore* const store = out_chunks_->find(inbox.chunks);
  if (store == nullptr || (*chunk.of()).id() != store->id())
    throw UsageError(name().str() + ": this memory was lent by another connection, send it there");
  if (!store->is_held(chunk.index()))
    throw UsageError(name().str() + ": this memory was lent to the parent process, who alone can send it");
  const ChunkRef ref{chunk.index(), static_cast<std::uint32_t>(skip), size_bytes};
  {
    InLane lane(inbox.senders, inbox.senders_lock, asymmetric(), context(), deadline);
    if (lane.timed_out()) return false;
    if (lane.healed()) repair_peer_inbox();
    if (!make_room(fragment::units_for(sizeof ref), deadline)) return false;
    const FragmentRing ring_of_peer(inbox);
    const Place tail = Place::unpack(inbox.tail.load(std::memory_order_relaxed));
    ring_of_peer.write(tail.position, 0, &ref, sizeof ref);
    store->put_into_ring(ref.index);
    ring_of_peer.commit(inbox, tail, fragment::kInChunk, sizeof ref);
  }
  chunk.forget();
  ring(mine_.sent, mine_);
  return true;
}

/// A message with handles, or longer than one fragment. Lane held.
bool PipeEnd::send_large(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline) {
  EndBody& inbox = *peer_;
  for (const Handle& handle : handles) {
    // It would lie in its own inbox, and hold itself for ever.
    if (handle.id() == peer_object_.id())
      throw UsageError(name().str() + ": an end cannot be sent to itself; send it through another pipe or a queue");
  }
  OutgoingPins pins(inbox, peer_object_.id(), handles);
  const std::uint64_t total = pins.prefix().size() + payload.size();
  const std::uint64_t flags = handles.empty() ? 0 : fragment::kPins;
  const std::uint64_t one = FragmentRing(inbox).fragment_bytes();
  if (deadline.is_poll()) {
    // What would have to wait in the middle is not begun.
    const std::uint64_t units = total / 8 + 2 + 2 * (total / one + 1);
    if (units > inbox.inbox_units || !make_room(units - fragment::kSpareUnits, deadline)) return false;
  }
  pins.make();
  const std::array<std::span<const std::byte>, 3> parts = {std::as_bytes(std::span(&total, 1)), pins.prefix(), payload};
  const bool in_one = total <= one;
  if (!send_fragments(std::span(parts).subspan(in_one ? 1 : 0), total + (in_one ? 0 : sizeof total), flags, deadline))
    return false;
  pins.committed();
  // It will never be received, and nobody else will look.
  if (!handles.empty() && peer_has_ended()) (void)shm::drop_pins(peer_object_.id(), {});
  return true;
}

bool PipeEnd::send_fragments(std::span<const std::span<const std::byte>> parts, std::uint64_t total,
                             std::uint64_t flags, Deadline deadline) {
  EndBody& inbox = *peer_;
  const FragmentRing ring_of_peer(inbox);
  const std::uint64_t one = ring_of_peer.fragment_bytes();
  Gather gather(parts);
  if (total > one) flags |= fragment::kFirst;
  // We live: what we began and cannot finish is taken back, and no receiver will have seen it.
  absl::Cleanup take_back = [&] {
    const Place tail = Place::unpack(inbox.tail.load(std::memory_order_relaxed));
    if (!tail.inside) return;
    ring_of_peer.commit(inbox, tail, fragment::kCut, 0);
    ring(mine_.sent, mine_);
  };
  for (;;) {
    const std::uint64_t now = std::min(one, total);
    if (!make_room(fragment::units_for(now), deadline)) return false;
    const Place tail = Place::unpack(inbox.tail.load(std::memory_order_relaxed));
    gather.write(ring_of_peer, tail.position, 0, now);
    total -= now;
    ring_of_peer.commit(inbox, tail, flags | (total != 0 ? fragment::kMore : 0), now);
    if (total == 0) break;
    ring(mine_.sent, mine_);
    flags = 0;
  }
  std::move(take_back).Cancel();
  return true;
}

std::uint64_t PipeEnd::taken_mark() {
  here();
  return peer_ == nullptr ? 0 : peer_->head.load(std::memory_order_acquire);
}

bool PipeEnd::watch_taken(Bell& bell, Search& search, std::uint64_t mark) {
  here();
  if (peer_has_ended()) return true;
  bell = {&peer_->taken.word, arm(peer_->taken)};
  if (peer_is_gone(&search) || peer_->head.load(std::memory_order_acquire) != mark) return true;
  // Another sender may be in the lane, and have kept us out; when it leaves, no bell rings.
  const bool was_busy = search.is_busy;
  search.is_busy = peer_->senders.inside.load(std::memory_order_relaxed) != 0 || peer_->senders_lock.word.load() != 0;
  return was_busy && !search.is_busy;
}

/// As send_large() counts.
bool PipeEnd::fits_at_once(std::size_t payload_bytes, std::size_t handles) const {
  if (peer_ == nullptr) return true;  // it is over: that is what sending says
  const std::uint64_t one = FragmentRing(*peer_).fragment_bytes();
  if (handles == 0 && payload_bytes <= one) return true;
  const std::uint64_t prefix = handles == 0 ? 0 : sizeof(PipePins) + handles * sizeof(std::uint64_t);
  const std::uint64_t total = prefix + payload_bytes;
  return total / 8 + 2 + 2 * (total / one + 1) <= peer_->inbox_units;
}

}  // namespace brood::inline v1::channel
