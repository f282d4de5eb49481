// Lock, RLock and Condition, held by client processes (a Lock) or by their threads (an RLock).
#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include "brood/error.hpp"
#include "brood/lock.hpp"
#include "manager/served_types.hpp"
#include "manager/session.hpp"

namespace brood::inline v1::manager {
namespace {

/// Who holds it. Who died with it is reported to everybody, until somebody has repaired what it guards; or nobody is told
/// (heal), and the next one gets it.
class ServedLock : public Sleeping {
 public:
  /// [heal]
  ServedLock(Call& call, bool is_recursive) : is_recursive_(is_recursive) {
    call.arguments(1, "what happens at the owner's death");
    heals_ = call.in.boolean();
  }
  void call(std::string_view method, Call& call) override {
    run_method(kMethods, *this, is_recursive_ ? "RLock" : "Lock", method, call);
  }
  void save(Saver& saver) override {
    Encoder arguments;
    arguments.array_header(1);
    arguments.boolean(heals_);
    saver.save(*this, arguments);
  }
  void client_gone(const Client& client) override {
    const Lock lock(mutex_);
    if (recoverer_ == &client) {
      recoverer_ = nullptr;  // the next one may try
      changed_.notify_all();
    }
    if (holder_ != &client) return;
    if (!heals_) died_pid_ = client.pid();
    has_left_ = client.has_left();
    is_damaged_ = !heals_;
    let_go();
  }

 protected:
  /// [timeout, thread]
  void lock(Call& call) {
    call.arguments(2, "lock");
    const Deadline deadline = call.deadline();
    const std::uint64_t thread = call.in.uint();
    Lock guard(mutex_);
    call.out.boolean(acquire(guard, call, deadline, thread));
  }
  /// [thread]
  void unlock(Call& call) {
    call.arguments(1, "unlock");
    const std::uint64_t thread = call.in.uint();
    const Lock guard(mutex_);
    require_holder(call, thread, "unlock");
    if (--depth_ == 0) let_go();
    call.out.nil();
  }
  void locked(Call& call) {
    call.arguments(0, "locked");
    const Lock guard(mutex_);
    call.out.boolean(holder_ != nullptr);
  }
  /// [thread]: how often it has taken it
  void depth(Call& call) {
    call.arguments(1, "depth");
    const std::uint64_t thread = call.in.uint();
    const Lock guard(mutex_);
    const bool is_its = holder_ == call.session->client().get() && thread_ == thread;
    call.out.uint(is_its ? depth_ : 0);
  }
  /// Whether there is something to repair, and the caller shall do so: then recovered() or give_up() follows. Sleeps while
  /// another client repairs.
  void recover(Call& call) {
    call.arguments(0, "recover");
    Lock guard(mutex_);
    (void)wait(guard, call, Deadline::never(), [this] { return recoverer_ == nullptr; });
    if (is_damaged_) {
      recoverer_ = call.session->client().get();
      call.session->client()->remember(call.session->entry());
    }
    call.out.boolean(is_damaged_);
  }
  /// [has it been repaired?]
  void recovered(Call& call) {
    call.arguments(1, "recovered");
    const bool is_sound = call.in.boolean();
    const Lock guard(mutex_);
    if (recoverer_ != call.session->client().get()) throw UsageError("recovered() without recover()");
    recoverer_ = nullptr;
    if (is_sound) is_damaged_ = false;
    changed_.notify_all();
    call.out.nil();
  }

