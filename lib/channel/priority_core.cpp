#include "brood/detail/priority_core.hpp"

#include <algorithm>
#include <bit>
#include <sstream>

#include "absl/cleanup/cleanup.h"
#include "brood/error.hpp"
#include "channel/item_table.hpp"
#include "channel/message_pins.hpp"
#include "channel/queue_segment.hpp"
#include "channel/side_lock.hpp"
#include "registry/objects.hpp"

namespace brood::inline v1::detail {

using namespace channel;  // the parts of a queue

namespace {

/// About 20 µs: twice what a sleep and wake-up costs.
constinit sync::SpinBudget g_item_spin(1400);
constinit sync::SpinBudget g_room_spin(1400);

constexpr std::size_t kSmallestArena = 4096;

QueueCore make(std::string_view name, const PriorityQueueOptions& options, const PriorityCore::Type& type,
               bool open_existing) {
  if (options.capacity > kMostPrioritised) {
    throw UsageError("a priority queue's capacity may be at most " + std::to_string(kMostPrioritised) + " items, got " +
                     std::to_string(options.capacity) + "; 0 means as many as the byte budget holds");
  }
  // The budget is checked as a queue's, and goes to the table; the ring stays empty.
  const QueueOptions of_queue{options.capacity, options.byte_budget, WhenFull::block};
  check(of_queue);
  const QueueOptions of_ring{options.capacity, 0, WhenFull::block};
  const std::size_t blocks = std::bit_ceil(std::max(options.byte_budget, kSmallestArena)) / kBlockBytes;
  const QueueSegment segment{
      .kind = Kind::priority_queue,
      .name = name,
      .options = of_ring,
      .type = type,
      .bytes_behind =
          [blocks](std::size_t ring_bytes) {
            return TableAreas::of(ring_bytes, kMostPrioritised, blocks).end - kRingOffset - ring_bytes;
          },
      .initialise =
          [blocks](QueueBody& body) {
            TableBody& table = table_of(body);
            table.most_items = kMostPrioritised;
            table.most_blocks = blocks;
            table.first_free.store(kNoItem);
          },
  };
  return QueueCore(make_queue(segment, open_existing));
}

}  // namespace

PriorityCore PriorityCore::create(const PriorityQueueOptions& options, const Type& type) {
  return PriorityCore(make({}, options, type, false));
}
PriorityCore PriorityCore::create_named(std::string_view name, const PriorityQueueOptions& options, const Type& type) {
  return PriorityCore(make(shm::given_name(name), options, type, false));
}
PriorityCore PriorityCore::open_or_create(std::string_view name, const PriorityQueueOptions& options,
                                          const Type& type) {
  return PriorityCore(make(shm::given_name(name), options, type, true));
}
PriorityCore PriorityCore::open(const Handle& handle, const Type& type) {
  return PriorityCore(QueueCore(sound(registry::open(handle, Kind::priority_queue, {type.fingerprint, type.name()}))));
}
PriorityCore PriorityCore::open_named(std::string_view name, const Type& type) {
  return PriorityCore(
      QueueCore(sound(registry::open_named(name, Kind::priority_queue, {type.fingerprint, type.name()}))));
}
bool remove_priority_queue(std::string_view name) { return shm::remove_named(name, Kind::priority_queue); }

void PriorityCore::check_fits(std::size_t payload_bytes, std::size_t record_bytes) const {
  if (record_bytes <= byte_budget() && record::size_of(record_bytes) == record_bytes) return;
  throw NoSpace(handle().str() + ": a message of " + std::to_string(payload_bytes) +
                    " bytes can never fit, the queue's byte budget is " + std::to_string(byte_budget()) +
                    "; make the queue with a larger PriorityQueueOptions::byte_budget (4 GiB a message at most)",
                EMSGSIZE);
}

bool PriorityCore::put(std::span<const std::byte> payload, std::span<const Handle> handles, std::int64_t priority,
                       Deadline deadline) {
  queue_.check_open();
  check_fits(payload.size(), pin_prefix_bytes(handles.size()) + payload.size());
  QueueBody& body = body_of(queue_.object());
  TableBody& work = table_of(body);
  registry::Sleeper sleeper(registry::Operation::put, Kind::priority_queue, queue_.object().id(), deadline);
  std::uint32_t freed = 0;
  const auto ready = [&] { return work.freed.load() != freed || body.shutdown.load(std::memory_order_acquire) != 0; };
  // However we go: a wake-up that came to us and was not used is handed on.
  const absl::Cleanup baton = [&] { pass_baton(body.not_full, sleeper, [&] { return !full() || ready(); }); };
  for (;;) {
    bool is_in = false;
    {
      const SideLock lock(body, body.consumers, context_of(queue_.object()), deadline);
      if (lock.timed_out()) return false;
      ItemTable table(body);
      table.settle();
      if (body.shutdown.load(std::memory_order_relaxed) != 0)
        queue_.throw_closed("it was shut down, nothing can be put any more");
      freed = work.freed.load();
      if (body.capacity_items == 0 || work.in_line.load() < body.capacity_items) {
        Pins pins(body, queue_.object(), handles);
        pins.make();
        is_in = table.insert(priority, pins.prefix(), payload) != kNoItem;
        if (is_in) pins.committed();
      }
    }
    if (is_in) {
      body.not_empty.notify();
      return true;
    }
    if (deadline.is_poll() || !wait_until_ready(body.not_full, sleeper, g_room_spin, ready)) return false;
  }
}

bool PriorityCore::get(Message& into, std::int64_t& priority, Deadline deadline) {
  queue_.check_open();
  into.clear();
  QueueBody& body = body_of(queue_.object());
  const TableBody& work = table_of(body);
  registry::Sleeper sleeper(registry::Operation::get, Kind::priority_queue, queue_.object().id(), deadline);
  const auto ready = [&] { return work.in_line.load() != 0 || body.shutdown.load(std::memory_order_acquire) != 0; };
  const absl::Cleanup baton = [&] { pass_baton(body.not_empty, sleeper, ready); };
  for (;;) {
    // Read before the queue is found empty: who has seen the shutdown sees all that was put before it.
    const auto shut = static_cast<Shutdown>(body.shutdown.load(std::memory_order_acquire));
    if (shut == Shutdown::immediate) queue_.throw_closed("it was shut down and its items were discarded");
    bool is_taken = false;
    {
      const SideLock lock(body, body.consumers, context_of(queue_.object()), deadline);
      if (lock.timed_out()) return false;
      ItemTable table(body);
      table.settle();
      const std::uint32_t index = table.first_in_line();
      if (index != kNoItem) {
        const std::span<const std::byte> record = table.record_bytes(index);
        std::ranges::copy(record, into.make_room(record.size()));
        const Taken pins = table.has_pins(index) ? Taken::parse(record) : Taken{};
        into.add_item(record.size(), pin_prefix_bytes(pins.ids.size()), pins.ids);
        priority = table.item(index).priority;
        table.finish(index);
        is_taken = true;
      }
    }
    if (is_taken) {
      body.not_full.notify_every();
      return true;
    }
    if (shut == Shutdown::draining) queue_.throw_closed("it was shut down and all its items are taken");
    if (deadline.is_poll() || !wait_until_ready(body.not_empty, sleeper, g_item_spin, ready)) return false;
  }
}

std::size_t PriorityCore::qsize() const { return table_of(body_of(queue_.object())).in_line.load(); }
std::size_t PriorityCore::byte_budget() const { return table_of(body_of(queue_.object())).most_blocks * kBlockBytes; }
bool PriorityCore::full() const { return capacity() != 0 && qsize() >= capacity(); }

std::string PriorityCore::printed() const {
  std::ostringstream out;
  out << "<PriorityQueue " << handle() << " items=" << qsize();
  if (capacity() != 0) out << '/' << capacity();
  out << " bytes<=" << byte_budget() << (closed() ? " closed" : "") << (is_shut_down() ? " shut down" : "") << '>';
  return std::move(out).str();
}

}  // namespace brood::inline v1::detail
