// ChunkStore: memory of its own for messages that do not lie in a ring: large ones, and those that are written and read in
// place. See README.md, "Chunks".
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "brood/deadline.hpp"
#include "brood/detail/object.hpp"
#include "channel/wake_word.hpp"
#include "os/futex.hpp"
#include "registry/registry.hpp"
#include "shm/segment.hpp"
#include "sync/lock_body.hpp"

namespace brood::inline v1::channel {

enum class ChunkPhase : std::uint32_t {
  free = 0,
  held = 1,     ///< its owner writes or reads it
  in_ring = 2,  ///< a message on its way: a record of the ring names it
};

/// The state of a chunk. One store changes all of it: phase (2) at bit 32 | owner (30).
struct ChunkWord {
  registry::Id owner = registry::kNobody;
  ChunkPhase phase = ChunkPhase::free;

  static ChunkWord unpack(std::uint64_t word) noexcept {
    return {static_cast<registry::Id>(word) & registry::kIdMask, static_cast<ChunkPhase>(word >> 32 & 3)};
  }
  [[nodiscard]] std::uint64_t pack() const noexcept { return static_cast<std::uint64_t>(phase) << 32 | owner; }
};

/// What a record says of a message in a chunk.
struct ChunkRef {
  std::uint32_t index;
  std::uint32_t skip;  ///< the message begins behind so many bytes
  std::uint64_t size_bytes;
};

struct alignas(64) ChunkEntry {
  std::atomic<std::uint64_t> word;       ///< a ChunkWord
  std::atomic<std::uint64_t> counted;    ///< bytes of it that count against the budget; changed with the lock
  std::atomic<std::uint64_t> populated;  ///< bytes of it that have memory; changed by its owner
};
static_assert(sizeof(ChunkEntry) == 64);

/// Chunks of one size: a power of two, at least a page. They lie one after the other, and have memory as far as they
/// were used.
struct ChunkClass {
  std::uint64_t entries;  ///< offset of the first one's entry, from the body
  std::uint64_t data;     ///< and of its memory
  std::uint32_t most;
  std::atomic<std::uint32_t> used;  ///< entries below this index have memory
};

struct ChunkStoreBody {
  alignas(64) sync::LockBody lock;
  std::uint64_t budget_bytes;
  std::atomic<std::uint64_t> in_memory;    ///< sum of `counted`; counted anew by who heals the lock
  std::atomic<std::uint32_t> deaths_seen;  ///< death word up to which chunks of the dead have come back
  std::uint32_t classes_used;
  alignas(64) WakeWord room;              ///< those who wait for a chunk
  std::atomic<std::uint32_t> given_back;  ///< moves on with every chunk that becomes free while somebody seeks one
  std::atomic<std::uint32_t> seekers;     ///< those, and some who were killed while they sought
  std::array<ChunkClass, 25> classes;     ///< 4 KiB … 64 GiB
};
/// Where the entries begin.
inline constexpr std::size_t kChunkEntries = 4096 - shm::kBodyOffset;
static_assert(sizeof(ChunkStoreBody) <= kChunkEntries);
static_assert(kChunkEntries + 4096 == shm::smallest_body(Kind::chunks));

/// One attachment to the chunks of one container, a queue or an end of a pipe: a segment of their own, that the
/// container keeps by a pin.
///
/// Free chunks are taken, and given back, by one compare-and-swap of their word. The lock is for growing. What is true is
/// each chunk's word and, for those that were on their way into or out of the ring when somebody was killed, the ring
/// itself: settle().
class ChunkStore {
 public:
  using Index = std::uint32_t;

  /// Errors: NoSpace, PermissionDenied, OsError.
  [[nodiscard]] static detail::Object make(std::uint64_t budget_bytes);
  /// Errors: HandleError, TypeMismatch (also a damaged one), OsError.
  explicit ChunkStore(std::uint64_t id);
  explicit ChunkStore(detail::Object object) : object_(std::move(object)), body_(body_of(object_)) {}

  ~ChunkStore();
  ChunkStore(const ChunkStore&) = delete;
  ChunkStore& operator=(const ChunkStore&) = delete;

  /// A chunk of at least so many bytes, held by this process. Nothing if there is none, and if `may_grow` is false also
  /// if none of the free ones serves. Errors: NoSpace (the filesystem is full).
  [[nodiscard]] std::optional<Index> allocate(std::uint64_t size_bytes, bool may_grow, Deadline deadline);
  /// No-op unless this process holds it: the child of a fork has copies of what its parent holds.
  void give_back(Index index) noexcept;
  /// Container's producers' lock held, before the record that names it is committed.
  void put_into_ring(Index index) noexcept;
  /// Consumers' lock held, before the record is taken.
  void take_from_ring(Index index) noexcept;
  /// Consumers' lock held: the record is gone, nobody has read it.
  void discard(Index index) noexcept;

