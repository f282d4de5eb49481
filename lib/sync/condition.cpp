#include "brood/condition.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <ostream>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "brood/detail/wait_source.hpp"
#include "brood/error.hpp"
#include "os/files.hpp"
#include "registry/objects.hpp"
#include "registry/sleeper.hpp"
#include "shm/segment.hpp"
#include "sync/lock_body.hpp"

namespace brood::inline v1 {
namespace {

using registry::Id;

/// One waiter.
///
///   state     means                                         changed by
///   free      unused                                        —
///   waiting   its thread sleeps, or is about to             notifier → notified; waiter → free when its time runs out;
///                                                           anybody → free when its process is dead
///   notified  to be woken, or on its way to the lock        waiter → free once it has the lock again;
///                                                           anybody → free, and passed on, when its process is dead
///
/// Passing on changes two entries, the giver's and the receiver's. `passing` is the journal that makes it one step: it
/// names both before either changes, and whoever takes over the lock of a process killed in between finishes it.
enum : std::uint32_t { kFree = 0, kWaiting = 1, kNotified = 2 };
struct Entry {
  os::Word state;
  std::atomic<Id> owner;
  std::atomic<std::uint64_t> ticket;  ///< order of arrival
  std::atomic<std::uint64_t> before;  ///< notified: the notification was for those who arrived with tickets below this
  std::uint64_t spare;
};
static_assert(sizeof(Entry) == 32);

constexpr std::uint32_t kEntries = 16384;

struct ConditionBody {
  sync::LockBody lock;  ///< guards the table; take it as Table only, which finishes what a killed owner began
  std::atomic<std::uint32_t> used;
  os::Word notified;  ///< notifications (31) | somebody who is no waiter may sleep on it (1)
  std::atomic<std::uint64_t> next_ticket;
  std::atomic<std::uint64_t> passing;  ///< a notification on its way: giver's index << 32 | receiver's index + 1; or 0
  alignas(64) std::array<Entry, kEntries> entries;
};
constexpr std::size_t kReserved = 2048;
static_assert(sizeof(ConditionBody) == shm::smallest_body(Kind::condition));

ConditionBody& body_of(const detail::Object& object) { return *static_cast<ConditionBody*>(object.body()); }
shm::CreateRequest request(std::string_view name) {
  return {.kind = Kind::condition, .name = name, .body_bytes = sizeof(ConditionBody), .reserved_bytes = kReserved};
}
void initialise(void* body) {
  static_cast<ConditionBody*>(body)->lock.policy.store(static_cast<std::uint32_t>(OwnerDeath::heal));
}

/// The waiter that has waited longest, of those with tickets below `before`. The table's lock is held.
Entry* longest_waiting(ConditionBody& body, std::uint64_t before) noexcept {
  Entry* best = nullptr;
  const std::uint32_t used = body.used.load(std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < used; ++i) {
    Entry& entry = body.entries[i];
    if (entry.state.load(std::memory_order_relaxed) != kWaiting ||
        !registry::is_alive(entry.owner.load(std::memory_order_relaxed)))
      continue;
    if (entry.ticket.load(std::memory_order_relaxed) >= before) continue;
    if (best == nullptr || entry.ticket.load(std::memory_order_relaxed) < best->ticket.load(std::memory_order_relaxed))
      best = &entry;
  }
  return best;
}

/// For those who only watch (brood/wait.hpp): they see every notification and take none. The table's lock is held.
void tell_watchers(ConditionBody& body) noexcept {
  std::uint32_t seen = body.notified.load(std::memory_order_relaxed);
  while (!body.notified.compare_exchange_weak(seen, (seen & ~1U) + 2)) {}
  if ((seen & 1) != 0) os::futex_wake_all(body.notified);
}

void notify_entry(Entry& entry, std::uint64_t before) noexcept {
  entry.before.store(before, std::memory_order_relaxed);
  // SYNC condition: release; pairs with the waiter's acquire of its state.
  entry.state.store(kNotified, std::memory_order_release);
  os::futex_wake(entry.state, 1);
}

/// Does what `passing` says. Each step can be repeated: until `passing` is cleared no entry is used for another wait.
void finish_passing(ConditionBody& body) noexcept {
  const std::uint64_t passing = body.passing.load(std::memory_order_relaxed);
  if (passing == 0) return;
  Entry& from = body.entries[passing >> 32];
  Entry& to = body.entries[static_cast<std::uint32_t>(passing) - 1];
  // If the receiver does not wait any more it was reached before, and may even have acted on it.
  if (to.state.load(std::memory_order_relaxed) == kWaiting)
    notify_entry(to, from.before.load(std::memory_order_relaxed));
  from.state.store(kFree);
  body.passing.store(0);
}

/// Takes a waiter out of the table. A notification that it cannot act on goes to the next of those who waited when it
/// was given, and to nobody who came later. The table's lock is held.
void take_out(ConditionBody& body, Entry& entry) noexcept {
  if (entry.state.load() == kNotified) {
    if (const Entry* next = longest_waiting(body, entry.before.load(std::memory_order_relaxed))) {
      const auto index_of = [&](const Entry& of) { return static_cast<std::uint64_t>(&of - body.entries.data()); };
      body.passing.store(index_of(entry) << 32 | (index_of(*next) + 1));
      finish_passing(body);
      return;
    }
  }
  entry.state.store(kFree);
}

/// The table with its lock held.
class Table {
 public:
  Table(ConditionBody& body, const sync::LockContext& context) : guard_(body.lock, context) {
    if (guard_.healed()) finish_passing(body);
  }

