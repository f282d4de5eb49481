// Semaphore, BoundedSemaphore, Event and Barrier.
#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>
#include <utility>

#include "brood/error.hpp"
#include "brood/semaphore.hpp"
#include "manager/served_types.hpp"
#include "manager/session.hpp"

namespace brood::inline v1::manager {
namespace {

/// Counts. A bounded one knows who has how many: what the dead had returns.
class ServedSemaphore final : public Sleeping {
 public:
  /// [initial value]
  ServedSemaphore(Call& call, bool is_bounded) : is_bounded_(is_bounded) {
    call.arguments(1, "the initial value");
    const std::int64_t value = call.in.sint();
    if (value < 0 || value > Semaphore::kMaxValue)
      throw UsageError("a semaphore's value must be between 0 and 2147483647, got " + std::to_string(value));
    initial_ = static_cast<std::uint32_t>(value);
    value_ = initial_;
  }
  void call(std::string_view method, Call& call) override {
    run_method(kMethods, *this, is_bounded_ ? "BoundedSemaphore" : "Semaphore", method, call);
  }
  void save(Saver& saver) override {
    Encoder arguments;
    arguments.array_header(1);
    arguments.uint(initial_);
    saver.save(*this, arguments);
  }
  void client_gone(const Client& client) override {
    const Lock lock(mutex_);
    const auto it = held_.find(&client);
    if (it == held_.end()) return;
    value_ += it->second;
    held_.erase(it);
    changed_.notify_all();
  }

 private:
  /// [timeout]
  void acquire(Call& call) {
    call.arguments(1, "acquire");
    const Deadline deadline = call.deadline();
    Lock lock(mutex_);
    const bool got = wait(lock, call, deadline, [this] { return value_ > 0; });
    if (got) {
      --value_;
      if (is_bounded_) {
        ++held_[call.session->client().get()];
        call.session->client()->remember(call.session->entry());
      }
    }
    call.out.boolean(got);
  }
  /// [how many]
  void release(Call& call) {
    call.arguments(1, "release");
    const auto count = call.in.integer<std::uint32_t>();
    const Lock lock(mutex_);
    if (count == 0) throw UsageError("a semaphore is released at least once");
    if (is_bounded_ && count > initial_ - value_)
      throw ReleasedTooOften("a managed bounded semaphore was released above its initial value of " +
                             std::to_string(initial_));
    if (count > static_cast<std::uint32_t>(Semaphore::kMaxValue) - value_)
      throw ReleasedTooOften("a managed semaphore was released above the ceiling of 2147483647 units");
    for (std::uint32_t left = count; is_bounded_ && left > 0; --left) take_back(call.session->client().get());
    value_ += count;
    changed_.notify_all();
    call.out.nil();
  }
  /// One less of the releaser's; one that another acquired may be released by anybody.
  void take_back(const Client* client) {
    auto it = held_.find(client);
    if (it == held_.end()) it = held_.begin();
    if (it == held_.end()) return;
    if (--it->second == 0) held_.erase(it);
  }
  void value(Call& call) {
    call.arguments(0, "value");
    const Lock lock(mutex_);
    call.out.uint(value_);
  }
  using M = Method<ServedSemaphore>;
  static constexpr std::array kMethods = {
      M{"acquire", &ServedSemaphore::acquire},
      M{"release", &ServedSemaphore::release},
      M{"value", &ServedSemaphore::value},
  };
  const bool is_bounded_;
  std::uint32_t initial_ = 0;
  std::uint32_t value_ = 0;
  std::unordered_map<const Client*, std::uint32_t> held_;
};

class ServedEvent final : public Sleeping {
 public:
  explicit ServedEvent(Call& call) { call.arguments(0, "no arguments"); }
  void call(std::string_view method, Call& call) override { run_method(kMethods, *this, "Event", method, call); }
  void save(Saver& saver) override {
    Encoder arguments;
    arguments.array_header(0);
    saver.save(*this, arguments);
  }

 private:
  void set(Call& call) {
    call.arguments(0, "set");
    const Lock lock(mutex_);
    is_set_ = true;
    ++times_;
    changed_.notify_all();
    call.out.nil();
  }
  void clear(Call& call) {
    call.arguments(0, "clear");
    const Lock lock(mutex_);
    is_set_ = false;
    call.out.nil();
  }
  void is_set(Call& call) {
    call.arguments(0, "is_set");
    const Lock lock(mutex_);
    call.out.boolean(is_set_);
  }
  /// [timeout]; one that was set and cleared at once is not missed
  void wait_for(Call& call) {
    call.arguments(1, "wait");
    const Deadline deadline = call.deadline();
    Lock lock(mutex_);
    const std::uint64_t seen = times_;
    call.out.boolean(wait(lock, call, deadline, [&] { return is_set_ || times_ != seen; }));
  }
  using M = Method<ServedEvent>;
  static constexpr std::array kMethods = {
      M{"set", &ServedEvent::set},
      M{"clear", &ServedEvent::clear},
      M{"is_set", &ServedEvent::is_set},
      M{"wait", &ServedEvent::wait_for},
  };
  bool is_set_ = false;
  std::uint64_t times_ = 0;
};

/// A party is a client from its first wait() to leave(); a party that dies breaks the barrier.
class ServedBarrier final : public Sleeping {
 public:
  /// [parties]
  explicit ServedBarrier(Call& call) {
    call.arguments(1, "the number of parties");
    parties_ = call.in.integer<std::uint32_t>();
    if (parties_ == 0) throw UsageError("a Barrier needs at least one party");
  }
  void call(std::string_view method, Call& call) override { run_method(kMethods, *this, "Barrier", method, call); }
  void save(Saver& saver) override {
    Encoder arguments;
    arguments.array_header(1);
    arguments.uint(parties_);
    saver.save(*this, arguments);
  }
  void client_gone(const Client& client) override {
    const Lock lock(mutex_);
    if (enrolled_.erase(&client) == 0 || client.has_left()) return;
    shatter();
  }

