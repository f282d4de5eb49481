#include <algorithm>
#include <limits>
#include <sstream>
#include <string>
#include <utility>

#include "brood/detail/broadcast_core.hpp"
#include "brood/error.hpp"
#include "channel/broadcast_writer.hpp"
#include "channel/records.hpp"
#include "channel/side_lock.hpp"

namespace brood::inline v1::detail {

using namespace channel;  // the parts of a broadcast; this file is its readers' side

namespace {

/// About 20 µs: twice what a sleep and wake-up costs.
constinit sync::SpinBudget g_news_spin(1400);

}  // namespace

SubscriptionCore::SubscriptionCore(BroadcastCore::Pointer broadcast, const SubscribeOptions& options)
    : broadcast_(std::move(broadcast)) {
  const BroadcastCore& core = BroadcastCore::of(broadcast_);
  core.check_open();
  owner_ = registry::self();
  drops_ = core.slow_reader() == SlowReader::drop;
  const auto enrol = [&] { return BroadcastWriter(core.object(), Deadline::never()).enrol(owner_, options.start); };
  auto start = enrol();
  while (!start && bury_dead_readers(broadcast_body_of(core.object()))) start = enrol();
  if (!start) {
    throw OsError(EAGAIN, core.handle().str() + ": it has " + std::to_string(core.most_readers()) +
                              " readers, no more can be noted; end some, or make the broadcast with a larger "
                              "BroadcastOptions::most_readers");
  }
  record_ = start->record;
  position_ = start->position;
  sequence_ = start->sequence;
}

SubscriptionCore& SubscriptionCore::operator=(SubscriptionCore&& other) noexcept {
  if (this == &other) return *this;
  leave();
  broadcast_ = std::move(other.broadcast_);
  owner_ = other.owner_;
  record_ = other.record_;
  drops_ = other.drops_;
  closed_ = other.closed_;
  position_ = other.position_;
  sequence_ = other.sequence_;
  missed_ = other.missed_;
  just_missed_ = other.just_missed_;
  return *this;
}

void SubscriptionCore::close() noexcept {
  if (closed_) return;
  leave();
  closed_ = true;
}

/// Ends the subscription; a forked child's copy is none.
void SubscriptionCore::leave() noexcept {
  if (!broadcast_ || closed_ || owner_ != registry::self_if_joined()) return;
  BroadcastBody& body = broadcast_body_of(broadcast_->object());
  readers_of(body)[record_].owner.exchange(registry::kNobody);
  registry::slot(owner_).claims.fetch_sub(1);
  body.room.notify_every();
}

void SubscriptionCore::check_usable() const {
  if (!broadcast_) [[unlikely]]
    Object::throw_moved_from();
  if (closed_) [[unlikely]]
    broadcast_->throw_closed("this subscription was ended by close()");
  if (owner_ != registry::self_if_joined()) [[unlikely]] {
    throw NotOwner(broadcast_->handle().str() + ": this subscription belongs to another process (pid " +
                   std::to_string(registry::pid_of(owner_)) +
                   ") and ends with it; a child of fork must subscribe() for itself");
  }
}

/// One attempt. `copy(position, size, has_pins)` copies the record's payload and, once it is known to be whole, `hold`s the
/// objects in it; it says whether the record may still have been in the ring at that moment.
template <class Copy>
SubscriptionCore::Step SubscriptionCore::step(Copy copy) {
  BroadcastBody& body = broadcast_body_of(broadcast_->object());
  const BroadcastRing ring(body);
  // SYNC overrun: asked after each reading of the ring; what was read before `oldest` passed us was whole.
  const auto is_overrun = [&] { return drops_ && body.oldest.load(std::memory_order_acquire) > position_; };
  const std::uint64_t header = ring.header(position_);
  if (is_overrun()) return Step::overrun;
  if (!is_committed(header)) return Step::nothing;
  const std::uint64_t size = record::size_of(header);
  const std::uint64_t units = broadcast_record::units_for(size);
  if (units + 1 > ring.units())
    throw DecodeError(handle().str() + ": a record is damaged (" + std::to_string(size) + " bytes)");
  const std::uint64_t sequence = ring.sequence(position_);
  if (!copy(ring, size, (header & record::kHasPins) != 0, is_overrun)) return Step::overrun;
  just_missed_ = sequence - sequence_;
  missed_ += just_missed_;
  sequence_ = sequence + 1;
  position_ += units;
  ReaderRecord& record = readers_of(body)[record_];
  if (drops_) {
    // Nobody decides anything by it: relaxed.
    record.position.store(position_, std::memory_order_relaxed);
  } else {
    // SYNC broadcast-read: release, so that nobody writes where we still read; and a full barrier before the look whether
    // a writer waits.
    record.position.exchange(position_);
    body.room.notify_every();
  }
  return Step::taken;
}

bool SubscriptionCore::is_ready() const {
  check_usable();
  BroadcastBody& body = broadcast_body_of(broadcast_->object());
  return is_committed(BroadcastRing(body).header(position_)) || body.shutdown.load(std::memory_order_acquire) != 0 ||
         (drops_ && body.oldest.load(std::memory_order_acquire) > position_);
}

template <class Copy>
bool SubscriptionCore::get_with(Deadline deadline, Copy copy) {
  check_usable();
  just_missed_ = 0;
  BroadcastBody& body = broadcast_body_of(broadcast_->object());
  registry::Sleeper sleeper(registry::Operation::get, Kind::broadcast, broadcast_->object().id(), deadline);
  const auto ready = [&] { return is_ready(); };
  for (;;) {
    // Read before the ring is found empty: who has seen the shutdown sees all that was published before it.
    const bool is_over = body.shutdown.load(std::memory_order_acquire) != 0;
    const Step done = step(copy);
    if (done == Step::taken) return true;
    if (done == Step::overrun) {
      position_ = body.oldest.load(std::memory_order_acquire);
      continue;
    }
    if (is_over) broadcast_->throw_closed("it was shut down and all its items are read");
    if (deadline.is_poll() || !wait_until_ready(body.news, sleeper, g_news_spin, ready)) return false;
  }
}

bool SubscriptionCore::get(Message& into, Deadline deadline) {
  return get_with(deadline, [&](const BroadcastRing& ring, std::uint64_t size, bool has_pins, const auto& is_overrun) {
    into.clear();
    const std::span<std::byte> bytes(into.make_room(size), size);
    ring.read(position_ + broadcast_record::kHeadUnits, bytes);
    if (is_overrun()) return false;
    const Taken pins = has_pins ? Taken::parse(bytes) : Taken{};
    into.add_item(size, pin_prefix_bytes(pins.ids.size()), pins.ids);
    // The pins go after `oldest` has passed us: if it has not yet, the objects were there to be held.
    return !has_pins || !is_overrun();
  });
}

bool SubscriptionCore::get_raw(std::span<std::byte> into, Deadline deadline) {
  bool is_wrong = false;
  const bool got =
      get_with(deadline, [&](const BroadcastRing& ring, std::uint64_t size, bool has_pins, const auto& is_overrun) {
        is_wrong = size != into.size() || has_pins;
        if (!is_wrong) ring.read(position_ + broadcast_record::kHeadUnits, into);
        return !is_overrun();
      });
  if (is_wrong) throw DecodeError(handle().str() + ": got an item where its type has another size");
  return got;
}

std::uint64_t SubscriptionCore::pending() const {
  check_usable();
  BroadcastBody& body = broadcast_body_of(broadcast_->object());
  const BroadcastRing ring(body);
  const std::uint64_t tail = body.tail.load(std::memory_order_acquire);
  const std::uint64_t published = body.published.load(std::memory_order_acquire);
  // A record whose writer was killed before it counted it can be read all the same.
  const bool is_uncounted = is_committed(ring.header(tail)) && ring.sequence(tail) == published;
  std::uint64_t next = sequence_;
  for (std::uint64_t oldest = body.oldest.load(std::memory_order_acquire); drops_ && oldest > position_;) {
    next = oldest >= tail ? published : ring.sequence(oldest);
    const std::uint64_t again = body.oldest.load(std::memory_order_acquire);
    if (again == oldest) break;
    oldest = again;
  }
  const std::uint64_t end = published + (is_uncounted ? 1 : 0);
  return end > next ? end - next : 0;
}

std::string SubscriptionCore::printed() const {
  std::ostringstream out;
  out << "<Subscription " << handle();
  if (closed_) out << " closed>";
  else out << " pending=" << pending() << " missed=" << missed_ << '>';
  return std::move(out).str();
}

}  // namespace brood::inline v1::detail
