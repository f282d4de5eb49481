#include "brood/detail/queue_core.hpp"

#include <sstream>

#include "brood/error.hpp"
#include "channel/item_table.hpp"
#include "channel/queue_segment.hpp"
#include "channel/records.hpp"
#include "channel/side_lock.hpp"
#include "registry/objects.hpp"

namespace brood::inline v1::detail {

using namespace channel;  // the parts of a queue

QueueCore::QueueCore(Object object) : object_(std::move(object)), chunks_(std::make_shared<ChunkAccess>()) {}

QueueCore QueueCore::create(const QueueOptions& options, const Type& type) {
  return QueueCore(make_queue({.options = options, .type = type}, false));
}
QueueCore QueueCore::create_named(std::string_view name, const QueueOptions& options, const Type& type) {
  return QueueCore(make_queue({.name = shm::given_name(name), .options = options, .type = type}, false));
}
QueueCore QueueCore::open_or_create(std::string_view name, const QueueOptions& options, const Type& type) {
  return QueueCore(make_queue({.name = shm::given_name(name), .options = options, .type = type}, true));
}
QueueCore QueueCore::open(const Handle& handle, const Type& type) {
  return QueueCore(sound(registry::open(handle, Kind::queue, {type.fingerprint, type.name()})));
}
QueueCore QueueCore::open_named(std::string_view name, const Type& type) {
  return QueueCore(sound(registry::open_named(name, Kind::queue, {type.fingerprint, type.name()})));
}
bool remove_queue(std::string_view name) { return shm::remove_named(name, Kind::queue); }

void QueueCore::throw_closed(const char* why) const { throw QueueClosed(handle().str() + ": " + why); }
void QueueCore::check_open() const {
  if (closed_) throw_closed("this Queue object was closed by close(); open(handle()) gives another one");
}

std::size_t QueueCore::qsize() const {
  const QueueBody& body = body_of(object_);
  const Cursor head = Cursor::unpack(body.head.load(std::memory_order_acquire));
  const Cursor tail = Cursor::unpack(body.tail.load(std::memory_order_acquire));
  // A record whose producer was killed before it moved the tail is in the queue all the same.
  const bool uncounted = Ring(body_of(object_)).peek(tail.position) && tail.items_since(head) <= Cursor::kCountMask / 2;
  return items_between(tail, head) + (uncounted ? 1 : 0);
}

bool QueueCore::empty() const { return !can_read(body_of(object_)); }

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
  ChunkStore* const chunks = chunks_->find(body.chunks);  // if that fails, nothing has happened yet
  {
    const SideLock producers(body, body.producers, context_of(object_), Deadline::never());
    if (producers.healed()) repair_tail(body);
    const auto wanted = immediate ? Shutdown::immediate : Shutdown::draining;
    const auto now = static_cast<Shutdown>(body.shutdown.load());
    if (now != Shutdown::immediate) body.shutdown.store(static_cast<std::uint32_t>(wanted));
    if (immediate) {
      const SideLock consumers(body, body.consumers, context_of(object_), Deadline::never());
      settle_items(body, kind_of(object_));
      const Ring ring(body);
      const Cursor end = Cursor::unpack(body.tail.load());
      while (Cursor::unpack(body.head.load()).position != end.position) discard_oldest(body, ring, chunks);
      if (has_table(kind_of(object_))) ItemTable(body).discard_line();
    }
  }
  body.not_empty.notify_all();
  body.not_full.notify_all();
  // Who made it meanwhile sees the shutdown before he sleeps, or at his next look round.
  if (chunks != nullptr) chunks->room().notify_all();
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
