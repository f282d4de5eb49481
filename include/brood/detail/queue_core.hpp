// QueueCore: a queue of byte strings; Queue<T> adds the types.                                     (room: channel)
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/chunk.hpp"
#include "brood/detail/closed_flag.hpp"
#include "brood/detail/object.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/handle.hpp"
#include "brood/serialize.hpp"

namespace brood::inline v1 {

/// What put does when there is no room.
enum class WhenFull : std::uint8_t {
  block,        ///< wait, as long as the caller wants
  fail,         ///< put throws Full; the attempts say no at once
  drop_oldest,  ///< items at the front make room, read by nobody
  drop_newest,  ///< the item is not put
};
[[nodiscard]] std::string_view to_string(WhenFull policy) noexcept;

struct QueueOptions {
  /// Most items in the queue at a time; 0 = as many as the byte budget holds.
  std::size_t capacity = 0;
  /// Most bytes of memory that the items may take, each with 8 to 15 bytes of overhead; rounded up to a power of two.
  /// Also the limit of one message. Address space of this size is mapped; memory is taken as the queue grows. Messages of
  /// 32 KiB and more, and those that are written in place, take whole pages of a second such budget (chunks).
  std::size_t byte_budget = std::size_t{256} << 20;
  WhenFull when_full = WhenFull::block;
};

namespace detail {

struct WaitAccess;  // brood/wait.hpp

/// Items to put, one after the other in one piece of memory.
struct Batch {
  struct End {
    std::size_t bytes;
    std::size_t handles;
  };
  std::span<const std::byte> bytes;
  std::span<const Handle> handles = {};
  std::span<const End> ends = {};  ///< of each item
  std::size_t each = 0;            ///< instead of `ends`: all have so many bytes, and no handles
};

/// One or more items taken from a queue. Keeps alive the shared objects whose handles are in them until it is
/// destroyed.
class Message {
 public:
  Message() = default;
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() { release_objects(0); }

  [[nodiscard]] std::size_t items() const noexcept { return items_.size(); }
  [[nodiscard]] std::span<const std::byte> bytes(std::size_t item = 0) const noexcept {
    const Item& one = items_[item];
    return {one.in_chunk != nullptr ? one.in_chunk : buffer_.get() + one.begin, one.size_bytes};
  }
  /// The item lies where it was put, and stays there until clear().
  [[nodiscard]] bool is_in_place(std::size_t item = 0) const noexcept { return items_[item].in_chunk != nullptr; }
  /// The memory of a single item that is in place, else nothing; its bytes stay where they are.
  [[nodiscard]] Chunk release_chunk() noexcept { return chunks_.empty() ? Chunk() : std::move(chunks_.front()); }
  /// Memory in use.
  [[nodiscard]] std::size_t size_bytes() const noexcept { return size_; }
  /// Ready for the next items; keeps the memory.
  void clear() noexcept;

 private:
  friend class QueueCore;
  friend class PriorityCore;
  friend class SubscriptionCore;
  struct Item {
    std::size_t begin;
    std::size_t size_bytes;
    const std::byte* in_chunk = nullptr;  ///< instead of `begin`
  };
  /// All but the first so many.
  void release_objects(std::size_t but) noexcept;
  /// Room for one more record.
  std::byte* make_room(std::size_t size_bytes);
  /// The last `size_bytes` are a record whose first `skip` bytes are for others. Holds the objects, so that their pins may
  /// go once the record is taken.
  void add_item(std::size_t size_bytes, std::size_t skip, std::span<const std::uint64_t> objects);
  /// The same for one in a chunk: the first before the chunk is taken, for what throws afterwards would set free what a
  /// record still names.
  void prepare_item(std::span<const std::uint64_t> objects);
  void add_item(Chunk chunk, std::size_t skip, std::size_t size_bytes) noexcept;
  void hold(std::span<const std::uint64_t> objects);
  /// Would it take many descriptors to hold so many objects too? Then they are for another batch: this process needs some
  /// for other things meanwhile, and what is decoded without a descriptor is lost.
  [[nodiscard]] bool holds_enough(std::size_t more) const noexcept {
    constexpr std::size_t kMost = 16;
    return !items_.empty() && more != 0 && held_files_.size() + more > kMost;
  }
  std::unique_ptr<std::byte[]> buffer_;  // not a vector: that would clear memory which is overwritten at once
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
  std::vector<Item> items_;
  std::vector<Chunk> chunks_;
  std::vector<int> held_files_;
  std::vector<std::uint64_t> held_ids_;
};

/// Process-local view of one queue. Errors of all operations: QueueClosed, NoSpace, OsError.
class QueueCore {
 public:
  using Type = PayloadType;
  [[nodiscard]] static QueueCore create(const QueueOptions& options, const Type& type);
  [[nodiscard]] static QueueCore create_named(std::string_view name, const QueueOptions& options, const Type& type);
  [[nodiscard]] static QueueCore open_or_create(std::string_view name, const QueueOptions& options, const Type& type);
  [[nodiscard]] static QueueCore open(const Handle& handle, const Type& type);
  [[nodiscard]] static QueueCore open_named(std::string_view name, const Type& type);

