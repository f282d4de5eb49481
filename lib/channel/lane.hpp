// Lane: one side of a ring is for one thread at a time; for the thread that is always the same it costs two stores.
#pragma once

#include <utility>

#include "channel/pipe_body.hpp"
#include "os/membarrier.hpp"

namespace brood::inline v1::channel {

/// One stay in a lane.
///
/// A lane is a lock of room sync, and beside it the *favourite*: a thread that has used the lane often enough, with
/// nobody in between, goes in and out without the lock:
///
///   favourite                        anybody else (holds the lock)
///   favourite == me?                 favourite = them, withdrawn
///   inside = 1                       barrier_for_all()
///   (compiler keeps the order)       sleep while inside == 1 and they live
///   favourite == me?  in             favourite = 0: in
///   inside = 0        out
///
/// After the barrier either the favourite's second look sees that it was withdrawn, or we see it inside. A favourite that
/// died inside is found like a dead owner of the lock: the stay is `healed()`, and what it left half done is for us to
/// repair. Killed while withdrawing: the lock is healed, and its next owner begins anew.
class InLane {
 public:
  InLane(LaneBody& lane, sync::LockBody& lock, bool asymmetric, const sync::LockContext& context, Deadline deadline)
      : lane_(lane), lock_(lock) {
    const registry::Id id = registry::self();
    me_ = sync::held_by(id, registry::self_tid(id));
    if (asymmetric && lane.favourite.load(std::memory_order_relaxed) == me_) [[likely]] {
      if (enter_as_favourite()) return;
    }
    enter_by_lock(asymmetric, context, deadline);
  }
  /// As the favourite, or not at all.
  struct AtOnce {};
  static constexpr AtOnce at_once{};
  InLane(LaneBody& lane, sync::LockBody& lock, AtOnce /*tag*/) : lane_(lane), lock_(lock) {
    const registry::Id id = registry::self();
    me_ = sync::held_by(id, registry::self_tid(id));
    if (lane.favourite.load(std::memory_order_relaxed) == me_) enter_as_favourite();
  }
  ~InLane() { leave(); }
  InLane(const InLane&) = delete;
  InLane& operator=(const InLane&) = delete;

  [[nodiscard]] bool timed_out() const noexcept { return way_ == Way::out && !was_in_; }
  /// Whoever was in before died inside.
  [[nodiscard]] bool healed() const noexcept { return healed_; }
  void leave() noexcept {
    switch (std::exchange(way_, Way::out)) {
      case Way::favourite: leave_as_favourite(); break;
      case Way::lock: sync::release(lock_); break;
      case Way::out: break;
    }
  }

  /// Somebody who will not leave is in: died there, and nobody has come since.
  [[nodiscard]] static bool is_orphaned(const LaneBody& lane, const sync::LockBody& lock) noexcept;

 private:
  enum class Way : std::uint8_t { out, favourite, lock };

  bool enter_as_favourite() noexcept {
    lane_.inside.store(1, std::memory_order_relaxed);
    // SYNC lane: pairs with barrier_for_all in withdraw(). What others wrote before came to us with the lock, when we
    // became the favourite; nobody has been in since.
    os::no_reorder();
    if (lane_.favourite.load(std::memory_order_relaxed) != me_) {
      leave_as_favourite();
      return false;
    }
    way_ = Way::favourite;
    was_in_ = true;
    return true;
  }
  void leave_as_favourite() noexcept {
    // SYNC lane: release, for who sees us outside.
    lane_.inside.store(0, std::memory_order_release);
    os::no_reorder();
    if (lane_.favourite.load(std::memory_order_relaxed) != me_) [[unlikely]]
      os::futex_wake_all(lane_.inside);
  }
  void enter_by_lock(bool asymmetric, const sync::LockContext& context, Deadline deadline);
  bool withdraw(std::uint64_t favourite, const sync::LockContext& context, Deadline deadline);
  void maybe_become_favourite() noexcept;

  LaneBody& lane_;
  sync::LockBody& lock_;
  std::uint64_t me_ = 0;
  Way way_ = Way::out;
  bool was_in_ = false;
  bool healed_ = false;
};

}  // namespace brood::inline v1::channel
