// QueueProxy and its kin: queues that a Manager keeps.                                            (room: manager)
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "brood/proxy.hpp"

namespace brood::inline v1 {
namespace detail {

/// The interface of Queue<T> that does not lend memory.
template <class T, class Self>
class QueueProxyForms : public ProxyBase {
 public:
  using value_type = T;

  /// Put one; sleep while there is no room. Errors: QueueClosed (shut down); ManagerDied.
  void put(const T& item) const { (void)put_before(item, Deadline::never()); }
  [[nodiscard]] bool try_put(const T& item) const { return put_before(item, Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] bool try_put_for(const T& item, std::chrono::duration<Rep, Period> timeout) const {
    return put_before(item, Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool try_put_until(const T& item, std::chrono::time_point<Clock, Duration> when) const {
    return attempt_until(when, [&](Deadline deadline) { return put_before(item, deadline); });
  }
  bool put_before(const T& item, Deadline deadline) const { return put_with(item, deadline, 0); }
  /// Errors: Full.
  void put_nowait(const T& item) const {
    if (!try_put(item)) throw Full("the managed queue is full");
  }

  /// Take one; sleep until there is one. Errors: QueueClosed (shut down and empty); ManagerDied.
  [[nodiscard]] T get() const { return *get_before(Deadline::never()); }
  [[nodiscard]] std::optional<T> try_get() const { return get_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] std::optional<T> try_get_for(std::chrono::duration<Rep, Period> timeout) const {
    return get_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] std::optional<T> try_get_until(std::chrono::time_point<Clock, Duration> when) const {
    return attempt_until(when, [&](Deadline deadline) { return get_before(deadline); });
  }
  [[nodiscard]] std::optional<T> get_before(Deadline deadline) const {
    return std::move(core_.template call<MaybeOne<T>>("get", Timeout{deadline}).value);
  }
  /// Errors: Empty.
  [[nodiscard]] T get_nowait() const {
    if (auto item = try_get()) return *std::move(item);
    throw Empty("the managed queue is empty");
  }

  /// All that come until the queue is shut down and empty: for (const T& item : queue).
  class iterator {  // NOLINT(readability-identifier-naming): the name that ranges look for
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using pointer = T*;
    using reference = T&;
    explicit iterator(const QueueProxyForms* queue) : queue_(queue) { ++*this; }
    [[nodiscard]] T& operator*() const { return *item_; }
    iterator& operator++() {
      item_ = queue_->get_unless_over();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& it, std::default_sentinel_t /*end*/) { return !it.item_; }

   private:
    const QueueProxyForms* queue_;
    mutable std::optional<T> item_ = {};
  };
  [[nodiscard]] iterator begin() const { return iterator(this); }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }
  /// Nothing once the queue was shut down and is empty.
  [[nodiscard]] std::optional<T> get_unless_over() const {
    try {
      return get_before(Deadline::never());
    } catch (const QueueClosed&) {
      return std::nullopt;
    }
  }

  [[nodiscard]] std::size_t qsize() const { return core_.template call<std::size_t>("qsize"); }
  [[nodiscard]] bool empty() const { return qsize() == 0; }
  /// 0: no limit.
  [[nodiscard]] std::size_t capacity() const { return core_.template call<std::size_t>("capacity"); }
  [[nodiscard]] bool full() const {
    const std::size_t most = capacity();
    return most != 0 && qsize() >= most;
  }
  /// No more puts; what is in it can still be taken, unless it is to be dropped at once.
  void shutdown(bool immediately = false) const { core_.template call<void>("shutdown", immediately); }

  friend std::ostream& operator<<(std::ostream& out, const Self& queue) {
    return out << queue.core().printed(Self::type());
  }

 protected:
  using ProxyBase::ProxyBase;
  bool put_with(const T& item, Deadline deadline, std::int64_t priority) const {
    return core_.template call<bool>("put", item, Timeout{deadline}, priority);
  }
};

}  // namespace detail

/// manager.queue<T>(capacity): the interface of Queue<T>, at the price of a call to the server each. Between processes of one
/// machine a Queue is faster and needs no server.
/// Crash: what a killed client had taken is gone with it. Source: Python SyncManager.Queue.
template <class T>
class QueueProxy : public detail::QueueProxyForms<T, QueueProxy<T>> {
 public:
  explicit QueueProxy(detail::ProxyCore core) noexcept : detail::QueueProxyForms<T, QueueProxy>(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "Queue<" + detail::type_name<T>() + ">"; }
};

/// The lowest number first, among equals the oldest.
template <class T>
class PriorityQueueProxy : public detail::QueueProxyForms<T, PriorityQueueProxy<T>> {
 public:
  explicit PriorityQueueProxy(detail::ProxyCore core) noexcept
      : detail::QueueProxyForms<T, PriorityQueueProxy>(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "PriorityQueue<" + detail::type_name<T>() + ">"; }
  using detail::QueueProxyForms<T, PriorityQueueProxy>::put;
  void put(const T& item, std::int64_t priority) const { (void)this->put_with(item, Deadline::never(), priority); }
};

/// A queue whose items are reported as done. Crash: what a killed client had taken and not reported goes back to the front.
template <class T>
class JoinableQueueProxy : public detail::QueueProxyForms<T, JoinableQueueProxy<T>> {
 public:
  explicit JoinableQueueProxy(detail::ProxyCore core) noexcept
      : detail::QueueProxyForms<T, JoinableQueueProxy>(std::move(core)) {}
  [[nodiscard]] static std::string type() { return "JoinableQueue<" + detail::type_name<T>() + ">"; }
  /// One item that this process took is done. Errors: ReleasedTooOften if it took none that is not.
  void task_done() const { this->core().template call<void>("task_done"); }
  /// Sleep until everything that was put is done.
  void join() const { (void)join_before(Deadline::never()); }
  [[nodiscard]] bool try_join() const { return join_before(Deadline::now()); }
  template <class Rep, class Period>
  [[nodiscard]] bool join_for(std::chrono::duration<Rep, Period> timeout) const {
    return join_before(Deadline::after(timeout));
  }
  template <class Clock, class Duration>
  [[nodiscard]] bool join_until(std::chrono::time_point<Clock, Duration> when) const {
    return detail::attempt_until(when, [this](Deadline deadline) { return join_before(deadline); });
  }
  [[nodiscard]] std::size_t unfinished() const { return this->core().template call<std::size_t>("unfinished"); }

 private:
  bool join_before(Deadline deadline) const {
    return this->core().template call<bool>("join", detail::Timeout{deadline});
  }
};

}  // namespace brood::inline v1
