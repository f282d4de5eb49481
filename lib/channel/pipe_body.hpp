// EndBody: what lies in the segment of one end of a pipe, in front of its inbox.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "channel/wake_word.hpp"
#include "registry/registry.hpp"
#include "shm/segment.hpp"
#include "sync/lock_body.hpp"

namespace brood::inline v1::channel {

/// A place in the endless stream of fragments: position in units of 8 bytes (63) | inside a message (1). One store moves
/// both, so nobody can mistake the middle of a message for a boundary.
struct Place {
  std::uint64_t position = 0;
  bool inside = false;

  static Place unpack(std::uint64_t word) noexcept { return {word >> 1, (word & 1) != 0}; }
  [[nodiscard]] std::uint64_t pack() const noexcept { return position << 1 | (inside ? 1 : 0); }
};

/// A fragment is a header of one unit and its bytes, padded to whole units. The header is also its ready flag: a header
/// of zero is not committed.
///
///   63        62       61            60    59      58     57        56 .. 32   31 ....... 0
///   committed pins     more follows  cut   broken  first  in chunk     0       bytes
///
///   more     the message goes on in the next fragment
///   first    of several: the bytes begin with the size of the whole message (8 bytes)
///   pins     the message (this is its first fragment) begins with a PinPrefix
///   in chunk the bytes are a ChunkRef: the message lies in a chunk
///   cut      ends a message that was not finished: `broken` if its sender died, else the sender took it back
namespace fragment {
inline constexpr std::uint64_t kCommitted = 1ULL << 63;
inline constexpr std::uint64_t kPins = 1ULL << 62;
inline constexpr std::uint64_t kMore = 1ULL << 61;
inline constexpr std::uint64_t kCut = 1ULL << 60;
inline constexpr std::uint64_t kBroken = 1ULL << 59;
inline constexpr std::uint64_t kFirst = 1ULL << 58;
inline constexpr std::uint64_t kInChunk = 1ULL << 57;
inline constexpr std::uint64_t kMostBytes = 16384;
constexpr std::uint64_t size_of(std::uint64_t header) noexcept { return header & 0xffffffffULL; }
constexpr std::uint64_t units_for(std::uint64_t bytes) noexcept { return 1 + (bytes + 7) / 8; }
/// Behind each fragment stay free: the next header, which is zeroed before the fragment is committed, and one more, so
/// that a message that is not finished can be cut off at once, whoever does it.
inline constexpr std::uint64_t kSpareUnits = 2;
}  // namespace fragment

/// In front of the bytes of a message that carries handles.
struct PipePins {
  std::uint64_t message;  ///< number under which the objects are pinned
  std::uint64_t count;    ///< of the identities that follow, 8 bytes each
};

/// The fast way into one side of a ring: lane.hpp.
struct LaneBody {
  std::atomic<std::uint64_t> favourite;  ///< the thread that needs no lock: sync::held_by, or 0
  os::Word inside;                    ///< 1 while the favourite is in; only it, or who took over from it, writes this
  os::Word stuck;                     ///< 1 while whoever is in waits for the other side
  std::atomic<std::uint64_t> last;    ///< with the lock: who had it last …
  std::atomic<std::uint32_t> streak;  ///< … and how often in a row
  std::atomic<std::uint32_t> shy;     ///< how often a favourite had to be withdrawn
};

/// One process, or one more time the same process, that has this end open.
using Holder = std::atomic<registry::Id>;
inline constexpr std::uint32_t kHolders = 1U << 13;

/// A pipe is two ends, each with a segment of its own: its handle is the end's handle, its pins are the end's pins.
/// What is sent to an end lies in its inbox; one direction alone leaves one of the ends without.
///
/// Lines in pairs, since processors fetch two at a time: each pair is written by one side only.
struct EndBody {
  // Written seldom.
  std::atomic<std::uint64_t> gate;  ///< holders that ever came, times 2; bit 0: ended, for good
  std::atomic<std::uint32_t> holders_used;
  std::atomic<std::uint32_t> pins_unsure;  ///< 1 once somebody was killed inside: gc() has to compare pins and messages
  std::uint64_t peer;                      ///< identity of the other end
  std::uint64_t inbox_units;               ///< of 8 bytes, a power of two; 0: this end can not receive
  std::uint64_t peer_inbox_units;          ///< 0: this end can not send
  std::atomic<std::uint64_t> chunks;       ///< identity of the inbox's ChunkStore; 0 until one is needed
  std::uint64_t loan_budget;               ///< bytes of it
  std::uint64_t asymmetric;                ///< 1: barriers are the sleepers' business (os/membarrier.hpp)
  // Inbox: those who send to this end.
  alignas(64) LaneBody senders;
  std::atomic<std::uint64_t> tail;        ///< Place behind the last fragment that its sender finished
  std::atomic<std::uint64_t> known_head;  ///< head as last seen by a sender
  std::atomic<std::uint64_t> pins_made;   ///< messages with handles so far
  sync::LockBody senders_lock;
  // Inbox: holders of this end.
  alignas(64) LaneBody receivers;
  std::atomic<std::uint64_t> head;        ///< Place of the next fragment to take; storing it takes what lies before
  std::atomic<std::uint64_t> begun_by;    ///< inside a message: who has its beginning (Token); 0 nobody: drop the rest
  std::atomic<std::uint64_t> begun_pins;  ///< … and its number plus 1 if it carries handles
  sync::LockBody receivers_lock;
  // What holders of this end ring and holders of the other one sleep on.
  alignas(64) WakeWord sent;   ///< something was sent to the other end; or this end has ended
  alignas(64) WakeWord taken;  ///< there is room in our inbox; or this end has ended
  // The inbox follows at kInboxOffset, then the Holders.
};

/// The inbox begins on a page of its own, the holders as well.
inline constexpr std::size_t kInboxOffset = 4096 - shm::kBodyOffset;
static_assert(sizeof(EndBody) <= kInboxOffset && sizeof(LaneBody) == 32);
static_assert(kInboxOffset + 4096 == shm::smallest_body(Kind::connection));

/// One attempt to receive, of one process: registry::Id | number.
using Token = std::uint64_t;
constexpr registry::Id process_of(Token token) noexcept {
  return static_cast<registry::Id>(token >> 32) & registry::kIdMask;
}

/// Somebody who lives has the beginning of that message.
inline bool is_somebodys(Token token) noexcept { return token != 0 && registry::is_alive(process_of(token)); }

inline Holder* holders_of(EndBody& end) noexcept {
  return reinterpret_cast<Holder*>(reinterpret_cast<std::byte*>(&end) + kInboxOffset + end.inbox_units * 8);
}

/// Rings a word that the other side may sleep on, after a change and, where barriers are symmetric, with one.
inline void ring(WakeWord& word, const EndBody& end) noexcept {
  // SYNC pipe-bell: asymmetric: pairs with the sleeper's barrier_for_all between its arm() and its second look.
  // Otherwise this read-modify-write is the barrier.
  if (end.asymmetric == 0) word.word.fetch_or(0);
  word.notify_every();
}

}  // namespace brood::inline v1::channel
