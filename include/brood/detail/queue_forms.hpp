// put and get in all their forms, for the queues that have them.                                  (room: channel)
#pragma once

#include <chrono>
#include <cstddef>
#include <iterator>
#include <optional>
#include <span>

#include "brood/deadline.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/detail/queue_items.hpp"
#include "brood/error.hpp"

namespace brood::inline v1::detail {

/// Base of a queue of T. `Queue` has put_core(), the QueueCore of its producers' side.
template <class Queue, class T>
class PutForms {
 public:
  /// Put one item at the end; sleep while the queue is full, unless its policy is another (QueueOptions::when_full).
  /// The attempts return whether the item is in.
  /// Errors: QueueClosed (closed here, or shut down); NoSpace (the item can never fit, or memory cannot be had);
  ///         what encoding the item throws — then nothing was put.
  ///         with WhenFull::fail also Full.
  void put(const T& item) {
    if (!put_before(item, Deadline::never())) core().refused();
  }
  [[nodiscard]] bool try_put(const T& item) { return put_before(item, Deadline::now()); }
  /// Units: any chrono duration; it bounds the whole call; zero or less means one attempt.
  template <class Rep, class Period>
  [[nodiscard]] bool try_put_for(const T& item, std::chrono::duration<Rep, Period> timeout) {
    return put_before(item, Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_put_until(const T& item, std::chrono::time_point<Clock, Duration> when) {
    return attempt_until(when, [&](Deadline deadline) { return put_before(item, deadline); });
  }
  /// As Python's put_nowait. Errors: Full.
  void put_nowait(const T& item) {
    if (!try_put(item)) throw Full(core().handle().str() + ": the queue is full");
  }
  /// Put all items, in order, as put() does: as many as fit under one lock, with one wake-up.
  /// Errors: as put(); the items before the one that cannot be put are in.
  /// Crash:  killed inside, the items up to some point are in, each of them whole.
  void put_many(std::span<const T> items) {
    if (put_many_before(items, Deadline::never()) != items.size()) core().refused();
  }
  /// The attempts return how many are in, from the first one on. Errors: QueueClosed only if none is.
  [[nodiscard]] std::size_t try_put_many(std::span<const T> items) { return put_many_before(items, Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] std::size_t try_put_many_for(std::span<const T> items, std::chrono::duration<Rep, Period> timeout) {
    return put_many_before(items, Deadline::after(timeout));
  }
  std::size_t put_many_before(std::span<const T> items, Deadline deadline) {
    return Items<T>::put_many(core(), items, deadline);
  }
  bool put_before(const T& item, Deadline deadline) { return Items<T>::put(core(), item, deadline); }

  /// Most items; 0 = unlimited.
  [[nodiscard]] std::size_t capacity() const { return core().capacity(); }
  [[nodiscard]] std::size_t byte_budget() const { return core().byte_budget(); }
  [[nodiscard]] WhenFull when_full() const { return core().when_full(); }
  [[nodiscard]] bool full() const { return core().full(); }
  /// Items that WhenFull::drop_oldest or drop_newest has cost so far. A producer killed in the middle may not have
  /// counted one.
  [[nodiscard]] std::uint64_t dropped() const { return core().dropped(); }

  /// This object will neither put nor take again; the queue goes on for everybody else. May be called again.
  void close() noexcept { core().close(); }
  [[nodiscard]] bool closed() const noexcept { return core().closed(); }
  [[nodiscard]] bool is_shut_down() const { return core().is_shut_down(); }
  [[nodiscard]] Handle handle() const { return core().handle(); }

 protected:
  ~PutForms() = default;
  PutForms() = default;
  PutForms(PutForms&&) noexcept = default;
  PutForms& operator=(PutForms&&) noexcept = default;

 private:
  [[nodiscard]] QueueCore& core() { return static_cast<Queue*>(this)->put_core(); }
  [[nodiscard]] const QueueCore& core() const { return static_cast<const Queue*>(this)->put_core(); }
};

/// Base of a queue from which `Item` is taken by get_before(Deadline).
template <class Queue, class Item>
class GetForms {
 public:
  /// Take the oldest item; sleep while the queue is empty.
  /// Errors: QueueClosed (closed here; shut down and empty); DecodeError, or what opening a shared object in the item
  ///         throws — then the item is gone; OsError if descriptors are too few for the shared objects in it — then it stays.
  [[nodiscard]] Item get() {
    // A plain value is copied once, from where it lies to where it shall be.
    if constexpr (requires { self().get_copied_once(); }) return self().get_copied_once();
    else return *self().get_before(Deadline::never());
  }
  [[nodiscard]] std::optional<Item> try_get() { return self().get_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<Item> try_get_for(std::chrono::duration<Rep, Period> timeout) {
    return self().get_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] std::optional<Item> try_get_until(std::chrono::time_point<Clock, Duration> when) {
    return attempt_until(when, [&](Deadline deadline) { return self().get_before(deadline); });
  }
  /// As Python's get_nowait. Errors: Empty.
  [[nodiscard]] Item get_nowait() {
    if (auto item = try_get()) return *std::move(item);
    throw Empty(self().handle().str() + ": the queue is empty");
  }

  /// `for (auto item : queue)` takes items until the queue is shut down and empty.
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Item;
    using difference_type = std::ptrdiff_t;
    using pointer = Item*;
    using reference = Item&;
    explicit Iterator(Queue* queue) : queue_(queue) { ++*this; }
    [[nodiscard]] Item& operator*() const { return *item_; }
    Iterator& operator++() {
      item_.reset();
      item_ = queue_->get_unless_over();
      return *this;
    }
    void operator++(int) { ++*this; }
    [[nodiscard]] bool operator==(std::default_sentinel_t /*end*/) const { return !item_.has_value(); }

   private:
    Queue* queue_;
    mutable std::optional<Item> item_;
  };
  [[nodiscard]] Iterator begin() { return Iterator(&self()); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  /// Nothing once the queue was shut down and is empty. Errors: QueueClosed if this object was closed.
  [[nodiscard]] std::optional<Item> get_unless_over() {
    try {
      return self().get_before(Deadline::never());
    } catch (const QueueClosed&) {
      if (self().closed()) throw;
      return std::nullopt;
    }
  }

 protected:
  ~GetForms() = default;
  GetForms() = default;
  GetForms(GetForms&&) noexcept = default;
  GetForms& operator=(GetForms&&) noexcept = default;

 private:
  [[nodiscard]] Queue& self() { return *static_cast<Queue*>(this); }
};

}  // namespace brood::inline v1::detail
