#include "brood/detail/queue_core.hpp"

#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <optional>
#include <sstream>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "base/hex.hpp"
#include "brood/error.hpp"
#include "channel/queue_body.hpp"
#include "channel/ring.hpp"
#include "os/files.hpp"
#include "registry/objects.hpp"
#include "registry/sleeper.hpp"
#include "shm/segment.hpp"
#include "sync/spin.hpp"

namespace brood::inline v1::detail {
namespace {

using channel::Cursor;
using channel::QueueBody;
using channel::Ring;
using channel::Shutdown;
using registry::Sleeper;

constexpr std::size_t kSmallestRing = 4096;
constexpr std::size_t kFirstRing = std::size_t{64} << 10;
constexpr std::size_t kLargestBudget = std::size_t{1} << 36;
/// Of an unlimited queue, too: a difference of two counts of more than half their range reads as "behind".
constexpr std::size_t kMostItems = channel::Cursor::kCountMask / 2;
/// A poll does not say "full" or "empty" because somebody else is inside for an instant; it does if that somebody is
/// stopped.
constexpr std::chrono::milliseconds kPollPatience{100};
/// A batch is not taken longer under one lock than this takes.
constexpr std::size_t kBatchBytes = std::size_t{1} << 20;

/// About 20 µs: twice what a sleep and wake-up costs.
constinit sync::SpinBudget g_not_empty_spin(1400);
constinit sync::SpinBudget g_not_full_spin(1400);

QueueBody& body_of(const Object& object) { return *static_cast<QueueBody*>(object.body()); }
sync::LockContext context_of(const Object& object) { return {Kind::queue, object.id()}; }

bool is_committed(std::uint64_t header) noexcept { return (header & channel::record::kCommitted) != 0; }

/// One side's lock for one attempt, within the call's deadline.
class SideLock {
 public:
  SideLock(QueueBody& body, sync::LockBody& lock, const sync::LockContext& context, Deadline deadline)
      : lock_(&lock),
        got_(sync::acquire(lock, context, deadline.is_poll() ? Deadline::after(kPollPatience) : deadline)) {
    // Killed before this, the lock is healed once more and this is done then.
    if (healed()) body.pins_unsure.store(1);
  }
  ~SideLock() { release(); }
  SideLock(const SideLock&) = delete;
  SideLock& operator=(const SideLock&) = delete;
  void release() noexcept {
    if (lock_ != nullptr && got_ != sync::Acquired::timed_out) sync::release(*lock_);
    lock_ = nullptr;
  }
  [[nodiscard]] bool timed_out() const noexcept { return got_ == sync::Acquired::timed_out; }
  /// The last owner died inside: its record may be committed and not counted.
  [[nodiscard]] bool healed() const noexcept { return got_ == sync::Acquired::healed; }