  /// Errors: DecodeError if there is no such chunk, or it is smaller.
  void check(const ChunkRef& ref) const;
  [[nodiscard]] std::byte* data(Index index) const noexcept;
  [[nodiscard]] std::uint64_t capacity_bytes(Index index) const noexcept;
  [[nodiscard]] std::uint64_t id() const noexcept { return object_.id(); }
  [[nodiscard]] bool is_held(Index index) const noexcept {
    return entry(index).word.load() == ChunkWord{registry::self(), ChunkPhase::held}.pack();
  }

  /// Somebody died since the last settle().
  [[nodiscard]] bool has_news() const noexcept {
    return body_.deaths_seen.load(std::memory_order_relaxed) != registry::death_word().load();
  }
  /// Both locks of the container held; `in_ring` are the chunks that records of the ring name, sorted. All others that
  /// nobody living holds become free.
  void settle(std::span<const Index> in_ring) noexcept;
  /// Gives the memory of free chunks back to the filesystem. Returns the bytes.
  std::uint64_t trim() noexcept;

  /// Somebody who found none free, as long as he looks: chunks that come back are counted for him. He looks once more
  /// before he waits for the count to move on, since what came back before was not counted; so nobody who finds a chunk
  /// pays for a line that all who give back write.
  class Seeker {
   public:
    explicit Seeker(ChunkStore& store) noexcept : body_(store.body_) { body_.seekers.fetch_add(1); }
    ~Seeker() { body_.seekers.fetch_sub(1); }
    Seeker(const Seeker&) = delete;
    Seeker& operator=(const Seeker&) = delete;

   private:
    ChunkStoreBody& body_;
  };
  [[nodiscard]] WakeWord& room() noexcept { return body_.room; }
  [[nodiscard]] std::uint32_t given_back() const noexcept { return body_.given_back.load(); }
  /// It will be taken and read: its state and its first bytes come together, not one after the other.
  void prefetch(const ChunkRef& ref) const noexcept {
    os::prefetch_for_writing(&entry(ref.index));
    __builtin_prefetch(data(ref.index) + ref.skip);
  }

 private:
  class Locked;
  static ChunkStoreBody& body_of(const detail::Object& object) { return *static_cast<ChunkStoreBody*>(object.body()); }
  [[nodiscard]] ChunkEntry& entry(Index index) const noexcept;
  [[nodiscard]] ChunkClass& class_of(Index index) const noexcept;
  [[nodiscard]] bool try_hold(Index index, registry::Id me) noexcept;
  [[nodiscard]] std::optional<Index> find_free(unsigned which, std::uint64_t bytes, registry::Id me) noexcept;
  [[nodiscard]] std::optional<Index> grow(unsigned which, std::uint64_t bytes, registry::Id me);
  void recount() noexcept;
  void make_free(Index index) noexcept;
  std::uint64_t drop_memory(std::uint64_t wanted, registry::Id me) noexcept;
  void populate(Index index, std::uint64_t bytes);
  void count_in(registry::Id me) noexcept;
  template <class Visit>
  void for_each_used(Visit visit) const noexcept;

  detail::Object object_;
  ChunkStoreBody& body_;
  /// The process for which this attachment is counted among the claims of the registry: who ends with a chunk in his hands
  /// tells those who wait for one. Once for all chunks: two counts for each message would cost as much as the rest of it.
  std::atomic<registry::Id> counted_in_ = registry::kNobody;
  /// Where this process found the last one of each class: the next one that comes back is likely to be near, and the
  /// same one over and over is warm.
  std::array<std::atomic<std::uint32_t>, 25> found_at_{};
};

/// The store of one container as this process sees it: attached when it is first needed.
class ChunkAccess {
 public:
  ChunkAccess() = default;
  ~ChunkAccess() { delete store_.load(); }
  ChunkAccess(const ChunkAccess&) = delete;
  ChunkAccess& operator=(const ChunkAccess&) = delete;

  /// Null if the container has no chunks yet. Errors: as ChunkStore().
  [[nodiscard]] ChunkStore* find(const std::atomic<std::uint64_t>& id_word);
  /// Container's producers' lock held. Makes it if there is none; its pin is made before `id_word` says so.
  /// Errors: NoSpace, PermissionDenied, OsError.
  ChunkStore& make(std::atomic<std::uint64_t>& id_word, const detail::Object& container, std::uint64_t budget_bytes);
  /// Only once find() or make() has given it.
  [[nodiscard]] ChunkStore& operator*() const noexcept { return *store_.load(std::memory_order_acquire); }

 private:
  std::atomic<ChunkStore*> store_ = nullptr;
};

/// The number under which a container pins its chunks: above those of all messages, and never spent.
inline constexpr std::uint64_t kChunksPin = ~std::uint64_t{0};

}  // namespace brood::inline v1::channel
