#include "channel/queue_segment.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "brood/error.hpp"
#include "brood/lock.hpp"
#include "channel/item_table.hpp"
#include "channel/records.hpp"
#include "channel/ring.hpp"
#include "channel/side_lock.hpp"
#include "registry/objects.hpp"

namespace brood::inline v1::channel {
namespace {

using detail::Object;

const bool g_tidies_pins = (shm::set_tidy_pins(&tidy_pins), true);

constexpr std::size_t kSmallestRing = 4096;
constexpr std::size_t kFirstRing = std::size_t{64} << 10;
constexpr std::size_t kLargestBudget = std::size_t{1} << 36;

}  // namespace

void check(const QueueOptions& options) {
  if (options.byte_budget > kLargestBudget)
    throw UsageError("a queue's byte budget may be at most 64 GiB, got " + std::to_string(options.byte_budget));
  if (options.capacity > kMostItems)
    throw UsageError("a queue's capacity may be at most " + std::to_string(kMostItems) + " items, got " +
                     std::to_string(options.capacity) + "; 0 means as many as the byte budget holds");
}

namespace {

bool table_fits(const Object& object, std::size_t body_bytes) {
  const QueueBody& body = body_of(object);
  const TableBody& table = table_of(body_of(object));
  return table.most_items <= body_bytes / sizeof(Item) && table.most_blocks <= body_bytes / kBlockBytes &&
         TableAreas::of(body.most_units * 8, table.most_items, table.most_blocks).end <= body_bytes;
}

}  // namespace

Object sound(Object object) {
  const QueueBody& body = body_of(object);
  const std::uint64_t units = body.ring_units.load();
  const std::size_t body_bytes = shm::header_of(object.body()).size_bytes - shm::kBodyOffset;
  if (!std::has_single_bit(units) || units * 8 < kSmallestRing || units > body.most_units ||
      body.most_units > (body_bytes - kRingOffset) / 8 ||
      (has_table(kind_of(object)) && !table_fits(object, body_bytes))) {
    throw TypeMismatch(object.handle().str() + ": its segment is damaged (a ring of " + std::to_string(units) +
                       " units does not fit)");
  }
  return object;
}

Object make_queue(const QueueSegment& segment, bool open_existing) {
  const QueueOptions& options = segment.options;
  check(options);
  const std::size_t budget = std::bit_ceil(std::max(options.byte_budget, kSmallestRing));
  const std::size_t first = std::min(budget, kFirstRing);
  const auto initialise = [&](void* memory) {
    auto* body = static_cast<QueueBody*>(memory);
    body->producers.policy.store(static_cast<std::uint32_t>(OwnerDeath::heal));
    body->consumers.policy.store(static_cast<std::uint32_t>(OwnerDeath::heal));
    body->ring_units.store(first / 8);
    body->most_units = budget / 8;
    body->capacity_items = options.capacity;
    body->when_full = static_cast<std::uint64_t>(options.when_full);
    if (segment.initialise) segment.initialise(*body);
  };
  const shm::CreateRequest request{
      .kind = segment.kind,
      .name = segment.name,
      .body_bytes = kRingOffset + budget + (segment.bytes_behind ? segment.bytes_behind(budget) : 0),
      .reserved_bytes = kRingOffset + first,
      .payload = {segment.type.fingerprint, segment.type.name()}};
  return open_existing ? sound(registry::open_or_create(request, initialise)) : registry::create(request, initialise);
}

}  // namespace brood::inline v1::channel
