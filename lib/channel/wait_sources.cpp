// Queues, subscriptions and connections in a wait for many.
#include <poll.h>

#include <optional>

#include "brood/detail/broadcast_core.hpp"
#include "brood/detail/connection_core.hpp"
#include "brood/detail/priority_core.hpp"
#include "brood/detail/wait_source.hpp"
#include "brood/detail/work_core.hpp"
#include "channel/broadcast_body.hpp"
#include "channel/chunk_store.hpp"
#include "channel/item_table.hpp"
#include "channel/records.hpp"
#include "channel/side_lock.hpp"
#include "channel/transport.hpp"

namespace brood::inline v1::detail {
namespace {

using namespace channel;  // the parts of a queue

/// Where an attempt found somebody inside, or no room in the ring for more than a smaller item: nobody rings for that.
constexpr std::int64_t kTryAgainNs = 100'000'000;
constexpr std::int64_t kBusyNs = 1'000'000;

bool is_shut(const QueueBody& body) noexcept { return body.shutdown.load(std::memory_order_acquire) != 0; }

/// Something of a queue whose sleepers are woken by a WakeWord, one at a time.
class WakeWordSource : public WaitSource {
 public:
  WakeWordSource(const QueueCore& queue, WakeWord QueueBody::*word)
      : queue_(queue), body_(body_of(queue.object())), word_(body_.*word) {}

  [[nodiscard]] bool look() override {
    queue_.check_open();
    return is_ready();
  }
  [[nodiscard]] bool watch(Bell& bell) override {
    bell = {.word = &word_.word, .seen = word_.arm()};
    return look();
  }
  void pass_on() noexcept override {
    word_.arm();
    if (may_be_ready()) word_.notify();
  }
  [[nodiscard]] Handle object() const override { return queue_.handle(); }

 protected:
  [[nodiscard]] virtual bool is_ready() { return may_be_ready(); }
  /// Without any lock. If in doubt, yes.
  [[nodiscard]] virtual bool may_be_ready() const noexcept = 0;

  const QueueCore& queue_;
  QueueBody& body_;
  WakeWord& word_;
};

class QueueSource final : public WakeWordSource {
 public:
  explicit QueueSource(const QueueCore& queue) : WakeWordSource(queue, &QueueBody::not_empty) {}

 private:
  [[nodiscard]] bool may_be_ready() const noexcept override { return can_read(body_) || is_shut(body_); }
};

class WorkSource final : public WakeWordSource {
 public:
  explicit WorkSource(const WorkCore& work) : WakeWordSource(work.queue(), &QueueBody::not_empty), work_(work) {}

 private:
  [[nodiscard]] bool is_ready() override { return work_.is_ready(); }
  [[nodiscard]] bool may_be_ready() const noexcept override {
    return table_of(body_).in_line.load() != 0 || can_read(body_) || is_shut(body_);
  }
  const WorkCore& work_;
};

class PrioritySource final : public WakeWordSource {
 public:
  explicit PrioritySource(const PriorityCore& queue) : WakeWordSource(queue.queue(), &QueueBody::not_empty) {}

 private:
  [[nodiscard]] bool may_be_ready() const noexcept override {
    return table_of(body_).in_line.load() != 0 || is_shut(body_);
  }
};

class RoomSource final : public WakeWordSource {
 public:
  explicit RoomSource(const QueueCore& queue) : WakeWordSource(queue, &QueueBody::not_full) {}

 private:
  [[nodiscard]] bool may_be_ready() const noexcept override {
    return static_cast<WhenFull>(body_.when_full) != WhenFull::block || can_append(body_, record::units_for(0));
  }
};

bool has_place(const QueueBody& body) noexcept {
  return body.capacity_items == 0 || table_of(const_cast<QueueBody&>(body)).in_line.load() < body.capacity_items;
}

class PriorityRoomSource final : public WakeWordSource {
 public:
  explicit PriorityRoomSource(const PriorityCore& queue) : WakeWordSource(queue.queue(), &QueueBody::not_full) {}

 private:
  [[nodiscard]] bool may_be_ready() const noexcept override { return has_place(body_) || is_shut(body_); }
};

/// For an item of any size: has something been taken since an attempt failed?
class TakenSource final : public WakeWordSource {
 public:
  TakenSource(const QueueCore& queue, bool is_priority)
      : WakeWordSource(queue, &QueueBody::not_full),
        is_priority_(is_priority),
        mark_(mark()),
        chunks_(is_priority ? nullptr : queue.chunk_store()) {
    if (chunks_ == nullptr) return;
    seeker_.emplace(*chunks_);
    given_back_ = chunks_->given_back();
  }
  [[nodiscard]] bool watch(Bell& bell) override {
    if (WakeWordSource::watch(bell)) return true;
    if (is_priority_ ? !has_place(body_) : !can_append(body_, record::units_for(0))) return false;
    // There is room, but the attempt failed: the item is larger, waits for memory outside of the ring, or somebody stood
    // in the way.
    if (chunks_ != nullptr) {
      bell = {.word = &chunks_->room().word, .seen = chunks_->room().arm()};
      if (may_be_ready()) return true;
    }
    bell.look_again_ns = kTryAgainNs;
    return std::exchange(has_waited_, true);
  }

