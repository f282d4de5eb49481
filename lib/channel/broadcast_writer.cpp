#include "channel/broadcast_writer.hpp"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "brood/error.hpp"
#include "channel/queue_body.hpp"
#include "channel/queue_segment.hpp"
#include "channel/records.hpp"
#include "channel/side_lock.hpp"
#include "os/files.hpp"
#include "registry/objects.hpp"

namespace brood::inline v1::channel {
namespace {

const bool g_tidies_pins = (shm::set_tidy_pins(&tidy_pins), true);

bool drops(const BroadcastBody& body) noexcept { return static_cast<SlowReader>(body.slow_reader) == SlowReader::drop; }

template <class F>
void for_each_reader(BroadcastBody& body, F visit) noexcept {
  const auto used = std::min<std::uint64_t>(body.readers_used.load(std::memory_order_acquire), body.most_readers);
  ReaderRecord* const readers = readers_of(body);
  for (std::uint64_t i = 0; i < used; ++i) {
    const registry::Id owner = readers[i].owner.load(std::memory_order_acquire);
    if (owner != registry::kNobody && registry::is_alive(owner)) visit(readers[i]);
  }
}

}  // namespace

std::uint64_t slowest_position(BroadcastBody& body) noexcept {
  std::uint64_t slowest = body.tail.load(std::memory_order_acquire);
  for_each_reader(body, [&](const ReaderRecord& reader) {
    // SYNC broadcast-read: acquire pairs with the exchange in SubscriptionCore::step: what is before the position was
    // copied, and is ours to overwrite.
    slowest = std::min(slowest, reader.position.load(std::memory_order_acquire));
  });
  return slowest;
}

bool may_have_room(BroadcastBody& body, std::uint64_t units) noexcept {
  if (drops(body)) return true;
  return body.tail.load(std::memory_order_acquire) - slowest_position(body) + units + 1 <= body.ring_units;
}

std::size_t count_readers(BroadcastBody& body) noexcept {
  std::size_t count = 0;
  for_each_reader(body, [&](const ReaderRecord&) { ++count; });
  return count;
}

bool bury_dead_readers(BroadcastBody& body) noexcept {
  constexpr std::int64_t kPatienceNs = 20'000'000;
  const auto used = std::min<std::uint64_t>(body.readers_used.load(), body.most_readers);
  bool any = false;
  for (std::uint64_t i = 0; i < used; ++i) {
    const registry::Id owner = readers_of(body)[i].owner.load();
    any = owner == registry::kNobody || registry::bury_if_gone(owner, kPatienceNs) || any;
  }
  return any;
}

BroadcastWriter::BroadcastWriter(const detail::Object& object, Deadline deadline)
    : body_(broadcast_body_of(object)),
      object_(object),
      ring_(body_),
      got_(sync::acquire(body_.writers, {Kind::broadcast, object.id()},
                         deadline.is_poll() ? Deadline::after(kPollPatience) : deadline)),
      held_(got_ != sync::Acquired::timed_out) {
  // Killed in here, the lock is healed once more and this is done then.
  if (got_ != sync::Acquired::healed) return;
  body_.unsure.fetch_or(kPinsUnsure);
  repair();
}

void BroadcastWriter::release() noexcept {
  if (std::exchange(held_, false)) sync::release(body_.writers);
}

/// A writer that was killed between committing its record and storing the tail left the tail behind.
void BroadcastWriter::repair() noexcept {
  std::uint64_t tail = body_.tail.load();
  std::uint64_t published = body_.published.load();
  for (std::uint64_t walked = 0; walked < ring_.units();) {
    const std::uint64_t header = ring_.header(tail);
    const std::uint64_t units = broadcast_record::units_for(record::size_of(header));
    if (!is_committed(header) || units > ring_.units()) break;
    published = ring_.sequence(tail) + 1;
    tail += units;
    walked += units;
  }
  body_.published.store(published, std::memory_order_release);
  body_.tail.store(tail, std::memory_order_release);
}

Taken BroadcastWriter::pins_at(std::uint64_t position, std::uint64_t header) const {
  std::vector<std::byte> bytes(record::size_of(header));
  ring_.read(position + broadcast_record::kHeadUnits, bytes);
  return Taken::parse(bytes);
}

bool BroadcastWriter::make_room(std::uint64_t units, std::vector<Taken>& discarded) {
  const std::uint64_t tail = body_.tail.load(std::memory_order_relaxed);
  const auto fits_behind = [&](std::uint64_t oldest) { return tail - oldest + units + 1 <= ring_.units(); };
  std::uint64_t oldest = body_.oldest.load(std::memory_order_relaxed);
  if (fits_behind(oldest)) return true;
  if (!drops(body_) && !fits_behind(body_.slowest.load(std::memory_order_relaxed))) {
    const std::uint64_t slowest = slowest_position(body_);
    body_.slowest.store(slowest, std::memory_order_relaxed);
    if (!fits_behind(slowest)) return false;
  }
  std::vector<Taken> with_pins;
  while (!fits_behind(oldest)) {
    const std::uint64_t header = ring_.header(oldest);
    const std::uint64_t old_units = broadcast_record::units_for(record::size_of(header));
    if (!is_committed(header) || old_units > tail - oldest)
      throw DecodeError(object_.handle().str() + ": its ring is damaged");
    if ((header & record::kHasPins) != 0) with_pins.push_back(pins_at(oldest, header));
    oldest += old_units;
  }
  // SYNC overrun: before the first word that is overwritten, see BroadcastRing::write.
  body_.oldest.store(oldest, std::memory_order_release);
  if (!with_pins.empty()) shm::header_of(&body_).pins_spent.store(with_pins.back().message + 1);
  discarded = std::move(with_pins);
  return true;
}

void BroadcastWriter::back(std::uint64_t units) {
  const std::uint64_t backed = body_.backed_units.load(std::memory_order_relaxed);
  if (backed == ring_.units()) [[likely]]
    return;
  const std::uint64_t end = (body_.tail.load(std::memory_order_relaxed) & (ring_.units() - 1)) + units + 1;
  if (end <= backed) return;
  const std::uint64_t wanted = std::min(ring_.units(), std::max(end, 2 * backed));
  const std::size_t page = os::page_size();
  const std::uintptr_t first = reinterpret_cast<std::uintptr_t>(ring_.data() + backed * 8) / page * page;
  const std::size_t size = reinterpret_cast<std::uintptr_t>(ring_.data() + wanted * 8) - first;
  if (os::populate(reinterpret_cast<void*>(first), os::round_up(size, page)) != 0) {
    throw NoSpace(object_.handle().str() + ": no room for the ring to grow to " + std::to_string(wanted * 8) +
                  " bytes, the filesystem of the domain is full; free objects (brood::gc()), enlarge it, or make the "
                  "broadcast with a smaller BroadcastOptions::byte_budget");
  }
  body_.backed_units.store(wanted, std::memory_order_relaxed);
}

void BroadcastWriter::append(std::span<const std::byte> prefix, std::span<const std::byte> payload) noexcept {
  const std::uint64_t tail = body_.tail.load(std::memory_order_relaxed);
  const std::uint64_t sequence = body_.published.load(std::memory_order_relaxed);
  const std::uint64_t size = prefix.size() + payload.size();
  const std::uint64_t next = tail + broadcast_record::units_for(size);
  const std::uint64_t payload_at = tail + broadcast_record::kHeadUnits + prefix.size() / 8;
  ring_.word(tail + 1).store(sequence, std::memory_order_release);
  if (!prefix.empty()) ring_.write(tail + broadcast_record::kHeadUnits, prefix);
  ring_.write(payload_at, payload);
  // The next header must read as "not committed" before anybody can get there; our own commit below publishes it.
  ring_.word(next).store(0, std::memory_order_release);
  const std::uint64_t flags = record::kCommitted | (prefix.empty() ? 0 : record::kHasPins);
  // SYNC broadcast-ready: release publishes record and next header; pairs with the acquire in BroadcastRing::header. This
  // is the commit: killed before it, nothing was published; killed after it, the next writer moves the tail.
  ring_.word(tail).store(flags | size, std::memory_order_release);
  body_.published.store(sequence + 1, std::memory_order_release);
  body_.tail.store(next, std::memory_order_release);
}

ReaderRecord* BroadcastWriter::free_record() noexcept {
  const std::uint64_t used = std::min<std::uint64_t>(body_.readers_used.load(), body_.most_readers);
  ReaderRecord* const readers = readers_of(body_);
  for (std::uint64_t i = 0; i < used; ++i) {
    const registry::Id owner = readers[i].owner.load(std::memory_order_acquire);
    if (owner == registry::kNobody || !registry::is_alive(owner)) return &readers[i];
  }
  if (used == body_.most_readers) return nullptr;
  body_.readers_used.store(static_cast<std::uint32_t>(used + 1), std::memory_order_release);
  return &readers[used];
}

std::optional<BroadcastWriter::Start> BroadcastWriter::enrol(registry::Id me, StartAt start) noexcept {
  ReaderRecord* const record = free_record();
  if (record == nullptr) return std::nullopt;
  const std::uint64_t tail = body_.tail.load();
  const std::uint64_t position = start == StartAt::oldest ? body_.oldest.load() : tail;
  const std::uint64_t sequence = position == tail ? body_.published.load() : ring_.sequence(position);
  body_.slowest.store(std::min(body_.slowest.load(), position));
  // Counted before it is ours: a leave in between must know that a writer may wait for us.
  registry::slot(me).claims.fetch_add(1);
  record->position.store(position);
  record->owner.store(me);
  return Start{static_cast<std::uint32_t>(record - readers_of(body_)), position, sequence};
}

std::vector<std::uint64_t> BroadcastWriter::messages_with_pins() const {
  std::vector<std::uint64_t> out;
  const std::uint64_t tail = body_.tail.load();
  for (std::uint64_t at = body_.oldest.load(); at < tail;) {
    const std::uint64_t header = ring_.header(at);
    if (!is_committed(header)) throw DecodeError(object_.handle().str() + ": its ring is damaged");
    if ((header & record::kHasPins) != 0) out.push_back(pins_at(at, header).message);
    at += broadcast_record::units_for(record::size_of(header));
  }
  std::sort(out.begin(), out.end());
  return out;
}

detail::Object sound_broadcast(detail::Object object) {
  const BroadcastBody& body = broadcast_body_of(object);
  const std::size_t body_bytes = shm::header_of(object.body()).size_bytes - shm::kBodyOffset;
  const bool fits = std::has_single_bit(body.ring_units) && body.ring_units >= kSmallestBroadcastRing / 8 &&
                    body.most_readers >= 1 && body.most_readers <= kMostReaders &&
                    broadcast_ring_offset(body.most_readers) < body_bytes &&
                    body.ring_units <= (body_bytes - broadcast_ring_offset(body.most_readers)) / 8;
  if (!fits) {
    throw TypeMismatch(object.handle().str() + ": its segment is damaged (a ring of " +
                       std::to_string(body.ring_units) + " units behind " + std::to_string(body.most_readers) +
                       " readers does not fit)");
  }
  return object;
}

std::size_t tidy_broadcast_pins(const Handle& broadcast, std::uint64_t fingerprint) {
  const detail::Object object = sound_broadcast(registry::open(broadcast, Kind::broadcast, {fingerprint, {}}));
  const BroadcastWriter writer(object, Deadline::now());
  if (writer.timed_out() || (writer.body().unsure.load() & kPinsUnsure) == 0) return 0;
  const std::size_t dropped = shm::drop_pins(object.id(), writer.messages_with_pins());
  writer.body().unsure.fetch_and(~kPinsUnsure);
  return dropped;
}

}  // namespace brood::inline v1::channel
