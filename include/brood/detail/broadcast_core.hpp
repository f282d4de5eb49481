// BroadcastCore: byte strings from a writer to many readers; Broadcast<T> adds the types.     (room: channel)
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "brood/deadline.hpp"
#include "brood/detail/object.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

/// What happens to a reader that has not read what the writer would have to overwrite.
enum class SlowReader : std::uint8_t {
  block,  ///< the writer waits for it
  drop,   ///< it misses the oldest items, and is told how many
};
[[nodiscard]] std::string_view to_string(SlowReader policy) noexcept;

struct BroadcastOptions {
  /// Bytes of the ring in which items are kept, each with 16 to 23 bytes of overhead; rounded up to a power of two, 64
  /// GiB at most. Also the limit of one item. All of it is in use after a while: a ring that fits the cache is fastest.
  std::size_t byte_budget = std::size_t{1} << 20;
  /// Subscriptions at a time, of all processes; 64 bytes each, 65536 at most.
  std::size_t most_readers = 64;
  SlowReader slow_reader = SlowReader::block;
};

/// Where a subscription begins.
enum class StartAt : std::uint8_t {
  next,    ///< with what is published from now on
  oldest,  ///< with the oldest item that is still in the ring
};
struct SubscribeOptions {
  StartAt start = StartAt::next;
};

namespace detail {

/// Process-local view of one broadcast. Shared by the public object and by the subscriptions that came out of it.
class BroadcastCore {
 public:
  using Pointer = std::shared_ptr<BroadcastCore>;
  using Type = QueueCore::Type;
  [[nodiscard]] static Pointer create(const BroadcastOptions& options, const Type& type);
  [[nodiscard]] static Pointer create_named(std::string_view name, const BroadcastOptions& options, const Type& type);
  [[nodiscard]] static Pointer open_or_create(std::string_view name, const BroadcastOptions& options, const Type& type);
  [[nodiscard]] static Pointer open(const Handle& handle, const Type& type);
  [[nodiscard]] static Pointer open_named(std::string_view name, const Type& type);

  /// Errors: UsageError if the object was moved from.
  [[nodiscard]] static BroadcastCore& of(const Pointer& core) {
    if (!core) [[unlikely]]
      Object::throw_moved_from();
    return *core;
  }

  explicit BroadcastCore(Object object) noexcept : object_(std::move(object)) {}
  [[nodiscard]] const Object& object() const noexcept { return object_; }

  /// False if a reader was in the way until the deadline.
  bool put(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline);
  void shutdown();

  void close() noexcept { closed_.set(); }
  [[nodiscard]] bool closed() const noexcept { return static_cast<bool>(closed_); }
  [[nodiscard]] bool is_shut_down() const;
  [[nodiscard]] std::size_t byte_budget() const;
  [[nodiscard]] std::size_t most_readers() const;
  [[nodiscard]] std::size_t readers() const;
  [[nodiscard]] std::uint64_t published() const;
  [[nodiscard]] SlowReader slow_reader() const;
  [[nodiscard]] Handle handle() const { return object_.handle(); }
  [[nodiscard]] std::string printed() const;
  /// Errors: QueueClosed after close().
  void check_open() const;
  [[noreturn]] void throw_closed(const char* why) const;

 private:
  void check_fits(std::size_t payload_bytes, std::size_t record_bytes) const;

  Object object_;
  ClosedFlag closed_;
};

/// One reader's place in a broadcast. Used by one thread at a time.
class SubscriptionCore {
 public:
  /// Errors: QueueClosed, OsError (too many readers).
  SubscriptionCore(BroadcastCore::Pointer broadcast, const SubscribeOptions& options);
  SubscriptionCore(SubscriptionCore&& other) noexcept = default;
  SubscriptionCore& operator=(SubscriptionCore&& other) noexcept;
  ~SubscriptionCore() { leave(); }

  /// False if nothing came until the deadline.
  /// Errors: QueueClosed, NotOwner (another process's), DecodeError (damaged record).
  bool get(Message& into, Deadline deadline);
  /// An item of exactly `into.size()` bytes, straight into place. Errors: also DecodeError if the size differs.
  bool get_raw(std::span<std::byte> into, Deadline deadline);

  /// Would get() have something to say at once? Errors: QueueClosed (closed here), NotOwner.
  [[nodiscard]] bool is_ready() const;
  [[nodiscard]] const Object& object() const { return BroadcastCore::of(broadcast_).object(); }
  [[nodiscard]] std::uint64_t pending() const;
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }
  [[nodiscard]] std::uint64_t just_missed() const noexcept { return just_missed_; }
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  [[nodiscard]] Handle handle() const { return BroadcastCore::of(broadcast_).handle(); }
  [[nodiscard]] std::string printed() const;

 private:
  enum class Step : std::uint8_t { taken, nothing, overrun };
  template <class Copy>
  bool get_with(Deadline deadline, Copy copy);
  template <class Copy>
  Step step(Copy copy);
  void check_usable() const;
  void leave() noexcept;

  BroadcastCore::Pointer broadcast_;  ///< null once it is over, or moved from
  std::uint32_t owner_ = 0;           ///< the process that subscribed
  std::uint32_t record_ = 0;          ///< index of our record in the segment
  bool drops_ = false;
  bool closed_ = false;
  std::uint64_t position_ = 0;  ///< of the next record
  std::uint64_t sequence_ = 0;  ///< of the next item, if none is missed
  std::uint64_t missed_ = 0;
  std::uint64_t just_missed_ = 0;
};

bool remove_broadcast(std::string_view name);

}  // namespace detail
}  // namespace brood::inline v1