 private:
  sync::LockBody* lock_;
  sync::Acquired got_;
};

/// Producers' lock held: a producer that was killed between committing its record and storing the tail left the tail
/// behind. Walk the records to the first that is not committed. Can be killed and done again.
void repair_tail(QueueBody& body) noexcept {
  const Ring ring(body);
  Cursor tail = Cursor::unpack(body.tail.load());
  for (std::uint64_t walked = 0; walked < ring.units();) {
    const std::uint64_t header = ring.header(tail.position).load(std::memory_order_acquire);
    if (!is_committed(header)) break;
    const std::uint64_t units = channel::record::units_for(channel::record::size_of(header));
    tail = tail.after(units);
    walked += units;
  }
  body.tail.store(tail.pack(), std::memory_order_release);
}

/// Items between two cursors that may have been read at different times.
std::uint64_t items_between(Cursor tail, Cursor head) noexcept {
  const std::uint64_t items = tail.items_since(head);
  return items > Cursor::kCountMask / 2 ? 0 : items;
}

std::uint64_t most_items(const QueueBody& body) noexcept {
  return body.capacity_items == 0 ? kMostItems : body.capacity_items;
}

struct Room {
  bool items = false;
  bool units = false;
};
Room room_for(const QueueBody& body, Cursor tail, Cursor head, std::uint64_t units, std::uint64_t ring_units) noexcept {
  const bool behind =
      tail.items_since(head) > Cursor::kCountMask / 2;  // head passed a tail that nobody has repaired yet
  const std::uint64_t used = behind ? 0 : tail.units_since(head);
  // One unit more: the header after the record, which is zeroed before the record is committed.
  return {items_between(tail, head) < most_items(body), used + units + 1 <= ring_units};
}

/// Both locks held: doubles the ring until `needed` more units fit. The store of ring_units is the commit.
void grow(QueueBody& body, const Handle& handle, std::uint64_t needed) {
  const Ring ring(body);
  const Cursor head = Cursor::unpack(body.head.load());
  const Cursor tail = Cursor::unpack(body.tail.load());
  const std::uint64_t used = tail.units_since(head);
  const std::uint64_t wanted = std::min(body.most_units, std::bit_ceil(used + needed));
  if (wanted <= ring.units()) return;
  if (const int error = os::populate(ring.data() + ring.units() * 8, (wanted - ring.units()) * 8); error != 0) {
    throw NoSpace(
        handle.str() + ": cannot grow from " + std::to_string(ring.units() * 8) + " to " + std::to_string(wanted * 8) +
        " bytes, the filesystem of the domain is full; take items out, free objects (brood::gc()), or enlarge it");
  }
  ring.copy_to_larger(wanted, head.position, used + 1);
  // SYNC ring-size: release publishes the copied records; pairs with the acquire in Ring's constructor.
  body.ring_units.store(wanted, std::memory_order_release);
}

/// Producers' lock held. Writes one record at the tail and commits it.
void append(QueueBody& body, Cursor tail, std::span<const std::byte> prefix,
            std::span<const std::byte> payload) noexcept {
  const Ring ring(body);
  const std::uint64_t size = prefix.size() + payload.size();
  const std::uint64_t units = channel::record::units_for(size);
  if (!prefix.empty()) ring.write(tail.position, 8, prefix.data(), prefix.size());
  if (!payload.empty()) ring.write(tail.position, 8 + prefix.size(), payload.data(), payload.size());
  // The next header must read as "not committed" before anybody can get there; only our own release below publishes it.
  ring.header(tail.position + units).store(0, std::memory_order_relaxed);
  const std::uint64_t flags = channel::record::kCommitted | (prefix.empty() ? 0 : channel::record::kHasPins);
  // SYNC record-ready: release publishes payload and next header; pairs with the acquire in get_with. This is the
  // commit: killed before it, nothing was put; killed after it, the item is in and the next producer moves the tail.
  ring.header(tail.position).store(flags | size, std::memory_order_release);
  body.tail.store(tail.after(units).pack(), std::memory_order_release);
}

bool can_take(const QueueBody& body) noexcept {
  return Ring(const_cast<QueueBody&>(body)).peek(Cursor::unpack(body.head.load(std::memory_order_acquire)).position) ||
         body.shutdown.load(std::memory_order_acquire) != 0;
}

bool can_append(const QueueBody& body, std::uint64_t units) noexcept {
  if (body.shutdown.load(std::memory_order_acquire) != 0) return true;
  const std::uint64_t ring_units = body.ring_units.load(std::memory_order_acquire);
  const Cursor head = Cursor::unpack(body.head.load(std::memory_order_acquire));
  const Room room = room_for(body, Cursor::unpack(body.tail.load(std::memory_order_acquire)), head, units, ring_units);
  return room.items && (room.units || ring_units < body.most_units);
}

/// Spin, then sleep until `ready()`. False if the deadline passed.
template <class Ready>
bool wait_until_ready(channel::WakeWord& word, Sleeper& sleeper, sync::SpinBudget& budget, Ready ready) {
  sync::Spinner spinner(budget);
  do {
    if (ready()) {
      spinner.succeeded();
      return true;
    }
  } while (spinner.again());
  for (;;) {
    const std::uint32_t deaths = Sleeper::deaths();
    const std::uint32_t armed = word.arm();
    if (ready()) return true;
    if (sleeper.sleep(word.word, armed, deaths) == Sleeper::Woken::timed_out) return false;
    if (ready()) return true;
  }
}

/// A wake-up may have come to us that was meant for whoever can use it: hand it on if there is more.
template <class Ready>
void pass_baton(channel::WakeWord& word, const Sleeper& sleeper, Ready ready) noexcept {
  if (!sleeper.slept()) return;
  word.arm();
  if (ready()) word.notify();
}

QueueOptions checked(const QueueOptions& options) {
  if (options.byte_budget > kLargestBudget)
    throw UsageError("a queue's byte budget may be at most 64 GiB, got " + std::to_string(options.byte_budget));
  if (options.capacity > kMostItems)
    throw UsageError("a queue's capacity may be at most " + std::to_string(kMostItems) + " items, got " +
                     std::to_string(options.capacity) + "; 0 means as many as the byte budget holds");
  return options;
}

/// An opened queue whose sizes fit its segment. Errors: TypeMismatch.
Object sound(Object object) {
  const QueueBody& body = body_of(object);
  const std::uint64_t units = body.ring_units.load();
  const std::size_t ring_bytes = shm::header_of(object.body()).size_bytes - shm::kBodyOffset - channel::kRingOffset;
  if (!std::has_single_bit(units) || units * 8 < kSmallestRing || units > body.most_units ||
      body.most_units > ring_bytes / 8) {
    throw TypeMismatch(object.handle().str() + ": its segment is damaged (a ring of " + std::to_string(units) +
                       " units does not fit)");
  }
  return object;
}

Object make(std::string_view name, const QueueOptions& options, const QueueCore::Type& type, bool open_existing) {
  const std::size_t budget = std::bit_ceil(std::max(checked(options).byte_budget, kSmallestRing));
  const std::size_t first = std::min(budget, kFirstRing);
  const auto initialise = [&](void* memory) {
    auto* body = static_cast<QueueBody*>(memory);
    body->producers.policy.store(static_cast<std::uint32_t>(OwnerDeath::heal));
    body->consumers.policy.store(static_cast<std::uint32_t>(OwnerDeath::heal));
    body->ring_units.store(first / 8);
    body->most_units = budget / 8;
    body->capacity_items = options.capacity;
    body->when_full = static_cast<std::uint64_t>(options.when_full);
  };
  const shm::CreateRequest request{.kind = Kind::queue,
                                   .name = name,
                                   .body_bytes = channel::kRingOffset + budget,
                                   .reserved_bytes = channel::kRingOffset + first,
                                   .payload = {type.fingerprint, type.name}};
  return open_existing ? sound(registry::open_or_create(request, initialise)) : registry::create(request, initialise);
}

/// The prefix of a message with handles, and the pins that it stands for.
class Pins {
 public:
  Pins(QueueBody& body, const Object& queue, std::span<const Handle> handles)
      : queue_id_(queue.id()), handles_(handles) {
    if (handles.empty()) return;
    // SYNC pins: counted before the first pin is made, so a number is never used twice, whatever dies when.
    message_ = body.pins_made.fetch_add(1);
    shm::header_of(&body).may_have_pins.store(1);
    const channel::PinPrefix prefix{message_, handles.size()};
    add(&prefix, sizeof prefix);
    for (const Handle& handle : handles) {
      const std::uint64_t id = handle.name().empty() ? handle.id() : 0;
      add(&id, sizeof id);
    }
  }
  ~Pins() {
    for (std::size_t i = 0; i < made_; ++i) shm::unpin(queue_id_, message_, handles_[i]);
  }
  Pins(const Pins&) = delete;
  Pins& operator=(const Pins&) = delete;