 private:
  sync::InternalGuard guard_;
};

/// Frees the entries of the dead; what they were notified of and cannot act on goes to those who wait longest.
void bury_waiters(ConditionBody& body, const sync::LockContext& context) {
  const std::uint32_t used = body.used.load(std::memory_order_acquire);
  const auto is_orphan = [](const Entry& entry) {
    return entry.state.load(std::memory_order_acquire) != kFree &&
           !registry::is_alive(entry.owner.load(std::memory_order_relaxed));
  };
  if (std::none_of(body.entries.begin(), body.entries.begin() + used, is_orphan)) return;
  const Table table(body, context);
  for (std::uint32_t i = 0; i < body.used.load(); ++i) {
    if (is_orphan(body.entries[i])) take_out(body, body.entries[i]);
  }
}

}  // namespace

/// The table entry of one wait.
class Condition::Waiting {
 public:
  Waiting(ConditionBody& body, const sync::LockContext& context) : body_(body), context_(context) {
    const Table table(body, context);
    entry_ = &free_entry();
    entry_->owner.store(registry::self());
    entry_->ticket.store(body.next_ticket.fetch_add(1));
    entry_->state.store(kWaiting);
  }
  ~Waiting() {
    // Taken by ourselves or given up below; still set only if taking the user's lock again has thrown: hand it on.
    if (entry_ == nullptr) return;
    const Table table(body_, context_);
    take_out(body_, *entry_);
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  /// True if notified.
  bool sleep(Deadline deadline) {
    registry::Sleeper sleeper(registry::Operation::wait, Kind::condition, context_.object, deadline);
    for (;;) {
      const std::uint32_t deaths = registry::Sleeper::deaths();
      if (entry_->state.load(std::memory_order_acquire) == kNotified) return true;
      bury_waiters(body_, context_);
      const auto woken = sleeper.sleep(entry_->state, kWaiting, deaths);
      if (woken == registry::Sleeper::Woken::timed_out) return !give_up();
    }
  }

  /// The notification has been acted on: its receiver holds the lock again.
  void done() noexcept { std::exchange(entry_, nullptr)->state.store(kFree, std::memory_order_release); }

 private:
  /// True if nobody has notified us.
  bool give_up() {
    const Table table(body_, context_);
    if (entry_->state.load() == kNotified) return false;
    std::exchange(entry_, nullptr)->state.store(kFree);
    return true;
  }

  Entry& free_entry() {
    const std::uint32_t used = body_.used.load();
    for (std::uint32_t i = 0; i < used; ++i) {
      Entry& entry = body_.entries[i];
      if (entry.state.load() == kFree) return entry;
    }
    const Handle handle(Kind::condition, context_.object);
    if (used == kEntries)
      throw OsError(EAGAIN, handle.str() + ": " + std::to_string(kEntries) + " threads wait on it already");
    Entry& fresh = body_.entries[used];
    const auto page = reinterpret_cast<std::uintptr_t>(&fresh) / os::page_size() * os::page_size();
    if (os::populate(reinterpret_cast<void*>(page), os::page_size()) == -ENOSPC)
      throw NoSpace("no room for one more waiter of " + handle.str());
    body_.used.store(used + 1, std::memory_order_release);
    return fresh;
  }

  ConditionBody& body_;
  sync::LockContext context_;
  Entry* entry_ = nullptr;
};

Condition::Condition() : SharedObject(registry::create(request({}), initialise)) {}
Condition Condition::create(std::string_view name) {
  return Condition(registry::create(request(shm::given_name(name)), initialise));
}
Condition Condition::open_or_create(std::string_view name) {
  return Condition(registry::open_or_create(request(name), initialise));
}

template <class Guard, class Drop, class Retake>
bool Condition::wait_between(Guard& guard, Deadline deadline, Drop drop, Retake retake) {
  if (!guard.owns_lock()) throw NotOwner(handle().str() + ": wait() with a unique_lock that does not hold its lock");
  bool notified = false;
  Waiting waiting(body_of(object_), {Kind::condition, object_.id()});
  drop();
  notified = waiting.sleep(deadline);
  retake();
  if (notified) waiting.done();
  return notified;
}

bool Condition::wait_before(std::unique_lock<Lock>& guard, Deadline deadline) {
  return wait_between(
      guard, deadline, [&] { guard.unlock(); }, [&] { guard.lock(); });
}

bool Condition::wait_before(std::unique_lock<RLock>& guard, Deadline deadline) {
  RLock& lock = *guard.mutex();
  const std::uint32_t depth = lock.depth();
  if (guard.owns_lock() && depth == 0)
    throw NotOwner(handle().str() + ": wait() by a thread that does not hold the RLock");
  return wait_between(
      guard, deadline,
      [&] {
        for (std::uint32_t i = 1; i < depth; ++i) lock.unlock();
        guard.unlock();
      },
      [&] {
        guard.lock();
        for (std::uint32_t i = 1; i < depth; ++i) lock.lock();
      });
}

void Condition::notify(std::int64_t count) {
  if (count <= 0) return;
  ConditionBody& body = body_of(object_);
  const Table table(body, {Kind::condition, object_.id()});
  tell_watchers(body);
  const std::uint64_t now = body.next_ticket.load();
  for (; count > 0; --count) {
    Entry* next = longest_waiting(body, now);
    if (next == nullptr) return;
    notify_entry(*next, now);
  }
}

void Condition::notify_all() {
  ConditionBody& body = body_of(object_);
  const Table table(body, {Kind::condition, object_.id()});
  tell_watchers(body);
  const std::uint32_t used = body.used.load(std::memory_order_relaxed);
  const std::uint64_t now = body.next_ticket.load();
  for (std::uint32_t i = 0; i < used; ++i) {
    if (body.entries[i].state.load(std::memory_order_relaxed) == kWaiting) notify_entry(body.entries[i], now);
  }
}

namespace {

/// In a wait for many: has anybody been notified since? Watches only: no waiter's notification is taken.
class ConditionSource final : public detail::WaitSource {
 public:
  ConditionSource(const detail::Object& condition, std::uint64_t since)
      : word_(body_of(condition).notified), since_(since), handle_(condition.handle()) {}
  [[nodiscard]] bool look() override { return is_new(word_.load(std::memory_order_acquire)); }
  [[nodiscard]] bool watch(Bell& bell) override {
    const std::uint32_t now = word_.fetch_or(1) | 1;
    if (is_new(now)) return true;
    bell = {.word = &word_, .seen = now};
    return false;
  }
  void begin_anew() noexcept override { since_ = found_; }
  [[nodiscard]] Handle object() const override { return handle_; }

 private:
  [[nodiscard]] bool is_new(std::uint32_t now) noexcept {
    found_ = now >> 1;
    return found_ != since_;
  }
  os::Word& word_;
  std::uint64_t since_;
  std::uint64_t found_ = since_;
  Handle handle_;
};

}  // namespace

std::uint64_t detail::condition_now(const Object& condition) {
  return body_of(condition).notified.load(std::memory_order_acquire) >> 1;
}
detail::WaitSourcePointer detail::condition_source(const Object& condition, std::uint64_t since) {
  return std::make_unique<ConditionSource>(condition, since);
}

std::ostream& operator<<(std::ostream& out, const Condition& condition) {
  const ConditionBody& body = body_of(condition.object_);
  const auto waiting = std::count_if(body.entries.begin(), body.entries.begin() + body.used.load(),
                                     [](const Entry& entry) { return entry.state.load() == kWaiting; });
  return out << "<Condition " << condition.handle() << " waiters=" << waiting << '>';
}

}  // namespace brood::inline v1
