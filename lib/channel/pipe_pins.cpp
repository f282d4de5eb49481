#include "channel/pipe_pins.hpp"

#include <algorithm>
#include <cstring>

#include "brood/error.hpp"
#include "channel/lane.hpp"
#include "channel/tidy.hpp"
#include "registry/objects.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::channel {
namespace {

/// Both lanes held: `visit(header, position)` for every fragment in the inbox.
template <class Visit>
void for_each_fragment(EndBody& inbox, Visit visit) {
  const FragmentRing ring(inbox);
  Place at = Place::unpack(inbox.head.load());
  for (std::uint64_t walked = 0; walked < ring.units();) {
    const std::uint64_t header = ring.header(at.position).load(std::memory_order_acquire);
    if ((header & fragment::kCommitted) == 0) break;
    visit(header, at.position);
    const std::uint64_t units = fragment::units_for(fragment::size_of(header));
    at.position += units;
    walked += units;
  }
}

/// Both lanes held: numbers of the messages with handles that can still be received, in order.
std::vector<std::uint64_t> messages_with_pins(EndBody& inbox) {
  std::vector<std::uint64_t> out;
  const FragmentRing ring(inbox);
  const Place at = Place::unpack(inbox.head.load());
  const Token begun = inbox.begun_by.load();
  const std::uint64_t begun_pins = inbox.begun_pins.load();
  if (at.inside && begun != 0 && registry::is_alive(process_of(begun)) && begun_pins != 0)
    out.push_back(begun_pins - 1);
  for_each_fragment(inbox, [&](std::uint64_t header, std::uint64_t position) {
    if ((header & fragment::kPins) == 0) return;
    PipePins pins{};
    ring.read(position, (header & fragment::kFirst) != 0 ? 8 : 0, &pins, sizeof pins);
    out.push_back(pins.message);
  });
  if (inbox.chunks.load() != 0) out.push_back(kChunksPin);
  return out;
}

/// For gc(): a killing inside may have left pins of a message that was never sent, or was taken. Nobody but who has both
/// lanes can know that no living process is just about to need them.
std::size_t tidy_pins(const Handle& end, std::uint64_t fingerprint) {
  if (end.kind() != Kind::connection) return 0;
  return tidy_if_possible([&]() -> std::size_t {
    const detail::Object object = registry::open(end, Kind::connection, {fingerprint, {}});
    auto& inbox = *static_cast<EndBody*>(object.body());
    if (inbox.inbox_units == 0) return 0;
    if ((inbox.gate.load() & 1) != 0) return shm::drop_pins(object.id(), {});
    const bool asymmetric = inbox.asymmetric != 0;
    if (asymmetric && !os::join_barriers()) return 0;
    const sync::LockContext context{Kind::connection, object.id()};
    const InLane senders(inbox.senders, inbox.senders_lock, asymmetric, context, Deadline::now());
    if (senders.timed_out()) return 0;
    if (senders.healed()) repair_senders_side(inbox);
    const InLane receivers(inbox.receivers, inbox.receivers_lock, asymmetric, context, Deadline::now());
    if (receivers.timed_out()) return 0;
    ChunkAccess access;
    if (ChunkStore* const chunks = access.find(inbox.chunks)) {
      chunks->settle(chunks_in_inbox(inbox));
      chunks->trim();
    }
    if (!receivers.healed() && inbox.pins_unsure.load() == 0) return 0;
    const std::size_t dropped = shm::drop_pins(object.id(), messages_with_pins(inbox));
    inbox.pins_unsure.store(0);
    return dropped;
  });
}

const bool g_tidies_pins = (shm::set_tidy_pins(&tidy_pins), true);

void append(std::vector<std::byte>& to, const void* data, std::size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  to.insert(to.end(), bytes, bytes + size);
}

}  // namespace

OutgoingPins::OutgoingPins(EndBody& inbox, std::uint64_t inbox_id, std::span<const Handle> handles)
    : inbox_id_(inbox_id), handles_(handles) {
  if (handles.empty()) return;
  // SYNC pins: counted before the first pin is made, so a number is never used twice, whatever dies when.
  message_ = inbox.pins_made.fetch_add(1);
  shm::header_of(&inbox).may_have_pins.store(1);
  const PipePins pins{message_, handles.size()};
  append(prefix_, &pins, sizeof pins);
  for (const Handle& handle : handles) {
    const std::uint64_t id = handle.name().empty() ? handle.id() : 0;
    append(prefix_, &id, sizeof id);
  }
}

OutgoingPins::~OutgoingPins() {
  for (std::size_t i = 0; i < made_; ++i) shm::unpin(inbox_id_, message_, handles_[i]);
}

void OutgoingPins::make() {
  for (; made_ < handles_.size(); ++made_) shm::pin(inbox_id_, message_, handles_[made_]);
}

std::size_t SpentPins::read(std::span<const std::byte> bytes) {
  PipePins pins{};
  if (bytes.size() < sizeof pins) throw DecodeError("a message in a pipe is damaged (short pin prefix)");
  std::memcpy(&pins, bytes.data(), sizeof pins);
  if (pins.count > (bytes.size() - sizeof pins) / sizeof(std::uint64_t))
    throw DecodeError("a message in a pipe is damaged (pin count)");
  message = pins.message;
  ids.resize(pins.count);
  std::memcpy(ids.data(), bytes.data() + sizeof pins, ids.size() * sizeof(std::uint64_t));
  return sizeof pins + ids.size() * sizeof(std::uint64_t);
}

void SpentPins::drop(std::uint64_t inbox_id) const noexcept {
  for (const std::uint64_t id : ids) {
    if (id != 0) shm::unpin(inbox_id, message, Handle(Kind::none, id));
  }
}

ChunkRef chunk_ref(EndBody& inbox, std::uint64_t position, std::uint64_t header) {
  ChunkRef ref{};
  if (fragment::size_of(header) != sizeof ref)
    throw DecodeError("a message in a pipe is damaged (a chunk's name of another size)");
  FragmentRing(inbox).read(position, 0, &ref, sizeof ref);
  return ref;
}

std::vector<ChunkStore::Index> chunks_in_inbox(EndBody& inbox) {
  std::vector<ChunkStore::Index> out;
  for_each_fragment(inbox, [&](std::uint64_t header, std::uint64_t position) {
    if ((header & fragment::kInChunk) != 0) out.push_back(chunk_ref(inbox, position, header).index);
  });
  std::sort(out.begin(), out.end());
  return out;
}

void repair_senders_side(EndBody& inbox) noexcept {
  inbox.pins_unsure.store(1);
  inbox.senders.stuck.store(0, std::memory_order_relaxed);
  const FragmentRing ring(inbox);
  Place tail = Place::unpack(inbox.tail.load());
  for (std::uint64_t walked = 0; walked < ring.units();) {
    const std::uint64_t header = ring.header(tail.position).load(std::memory_order_acquire);
    if ((header & fragment::kCommitted) == 0) break;
    const std::uint64_t units = fragment::units_for(fragment::size_of(header));
    tail = {tail.position + units, (header & fragment::kMore) != 0};
    walked += units;
  }
  inbox.tail.store(tail.pack(), std::memory_order_release);
  // There is room: every fragment leaves some for this.
  if (tail.inside) ring.commit(inbox, tail, fragment::kCut | fragment::kBroken, 0);
}

}  // namespace brood::inline v1::channel
