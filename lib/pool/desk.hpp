// Desk: what master and worker share: two rings of records, and how far each task is. See README.md.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "channel/wake_word.hpp"
#include "os/futex.hpp"

namespace brood::inline v1::pool {

/// Each ring. Records lie in one piece; what is left at the edge is filled.
inline constexpr std::size_t kRingBytes = std::size_t{64} << 10;
/// Longer payloads, and those with shared objects in them, go through the pipe.
inline constexpr std::size_t kMostInline = std::size_t{8} << 10;
/// Tasks that a worker has been sent and has not finished, or not passed over.
inline constexpr std::size_t kMostAhead = 128;
inline constexpr std::size_t kStages = 256;
static_assert(kStages >= 2 * kMostAhead);

/// What is at the front of each record.
struct Record {
  std::uint32_t bytes;  ///< of all of it, a multiple of 8
  std::uint32_t payload;
  std::uint8_t kind;
  std::uint8_t is_by_pipe;  ///< the payload is the pipe's next message
  std::uint8_t is_last;     ///< of a result: of its task
  std::uint8_t reserved;
  std::uint32_t item;  ///< of a result: which of the task's items, from 0
  std::uint64_t seq;   ///< of the task, from 1, of this worker
};
inline constexpr std::uint8_t kFiller = 0;

enum class Order : std::uint8_t { filler = kFiller, function = 1, task = 2, stop = 3 };
/// Behind the Record of a task. Then, of several items, the size of each (4 bytes), then the arguments.
struct TaskHead {
  std::int64_t soft_ns;
  std::uint64_t number;  ///< of the first item: ThisTask::number()
  std::uint32_t function;
  std::uint32_t items;
  std::uint32_t attempt;
  std::uint32_t reserved;
};

enum class Report : std::uint8_t { filler = kFiller, ready = 1, broken = 2, value = 3, exception = 4 };
/// Behind the Record of a value or an exception.
struct ResultHead {
  std::int64_t duration_ns;
  std::uint64_t grown_bytes;  ///< of memory, since the first task; 0: not looked at
};

/// How far a task is: its seq (62 bits) | Stage (2).
///
///   offered ──worker──▶ running                the function may have been entered
///      └─────master──▶ revoked                 the worker passes over it
///      └─────master──▶ unsent                  the same, and its message will not come
enum class Stage : std::uint8_t { offered = 0, running = 1, revoked = 2, unsent = 3 };
constexpr std::uint64_t stage_word(std::uint64_t seq, Stage stage) noexcept {
  return seq << 2 | static_cast<std::uint64_t>(stage);
}

/// One segment for each worker. Lines in pairs, since processors fetch two at a time: each pair is written by one side only.
struct Desk {
  // The master writes:
  alignas(128) std::atomic<std::uint64_t> task_tail;  ///< bytes ever put
  std::atomic<std::uint64_t> result_head;             ///< bytes ever taken
  std::atomic<std::uint64_t> ring_at;                 ///< finishing this task is worth a bell
  std::atomic<std::uint64_t> stop;                    ///< the task that is asked to stop
  std::atomic<std::uint64_t> kill;                    ///< 1: the worker is about to be killed, and begins nothing more
  // The worker writes:
  alignas(128) std::atomic<std::uint64_t> result_tail;
  std::atomic<std::uint64_t> task_head;
  std::atomic<std::int64_t> began_ns;  ///< CLOCK_MONOTONIC: the item that it is at
  std::atomic<std::uint64_t> begun;    ///< items of the running task that were begun
  // Both:
  alignas(128) channel::WakeWord tasks;  ///< the worker sleeps on it, without tasks
  channel::WakeWord room;                ///< the worker sleeps on it, without room for a result
  channel::WakeWord stop_bell;           ///< its thread that serves stop tokens sleeps on it
  alignas(128) std::array<std::atomic<std::uint64_t>, kStages> stages;
};
inline constexpr std::size_t kTaskRingAt = 4096;
inline constexpr std::size_t kResultRingAt = kTaskRingAt + kRingBytes;
inline constexpr std::size_t kDeskBytes = kResultRingAt + kRingBytes;
static_assert(sizeof(Desk) <= kTaskRingAt);

/// One segment for each pool: what the master's threads sleep on.
struct Hall {
  alignas(128) os::Word leads;            ///< a thread that waits for results reads them
  alignas(128) channel::WakeWord caller;  ///< it sleeps on this
  alignas(128) channel::WakeWord pump;    ///< the pool's own thread does
};

/// Writes records into one ring; one thread at a time.
class RingWriter {
 public:
  RingWriter(std::byte* memory, std::atomic<std::uint64_t>& tail, const std::atomic<std::uint64_t>& head) noexcept
      : memory_(memory), tail_(tail), head_(head) {}
  /// Room for a record of so many bytes, or null. Nothing has happened before commit().
  [[nodiscard]] std::byte* reserve(std::size_t bytes) noexcept {
    const std::size_t at = position_ % kRingBytes;
    const std::size_t filler = at + bytes > kRingBytes ? kRingBytes - at : 0;
    if (position_ + filler + bytes - known_head_ > kRingBytes) {
      // SYNC ring-taken: acquire; pairs with the release that stores the head: what lay there has been read.
      known_head_ = head_.load(std::memory_order_acquire);
      if (position_ + filler + bytes - known_head_ > kRingBytes) return nullptr;
    }
    if (filler != 0) {
      Record edge{};
      edge.bytes = static_cast<std::uint32_t>(filler);
      std::memcpy(memory_ + at, &edge, std::min(sizeof edge, filler));
    }
    reserved_ = position_ + filler;
    return memory_ + reserved_ % kRingBytes;
  }
  /// SYNC ring-put: release publishes the record; pairs with the acquire of the reader's look at the tail.
  void commit(std::size_t bytes) noexcept {
    position_ = reserved_ + bytes;
    tail_.store(position_, std::memory_order_release);
  }
  /// The same with a barrier, for who looks afterwards whether somebody sleeps.
  void commit_and_fence(std::size_t bytes) noexcept {
    position_ = reserved_ + bytes;
    tail_.exchange(position_);
  }
  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }

 private:
  std::byte* memory_;
  std::atomic<std::uint64_t>& tail_;
  const std::atomic<std::uint64_t>& head_;
  std::uint64_t position_ = 0;
  std::uint64_t reserved_ = 0;
  std::uint64_t known_head_ = 0;
};

constexpr std::size_t padded(std::size_t bytes) noexcept { return (bytes + 7) / 8 * 8; }

/// The record at `position`, which is moved over a filler; null if there is none before `tail`.
inline const std::byte* record_at(const std::byte* memory, std::uint64_t& position, std::uint64_t tail) noexcept {
  while (position != tail) {
    const std::byte* const at = memory + position % kRingBytes;
    std::uint32_t bytes = 0;
    std::memcpy(&bytes, at, sizeof bytes);
    const std::size_t to_edge = kRingBytes - position % kRingBytes;
    // A filler may be shorter than a Record, which would say what it is; but it reaches to the edge, and no other record that
    // short does.
    if (bytes == to_edge && (to_edge < sizeof(Record) || at[offsetof(Record, kind)] == std::byte{kFiller})) {
      position += bytes;
      continue;
    }
    return at;
  }
  return nullptr;
}

}  // namespace brood::inline v1::pool
