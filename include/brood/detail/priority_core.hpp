// PriorityCore: a queue of byte strings in order of priority; PriorityQueue<T> adds the types.     (room: channel)
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "brood/deadline.hpp"
#include "brood/detail/object.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

struct PriorityQueueOptions {
  /// Most items in the queue at a time; 0 = as many as the byte budget holds, 16777216 at most.
  std::size_t capacity = 0;
  /// Most bytes of memory that the items may take, each rounded up to 64 bytes; rounded up to a power of two. Also the limit
  /// of one message. Address space for this and for the order of 16777216 items is mapped; memory is taken as the queue grows.
  std::size_t byte_budget = std::size_t{256} << 20;
};

namespace detail {

/// Process-local view of one priority queue. Errors of all operations: QueueClosed, NoSpace, OsError.
class PriorityCore {
 public:
  using Type = QueueCore::Type;
  [[nodiscard]] static PriorityCore create(const PriorityQueueOptions& options, const Type& type);
  [[nodiscard]] static PriorityCore create_named(std::string_view name, const PriorityQueueOptions& options,
                                                 const Type& type);
  [[nodiscard]] static PriorityCore open_or_create(std::string_view name, const PriorityQueueOptions& options,
                                                   const Type& type);
  [[nodiscard]] static PriorityCore open(const Handle& handle, const Type& type);
  [[nodiscard]] static PriorityCore open_named(std::string_view name, const Type& type);

  /// False if there was no room until the deadline.
  bool put(std::span<const std::byte> payload, std::span<const Handle> handles, std::int64_t priority,
           Deadline deadline);
  /// False if nothing came until the deadline. Otherwise `into` has one item; returns its priority too.
  bool get(Message& into, std::int64_t& priority, Deadline deadline);

  [[nodiscard]] std::size_t qsize() const;
  [[nodiscard]] bool full() const;
  [[nodiscard]] std::size_t capacity() const { return queue_.capacity(); }
  [[nodiscard]] std::size_t byte_budget() const;
  void close() noexcept { queue_.close(); }
  [[nodiscard]] bool closed() const noexcept { return queue_.closed(); }
  void shutdown(bool immediate) { queue_.shutdown(immediate); }
  [[nodiscard]] bool is_shut_down() const { return queue_.is_shut_down(); }
  [[nodiscard]] Handle handle() const { return queue_.handle(); }
  [[nodiscard]] std::string printed() const;
  /// The table is behind a queue whose ring stays empty.
  [[nodiscard]] const QueueCore& queue() const noexcept { return queue_; }

 private:
  explicit PriorityCore(QueueCore queue) noexcept : queue_(std::move(queue)) {}
  void check_fits(std::size_t payload_bytes, std::size_t record_bytes) const;

  QueueCore queue_;
};

bool remove_priority_queue(std::string_view name);

}  // namespace detail
}  // namespace brood::inline v1
