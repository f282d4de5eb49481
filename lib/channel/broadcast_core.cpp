#include "brood/detail/broadcast_core.hpp"

#include <algorithm>
#include <bit>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "brood/error.hpp"
#include "brood/lock.hpp"
#include "channel/broadcast_writer.hpp"
#include "channel/side_lock.hpp"
#include "registry/objects.hpp"

namespace brood::inline v1::detail {

using namespace channel;  // the parts of a broadcast

namespace {

/// About 20 µs: twice what a sleep and wake-up costs.
constinit sync::SpinBudget g_room_spin(1400);

constexpr std::size_t kFirstRing = std::size_t{64} << 10;
constexpr std::size_t kLargestBudget = std::size_t{1} << 36;

BroadcastCore::Pointer make(std::string_view name, const BroadcastOptions& options, const BroadcastCore::Type& type,
                            bool open_existing) {
  if (options.byte_budget > kLargestBudget)
    throw UsageError("a broadcast's byte budget may be at most 64 GiB, got " + std::to_string(options.byte_budget));
  if (options.most_readers < 1 || options.most_readers > kMostReaders)
    throw UsageError("a broadcast has between 1 and " + std::to_string(kMostReaders) +
                     " readers, got most_readers = " + std::to_string(options.most_readers));
  const std::size_t ring_bytes = std::bit_ceil(std::max(options.byte_budget, kSmallestBroadcastRing));
  const std::size_t first = std::min(ring_bytes, kFirstRing);
  const auto initialise = [&](void* memory) {
    auto* body = static_cast<BroadcastBody*>(memory);
    body->writers.policy.store(static_cast<std::uint32_t>(OwnerDeath::heal));
    body->backed_units.store(first / 8);
    body->ring_units = ring_bytes / 8;
    body->most_readers = options.most_readers;
    body->slow_reader = static_cast<std::uint64_t>(options.slow_reader);
  };
  const std::size_t ring_offset = broadcast_ring_offset(options.most_readers);
  const shm::CreateRequest request{.kind = Kind::broadcast,
                                   .name = name,
                                   .body_bytes = ring_offset + ring_bytes,
                                   .reserved_bytes = ring_offset + first,
                                   .payload = {type.fingerprint, type.name()}};
  return std::make_shared<BroadcastCore>(open_existing ? sound_broadcast(registry::open_or_create(request, initialise))
                                                       : registry::create(request, initialise));
}

}  // namespace

BroadcastCore::Pointer BroadcastCore::create(const BroadcastOptions& options, const Type& type) {
  return make({}, options, type, false);
}
BroadcastCore::Pointer BroadcastCore::create_named(std::string_view name, const BroadcastOptions& options,
                                                   const Type& type) {
  return make(shm::given_name(name), options, type, false);
}
BroadcastCore::Pointer BroadcastCore::open_or_create(std::string_view name, const BroadcastOptions& options,
                                                     const Type& type) {
  return make(shm::given_name(name), options, type, true);
}
BroadcastCore::Pointer BroadcastCore::open(const Handle& handle, const Type& type) {
  return std::make_shared<BroadcastCore>(
      sound_broadcast(registry::open(handle, Kind::broadcast, {type.fingerprint, type.name()})));
}
BroadcastCore::Pointer BroadcastCore::open_named(std::string_view name, const Type& type) {
  return std::make_shared<BroadcastCore>(
      sound_broadcast(registry::open_named(name, Kind::broadcast, {type.fingerprint, type.name()})));
}
bool remove_broadcast(std::string_view name) { return shm::remove_named(name, Kind::broadcast); }

void BroadcastCore::throw_closed(const char* why) const { throw QueueClosed(handle().str() + ": " + why); }
void BroadcastCore::check_open() const {
  if (closed_) throw_closed("this Broadcast object was closed by close(); open(handle()) gives another one");
}

void BroadcastCore::check_fits(std::size_t payload_bytes, std::size_t record_bytes) const {
  const std::uint64_t ring_units = broadcast_body_of(object_).ring_units;
  if (broadcast_record::units_for(record_bytes) + 1 <= ring_units && record::size_of(record_bytes) == record_bytes)
    return;
  throw NoSpace(handle().str() + ": an item of " + std::to_string(payload_bytes) +
                    " bytes can never fit, the ring has " + std::to_string(ring_units * 8) +
                    "; make the broadcast with a larger BroadcastOptions::byte_budget (4 GiB an item at most)",
                EMSGSIZE);
}

bool BroadcastCore::put(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline) {
  check_open();
  const std::size_t record_bytes = pin_prefix_bytes(handles.size()) + payload.size();
  check_fits(payload.size(), record_bytes);
  const std::uint64_t units = broadcast_record::units_for(record_bytes);
  BroadcastBody& body = broadcast_body_of(object_);
  registry::Sleeper sleeper(registry::Operation::put, Kind::broadcast, object_.id(), deadline);
  const auto may_append = [&] {
    return body.shutdown.load(std::memory_order_acquire) != 0 || may_have_room(body, units);
  };
  for (;;) {
    bool is_in = false;
    {
      std::vector<Taken> discarded;
      // After the unlock, and also if what was thrown away did not help.
      const absl::Cleanup unpin = [&] {
        for (const Taken& one : discarded) one.unpin(object_.id());
      };
      BroadcastWriter writer(object_, deadline);
      if (writer.timed_out()) return false;
      if (body.shutdown.load(std::memory_order_relaxed) != 0)
        throw_closed("it was shut down, nothing can be published any more");
      if (writer.make_room(units, discarded)) {
        writer.back(units);
        Pins pins(body.pins_made, object_, handles);
        pins.make();
        writer.append(pins.prefix(), payload);
        pins.committed();
        is_in = true;
      }
      writer.release();
      if (is_in) body.news.notify_every();
    }
    if (is_in) return true;
    if (deadline.is_poll() || !wait_until_ready(body.room, sleeper, g_room_spin, may_append)) return false;
  }
}

void BroadcastCore::shutdown() {
  BroadcastBody& body = broadcast_body_of(object_);
  {
    const BroadcastWriter writer(object_, Deadline::never());
    body.shutdown.store(static_cast<std::uint32_t>(Shutdown::draining), std::memory_order_release);
  }
  body.news.notify_all();
  body.room.notify_all();
}

bool BroadcastCore::is_shut_down() const {
  return broadcast_body_of(object_).shutdown.load(std::memory_order_acquire) != 0;
}
std::size_t BroadcastCore::byte_budget() const { return broadcast_body_of(object_).ring_units * 8; }
std::size_t BroadcastCore::most_readers() const { return broadcast_body_of(object_).most_readers; }
std::size_t BroadcastCore::readers() const {
  (void)registry::self();
  (void)bury_dead_readers(broadcast_body_of(object_));  // who was killed this instant is not counted
  return count_readers(broadcast_body_of(object_));
}
std::uint64_t BroadcastCore::published() const {
  return broadcast_body_of(object_).published.load(std::memory_order_acquire);
}
SlowReader BroadcastCore::slow_reader() const {
  return static_cast<SlowReader>(broadcast_body_of(object_).slow_reader);
}

std::string BroadcastCore::printed() const {
  std::ostringstream out;
  out << "<Broadcast " << handle() << " published=" << published() << " readers=" << readers() << '/' << most_readers()
      << ' ' << to_string(slow_reader()) << " bytes<=" << byte_budget() << (closed_ ? " closed" : "")
      << (is_shut_down() ? " shut down" : "") << '>';
  return std::move(out).str();
}

}  // namespace brood::inline v1::detail

namespace brood::inline v1 {

std::string_view to_string(SlowReader policy) noexcept {
  switch (policy) {
    case SlowReader::block: return "block";
    case SlowReader::drop: return "drop";
  }
  return "unknown";
}

}  // namespace brood::inline v1
