// The receiving side of an end, lane held: taking fragments out of its own inbox.
#include <algorithm>
#include <string>

#include "brood/error.hpp"
#include "channel/pipe_end.hpp"

namespace brood::inline v1::channel {
namespace {

Token next_token() {
  static std::atomic<std::uint32_t> number = 0;
  return static_cast<Token>(registry::self()) << 32 | number.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

void PipeEnd::throw_damaged(const std::string& what) const {
  throw DecodeError(name().str() + ": a message in the pipe is damaged (" + what + ")");
}

/// Receivers' lane held: what is next? Drops on the way what nobody will ever want: messages that were cut off, and the
/// rest of those whose receiver died. `over`: the other end had ended before the lane was entered.
PipeEnd::Look PipeEnd::look(Token mine, bool over) {
  const FragmentRing inbox(mine_);
  for (;;) {
    const Place at = Place::unpack(mine_.head.load(std::memory_order_relaxed));
    const Token begun = at.inside ? mine_.begun_by.load(std::memory_order_acquire) : 0;
    const bool ours = begun != 0 && begun == mine;
    if (!ours && is_somebodys(begun)) return {Next::others, at, 0};
    // SYNC fragment-ready: acquire, see FragmentRing::commit.
    const std::uint64_t header = inbox.header(at.position).load(std::memory_order_acquire);
    if ((header & fragment::kCommitted) == 0) {
      if (!over) return {Next::nothing, at, 0};
      if (!at.inside) return {Next::end, at, 0};
      // Its sender died in it, and nobody is left who would cut it off.
      mine_.head.store(Place{at.position, false}.pack(), std::memory_order_release);
      if (ours) return {Next::broken, at, 0};
      continue;
    }
    const std::uint64_t units = fragment::units_for(fragment::size_of(header));
    if (units + fragment::kSpareUnits > inbox.units())
      throw_damaged(std::to_string(fragment::size_of(header)) + " bytes");
    const bool is_cut = (header & fragment::kCut) != 0;
    if (!is_cut && (ours || !at.inside)) return {Next::fragment, at, header};
    const Place behind{at.position + units, !is_cut && (header & fragment::kMore) != 0};
    if (!ours) mine_.pins_unsure.store(1);
    mine_.head.store(behind.pack(), std::memory_order_release);
    tell_taken(!behind.inside);
    if (ours) return {(header & fragment::kBroken) != 0 ? Next::broken : Next::withdrawn, at, header};
  }
}

/// True, and says so, if the message is longer than the caller wants.
bool PipeEnd::too_long(detail::Landing& landing, const Look& found, std::uint64_t total) const {
  if ((found.header & fragment::kPins) != 0) {
    PipePins pins{};
    FragmentRing(mine_).read(found.at.position, (found.header & fragment::kFirst) != 0 ? 8 : 0, &pins, sizeof pins);
    total -= std::min(total, sizeof pins + pins.count * sizeof(std::uint64_t));
  }
  landing.size_bytes = total;
  landing.too_long = total > landing.most;
  return landing.too_long;
}

/// A message that is one fragment: taken with one store.
PipeEnd::Took PipeEnd::take_single(detail::Landing& landing, const Look& found, SpentPins& pins) {
  const FragmentRing inbox(mine_);
  const std::uint64_t size = fragment::size_of(found.header);
  if ((found.header & fragment::kInChunk) != 0) return take_chunk(landing, found);
  if (landing.most < size && too_long(landing, found, size)) return Took::too_long;
  const bool has_pins = (found.header & fragment::kPins) != 0;
  landing.is_direct = !has_pins && size <= landing.direct.size();
  std::byte* const to = landing.is_direct ? landing.direct.data() : landing.buffer.grow(size, size);
  if (size != 0) inbox.read(found.at.position, 0, to, size);
  landing.size_bytes = size;
  if (has_pins) {
    const std::size_t prefix = pins.read({landing.buffer.data(), size});
    landing.buffer.begin_at(prefix);
    landing.size_bytes -= prefix;
    // Held before the message is taken: from then on the pins may go.
    for (const std::uint64_t id : pins.ids) landing.buffer.keep(id);
  }
  // SYNC fragment-taken: release, so that no sender writes where we still read. This is the commit: killed before it, the
  // message is still there; killed after it, it was ours.
  mine_.head.store(Place{found.at.position + fragment::units_for(size), false}.pack(), std::memory_order_release);
  note_taken(pins);
  return Took::whole;
}

/// A message that lies in a chunk. Killed before the head's store, it is in the inbox still, whatever the chunk's word says.
PipeEnd::Took PipeEnd::take_chunk(detail::Landing& landing, const Look& found) {
  const ChunkRef ref = chunk_ref(mine_, found.at.position, found.header);
  landing.size_bytes = ref.size_bytes;
  landing.too_long = ref.size_bytes > landing.most;
  if (landing.too_long) return Took::too_long;
  ChunkStore* const chunks = in_chunks_->find(mine_.chunks);
  if (chunks == nullptr) throw_damaged("it names a chunk, but there are none");
  chunks->check(ref);
  chunks->prefetch(ref);
  chunks->take_from_ring(ref.index);
  landing.chunk = detail::Chunk(in_chunks_, ref.index);
  landing.skip = ref.skip;
  const std::uint64_t units = fragment::units_for(fragment::size_of(found.header));
  // SYNC fragment-taken: release, as in take_single(); and the commit.
  mine_.head.store(Place{found.at.position + units, false}.pack(), std::memory_order_release);
  return Took::whole;
}

/// The first of several fragments. False if the message is too long.
bool PipeEnd::begin(detail::Landing& landing, Inflow& in, const Look& found) {
  const FragmentRing inbox(mine_);
  std::uint64_t total = 0;
  if ((found.header & fragment::kFirst) == 0 || fragment::size_of(found.header) < 8 + sizeof(PipePins))
    throw_damaged("it begins in the middle");
  inbox.read(found.at.position, 0, &total, sizeof total);
  if (landing.most < total && too_long(landing, found, total)) return false;
  in = {.token = next_token(), .total = total, .has_pins = (found.header & fragment::kPins) != 0};
  in.is_direct = !in.has_pins && total <= landing.direct.size();
  PipePins pins{};
  if (in.has_pins) inbox.read(found.at.position, 8, &pins, sizeof pins);
  mine_.begun_pins.store(in.has_pins ? pins.message + 1 : 0, std::memory_order_relaxed);
  // Counts once the head says "inside".
  mine_.begun_by.store(in.token, std::memory_order_release);
  return true;
}

std::byte* PipeEnd::place(detail::Landing& landing, Inflow& in, std::size_t more) {
  if (more > in.total - in.have) throw_damaged("it is longer than it said");
  return in.is_direct ? landing.direct.data() + in.have : landing.buffer.grow(more, in.total);
}

/// One fragment of ours. True if it was the last.
bool PipeEnd::append(detail::Landing& landing, Inflow& in, const Look& found, SpentPins& pins) {
  const std::uint64_t size = fragment::size_of(found.header);
  const std::size_t skip = (found.header & fragment::kFirst) != 0 ? sizeof(std::uint64_t) : 0;
  const std::uint64_t bytes = size - skip;
  std::byte* const to = place(landing, in, bytes);
  FragmentRing(mine_).read(found.at.position, skip, to, bytes);
  in.have += bytes;
  const Place behind{found.at.position + fragment::units_for(size), (found.header & fragment::kMore) != 0};
  if (!behind.inside) {
    if (in.have != in.total) {
      mine_.head.store(behind.pack(), std::memory_order_release);
      throw_damaged("it is shorter than it said");
    }
    landing.size_bytes = in.total;
    landing.is_direct = in.is_direct;
    if (in.has_pins) {
      const std::size_t prefix = pins.read({landing.buffer.data(), in.total});
      landing.buffer.begin_at(prefix);
      landing.size_bytes -= prefix;
      for (const std::uint64_t id : pins.ids) landing.buffer.keep(id);
    }
  }
  // SYNC fragment-taken: release. Of the last fragment it is the commit of the message.
  mine_.head.store(behind.pack(), std::memory_order_release);
  if (!behind.inside) note_taken(pins);
  return !behind.inside;
}

void PipeEnd::note_taken(const SpentPins& pins) noexcept {
  if (!pins.ids.empty()) shm::header_of(&mine_).pins_spent.store(pins.message + 1);
}

/// Receivers' lane held: takes what there is, up to one whole message.
PipeEnd::Took PipeEnd::take(detail::Landing& landing, Inflow& in, SpentPins& pins, bool over) {
  for (;;) {
    const Look found = look(in.token, over);
    switch (found.next) {
      case Next::nothing: return Took::nothing;
      case Next::others: return Took::others;
      case Next::end: return Took::end;
      case Next::broken: in = {}; return Took::broken;
      case Next::withdrawn:
        in = {};
        landing.buffer.clear();
        break;
      case Next::fragment:
        if (in.token != 0 && !found.at.inside) {  // what we had begun is not ours any more
          in = {};
          landing.buffer.clear();
        }
        if (in.token == 0) {
          if ((found.header & fragment::kMore) == 0) return take_single(landing, found, pins);
          if (!begin(landing, in, found)) return Took::too_long;
        }
        if (append(landing, in, found, pins)) {
          in = {};
          return Took::whole;
        }
        tell_taken(false);
        break;
    }
  }
}

}  // namespace brood::inline v1::channel