 private:
  enum class State : std::uint8_t { filling, draining, resetting, broken };

  void shatter() {
    state_ = State::broken;
    changed_.notify_all();
  }
  [[noreturn]] static void throw_broken() {
    throw BrokenBarrier("the managed barrier is broken: aborted, reset, timed out, or one of its parties died");
  }
  /// [timeout]: the order of arrival, 0 to parties - 1
  void wait_at(Call& call) {
    call.arguments(1, "wait");
    const Deadline deadline = call.deadline();
    Lock lock(mutex_);
    enrolled_.insert(call.session->client().get());
    call.session->client()->remember(call.session->entry());
    if (!wait(lock, call, deadline, [this] { return state_ == State::filling || state_ == State::broken; })) {
      shatter();
      throw_broken();
    }
    if (state_ == State::broken) throw_broken();
    const std::uint32_t index = waiting_++;
    arrived_.insert(call.session);
    struct Leave {
      ServedBarrier& barrier;
      Session* session;
      ~Leave() {
        barrier.arrived_.erase(session);
        if (--barrier.waiting_ > 0 || barrier.state_ == State::broken) return;
        barrier.state_ = State::filling;
        barrier.changed_.notify_all();
      }
    } const leave{*this, call.session};
    if (waiting_ == parties_) {
      const auto has_died = [&](Session* it) { return it != call.session && has_died_asleep(*it); };
      if (std::ranges::any_of(arrived_, has_died)) {
        shatter();
        throw_broken();
      }
      state_ = State::draining;
      changed_.notify_all();
    } else {
      try {
        if (!wait(lock, call, deadline, [this] { return state_ != State::filling; })) shatter();
      } catch (const PeerGone&) {
        shatter();
        throw;
      }
      if (state_ != State::draining) throw_broken();
    }
    call.out.uint(index);
  }
  void reset(Call& call) {
    call.arguments(0, "reset");
    const Lock lock(mutex_);
    state_ = waiting_ > 0 ? State::resetting : State::filling;
    changed_.notify_all();
    call.out.nil();
  }
  void abort(Call& call) {
    call.arguments(0, "abort");
    const Lock lock(mutex_);
    shatter();
    call.out.nil();
  }
  void leave(Call& call) {
    call.arguments(0, "leave");
    const Lock lock(mutex_);
    enrolled_.erase(call.session->client().get());
    call.out.nil();
  }
  void parties(Call& call) {
    call.arguments(0, "parties");
    call.out.uint(parties_);
  }
  void n_waiting(Call& call) {
    call.arguments(0, "n_waiting");
    const Lock lock(mutex_);
    call.out.uint(state_ == State::filling ? waiting_ : 0);
  }
  void broken(Call& call) {
    call.arguments(0, "broken");
    const Lock lock(mutex_);
    call.out.boolean(state_ == State::broken);
  }
  using M = Method<ServedBarrier>;
  static constexpr std::array kMethods = {
      M{"wait", &ServedBarrier::wait_at},    M{"reset", &ServedBarrier::reset},
      M{"abort", &ServedBarrier::abort},     M{"leave", &ServedBarrier::leave},
      M{"parties", &ServedBarrier::parties}, M{"n_waiting", &ServedBarrier::n_waiting},
      M{"broken", &ServedBarrier::broken},
  };
  std::uint32_t parties_ = 0;
  std::uint32_t waiting_ = 0;
  State state_ = State::filling;
  std::set<const Client*> enrolled_;
  std::set<Session*> arrived_;  ///< asleep here
};

}  // namespace

std::unique_ptr<Served> make_semaphore(Call& call) { return std::make_unique<ServedSemaphore>(call, false); }
std::unique_ptr<Served> make_bounded_semaphore(Call& call) { return std::make_unique<ServedSemaphore>(call, true); }
std::unique_ptr<Served> make_event(Call& call) { return std::make_unique<ServedEvent>(call); }
std::unique_ptr<Served> make_barrier(Call& call) { return std::make_unique<ServedBarrier>(call); }

}  // namespace brood::inline v1::manager
