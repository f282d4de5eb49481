// BroadcastWriter: what is done to a broadcast with the writers' lock held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/broadcast_core.hpp"
#include "brood/detail/object.hpp"
#include "brood/handle.hpp"
#include "channel/broadcast_body.hpp"
#include "channel/broadcast_ring.hpp"
#include "channel/message_pins.hpp"
#include "registry/registry.hpp"

namespace brood::inline v1::channel {

/// Every living reader is at this position or behind it; the tail if there is none. Exact under the lock, else a hint.
[[nodiscard]] std::uint64_t slowest_position(BroadcastBody& body) noexcept;
/// Without the lock: may a record of `units` fit now?
[[nodiscard]] bool may_have_room(BroadcastBody& body, std::uint64_t units) noexcept;
/// Subscriptions of living processes.
[[nodiscard]] std::size_t count_readers(BroadcastBody& body) noexcept;

/// Proves the deaths of readers that nobody has proved yet. True if a place may have become free.
bool bury_dead_readers(BroadcastBody& body) noexcept;

/// The writers' lock for one attempt, within the call's deadline. What a killed predecessor left is repaired first.
class BroadcastWriter {
 public:
  BroadcastWriter(const detail::Object& object, Deadline deadline);
  ~BroadcastWriter() { release(); }
  BroadcastWriter(const BroadcastWriter&) = delete;
  BroadcastWriter& operator=(const BroadcastWriter&) = delete;
  void release() noexcept;
  [[nodiscard]] bool timed_out() const noexcept { return got_ == sync::Acquired::timed_out; }

  /// Takes old records away until `units` more fit behind the tail: all that is needed (drop), or what every living
  /// reader has read (block). The objects in them are added to `discarded`, to be unpinned after the unlock.
  /// False if a reader is in the way.
  [[nodiscard]] bool make_room(std::uint64_t units, std::vector<Taken>& discarded);
  /// Gives memory to the place of the next record. Errors: NoSpace.
  void back(std::uint64_t units);
  /// Writes one record at the tail and commits it.
  void append(std::span<const std::byte> prefix, std::span<const std::byte> payload) noexcept;

  struct Start {
    std::uint32_t record;
    std::uint64_t position;
    std::uint64_t sequence;
  };
  /// Makes a subscription of process `me`. Nothing if there are too many.
  [[nodiscard]] std::optional<Start> enrol(registry::Id me, StartAt start) noexcept;

  /// Numbers of the messages with handles that can still be received, sorted. Errors: DecodeError (damaged record).
  [[nodiscard]] std::vector<std::uint64_t> messages_with_pins() const;
  [[nodiscard]] BroadcastBody& body() const noexcept { return body_; }

 private:
  void repair() noexcept;
  [[nodiscard]] Taken pins_at(std::uint64_t position, std::uint64_t header) const;
  [[nodiscard]] ReaderRecord* free_record() noexcept;

  BroadcastBody& body_;
  const detail::Object& object_;
  BroadcastRing ring_;
  sync::Acquired got_;
  bool held_;
};

/// An opened broadcast whose sizes fit its segment. Errors: TypeMismatch.
[[nodiscard]] detail::Object sound_broadcast(detail::Object object);

/// For gc(): drops the pins of items that were never published or are not in the ring any more, if a killing may have
/// left some. Returns how many. Errors: as opening; DecodeError.
[[nodiscard]] std::size_t tidy_broadcast_pins(const Handle& broadcast, std::uint64_t fingerprint);

}  // namespace brood::inline v1::channel