  /// False if it was not put: there was no room until the deadline, or the policy does not wait.
  bool put(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline);
  /// How many were put, from the first one on.
  std::size_t put_many(const Batch& batch, Deadline deadline);

  /// Memory outside of the ring to write a message in. Empty if there was none until the deadline, or the policy does
  /// not wait. Errors: NoSpace (more than the byte budget, or the filesystem is full).
  [[nodiscard]] Chunk allocate(std::size_t size_bytes, Deadline deadline);
  /// The same for an item that is there: it is counted if the policy drops it.
  [[nodiscard]] Chunk allocate_for_item(std::size_t size_bytes, Deadline deadline);
  /// The message begins behind `skip` bytes of the chunk. False if it was not put; then the chunk is the caller's still.
  /// Errors: also UsageError if the chunk is of another queue, or of the parent of this forked process.
  bool put(Chunk& chunk, std::size_t skip, std::size_t size_bytes, Deadline deadline) {
    return put_chunk(chunk, skip, size_bytes, {}, deadline);
  }
  /// Messages of this size and more go through chunks anyway, where there are chunks: items of a work queue lie in its
  /// table until they are done.
  static constexpr std::size_t kChunkFrom = std::size_t{32} << 10;
  [[nodiscard]] bool goes_in_chunk(std::size_t size_bytes) const;

  /// After an unlimited put that was not done. Errors: Full if that is the policy, QueueClosed.
  void refused() const;
  /// After an unlimited loan that was not given. Errors: Full, QueueClosed.
  [[noreturn]] void refused_loan() const;
  /// False if nothing came until the deadline. Otherwise `into` has one item, or what was there of up to `most`: as
  /// many as about a mebibyte holds.
  bool get(Message& into, Deadline deadline) { return get_many(into, 1, deadline); }
  bool get_many(Message& into, std::size_t most, Deadline deadline);
  /// A message of exactly `into.size()` bytes, straight into place. Errors: also DecodeError if the size differs.
  bool get_raw(std::span<std::byte> into, Deadline deadline);

  [[nodiscard]] std::size_t qsize() const;
  [[nodiscard]] bool empty() const;
  [[nodiscard]] bool full() const;
  [[nodiscard]] std::size_t capacity() const;
  [[nodiscard]] std::size_t byte_budget() const;
  [[nodiscard]] WhenFull when_full() const;
  [[nodiscard]] std::uint64_t dropped() const;
  void close() noexcept { closed_.set(); }
  [[nodiscard]] bool closed() const noexcept { return static_cast<bool>(closed_); }
  void shutdown(bool immediate);
  [[nodiscard]] bool is_shut_down() const;
  [[nodiscard]] Handle handle() const { return object_.handle(); }
  [[nodiscard]] std::string printed() const;

  explicit QueueCore(Object object);
  [[nodiscard]] const Object& object() const noexcept { return object_; }
  /// Memory of messages outside of the ring; null as long as there is none.
  [[nodiscard]] channel::ChunkStore* chunk_store() const;
  /// Errors: QueueClosed after close().
  void check_open() const;
  [[noreturn]] void throw_closed(const char* why) const;

 private:
  struct Piece {
    std::span<const std::byte> payload;
    std::span<const Handle> handles;
    const Chunk* chunk = nullptr;  ///< the payload is a ChunkRef to it
  };
  template <class PieceAt>
  std::size_t put_pieces(std::size_t count, PieceAt piece_at, Deadline deadline);
  template <class Take>
  bool get_with(std::size_t most, Deadline deadline, Take take);
  void check_fits(const Piece& piece) const;
  [[noreturn]] void throw_too_large(std::size_t size_bytes) const;
  bool put_large(const Piece& piece, Deadline deadline);
  bool put_chunk(Chunk& chunk, std::size_t skip, std::size_t size_bytes, std::span<const Handle> handles,
                 Deadline deadline);
  Chunk take_chunk(const channel::ChunkRef& ref);
  void settle_chunks(Deadline deadline);
  bool make_room_by_dropping(Deadline deadline);

  Object object_;
  std::shared_ptr<channel::ChunkAccess> chunks_;  // goes first: the queue frees what is left of them
  ClosedFlag closed_;
};

bool remove_queue(std::string_view name);

/// A Message, or an Encoder, of this thread whose memory is used again and again. Nests: a serialize member that itself
/// uses a queue gets another one.
template <class Buffer>
class Spare {
 public:
  Spare() : buffer_(take()) {}
  ~Spare() { give_back(buffer_); }
  Spare(const Spare&) = delete;
  Spare& operator=(const Spare&) = delete;
  Buffer& operator*() const noexcept { return *buffer_; }
  Buffer* operator->() const noexcept { return buffer_; }

 private:
  static Buffer* take();
  static void give_back(Buffer* buffer) noexcept;
  Buffer* buffer_;
};
using SpareMessage = Spare<Message>;
using SpareEncoder = Spare<Encoder>;
extern template class Spare<Message>;
extern template class Spare<Encoder>;

}  // namespace detail
}  // namespace brood::inline v1