 private:
  [[nodiscard]] std::uint64_t mark() const noexcept {
    return is_priority_ ? table_of(body_).freed.load() : body_.head.load(std::memory_order_acquire);
  }
  [[nodiscard]] bool may_be_ready() const noexcept override {
    return mark() != mark_ || is_shut(body_) || (chunks_ != nullptr && chunks_->given_back() != given_back_);
  }

  bool is_priority_;
  std::uint64_t mark_;
  ChunkStore* chunks_;
  std::optional<ChunkStore::Seeker> seeker_;  // made before the attempt, so that what comes back after it is counted
  std::uint32_t given_back_ = 0;
  bool has_waited_ = false;
};

class SubscriptionSource final : public WaitSource {
 public:
  explicit SubscriptionSource(const SubscriptionCore& subscription)
      : subscription_(subscription), news_(broadcast_body_of(subscription.object()).news) {}
  [[nodiscard]] bool look() override { return subscription_.is_ready(); }
  [[nodiscard]] bool watch(Bell& bell) override {
    bell = {.word = &news_.word, .seen = news_.arm()};
    return look();
  }
  [[nodiscard]] Handle object() const override { return subscription_.handle(); }

 private:
  const SubscriptionCore& subscription_;
  WakeWord& news_;
};

class ConnectionSource final : public WaitSource {
 public:
  explicit ConnectionSource(const ConnectionCore& connection)
      : connection_(connection), name_(connection.transport().name()), fd_(connection.transport().descriptor()) {}
  [[nodiscard]] bool look() override { return connection_.transport().readable_now(); }
  [[nodiscard]] bool watch(Bell& bell) override {
    if (fd_ >= 0) return look();
    Transport::Bell its{};
    const bool ready = connection_.transport().watch_message(its, search_);
    bell = {.word = its.word, .seen = its.seen, .look_again_ns = search_.pause_ns};
    return ready;
  }
  [[nodiscard]] int descriptor() const noexcept override { return fd_; }
  [[nodiscard]] short events() const noexcept override { return POLLIN; }
  [[nodiscard]] Handle object() const override { return name_; }

 private:
  const ConnectionCore& connection_;
  Handle name_;
  int fd_;
  Transport::Search search_;
};

class ConnectionTakenSource final : public WaitSource {
 public:
  explicit ConnectionTakenSource(const ConnectionCore& connection)
      : connection_(connection),
        name_(connection.sending_transport().name()),
        fd_(connection.sending_transport().descriptor()),
        mark_(connection.sending_transport().taken_mark()) {}
  [[nodiscard]] bool look() override {
    Bell bell;
    return watch(bell);
  }
  [[nodiscard]] bool watch(Bell& bell) override {
    if (fd_ >= 0) {
      pollfd entry{fd_, POLLOUT, 0};
      return ::poll(&entry, 1, 0) != 0;
    }
    Transport::Bell its{};
    const bool ready = connection_.sending_transport().watch_taken(its, search_, mark_);
    bell = {.word = its.word,
            .seen = its.seen,
            .look_again_ns = search_.pause_ns != 0 ? search_.pause_ns
                             : search_.is_busy     ? kBusyNs
                                                   : 0};
    return ready;
  }
  [[nodiscard]] int descriptor() const noexcept override { return fd_; }
  [[nodiscard]] short events() const noexcept override { return POLLOUT; }
  [[nodiscard]] Handle object() const override { return name_; }

 private:
  const ConnectionCore& connection_;
  Handle name_;
  int fd_;
  std::uint64_t mark_;
  Transport::Search search_;
};

}  // namespace

WaitSourcePointer queue_source(const QueueCore& queue) {
  queue.check_open();
  return std::make_unique<QueueSource>(queue);
}
WaitSourcePointer work_source(const WorkCore& queue) {
  queue.queue().check_open();
  return std::make_unique<WorkSource>(queue);
}
WaitSourcePointer priority_source(const PriorityCore& queue) {
  queue.queue().check_open();
  return std::make_unique<PrioritySource>(queue);
}
WaitSourcePointer subscription_source(const SubscriptionCore& subscription) {
  (void)subscription.is_ready();
  return std::make_unique<SubscriptionSource>(subscription);
}
WaitSourcePointer connection_source(const ConnectionCore& connection) {
  return std::make_unique<ConnectionSource>(connection);
}
WaitSourcePointer room_source(const QueueCore& queue) {
  queue.check_open();
  return std::make_unique<RoomSource>(queue);
}
WaitSourcePointer room_source(const PriorityCore& queue) {
  queue.queue().check_open();
  return std::make_unique<PriorityRoomSource>(queue);
}
WaitSourcePointer taken_source(const QueueCore& queue) {
  queue.check_open();
  return std::make_unique<TakenSource>(queue, false);
}
WaitSourcePointer taken_source(const PriorityCore& queue) {
  queue.queue().check_open();
  return std::make_unique<TakenSource>(queue.queue(), true);
}
WaitSourcePointer taken_source(const ConnectionCore& connection) {
  return std::make_unique<ConnectionTakenSource>(connection);
}

}  // namespace brood::inline v1::detail
