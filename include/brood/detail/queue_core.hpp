// QueueCore: a queue of byte strings; Queue<T> adds the types.                                     (room: channel)
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/object.hpp"
#include "brood/handle.hpp"
#include "brood/serialize.hpp"

namespace brood::inline v1 {

struct QueueOptions {
  /// Most items in the queue at a time; 0 = as many as the byte budget holds.
  std::size_t capacity = 0;
  /// Most bytes of memory that the items may take, each with 8 to 15 bytes of overhead; rounded up to a power of two.
  /// Also the limit of one message. Address space of this size is mapped; memory is taken as the queue grows.
  std::size_t byte_budget = std::size_t{256} << 20;
};

namespace detail {

/// A message taken from a queue. Keeps alive the shared objects whose handles are in it until it is destroyed.
class Message {
 public:
  Message() = default;
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() { release_objects(); }

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    return {buffer_.get() + payload_at_, size_ - payload_at_};
  }
  /// Ready for the next message; keeps the memory.
  void clear() noexcept;

 private:
  friend class QueueCore;
  void release_objects() noexcept;
  std::byte* make_room(std::size_t size_bytes);
  std::unique_ptr<std::byte[]> buffer_;  // not a vector: that would clear memory which is overwritten at once
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
  std::size_t payload_at_ = 0;
  std::vector<int> held_files_;
  std::vector<std::uint64_t> held_ids_;
};

/// Process-local view of one queue. Errors of all operations: QueueClosed, NoSpace, OsError.
class QueueCore {
 public:
  struct Type {
    std::uint64_t fingerprint;
    std::string name;
  };
  [[nodiscard]] static QueueCore create(const QueueOptions& options, const Type& type);
  [[nodiscard]] static QueueCore create_named(std::string_view name, const QueueOptions& options, const Type& type);
  [[nodiscard]] static QueueCore open_or_create(std::string_view name, const QueueOptions& options, const Type& type);
  [[nodiscard]] static QueueCore open(const Handle& handle, const Type& type);
  [[nodiscard]] static QueueCore open_named(std::string_view name, const Type& type);

  /// False if there was no room until the deadline.
  bool put(std::span<const std::byte> payload, std::span<const Handle> handles, Deadline deadline);
  /// False if nothing came until the deadline.
  bool get(Message& into, Deadline deadline);
  /// A message of exactly `into.size()` bytes, straight into place. Errors: also DecodeError if the size differs.
  bool get_raw(std::span<std::byte> into, Deadline deadline);

  [[nodiscard]] std::size_t qsize() const;
  [[nodiscard]] bool empty() const;
  [[nodiscard]] bool full() const;
  [[nodiscard]] std::size_t capacity() const;
  [[nodiscard]] std::size_t byte_budget() const;
  void close() noexcept { closed_ = true; }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  void shutdown(bool immediate);
  [[nodiscard]] bool is_shut_down() const;
  [[nodiscard]] Handle handle() const { return object_.handle(); }
  [[nodiscard]] std::string printed() const;

 private:
  explicit QueueCore(Object object) noexcept : object_(std::move(object)) {}
  template <class Take>
  bool get_with(Deadline deadline, Take take);
  void check_open() const;
  [[noreturn]] void throw_closed(const char* why) const;

  Object object_;
  bool closed_ = false;
};

bool remove_queue(std::string_view name);

/// A Message, or an Encoder, of this thread whose memory is used again and again. Nests: a serialize member that itself
/// uses a queue gets another one.
template <class Buffer>
class Loan {
 public:
  Loan() : buffer_(take()) {}
  ~Loan() { give_back(buffer_); }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  Buffer& operator*() const noexcept { return *buffer_; }
  Buffer* operator->() const noexcept { return buffer_; }

 private:
  static Buffer* take();
  static void give_back(Buffer* buffer) noexcept;
  Buffer* buffer_;
};
using MessageLoan = Loan<Message>;
using EncoderLoan = Loan<Encoder>;
extern template class Loan<Message>;
extern template class Loan<Encoder>;

}  // namespace detail
}  // namespace brood::inline v1
