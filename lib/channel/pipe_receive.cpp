// The receiving side of an end: waiting, and what becomes of a message that does not come in time. See pipe_take.cpp.
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "brood/detail/copy_bytes.hpp"
#include "brood/error.hpp"
#include "channel/pipe_end.hpp"

namespace brood::inline v1::channel {
namespace {

/// About 20 µs, as for sending; learnt apart, since the two wait for different things.
constinit sync::SpinBudget g_message_spin(1400);

/// Pauses, about a microsecond: a round trip between two processors, and little where both share one.
constexpr int kGlance = 64;

/// What was written in place, for a receiver that wants it where its own memory is.
void copy_out(detail::Landing& landing) {
  const std::size_t size = landing.size_bytes;
  landing.is_direct = size <= landing.direct.size();
  std::byte* const to = landing.is_direct ? landing.direct.data() : landing.buffer.grow(size, size);
  detail::copy_bytes(to, landing.chunk.data() + landing.skip, size);
  landing.chunk = {};
}

}  // namespace

void PipeEnd::throw_end() {
  if (may_send() && peer_ != nullptr && !told_reset_.load()) {
    const FragmentRing theirs(*peer_);
    if (theirs.peek(Place::unpack(peer_->head.load(std::memory_order_acquire)).position) &&
        !told_reset_.exchange(true)) {
      throw ConnectionReset(name().str() +
                            ": the other end of the pipe is gone, and did not receive all that was sent to it");
    }
  }
  throw EndOfFile(name().str() + ": end of file, everybody who had the other end of the pipe has closed it or died");
}

void PipeEnd::throw_broken_message() const {
  throw BrokenMessage(name().str() + ": whoever was sending a message died in the middle of it; its beginning is gone");
}

void PipeEnd::tell_taken_slowly(bool finished) noexcept {
  const std::uint64_t head = Place::unpack(mine_.head.load(std::memory_order_relaxed)).position;
  const std::uint64_t used = Place::unpack(mine_.tail.load(std::memory_order_acquire)).position - head;
  // A sender waits for a quarter of the ring: see wait_for_room.
  if (finished || used <= mine_.inbox_units - mine_.inbox_units / 4) ring(mine_.taken, mine_);
}

/// The usual case, in one piece: the next message is there, is one fragment without handles, and nobody else is
/// receiving. False: it is not so, and nothing has happened.
inline bool PipeEnd::take_at_once(detail::Landing& landing) {
  const FragmentRing inbox(mine_);
  const Place at = Place::unpack(mine_.head.load(std::memory_order_relaxed));
  if (!inbox.peek(at.position) || !asymmetric()) return false;
  InLane lane(mine_.receivers, mine_.receivers_lock, InLane::at_once);
  if (lane.timed_out()) return false;
  const Place now = Place::unpack(mine_.head.load(std::memory_order_relaxed));
  const std::uint64_t header = inbox.header(now.position).load(std::memory_order_acquire);
  const std::uint64_t size = fragment::size_of(header);
  constexpr std::uint64_t kSpecial = fragment::kMore | fragment::kPins | fragment::kCut | fragment::kInChunk;
  if (landing.may_stay && !now.inside &&
      (header & (fragment::kCommitted | kSpecial)) == (fragment::kCommitted | fragment::kInChunk)) {
    if (take_chunk(landing, {Next::fragment, now, header}) == Took::too_long) return true;
    lane.leave();
    tell_taken(false);
    return true;
  }
  if (now.inside || (header & (fragment::kCommitted | kSpecial)) != fragment::kCommitted ||
      size > landing.direct.size() || size > inbox.fragment_bytes()) {
    return false;
  }
  inbox.read(now.position, 0, landing.direct.data(), size);
  landing.size_bytes = size;
  landing.is_direct = true;
  // SYNC fragment-taken: release, as in take_single().
  mine_.head.store(Place{now.position + fragment::units_for(size), false}.pack(), std::memory_order_release);
  lane.leave();
  tell_taken(false);
  return true;
}

bool PipeEnd::receive(detail::Landing& landing, Deadline deadline) {
  here();
  if (take_at_once(landing)) return true;
  const bool spins = asymmetric() && !deadline.is_poll() && spin_for_message();
  return (spins && take_at_once(landing)) || receive_slowly(landing, deadline);
}

/// A receiver that keeps up with its sender finds nothing most of the time, and something a moment later.
bool PipeEnd::spin_for_message() noexcept {
  const FragmentRing inbox(mine_);
  for (int pauses = 0; pauses < kGlance; ++pauses) {
    if (inbox.peek(Place::unpack(mine_.head.load(std::memory_order_relaxed)).position)) return true;
    os::cpu_relax();
  }
  return false;
}

bool PipeEnd::receive_slowly(detail::Landing& landing, Deadline deadline) {
  Inflow in;
  if (parked_token_.load(std::memory_order_relaxed) != 0) [[unlikely]] {
    if (!adopt(landing, in)) return true;  // too long for this caller
  }
  // If we leave with an exception, nobody has the beginning any more.
  const absl::Cleanup drop_begun = [&] {
    if (in.token != 0) forget(in.token);
  };
  for (;;) {
    // Read before the inbox is found empty: who has seen the end sees all that was sent before it.
    const bool over = peer_has_ended();
    const bool was_begun = in.token != 0;
    SpentPins pins;
    Took took{};
    {
      InLane lane(mine_.receivers, mine_.receivers_lock, asymmetric(), context(), deadline);
      if (lane.timed_out()) break;
      if (lane.healed()) mine_.pins_unsure.store(1);
      took = take(landing, in, pins, over);
    }
    switch (took) {
      case Took::whole:
        tell_taken(was_begun);
        pins.drop(mine_object_.id());
        if (landing.chunk && !landing.may_stay) copy_out(landing);
        return true;
      case Took::too_long: return true;
      case Took::broken: tell_taken(true); throw_broken_message();
      case Took::end: throw_end();
      case Took::nothing:
      case Took::others: break;
    }
    if (deadline.is_poll()) {
      // The end may be there and nobody have said it.
      Search search;
      if (took == Took::nothing && !over && look_round(search)) continue;
      break;
    }
    if (!wait_to_receive(took, in.token, deadline)) break;
  }
  if (in.token != 0) {
    park(landing, in);
    in = {};
  }
  return false;
}

/// Without a lane: would take() find something for the owner of this token?
bool PipeEnd::may_take(Token mine) const noexcept {
  const Place at = Place::unpack(mine_.head.load(std::memory_order_acquire));
  if (at.inside) {
    const Token begun = mine_.begun_by.load(std::memory_order_acquire);
    if (begun != mine && is_somebodys(begun)) return false;
  }
  return FragmentRing(mine_).peek(at.position);
}

bool PipeEnd::wait_to_receive(Took because, Token mine, Deadline deadline) {
  if (because == Took::others) {
    // Its receiver rings our own bell when it is through; if it dies, the death does.
    const auto ready = [&] {
      const Place at = Place::unpack(mine_.head.load(std::memory_order_acquire));
      return !at.inside || !is_somebodys(mine_.begun_by.load(std::memory_order_acquire));
    };
    return wait(mine_.taken, registry::Operation::get, deadline, g_message_spin, ready, [](Search&) { return false; });
  }
  const auto ready = [&] { return may_take(mine) || peer_has_ended(); };
  return wait(peer_->sent, registry::Operation::get, deadline, g_message_spin, ready,
              [&](Search& search) { return look_round(search); });
}

/// What nobody tells a receiver: that the last holder of the other end was killed, or a sender in the middle of its
/// message while others go on holding the end. Then the message is for us to cut off.
bool PipeEnd::look_round(Search& search) {
  if (peer_is_gone(&search)) return true;
  if (!Place::unpack(mine_.head.load(std::memory_order_acquire)).inside) return false;
  if (!InLane::is_orphaned(mine_.senders, mine_.senders_lock)) return false;
  InLane lane(mine_.senders, mine_.senders_lock, asymmetric(), context(), Deadline::now());
  if (lane.timed_out()) return false;
  if (lane.healed()) {
    repair_senders_side(mine_);
    ring(peer_->sent, mine_);
  }
  return true;
}

/// Time ran out in the middle of a message: this object keeps its beginning, so that the next receive goes on.
void PipeEnd::park(detail::Landing& landing, const Inflow& in) {
  parked_in_ = in;
  if (in.is_direct) {
    parked_.clear();
    detail::copy_bytes(parked_.grow(in.have, in.have), landing.direct.data(), in.have);
  } else {
    parked_ = std::move(landing.buffer);
  }
  // SYNC parked: release; pairs with the acquire in adopt().
  parked_token_.store(in.token, std::memory_order_release);
}

/// Goes on with what was parked, if nobody else does. False if the message is too long for this caller; then it stays.
bool PipeEnd::adopt(detail::Landing& landing, Inflow& in) {
  const Token token = parked_token_.exchange(0, std::memory_order_acquire);
  if (token == 0 || process_of(token) != registry::self()) return true;  // a forked child has only a copy
  in = parked_in_;
  if (landing.most < in.total && !in.has_pins) {
    landing.size_bytes = in.total;
    landing.too_long = true;
    in = {};
    parked_token_.store(token, std::memory_order_release);
    return false;
  }
  in.is_direct = !in.has_pins && in.total <= landing.direct.size();
  if (in.is_direct) {
    detail::copy_bytes(landing.direct.data(), parked_.data(), in.have);
    parked_.clear();
  } else {
    landing.buffer = std::move(parked_);
  }
  return true;
}

/// The rest of that message is nobody's: the next receiver drops it.
void PipeEnd::forget(Token token) noexcept {
  if (token == 0 || process_of(token) != registry::self_if_joined()) return;
  if (mine_.begun_by.compare_exchange_strong(token, 0)) tell_taken(true);
}

/// One look, without waiting, for a poll.
PipeEnd::Readable PipeEnd::readable(bool over, Deadline deadline) {
  InLane lane(mine_.receivers, mine_.receivers_lock, asymmetric(), context(), deadline);
  if (lane.timed_out()) return Readable::not_yet;
  if (lane.healed()) mine_.pins_unsure.store(1);
  const Token parked = parked_token_.load();
  const Place at = Place::unpack(mine_.head.load(std::memory_order_relaxed));
  if (parked != 0 && at.inside && mine_.begun_by.load() == parked) {
    // Not look(): what became of our message is for the receive to say.
    return over || FragmentRing(mine_).peek(at.position) ? Readable::yes : Readable::not_yet;
  }
  switch (look(0, over).next) {
    case Next::fragment:
    case Next::end:
    case Next::broken: return Readable::yes;
    case Next::others: return Readable::others;
    case Next::nothing:
    case Next::withdrawn: break;
  }
  return Readable::not_yet;
}

bool PipeEnd::poll(Deadline deadline) {
  here();
  for (;;) {
    const bool over = peer_has_ended();
    const Readable found = readable(over, deadline);
    if (found == Readable::yes) return true;
    if (deadline.is_poll()) {
      Search search;
      if (found == Readable::not_yet && !over && look_round(search)) continue;
      return false;
    }
    if (deadline.passed()) return false;
    const Took because = found == Readable::others ? Took::others : Took::nothing;
    if (!wait_to_receive(because, parked_token_.load(), deadline)) return false;
  }
}

bool PipeEnd::readable_now() { return poll(Deadline::now()); }

/// While another receiver is in the middle of a message it is our own bell that rings; which one, only the look says.
bool PipeEnd::watch_message(Bell& bell, Search& search) {
  here();
  WakeWord& sent = peer_ != nullptr ? peer_->sent : mine_.taken;
  WakeWord* word = &sent;
  for (;;) {
    bell = {&word->word, arm(*word)};
    const bool over = peer_has_ended();
    const Readable found = readable(over, Deadline::now());
    if (found == Readable::yes) return true;
    if (found == Readable::not_yet && !over && look_round(search)) continue;
    WakeWord* const needed = found == Readable::others ? &mine_.taken : &sent;
    if (needed == word) return false;
    word = needed;
  }
}

Transport::Bell PipeEnd::arm() {
  here();
  WakeWord& word = peer_ != nullptr ? peer_->sent : mine_.taken;
  return {&word.word, arm(word)};
}

}  // namespace brood::inline v1::channel
