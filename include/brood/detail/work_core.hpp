// WorkCore: a queue whose items are leased to those who take them; WorkQueue<T> adds the types.      (room: channel)
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "brood/deadline.hpp"
#include "brood/detail/object.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/detail/queue_items.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

struct WorkQueueOptions {
  /// Most items that wait to be taken for the first time; 0 = as many as the byte budget holds.
  std::size_t capacity = 0;
  /// As of a queue (QueueOptions). The items in the hands of workers, those that came back, and the dead letters may
  /// together take the same once more.
  std::size_t byte_budget = std::size_t{256} << 20;
  WhenFull when_full = WhenFull::block;
  /// How often an item is given to a worker before it is a dead letter, at most 1048575; 0 = without end. Not a few: an item should not be
  /// condemned for others' accidents. (20 is also the limit of RabbitMQ's quorum queues.)
  std::uint32_t max_deliveries = 20;
};

namespace detail {

/// One delivery of one item.
struct Lease {
  std::uint32_t index;
  std::uint32_t deliveries;
  std::uint64_t sequence;
};
/// An item that was taken. The bytes stay until the lease ends.
struct Leased {
  Lease lease;
  std::span<const std::byte> bytes;
};

/// Process-local view of one work queue. Shared by the public object and by the tasks that came out of it.
class WorkCore {
 public:
  using Pointer = std::shared_ptr<WorkCore>;
  using Type = QueueCore::Type;
  [[nodiscard]] static Pointer create(const WorkQueueOptions& options, const Type& type);
  [[nodiscard]] static Pointer create_named(std::string_view name, const WorkQueueOptions& options, const Type& type);
  [[nodiscard]] static Pointer open_or_create(std::string_view name, const WorkQueueOptions& options, const Type& type);
  [[nodiscard]] static Pointer open(const Handle& handle, const Type& type);
  [[nodiscard]] static Pointer open_named(std::string_view name, const Type& type);

  /// Errors: UsageError if the object was moved from.
  [[nodiscard]] static WorkCore& of(const Pointer& core) {
    if (!core) [[unlikely]]
      Object::throw_moved_from();
    return *core;
  }

  explicit WorkCore(QueueCore queue) noexcept : queue_(std::move(queue)) {}

  /// The producers' side, and what is waiting in the ring.
  [[nodiscard]] QueueCore& queue() noexcept { return queue_; }
  [[nodiscard]] const QueueCore& queue() const noexcept { return queue_; }

  /// Nothing if nothing came until the deadline. `by_call`: finish_one() may end the lease.
  /// Errors: QueueClosed, NoSpace, DecodeError, OsError.
  [[nodiscard]] std::optional<Leased> take(Deadline deadline, bool by_call);
  [[nodiscard]] std::optional<Leased> take_letter();

  /// What becomes of a leased item.
  enum class End : std::uint8_t {
    finished,   ///< it leaves the queue
    returned,   ///< first in line again, or a dead letter after the last delivery
    condemned,  ///< a dead letter at once
    forgiven,   ///< first in line again, as if never delivered
  };
  /// False if this process does not hold that lease (any more).
  bool end(const Lease& lease, End how);
  /// The oldest lease taken `by_call` of this thread, else of this process. False if there is none.
  bool finish_one();

  /// Would take() have something to say at once: an item, or an error?
  [[nodiscard]] bool is_ready() const;

  /// Sleeps until every item is finished, condemned or discarded. False if the deadline passed.
  bool join(Deadline deadline);
  void shutdown(bool immediate);

  [[nodiscard]] std::size_t qsize() const;
  [[nodiscard]] std::size_t leased() const;
  [[nodiscard]] std::size_t dead_letters() const;
  [[nodiscard]] std::uint32_t max_deliveries() const;
  [[nodiscard]] std::string printed(std::string_view type) const;

 private:
  [[noreturn]] void throw_no_room() const;
  template <class Pick>
  bool end_one(Pick pick, End how);
  [[nodiscard]] bool may_take(bool starved, std::uint32_t freed_seen) const;

  QueueCore queue_;
};

bool remove_work_queue(std::string_view name);

/// An item that does not decode will not do so next time either: it is a dead letter. If only this process cannot open
/// what is in it (no descriptors left, say), the item goes back.
template <class T>
[[nodiscard]] T decode_leased(WorkCore& core, const Leased& leased) {
  try {
    return Items<T>::decode(core.queue().handle(), leased.bytes);
  } catch (const RuntimeError&) {
    (void)core.end(leased.lease, WorkCore::End::condemned);
    throw;
  } catch (...) {  // passed on; first the item goes back
    (void)core.end(leased.lease, WorkCore::End::returned);
    throw;
  }
}

}  // namespace detail
}  // namespace brood::inline v1
