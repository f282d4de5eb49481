// Queue: a typed first-in-first-out channel between any number of processes.                      (room: channel)
//
// Complete example: examples/03_queue.cpp
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "brood/deadline.hpp"
#include "brood/detail/codec.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/detail/type_id.hpp"
#include "brood/error.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1 {

/// A queue of T in shared memory: several producers, several consumers. T is any type that travels
/// (brood/serialize.hpp): values are copied, shared objects in them are reopened by the receiver.
///
/// put() returns when the item is in the segment: there is no hidden thread, and its producer may end at once. Items of
/// one producer stay in order.
///
/// Capacity:   in items (0 = as many as the bytes hold, at most 134217727) and in bytes (QueueOptions). The memory
///             grows with what is in it, by doubling, and is kept until the queue goes.
/// Shape:      one segment: 4 KiB, the ring (64 KiB at first), and the byte budget as address space; no descriptor.
/// Threads:    safe.     Processes: safe, through the handle.
/// Crash:      a producer killed inside put has put its item wholly or not at all; a consumer killed inside get has
///             taken it or left it to others. What a killed consumer had taken is gone with it. Nobody else waits for
///             the dead.
/// Lifetime:   an unnamed queue is freed, with what is in it, with its last user; a named one lives until remove().
///             A shared object whose handle lies in the queue lives as long as the message does.
/// Source:     Python multiprocessing.Queue, and queue.Queue.shutdown of 3.13; ring with in-band commit:
///             lib/channel/README.md.
template <class T>
class Queue {
 public:
  using value_type = T;

  /// Errors: UsageError (limits out of range), NoSpace, PermissionDenied, OsError.
  explicit Queue(std::size_t capacity = 0) : Queue(QueueOptions{.capacity = capacity}) {}
  explicit Queue(const QueueOptions& options) : core_(detail::QueueCore::create(options, type())) {}
  /// With a name. Errors: also AlreadyExists, UsageError (a bad name).
  [[nodiscard]] static Queue create(std::string_view name, const QueueOptions& options = {}) {
    return Queue(detail::QueueCore::create_named(name, options, type()));
  }
  /// An existing queue keeps its own options. Errors: TypeMismatch if it holds another type.
  [[nodiscard]] static Queue open_or_create(std::string_view name, const QueueOptions& options = {}) {
    return Queue(detail::QueueCore::open_or_create(name, options, type()));
  }
  /// Errors: HandleError (malformed, stale), TypeMismatch (another kind, payload or layout), PermissionDenied, OsError.
  [[nodiscard]] static Queue open(const Handle& handle) { return Queue(detail::QueueCore::open(handle, type())); }
  [[nodiscard]] static Queue open_named(std::string_view name) {
    return Queue(detail::QueueCore::open_named(name, type()));
  }
  /// Takes the name away; who has the queue open keeps it. False if there was none.
  static bool remove(std::string_view name) { return detail::remove_queue(name); }

