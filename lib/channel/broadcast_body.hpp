// BroadcastBody: what lies in a broadcast's segment: heads, one record for each reader, the ring.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "brood/detail/object.hpp"
#include "channel/queue_body.hpp"
#include "channel/wake_word.hpp"
#include "os/files.hpp"
#include "registry/layout.hpp"
#include "shm/segment.hpp"
#include "sync/lock_body.hpp"

namespace brood::inline v1::channel {

/// One subscription. Made under the writers' lock, ended by its process or, once that is dead, by whoever needs it.
struct alignas(64) ReaderRecord {
  std::atomic<registry::Id> owner;      ///< nobody = free; storing it is what makes a subscription
  std::atomic<std::uint64_t> position;  ///< of the next record it will read; what is before it may be overwritten
};

/// Positions are units of 8 bytes since the broadcast was made; 64 bits of them do not wrap.
///
/// `oldest` ≤ every living reader's position (block) ≤ `tail`. With drop, a position below `oldest` was overrun.
struct BroadcastBody {
  // Writers; needs their lock.
  alignas(64) sync::LockBody writers;
  std::atomic<std::uint64_t> tail;          ///< end of the last record that its writer finished
  std::atomic<std::uint64_t> published;     ///< sequence of the next item; stored before the tail
  std::atomic<std::uint64_t> slowest;       ///< no living reader is before this position; as last seen
  std::atomic<std::uint64_t> pins_made;     ///< items with handles so far
  std::atomic<std::uint64_t> backed_units;  ///< so much of the ring has memory
  // Stored before anything below it is overwritten.
  alignas(64) std::atomic<std::uint64_t> oldest;  ///< start of the oldest record that can be read
  // Both.
  alignas(64) WakeWord news;
  alignas(64) WakeWord room;
  // Seldom changed.
  alignas(64) std::uint64_t ring_units;  ///< power of two
  std::uint64_t most_readers;
  std::uint64_t slow_reader;                ///< a SlowReader
  std::atomic<std::uint32_t> readers_used;  ///< records beyond were never used
  std::atomic<std::uint32_t> shutdown;
  std::atomic<std::uint32_t> unsure;  ///< kPinsUnsure
  // ReaderRecord readers[most_readers] at kReadersOffset, then the ring on a page of its own.
};

inline constexpr std::size_t kReadersOffset = 4096 - shm::kBodyOffset;
inline constexpr std::size_t kSmallestBroadcastRing = 4096;
inline constexpr std::size_t kMostReaders = 65536;
static_assert(sizeof(BroadcastBody) <= kReadersOffset);
static_assert(kReadersOffset + 4096 + kSmallestBroadcastRing == shm::smallest_body(Kind::broadcast));

/// Where the ring begins, from the body.
constexpr std::size_t broadcast_ring_offset(std::uint64_t most_readers) noexcept {
  return kReadersOffset + (most_readers * sizeof(ReaderRecord) + 4095) / 4096 * 4096;
}

inline BroadcastBody& broadcast_body_of(const detail::Object& object) {
  return *static_cast<BroadcastBody*>(object.body());
}
inline ReaderRecord* readers_of(BroadcastBody& body) noexcept {
  return reinterpret_cast<ReaderRecord*>(reinterpret_cast<std::byte*>(&body) + kReadersOffset);
}

}  // namespace brood::inline v1::channel
