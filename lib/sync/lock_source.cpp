// Lock and RLock in a wait for many.
#include "brood/detail/wait_source.hpp"
#include "registry/registry.hpp"
#include "sync/lock_body.hpp"

namespace brood::inline v1 {
namespace {

/// Would lock() return, or throw, without sleeping?
class LockSource final : public detail::WaitSource {
 public:
  /// `mine`: the word of a lock that may be taken once more by who holds it; 0 if it may not.
  LockSource(const detail::Object& lock, std::uint64_t mine)
      : lock_(*static_cast<sync::LockBody*>(lock.body())), mine_(mine), handle_(lock.handle()) {}

  [[nodiscard]] bool look() override { return can_go(lock_.word.load(std::memory_order_acquire)); }
  [[nodiscard]] bool watch(Bell& bell) override {
    std::uint64_t word = lock_.word.load(std::memory_order_acquire);
    for (;;) {
      if (can_go(word)) return true;
      if ((word & sync::kWaiters) != 0 || lock_.word.compare_exchange_weak(word, word | sync::kWaiters)) break;
    }
    owner_ = sync::owner_of(word);
    bell = {.word = &sync::low_half(lock_.word),
            .seen = static_cast<std::uint32_t>(word) | sync::kWaiters,
            .blocked_on = owner_};
    return false;
  }
  void pass_on() noexcept override { sync::pass_wake_on(lock_); }
  void look_round() noexcept override {
    if (registry::is_alive(owner_) && registry::bury_if_gone(owner_, 0))
      registry::registry().heads.deaths_by_tick.fetch_add(1);
  }
  [[nodiscard]] Handle object() const override { return handle_; }

 private:
  [[nodiscard]] bool can_go(std::uint64_t word) const noexcept {
    const registry::Id owner = sync::owner_of(word);
    return owner == registry::kNobody || (word & sync::kDamaged) != 0 || !registry::is_alive(owner) ||
           (mine_ != 0 && (word & ~std::uint64_t{sync::kWaiters}) == mine_);
  }

  sync::LockBody& lock_;
  std::uint64_t mine_;
  registry::Id owner_ = registry::kNobody;
  Handle handle_;
};

}  // namespace

detail::WaitSourcePointer detail::lock_source(const Object& lock) {
  (void)registry::self();
  return std::make_unique<LockSource>(lock, 0);
}

detail::WaitSourcePointer detail::rlock_source(const Object& lock) {
  const registry::Id me = registry::self();
  return std::make_unique<LockSource>(lock, sync::held_by(me, registry::self_tid(me)));
}

}  // namespace brood::inline v1