  /// Put one item at the end; sleep while the queue is full, unless its policy is another (QueueOptions::when_full).
  /// The attempts return whether the item is in.
  /// Errors: QueueClosed (closed here, or shut down); NoSpace (the item can never fit, or memory cannot be had);
  ///         what encoding the item throws — then nothing was put.
  ///         with WhenFull::fail also Full.
  void put(const T& item) {
    if (!put_before(item, Deadline::never())) core_.refused();
  }
  [[nodiscard]] bool try_put(const T& item) { return put_before(item, Deadline::now()); }
  /// Units: any chrono duration; it bounds the whole call; zero or less means one attempt.
  template <class Rep, class Period>
  [[nodiscard]] bool try_put_for(const T& item, std::chrono::duration<Rep, Period> timeout) {
    return put_before(item, Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_put_until(const T& item, std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return put_before(item, deadline); });
  }
  /// As Python's put_nowait. Errors: Full.
  void put_nowait(const T& item) {
    if (!try_put(item)) throw Full(handle().str() + ": the queue is full");
  }
  /// Put all items, in order, as put() does: as many as fit under one lock, with one wake-up.
  /// Errors: as put(); the items before the one that cannot be put are in.
  /// Crash:  killed inside, the items up to some point are in, each of them whole.
  void put_many(std::span<const T> items) {
    if (put_many_before(items, Deadline::never()) != items.size()) core_.refused();
  }
  /// The attempts return how many are in, from the first one on. Errors: QueueClosed only if none is.
  [[nodiscard]] std::size_t try_put_many(std::span<const T> items) { return put_many_before(items, Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] std::size_t try_put_many_for(std::span<const T> items, std::chrono::duration<Rep, Period> timeout) {
    return put_many_before(items, Deadline::after(timeout));
  }
  std::size_t put_many_before(std::span<const T> items, Deadline deadline) {
    std::size_t done = 0;
    while (done < items.size()) {
      const auto [put, tried] = put_some(items.subspan(done), deadline);
      done += put;
      if (put < tried) break;
    }
    return done;
  }

  bool put_before(const T& item, Deadline deadline) {
    if constexpr (kRaw) {
      std::array<std::byte, sizeof(T)> bytes;
      detail::store_raw(bytes.data(), item);
      return core_.put(bytes, {}, deadline);
    } else {
      const detail::EncoderLoan encoder;
      detail::encode(*encoder, item);
      return core_.put(encoder->bytes(), encoder->handles(), deadline);
    }
  }

  /// Take the oldest item; sleep while the queue is empty.
  /// Errors: QueueClosed (closed here; shut down and empty); DecodeError, or what opening a shared object in the item
  ///         throws — then the item is gone.
  [[nodiscard]] T get() { return *get_before(Deadline::never()); }
  [[nodiscard]] std::optional<T> try_get() { return get_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<T> try_get_for(std::chrono::duration<Rep, Period> timeout) {
    return get_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] std::optional<T> try_get_until(std::chrono::time_point<Clock, Duration> when) {
    return detail::attempt_until(when, [&](Deadline deadline) { return get_before(deadline); });
  }
  /// As Python's get_nowait. Errors: Empty.
  [[nodiscard]] T get_nowait() {
    if (auto item = try_get()) return *std::move(item);
    throw Empty(handle().str() + ": the queue is empty");
  }
  [[nodiscard]] std::optional<T> get_before(Deadline deadline) {
    if constexpr (kRaw) {
      std::array<std::byte, sizeof(T)> bytes;
      if (!core_.get_raw(bytes, deadline)) return std::nullopt;
      return from_raw(bytes.data());
    } else {
      const detail::MessageLoan message;
      if (!core_.get(*message, deadline)) return std::nullopt;
      return decode(message->bytes());
    }
  }

  /// Take what is there, up to `most` items, under one lock, and append it to `into`; sleep while there is nothing.
  /// Returns how many; large items come fewer at a time, but at least one.
  /// Errors: as get(). If an item of several cannot be decoded, all the others are in `into`.
  /// Crash:  killed inside, some of the oldest items are gone, those behind them are left to others.
  std::size_t get_many(std::vector<T>& into, std::size_t most) {
    return get_many_before(into, most, Deadline::never());
  }
  /// The attempts return 0 if nothing came.
  [[nodiscard]] std::size_t try_get_many(std::vector<T>& into, std::size_t most) {
    return get_many_before(into, most, Deadline::now());
  }
  template <class Rep, class Period>
  [[nodiscard]] std::size_t try_get_many_for(std::vector<T>& into, std::size_t most,
                                             std::chrono::duration<Rep, Period> timeout) {
    return get_many_before(into, most, Deadline::after(timeout));
  }
  std::size_t get_many_before(std::vector<T>& into, std::size_t most, Deadline deadline) {
    if (most == 0) return 0;
    const detail::MessageLoan message;
    if (!core_.get_many(*message, most, deadline)) return 0;
    std::exception_ptr first_error;
    for (std::size_t i = 0; i < message->items(); ++i) {
      try {
        into.push_back(decode(message->bytes(i)));
      } catch (...) {
        if (!first_error) first_error = std::current_exception();
      }
    }
    if (first_error) std::rethrow_exception(first_error);
    return message->items();
  }

  /// Items in the queue: exact when nobody is putting or taking, else as of some instant of the call.
  [[nodiscard]] std::size_t qsize() const { return core_.qsize(); }
  [[nodiscard]] bool empty() const { return core_.empty(); }
  [[nodiscard]] bool full() const { return core_.full(); }
  /// Most items; 0 = unlimited.
  [[nodiscard]] std::size_t capacity() const { return core_.capacity(); }
  [[nodiscard]] std::size_t byte_budget() const { return core_.byte_budget(); }
  [[nodiscard]] WhenFull when_full() const { return core_.when_full(); }
  /// Items that WhenFull::drop_oldest or drop_newest has cost so far. A producer killed in the middle may not have
  /// counted one.
  [[nodiscard]] std::uint64_t dropped() const { return core_.dropped(); }

  /// This object will neither put nor take again; the queue goes on for everybody else. May be called again.
  void close() noexcept { core_.close(); }
  [[nodiscard]] bool closed() const noexcept { return core_.closed(); }
  /// End the queue for everybody: puts fail from now on; takers get what is left and then QueueClosed. With
  /// `immediate`, what is left is discarded. Everybody who sleeps in the queue wakes.
  void shutdown(bool immediate = false) { core_.shutdown(immediate); }
  [[nodiscard]] bool is_shut_down() const { return core_.is_shut_down(); }

  /// `for (T item : queue)` takes items until the queue is shut down and empty.
  class iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = T*;
    using reference = T&;
    explicit iterator(Queue* queue) : queue_(queue) { ++*this; }
    [[nodiscard]] T& operator*() const { return *item_; }
    iterator& operator++() {
      item_ = queue_->get_unless_over();
      return *this;
    }
    void operator++(int) { ++*this; }
    [[nodiscard]] bool operator==(std::default_sentinel_t /*end*/) const { return !item_.has_value(); }

   private:
    Queue* queue_;
    mutable std::optional<T> item_;
  };
  [[nodiscard]] iterator begin() { return iterator(this); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  [[nodiscard]] Handle handle() const { return core_.handle(); }
  friend std::ostream& operator<<(std::ostream& out, const Queue& queue) { return out << queue.core_.printed(); }

 private:
  explicit Queue(detail::QueueCore core) noexcept : core_(std::move(core)) {}

  /// Plain data is copied straight between T and the ring.
  static constexpr bool kRaw = detail::raw_layout<T> && !std::is_empty_v<T>;

  [[nodiscard]] static const detail::QueueCore::Type& type() {
    static const detail::QueueCore::Type it{detail::type_fingerprint<T>(), detail::type_name<T>()};
    return it;
  }
  /// A batch is encoded in parts of about this size.
  static constexpr std::size_t kPartBytes = std::size_t{64} << 10;
  struct PutSome {
    std::size_t put;
    std::size_t tried;
  };
  [[nodiscard]] PutSome put_some(std::span<const T> items, Deadline deadline) {
    if constexpr (kRaw) {
      items = items.first(std::min(items.size(), std::max<std::size_t>(1, kPartBytes / sizeof(T))));
      std::vector<std::byte> bytes(items.size() * sizeof(T));
      for (std::size_t i = 0; i < items.size(); ++i) detail::store_raw(bytes.data() + i * sizeof(T), items[i]);
      return {core_.put_many({.bytes = bytes, .each = sizeof(T)}, deadline), items.size()};
    } else {
      const detail::EncoderLoan encoder;
      std::vector<detail::Batch::End> ends;
      do {
        try {
          detail::encode(*encoder, items[ends.size()]);
        } catch (...) {
          if (ends.empty()) throw;  // else those before it are put first; it will be the first of the next part
          break;
        }
        ends.push_back({encoder->bytes().size(), encoder->handles().size()});
      } while (ends.size() < items.size() && encoder->bytes().size() < kPartBytes);
      return {core_.put_many({.bytes = encoder->bytes(), .handles = encoder->handles(), .ends = ends}, deadline),
              ends.size()};
    }
  }
  [[nodiscard]] T from_raw(const std::byte* bytes) const {
    if (!detail::raw_bytes_are_valid<T>(bytes))
      throw DecodeError(handle().str() + ": took bytes that are no " + type().name);
    return detail::load_raw<T>(bytes);
  }
  [[nodiscard]] T decode(std::span<const std::byte> bytes) const {
    if constexpr (kRaw) {
      if (bytes.size() != sizeof(T))
        throw DecodeError(handle().str() + ": took an item of " + std::to_string(bytes.size()) +
                          " bytes where its type has another size");
      return from_raw(bytes.data());
    } else {
      Decoder decoder(bytes);
      T item = detail::decode<T>(decoder);
      decoder.finish();
      return item;
    }
  }
  /// Nothing once the queue was shut down and is empty.
  [[nodiscard]] std::optional<T> get_unless_over() {
    try {
      return get_before(Deadline::never());
    } catch (const QueueClosed&) {
      if (core_.closed()) throw;
      return std::nullopt;
    }
  }

  detail::QueueCore core_;
};

}  // namespace brood::inline v1
