#include "brood/detail/work_core.hpp"

#include <sstream>

#include "absl/cleanup/cleanup.h"
#include "brood/error.hpp"
#include "channel/item_table.hpp"
#include "channel/queue_segment.hpp"
#include "channel/records.hpp"
#include "channel/side_lock.hpp"
#include "registry/objects.hpp"

namespace brood::inline v1::detail {

using namespace channel;  // the parts of a queue

namespace {

/// About 20 µs: twice what a sleep and wake-up costs.
constinit sync::SpinBudget g_work_spin(1400);

QueueCore make(std::string_view name, const WorkQueueOptions& options, const WorkCore::Type& type, bool open_existing) {
  if (options.max_deliveries > ItemWord::kMostDeliveries) {
    throw UsageError("max_deliveries may be at most " + std::to_string(ItemWord::kMostDeliveries) + ", got " +
                     std::to_string(options.max_deliveries) + "; 0 means without end");
  }
  const QueueOptions of_queue{options.capacity, options.byte_budget, options.when_full};
  const QueueSegment segment{
      .kind = Kind::work_queue,
      .name = name,
      .options = of_queue,
      .type = type,
      .bytes_behind =
          [](std::size_t budget) {
            return TableAreas::of(budget, kMostLeased, budget / kBlockBytes).end - kRingOffset - budget;
          },
      .initialise =
          [&](QueueBody& body) {
            TableBody& work = table_of(body);
            work.max_deliveries = options.max_deliveries;
            work.most_items = kMostLeased;
            work.most_blocks = body.most_units * 8 / kBlockBytes;
            work.first_free.store(kNoItem);
          },
  };
  return QueueCore(make_queue(segment, open_existing));
}

}  // namespace

WorkCore::Pointer WorkCore::create(const WorkQueueOptions& options, const Type& type) {
  return std::make_shared<WorkCore>(make({}, options, type, false));
}
WorkCore::Pointer WorkCore::create_named(std::string_view name, const WorkQueueOptions& options, const Type& type) {
  return std::make_shared<WorkCore>(make(shm::given_name(name), options, type, false));
}
WorkCore::Pointer WorkCore::open_or_create(std::string_view name, const WorkQueueOptions& options, const Type& type) {
  return std::make_shared<WorkCore>(make(shm::given_name(name), options, type, true));
}
WorkCore::Pointer WorkCore::open(const Handle& handle, const Type& type) {
  return std::make_shared<WorkCore>(
      QueueCore(sound(registry::open(handle, Kind::work_queue, {type.fingerprint, type.name()}))));
}
WorkCore::Pointer WorkCore::open_named(std::string_view name, const Type& type) {
  return std::make_shared<WorkCore>(
      QueueCore(sound(registry::open_named(name, Kind::work_queue, {type.fingerprint, type.name()}))));
}
bool remove_work_queue(std::string_view name) { return shm::remove_named(name, Kind::work_queue); }

/// Without a lock: might an attempt to take something succeed, or say that it is over? Leases of processes that died
/// since somebody last looked may come back, so a death is a reason to try.
bool WorkCore::may_take(bool starved, std::uint32_t freed_seen) const {
  QueueBody& body = body_of(queue_.object());
  const TableBody& work = table_of(body);
  if (work.deaths_seen.load() != registry::death_word().load() || work.in_line.load() != 0) return true;
  switch (static_cast<Shutdown>(body.shutdown.load(std::memory_order_acquire))) {
    case Shutdown::open: break;
    case Shutdown::immediate: return true;
    case Shutdown::draining:
      if (work.leased.load() == 0) return true;
      break;
  }
  return starved ? work.freed.load() != freed_seen : can_read(body);
}

bool WorkCore::is_ready() const {
  queue_.check_open();
  QueueBody& body = body_of(queue_.object());
  TableBody& work = table_of(body);
  const auto shut = static_cast<Shutdown>(body.shutdown.load(std::memory_order_acquire));
  if (shut == Shutdown::immediate) return true;
  const bool is_settled = work.deaths_seen.load() == registry::death_word().load();
  if (is_settled && work.in_line.load() != 0) return true;
  if (is_settled && shut == Shutdown::open && !can_read(body)) return false;
  // What the dead held may come back, an item of the ring may find no room: that is seen under the lock only.
  const SideLock lock(body, body.consumers, context_of(queue_.object()), Deadline::now());
  if (lock.timed_out()) return may_take(false, 0);
  ItemTable table(body);
  table.settle();
  if (work.in_line.load() != 0) return true;
  if (!can_read(body)) return shut != Shutdown::open && (work.leased.load() == 0 || table.holds_any(registry::self()));
  if (table.has_room_for_next() || work.leased.load() == 0) return true;
  work.starved.store(1);
  return false;
}

std::optional<Leased> WorkCore::take(Deadline deadline, bool by_call) {
  queue_.check_open();
  QueueBody& body = body_of(queue_.object());
  TableBody& work = table_of(body);
  registry::Sleeper sleeper(registry::Operation::get, Kind::work_queue, queue_.object().id(), deadline);
  bool starved = false;
  std::uint32_t freed = 0;
  const auto ready = [&] { return may_take(starved, freed); };
  const absl::Cleanup baton = [&] { pass_baton(body.not_empty, sleeper, ready); };
  for (;;) {
    // Read before the queue is found empty: who has seen the shutdown sees all that was put before it.
    const auto shut = static_cast<Shutdown>(body.shutdown.load(std::memory_order_acquire));
    if (shut == Shutdown::immediate) queue_.throw_closed("it was shut down and its items were discarded");
    bool from_ring = false;
    std::optional<Leased> taken;
    {
      const SideLock lock(body, body.consumers, context_of(queue_.object()), deadline);
      if (lock.timed_out()) return std::nullopt;
      ItemTable table(body);
      table.settle();
      std::uint32_t index = kNoItem;
      const ItemTable::Outcome outcome = table.take(by_call, index, from_ring);
      if (outcome == ItemTable::Outcome::taken) {
        taken = Leased{{index, table.word(index).deliveries, table.item(index).sequence}, table.payload(index)};
      } else if (outcome == ItemTable::Outcome::nothing) {
        starved = false;
        // Others may be killed with what they hold; then it is for us. But two that wait for each other would wait
        // for ever, so who holds something himself does not wait.
        if (shut == Shutdown::draining && (work.leased.load() == 0 || table.holds_any(registry::self())))
          queue_.throw_closed("it was shut down and all its items are taken");
      } else {
        if (work.leased.load() == 0) throw_no_room();
        starved = true;
        freed = work.freed.load();
        work.starved.store(1);
      }
    }
    if (taken) {
      if (from_ring) body.not_full.notify_every();
      return taken;
    }
    if (deadline.is_poll() || !wait_until_ready(body.not_empty, sleeper, g_work_spin, ready)) return std::nullopt;
  }
}

void WorkCore::throw_no_room() const {
  throw NoSpace(queue_.handle().str() + ": no room to keep an item until it is finished, " +
                    std::to_string(dead_letters()) +
                    " dead letters fill it; take them (try_get_dead_letter) or make the queue with a larger "
                    "WorkQueueOptions::byte_budget",
                ENOSPC);
}

std::optional<Leased> WorkCore::take_letter() {
  queue_.check_open();
  QueueBody& body = body_of(queue_.object());
  const SideLock lock(body, body.consumers, context_of(queue_.object()), Deadline::now());
  if (lock.timed_out()) return std::nullopt;
  ItemTable table(body);
  table.settle();
  const std::uint32_t index = table.take_letter();
  if (index == kNoItem) return std::nullopt;
  return Leased{{index, table.word(index).deliveries, table.item(index).sequence}, table.payload(index)};
}

/// `pick`: which lease; kNoItem if there is none.
template <class Pick>
bool WorkCore::end_one(Pick pick, End how) {
  QueueBody& body = body_of(queue_.object());
  TableBody& work = table_of(body);
  bool again = false;
  bool over = false;
  bool idle = false;
  {
    const SideLock lock(body, body.consumers, context_of(queue_.object()), Deadline::never());
    ItemTable table(body);
    table.settle();
    const std::uint32_t index = pick(table);
    if (index == kNoItem) return false;
    const auto shut = static_cast<Shutdown>(body.shutdown.load());
    if (how != End::finished && how != End::condemned && shut == Shutdown::immediate) how = End::finished;
    switch (how) {
      case End::finished: table.finish(index); break;
      case End::returned: table.give_back(index); break;
      case End::condemned: table.condemn(index); break;
      case End::forgiven: table.forgive(index); break;
    }
    again = work.in_line.load() != 0;
    over = shut != Shutdown::open && work.leased.load() == 0;
    idle = table.is_all_done();
  }
  const bool starved = work.starved.load() != 0 && work.starved.exchange(0) != 0;
  if (starved || over) body.not_empty.notify_every();
  else if (again) body.not_empty.notify();
  if (idle) work.idle.notify_every();
  return true;
}

bool WorkCore::end(const Lease& lease, End how) {
  const registry::Id me = registry::self_if_joined();
  if (me == registry::kNobody) return false;
  return end_one(
      [&](const ItemTable& table) {
        const ItemWord now = table.word(lease.index);
        const bool ours = now.is_owned_by(me) && now.deliveries == lease.deliveries &&
                          table.item(lease.index).sequence == lease.sequence;
        return ours ? lease.index : kNoItem;
      },
      how);
}

bool WorkCore::finish_one() {
  return end_one([](const ItemTable& table) { return table.oldest_by_call(); }, End::finished);
}

bool WorkCore::join(Deadline deadline) {
  queue_.check_open();
  QueueBody& body = body_of(queue_.object());
  TableBody& work = table_of(body);
  registry::Sleeper sleeper(registry::Operation::wait, Kind::work_queue, queue_.object().id(), deadline);
  for (;;) {
    const std::uint32_t deaths = registry::Sleeper::deaths();
    const std::uint32_t armed = work.idle.arm();
    {
      const SideLock lock(body, body.consumers, context_of(queue_.object()), deadline);
      if (lock.timed_out()) return false;
      ItemTable table(body);
      table.settle();
      if (table.is_all_done()) return true;
    }
    if (deadline.is_poll()) return false;
    if (sleeper.sleep(work.idle.word, armed, deaths) == registry::Sleeper::Woken::timed_out) return false;
  }
}

void WorkCore::shutdown(bool immediate) {
  queue_.shutdown(immediate);
  table_of(body_of(queue_.object())).idle.notify_every();
}

std::size_t WorkCore::qsize() const { return queue_.qsize() + table_of(body_of(queue_.object())).in_line.load(); }
std::size_t WorkCore::leased() const { return table_of(body_of(queue_.object())).leased.load(); }
std::size_t WorkCore::dead_letters() const { return table_of(body_of(queue_.object())).letters.load(); }
std::uint32_t WorkCore::max_deliveries() const {
  return static_cast<std::uint32_t>(table_of(body_of(queue_.object())).max_deliveries);
}

std::string WorkCore::printed(std::string_view type) const {
  std::ostringstream out;
  out << '<' << type << ' ' << queue_.handle() << " items=" << qsize();
  if (queue_.capacity() != 0) out << '/' << queue_.capacity();
  out << " leased=" << leased() << " dead letters=" << dead_letters() << " bytes<=" << queue_.byte_budget();
  if (queue_.when_full() != WhenFull::block)
    out << ' ' << to_string(queue_.when_full()) << " dropped=" << queue_.dropped();
  out << (queue_.closed() ? " closed" : "") << (queue_.is_shut_down() ? " shut down" : "") << '>';
  return std::move(out).str();
}

}  // namespace brood::inline v1::detail