  bool acquire(Lock& guard, const Call& call, Deadline deadline, std::uint64_t thread) {
    const Client* const client = call.session->client().get();
    if (is_recursive_ && holder_ == client && thread_ == thread) {
      ++depth_;
      return true;
    }
    if (!wait(guard, call, deadline, [this] { return holder_ == nullptr || is_damaged_; })) return false;
    if (is_damaged_) {
      throw OwnerDied("the owner (pid " + std::to_string(died_pid_) + ") of this managed lock " +
                          (has_left_ ? "has ended, or let go of its last proxy," : "died") +
                          " while it held it; what the lock guards may be half changed: repair "
                          "it in recover()",
                      died_pid_);
    }
    hold(call, thread, 1);
    return true;
  }
  void hold(const Call& call, std::uint64_t thread, std::uint32_t depth) {
    holder_ = call.session->client().get();
    thread_ = thread;
    depth_ = depth;
    call.session->client()->remember(call.session->entry());
  }
  void let_go() {
    holder_ = nullptr;
    depth_ = 0;
    changed_.notify_all();
  }
  /// Errors: ReleasedTooOften, NotOwner.
  void require_holder(const Call& call, std::uint64_t thread, const char* operation) const {
    if (holder_ == nullptr && !is_recursive_)
      throw ReleasedTooOften(std::string(operation) + " of a managed lock that is free");
    if (is_recursive_ && (holder_ != call.session->client().get() || thread_ != thread))
      throw NotOwner(std::string(operation) + " of a managed lock that this thread does not hold");
  }

  using M = Method<ServedLock>;
  static constexpr std::array kMethods = {
      M{"lock", &ServedLock::lock},       M{"unlock", &ServedLock::unlock},       M{"locked", &ServedLock::locked},
      M{"recover", &ServedLock::recover}, M{"recovered", &ServedLock::recovered}, M{"depth", &ServedLock::depth},
  };

  const bool is_recursive_;
  bool heals_ = false;
  const Client* holder_ = nullptr;
  std::uint64_t thread_ = 0;
  std::uint32_t depth_ = 0;
  bool is_damaged_ = false;
  std::int64_t died_pid_ = 0;
  bool has_left_ = false;  ///< it said that it goes
  const Client* recoverer_ = nullptr;
};

/// A recursive lock, and threads that gave it up until they are notified.
class ServedCondition final : public ServedLock {
 public:
  explicit ServedCondition(Call& call) : ServedLock(call, true) {}
  void call(std::string_view method, Call& call) override {
    if (method == "wait") return wait_for_notice(call);
    if (method == "notify") return notify(call);
    ServedLock::call(method, call);
  }

 private:
  struct Waiter {
    Session* session;
    bool is_notified = false;
  };

  /// [timeout, thread]: whether it was notified; the lock is held again in any case
  void wait_for_notice(Call& call) {
    call.arguments(2, "wait");
    const Deadline deadline = call.deadline();
    const std::uint64_t thread = call.in.uint();
    Lock guard(mutex_);
    require_holder(call, thread, "Condition::wait");
    const std::uint32_t depth = depth_;
    Waiter me{call.session};
    waiters_.push_back(&me);
    struct Leave {
      std::deque<Waiter*>& waiters;
      Waiter& me;
      ~Leave() { std::erase(waiters, &me); }
    };
    let_go();
    {
      const Leave leave{waiters_, me};
      (void)wait(guard, call, deadline, [&] { return me.is_notified; });
    }
    (void)acquire(guard, call, Deadline::never(), thread);
    depth_ = depth;
    call.out.boolean(me.is_notified);
  }
  /// [how many; 0: all, thread]: how many were
  void notify(Call& call) {
    call.arguments(2, "notify");
    const auto most = call.in.integer<std::size_t>();
    const std::uint64_t thread = call.in.uint();
    const Lock guard(mutex_);
    require_holder(call, thread, "Condition::notify");
    std::size_t done = 0;
    for (Waiter* const it : waiters_) {
      if (most != 0 && done == most) break;
      if (it->is_notified || has_died_asleep(*it->session)) continue;
      it->is_notified = true;
      ++done;
    }
    changed_.notify_all();
    call.out.uint(done);
  }

  std::deque<Waiter*> waiters_;
};

}  // namespace

std::unique_ptr<Served> make_lock(Call& call) { return std::make_unique<ServedLock>(call, false); }
std::unique_ptr<Served> make_rlock(Call& call) { return std::make_unique<ServedLock>(call, true); }
std::unique_ptr<Served> make_condition(Call& call) { return std::make_unique<ServedCondition>(call); }

}  // namespace brood::inline v1::manager