  [[nodiscard]] std::span<const std::byte> prefix() const noexcept { return prefix_; }
  void make() {
    for (; made_ < handles_.size(); ++made_) shm::pin(queue_id_, message_, handles_[made_]);
  }
  void committed() noexcept { made_ = 0; }

 private:
  void add(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    prefix_.insert(prefix_.end(), bytes, bytes + size);
  }
  std::uint64_t queue_id_;
  std::span<const Handle> handles_;
  std::uint64_t message_ = 0;
  std::size_t made_ = 0;
  std::vector<std::byte> prefix_;
};

constexpr std::size_t pin_prefix_bytes(std::size_t handles) noexcept {
  return handles == 0 ? 0 : sizeof(channel::PinPrefix) + handles * sizeof(std::uint64_t);
}

/// What is left to do once a record was taken and the lock is free: the objects in it need no pin any more.
struct Taken {
  std::uint64_t message = 0;
  std::vector<std::uint64_t> ids;

  /// Reads the identities in front of a message with handles. Errors: DecodeError if they do not fit into it.
  void read_pins(const Ring& ring, std::uint64_t position, std::uint64_t size) {
    channel::PinPrefix prefix{};
    if (size < sizeof prefix) throw DecodeError("a queue's record is damaged (short pin prefix)");
    ring.read(position, 8, &prefix, sizeof prefix);
    if (prefix.count > (size - sizeof prefix) / sizeof(std::uint64_t))
      throw DecodeError("a queue's record is damaged (pin count)");
    message = prefix.message;
    ids.resize(prefix.count);
    ring.read(position, 8 + sizeof prefix, ids.data(), ids.size() * sizeof(std::uint64_t));
  }
  void unpin(std::uint64_t queue_id) const noexcept {
    for (const std::uint64_t id : ids) {
      if (id != 0) shm::unpin(queue_id, message, Handle(Kind::none, id));
    }
  }
};

/// Consumers' lock held, and the oldest record is committed: takes it away, read by nobody. Can be killed and done again.
void discard_oldest(QueueBody& body, const Ring& ring, std::uint64_t queue_id) {
  const Cursor head = Cursor::unpack(body.head.load());
  const std::uint64_t header = ring.header(head.position).load(std::memory_order_acquire);
  const std::uint64_t size = channel::record::size_of(header);
  Taken discarded;
  const bool has_pins = (header & channel::record::kHasPins) != 0;
  if (has_pins) discarded.read_pins(ring, head.position, size);
  body.head.store(head.after(channel::record::units_for(size)).pack(), std::memory_order_release);
  if (!has_pins) return;
  shm::header_of(&body).pins_spent.store(discarded.message + 1);
  discarded.unpin(queue_id);
}

/// Producers' lock held: discards the oldest items until `units` more fit. No room if the consumers' lock cannot be had.
Room drop_oldest(QueueBody& body, const Object& object, Cursor tail, std::uint64_t units, Deadline deadline) {
  SideLock consumers(body, body.consumers, context_of(object), deadline);
  if (consumers.timed_out()) return {};
  const Ring ring(body);
  for (;;) {
    const std::uint64_t packed = body.head.load(std::memory_order_acquire);
    const Cursor head = Cursor::unpack(packed);
    const Room room = room_for(body, tail, head, units, ring.units());
    if ((room.items && room.units) || head.position == tail.position) {
      body.known_head.store(packed, std::memory_order_relaxed);
      return room;
    }
    discard_oldest(body, ring, object.id());
    body.dropped.fetch_add(1);  // killed before this, one is missing in the count
  }
}

/// Both locks held: numbers of the messages with handles that can still be received, in order.
std::vector<std::uint64_t> messages_with_pins(const QueueBody& body) {
  std::vector<std::uint64_t> out;
  if (static_cast<Shutdown>(body.shutdown.load()) == Shutdown::immediate) return out;
  const Ring ring(const_cast<QueueBody&>(body));
  Cursor at = Cursor::unpack(body.head.load());
  for (std::uint64_t walked = 0; walked < ring.units();) {
    const std::uint64_t header = ring.header(at.position).load(std::memory_order_acquire);
    if (!is_committed(header)) break;
    const std::uint64_t size = channel::record::size_of(header);
    if ((header & channel::record::kHasPins) != 0) {
      Taken record;
      record.read_pins(ring, at.position, size);
      out.push_back(record.message);
    }
    at = at.after(channel::record::units_for(size));
    walked += channel::record::units_for(size);
  }
  return out;
}

/// For gc(): a killing inside may have left pins of a message that was never put, or was taken. Nobody but the holder of
/// both locks can know that no living process is just about to need them.
std::size_t tidy_pins(const Handle& queue, std::uint64_t fingerprint) {
  if (queue.kind() != Kind::queue) return 0;
  try {
    const Object object = sound(registry::open(queue, Kind::queue, {fingerprint, {}}));
    QueueBody& body = body_of(object);
    const SideLock producers(body, body.producers, context_of(object), Deadline::now());
    if (producers.timed_out()) return 0;
    if (producers.healed()) repair_tail(body);
    const SideLock consumers(body, body.consumers, context_of(object), Deadline::now());
    if (consumers.timed_out() || body.pins_unsure.load() == 0) return 0;
    const std::size_t dropped = shm::drop_pins(object.id(), messages_with_pins(body));
    body.pins_unsure.store(0);
    return dropped;
  } catch (const HandleError&) {
    return 0;  // it was freed meanwhile, and its pins with it
  } catch (const TypeMismatch&) {
    return 0;  // a damaged queue; who opens it is told
  } catch (const DecodeError&) {
    return 0;  // a damaged record; who takes it is told
  } catch (const OsError&) {
    return 0;  // out of descriptors or memory: for another gc()
  }
}

const bool g_tidies_pins = (shm::set_tidy_pins(&tidy_pins), true);

}  // namespace

void Message::clear() noexcept {
  release_objects();
  size_ = 0;
  items_.clear();
}

void Message::release_objects() noexcept {
  for (const int fd : held_files_) ::close(fd);
  for (const std::uint64_t id : held_ids_) shm::reclaim(base::hex16(id));
  held_files_.clear();
  held_ids_.clear();
}

std::byte* Message::make_room(std::size_t size_bytes) {
  if (size_ + size_bytes > capacity_) {
    const std::size_t capacity = std::max<std::size_t>({256, size_ + size_bytes, 2 * size_});
    auto larger = std::make_unique_for_overwrite<std::byte[]>(capacity);
    if (size_ != 0) std::memcpy(larger.get(), buffer_.get(), size_);
    buffer_ = std::move(larger);
    capacity_ = capacity;
  }
  std::byte* const place = buffer_.get() + size_;
  size_ += size_bytes;
  return place;
}

QueueCore QueueCore::create(const QueueOptions& options, const Type& type) {
  return QueueCore(make({}, options, type, false));
}
QueueCore QueueCore::create_named(std::string_view name, const QueueOptions& options, const Type& type) {
  return QueueCore(make(shm::given_name(name), options, type, false));
}
QueueCore QueueCore::open_or_create(std::string_view name, const QueueOptions& options, const Type& type) {
  return QueueCore(make(shm::given_name(name), options, type, true));
}
QueueCore QueueCore::open(const Handle& handle, const Type& type) {
  return QueueCore(sound(registry::open(handle, Kind::queue, {type.fingerprint, type.name})));
}
QueueCore QueueCore::open_named(std::string_view name, const Type& type) {
  return QueueCore(sound(registry::open_named(name, Kind::queue, {type.fingerprint, type.name})));
}
bool remove_queue(std::string_view name) { return shm::remove_named(name, Kind::queue); }

void QueueCore::throw_closed(const char* why) const { throw QueueClosed(handle().str() + ": " + why); }
void QueueCore::check_open() const {
  if (closed_) throw_closed("this Queue object was closed by close(); open(handle()) gives another one");
}

void QueueCore::check_fits(const Piece& piece) const {
  const std::uint64_t size = pin_prefix_bytes(piece.handles.size()) + piece.payload.size();
  const std::uint64_t most_units = body_of(object_).most_units;
  if (channel::record::units_for(size) + 1 <= most_units && channel::record::size_of(size) == size) return;
  throw NoSpace(handle().str() + ": a message of " + std::to_string(piece.payload.size()) +
                    " bytes can never fit, the queue's byte budget is " + std::to_string(most_units * 8) +
                    "; make the queue with a larger QueueOptions::byte_budget (4 GiB a message at most)",
                EMSGSIZE);
}

template <class PieceAt>
std::size_t QueueCore::put_pieces(std::size_t count, PieceAt piece_at, Deadline deadline) {
  check_open();
  QueueBody& body = body_of(object_);
  const auto policy = static_cast<WhenFull>(body.when_full);
  if (policy != WhenFull::block) deadline = Deadline::now();
  const auto units_of = [&](const Piece& piece) {
    return channel::record::units_for(pin_prefix_bytes(piece.handles.size()) + piece.payload.size());
  };
  std::size_t done = 0;
  Sleeper sleeper(registry::Operation::put, Kind::queue, object_.id(), deadline);
  const auto may_append = [&] { return can_append(body, units_of(piece_at(std::min(done, count - 1)))); };
  // However we go: a wake-up that came to us and was not used is handed on.
  const absl::Cleanup baton = [&] { pass_baton(body.not_full, sleeper, may_append); };
  for (;;) {
    {
      bool appended = false;
      // After the unlock, and also when the queue cannot grow any more in the middle of a batch.
      const absl::Cleanup wake = [&] {
        if (appended) body.not_empty.notify();
      };
      SideLock lock(body, body.producers, context_of(object_), deadline);
      if (lock.timed_out()) break;
      if (lock.healed()) repair_tail(body);
      if (body.shutdown.load(std::memory_order_relaxed) != 0) {
        if (done != 0) break;
        throw_closed("it was shut down, nothing can be put any more");
      }
      for (; done < count; ++done) {
        const Piece piece = piece_at(done);
        check_fits(piece);
        const std::uint64_t units = units_of(piece);
        const Cursor tail = Cursor::unpack(body.tail.load(std::memory_order_relaxed));
        Room room = room_for(body, tail, Cursor::unpack(body.known_head.load(std::memory_order_relaxed)), units,
                             body.ring_units.load(std::memory_order_relaxed));
        if (!room.items || !room.units) {
          // SYNC record-taken: acquire pairs with the release in get_with; the space behind head is ours to write.
          const std::uint64_t head = body.head.load(std::memory_order_acquire);
          body.known_head.store(head, std::memory_order_relaxed);
          room = room_for(body, tail, Cursor::unpack(head), units, body.ring_units.load(std::memory_order_relaxed));
        }
        if (room.items && !room.units && body.ring_units.load() < body.most_units) {
          SideLock other(body, body.consumers, context_of(object_), deadline);
          if (!other.timed_out()) {
            grow(body, handle(), units + 1);
            room = room_for(body, tail, Cursor::unpack(body.head.load(std::memory_order_acquire)), units,
                            body.ring_units.load());
          }
        }
        if ((!room.items || !room.units) && policy == WhenFull::drop_oldest)
          room = drop_oldest(body, object_, tail, units, deadline);
        if (!room.items || !room.units) break;
        Pins pins(body, object_, piece.handles);
        pins.make();
        append(body, tail, pins.prefix(), piece.payload);
        pins.committed();
        appended = true;
      }
    }
    if (done == count) return done;
    if (policy == WhenFull::drop_newest) body.dropped.fetch_add(count - done);
    if (deadline.is_poll() || !wait_until_ready(body.not_full, sleeper, g_not_full_spin, may_append)) break;
  }
  return done;
}

bool QueueCore::put(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline) {
  return put_pieces(
             1,
             [&](std::size_t) {
               return Piece{payload, handles};
             },
             deadline) == 1;
}

std::size_t QueueCore::put_many(const Batch& batch, Deadline deadline) {
  if (batch.each != 0) {
    return put_pieces(
        batch.bytes.size() / batch.each,
        [&](std::size_t i) {
          return Piece{batch.bytes.subspan(i * batch.each, batch.each), {}};
        },
        deadline);
  }
  return put_pieces(
      batch.ends.size(),
      [&](std::size_t i) {
        const Batch::End begin = i == 0 ? Batch::End{0, 0} : batch.ends[i - 1];
        const Batch::End end = batch.ends[i];
        return Piece{batch.bytes.subspan(begin.bytes, end.bytes - begin.bytes),
                     batch.handles.subspan(begin.handles, end.handles - begin.handles)};
      },
      deadline);
}

void QueueCore::refused() const {
  if (is_shut_down()) throw_closed("it was shut down, nothing can be put any more");
  if (when_full() == WhenFull::fail)
    throw Full(handle().str() + ": the queue is full, and its policy (WhenFull::fail) is not to wait");
}

template <class Take>
bool QueueCore::get_with(std::size_t most, Deadline deadline, Take take) {
  check_open();
  QueueBody& body = body_of(object_);
  Sleeper sleeper(registry::Operation::get, Kind::queue, object_.id(), deadline);
  const auto may_take = [&] { return can_take(body); };
  const absl::Cleanup baton = [&] { pass_baton(body.not_empty, sleeper, may_take); };
  for (;;) {
    // Read before the queue is found empty: who has seen the shutdown sees all that was put before it.
    const auto shut = static_cast<Shutdown>(body.shutdown.load(std::memory_order_acquire));
    if (shut == Shutdown::immediate) throw_closed("it was shut down and its items were discarded");
    std::size_t count = 0;
    std::vector<Taken> with_pins;
    {
      SideLock lock(body, body.consumers, context_of(object_), deadline);
      if (lock.timed_out()) break;
      const Ring ring(body);
      for (; count < most; ++count) {
        const Cursor head = Cursor::unpack(body.head.load(std::memory_order_relaxed));
        // SYNC record-ready: acquire, see append.
        const std::uint64_t header = ring.header(head.position).load(std::memory_order_acquire);
        if (!is_committed(header)) break;
        const std::uint64_t size = channel::record::size_of(header);
        const std::uint64_t units = channel::record::units_for(size);
        if (units + 1 > ring.units()) {
          if (count != 0) break;  // what came before it is delivered first
          throw DecodeError(handle().str() + ": a record is damaged (" + std::to_string(size) + " bytes)");
        }
        const bool has_pins = (header & channel::record::kHasPins) != 0;
        std::optional<Taken> taken;
        try {
          taken = take(ring, head.position, size, has_pins);
        } catch (...) {
          if (count == 0) throw;  // else what came before it is delivered first; it will be the first of the next call
        }
        if (!taken) break;
        // SYNC record-taken: release, so that no producer writes where we still read. This is the commit: killed before
        // it, the item stays; killed after it, the item was ours.
        body.head.store(head.after(units).pack(), std::memory_order_release);
        if (has_pins) {
          shm::header_of(&body).pins_spent.store(taken->message + 1);
          with_pins.push_back(*std::move(taken));
        }
      }
    }
    if (count != 0) {
      body.not_full.notify_every();
      for (const Taken& one : with_pins) one.unpin(object_.id());
      return true;
    }
    if (shut == Shutdown::draining) throw_closed("it was shut down and all its items are taken");
    if (deadline.is_poll() || !wait_until_ready(body.not_empty, sleeper, g_not_empty_spin, may_take)) break;
  }
  return false;
}

bool QueueCore::get_many(Message& into, std::size_t most, Deadline deadline) {
  into.clear();
  const auto take = [&](const Ring& ring, std::uint64_t position, std::uint64_t size,
                        bool has_pins) -> std::optional<Taken> {
    if (into.items() != 0 && into.size_bytes() + size > kBatchBytes) return std::nullopt;
    Taken taken;
    const std::size_t begin = into.size_bytes();
    ring.read(position, 8, into.make_room(size), size);
    std::size_t prefix = 0;
    if (has_pins) {
      taken.read_pins(ring, position, size);
      // Held before the record is taken: from then on the pins may go.
      for (const std::uint64_t id : taken.ids) {
        if (id == 0) continue;
        if (base::UniqueFd fd = shm::hold(id)) {
          into.held_ids_.push_back(id);
          into.held_files_.push_back(fd.release());
        }
      }
      prefix = pin_prefix_bytes(taken.ids.size());
    }
    into.items_.push_back({begin + prefix, size - prefix});
    return taken;
  };
  return get_with(most, deadline, take);
}

bool QueueCore::get_raw(std::span<std::byte> into, Deadline deadline) {
  std::optional<std::uint64_t> wrong_size;
  const auto take = [&](const Ring& ring, std::uint64_t position, std::uint64_t size,
                        bool has_pins) -> std::optional<Taken> {
    Taken taken;
    if (has_pins) taken.read_pins(ring, position, size);
    if (size != into.size() || has_pins) wrong_size = size;
    else ring.read(position, 8, into.data(), into.size());
    return taken;
  };
  const bool got = get_with(1, deadline, take);
  if (wrong_size)
    throw DecodeError(handle().str() + ": took an item of " + std::to_string(*wrong_size) +
                      " bytes where its type has another size");
  return got;
}

std::size_t QueueCore::qsize() const {
  const QueueBody& body = body_of(object_);
  const Cursor head = Cursor::unpack(body.head.load(std::memory_order_acquire));
  const Cursor tail = Cursor::unpack(body.tail.load(std::memory_order_acquire));
  // A record whose producer was killed before it moved the tail is in the queue all the same.
  const bool uncounted = Ring(body_of(object_)).peek(tail.position) && tail.items_since(head) <= Cursor::kCountMask / 2;
  return items_between(tail, head) + (uncounted ? 1 : 0);
}

bool QueueCore::empty() const {
  const QueueBody& body = body_of(object_);
  return !Ring(body_of(object_)).peek(Cursor::unpack(body.head.load(std::memory_order_acquire)).position);
}

bool QueueCore::full() const {
  const QueueBody& body = body_of(object_);
  if (qsize() >= most_items(body)) return true;
  const std::uint64_t ring_units = body.ring_units.load(std::memory_order_acquire);
  const Room room = room_for(body, Cursor::unpack(body.tail.load()), Cursor::unpack(body.head.load()), 1, ring_units);
  return !room.units && ring_units == body.most_units;
}

std::size_t QueueCore::capacity() const { return body_of(object_).capacity_items; }
std::size_t QueueCore::byte_budget() const { return body_of(object_).most_units * 8; }

WhenFull QueueCore::when_full() const { return static_cast<WhenFull>(body_of(object_).when_full); }
std::uint64_t QueueCore::dropped() const { return body_of(object_).dropped.load(std::memory_order_relaxed); }

void QueueCore::shutdown(bool immediate) {
  QueueBody& body = body_of(object_);
  {
    SideLock producers(body, body.producers, context_of(object_), Deadline::never());
    if (producers.healed()) repair_tail(body);
    const auto wanted = immediate ? Shutdown::immediate : Shutdown::draining;
    const auto now = static_cast<Shutdown>(body.shutdown.load());
    if (now != Shutdown::immediate) body.shutdown.store(static_cast<std::uint32_t>(wanted));
    if (immediate) {
      SideLock consumers(body, body.consumers, context_of(object_), Deadline::never());
      const Ring ring(body);
      const Cursor end = Cursor::unpack(body.tail.load());
      while (Cursor::unpack(body.head.load()).position != end.position) discard_oldest(body, ring, object_.id());
    }
  }
  body.not_empty.notify_all();
  body.not_full.notify_all();
}

bool QueueCore::is_shut_down() const { return body_of(object_).shutdown.load(std::memory_order_acquire) != 0; }

std::string QueueCore::printed() const {
  std::ostringstream out;
  out << "<Queue " << handle() << " items=" << qsize();
  if (capacity() != 0) out << '/' << capacity();
  out << " bytes<=" << byte_budget();
  if (when_full() != WhenFull::block) out << ' ' << to_string(when_full()) << " dropped=" << dropped();
  out << (closed_ ? " closed" : "") << (is_shut_down() ? " shut down" : "") << '>';
  return std::move(out).str();
}

}  // namespace brood::inline v1::detail

namespace brood::inline v1 {

std::string_view to_string(WhenFull policy) noexcept {
  switch (policy) {
    case WhenFull::block: return "block";
    case WhenFull::fail: return "fail";
    case WhenFull::drop_oldest: return "drop_oldest";
    case WhenFull::drop_newest: return "drop_newest";
  }
  return "unknown";
}

}  // namespace brood::inline v1
