#include "brood/barrier.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <ostream>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "brood/detail/wait_source.hpp"
#include "brood/error.hpp"
#include "os/files.hpp"
#include "registry/objects.hpp"
#include "registry/sleeper.hpp"
#include "shm/segment.hpp"
#include "sync/barrier_action.hpp"
#include "sync/barrier_body.hpp"

namespace brood::inline v1 {
namespace {

using registry::Id;
using sync::Arrival;
using sync::BarrierBody;
using sync::Outcome;

static_assert(sizeof(BarrierBody) == shm::smallest_body(Kind::barrier));

BarrierBody& body_of(const detail::Object& object) { return *static_cast<BarrierBody*>(object.body()); }
sync::LockContext context_of(const detail::Object& object) { return {Kind::barrier, object.id()}; }

detail::Object make(std::string_view name, std::int64_t parties, const BarrierOptions& options, bool open_existing) {
  if (parties < 1 || parties > Barrier::kMaxParties) {
    throw UsageError("a barrier needs between 1 and " + std::to_string(Barrier::kMaxParties) + " parties, got " +
                     std::to_string(parties));
  }
  const std::string action = options.action == nullptr ? std::string() : sync::action_text(options.action);
  if (action.size() >= sizeof(BarrierBody::action)) {
    throw UsageError("the barrier's action lies in a module whose path is too long to be shared: " + action);
  }
  const auto count = static_cast<std::uint32_t>(parties);
  const auto initialise = [&](void* memory) {
    auto* body = static_cast<BarrierBody*>(memory);
    body->lock.policy.store(static_cast<std::uint32_t>(OwnerDeath::heal));
    body->epoch.store(1);
    body->parties = count;
    body->arrivals_capacity = sync::arrivals_for(count);
    body->timeout_ns = options.timeout ? std::max<std::int64_t>(0, options.timeout->count()) : -1;
    std::memcpy(body->action, action.data(), action.size());
  };
  const shm::CreateRequest request{.kind = Kind::barrier,
                                   .name = name,
                                   .body_bytes = sizeof(BarrierBody) + sync::arrivals_for(count) * sizeof(Arrival),
                                   .reserved_bytes = offsetof(BarrierBody, party)};
  return open_existing ? registry::open_or_create(request, initialise) : registry::create(request, initialise);
}

/// Makes sure that a record about to be used for the first time can be written.
void reserve_record(const void* record, std::size_t size_bytes, const sync::LockContext& context) {
  const auto first = reinterpret_cast<std::uintptr_t>(record) / os::page_size() * os::page_size();
  const auto last = os::round_up(reinterpret_cast<std::uintptr_t>(record) + size_bytes, os::page_size());
  if (os::populate(reinterpret_cast<void*>(first), last - first) == -ENOSPC) {
    throw NoSpace("no room for one more party of " + Handle(context.kind, context.object).str());
  }
}

/// The barrier with its lock held. What a killed predecessor left half done is finished first.
class Locked {
 public:
  explicit Locked(const detail::Object& object)
      : body_(body_of(object)), context_(context_of(object)), guard_(body_.lock, context_) {
    settle();
  }
  ~Locked() {
    if (rang_) os::futex_wake_all(body_.bell);
  }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

  [[nodiscard]] std::uint32_t waiting() noexcept {
    std::uint32_t count = 0;
    for_each_arrival([&](Arrival& arrival) { count += waits(arrival) ? 1 : 0; });
    return count;
  }

  /// Ends the pass for all who wait in it.
  void end(Outcome outcome) noexcept {
    body_.ended.store(static_cast<std::uint64_t>(body_.epoch.load()) << 2 | static_cast<std::uint64_t>(outcome));
    settle();
  }
  void break_it() noexcept {
    if (!is_broken()) {
      body_.broken.store(1);
      // Also if no party waits: somebody may watch.
      body_.bell.fetch_add(1);
      rang_ = true;
    }
    settle();
  }
  [[nodiscard]] bool is_broken() const noexcept { return body_.broken.load() != 0; }

  [[nodiscard]] bool has_dead_party() const noexcept {
    for (std::uint32_t i = 0; i < body_.parties_used.load(); ++i) {
      const Id owner = body_.party[i].owner.load();
      if (owner != registry::kNobody && !registry::is_alive(owner)) return true;
    }
    return false;
  }
  void forget_dead_parties() noexcept {
    for (std::uint32_t i = 0; i < body_.parties_used.load(); ++i) {
      const Id owner = body_.party[i].owner.load();
      if (owner != registry::kNobody && !registry::is_alive(owner)) body_.party[i].owner.store(registry::kNobody);
    }
  }

  Arrival& arrive(std::uint32_t index) {
    Arrival* free = nullptr;
    for_each_arrival([&](Arrival& arrival) {
      const Id owner = arrival.owner.load();
      // A dead thread's record is free once its pass has ended; while the pass goes on it is a dead party's.
      if (free == nullptr && (owner == registry::kNobody || (!registry::is_alive(owner) && !waits(arrival))))
        free = &arrival;
    });
    if (free == nullptr) {
      const std::uint32_t used = body_.arrivals_used.load();
      if (used == body_.arrivals_capacity)
        throw OsError(EAGAIN, "too many threads are inside wait() of " + Handle(context_.kind, context_.object).str());
      free = &body_.arrivals()[used];
      reserve_record(free, sizeof *free, context_);
      body_.arrivals_used.store(used + 1);
    }
    free->index.store(index);
    free->epoch.store(body_.epoch.load());
    free->outcome.store(static_cast<std::uint32_t>(Outcome::none));
    free->owner.store(registry::self());
    return *free;
  }

  sync::Party& party_of(Id me) {
    sync::Party* free = nullptr;
    const std::uint32_t used = body_.parties_used.load();
    for (std::uint32_t i = 0; i < used; ++i) {
      const Id owner = body_.party[i].owner.load();
      if (owner == me) return body_.party[i];
      if (owner == registry::kNobody && free == nullptr) free = &body_.party[i];
    }
    if (free == nullptr) {
      if (used == sync::kPartyRecords)
        throw OsError(EAGAIN, "too many processes take part in " + Handle(context_.kind, context_.object).str());
      free = &body_.party[used];
      reserve_record(free, sizeof *free, context_);
      free->owner.store(registry::kNobody);
      body_.parties_used.store(used + 1);
    }
    free->objects.store(0);
    // Counted before it is ours: a leave in between must know that somebody may wait for us.
    registry::slot(me).claims.fetch_add(1);
    free->owner.store(me);
    return *free;
  }

 private:
  template <class F>
  void for_each_arrival(F visit) noexcept {
    const std::uint32_t used = body_.arrivals_used.load();
    for (std::uint32_t i = 0; i < used; ++i) visit(body_.arrivals()[i]);
  }
  [[nodiscard]] bool waits(const Arrival& arrival) const noexcept {
    return arrival.owner.load() != registry::kNobody && arrival.epoch.load() == body_.epoch.load() &&
           arrival.outcome.load() == static_cast<std::uint32_t>(Outcome::none);
  }

  /// Finishes the ending of a pass, whoever began it. Each step can be repeated.
  void settle() noexcept {
    if (is_broken() && waiting() > 0 && body_.ended.load() >> 2 != body_.epoch.load()) {
      body_.ended.store(static_cast<std::uint64_t>(body_.epoch.load()) << 2 |
                        static_cast<std::uint64_t>(Outcome::broken));
    }
    const std::uint64_t ended = body_.ended.load();
    if (ended >> 2 != body_.epoch.load()) return;
    for_each_arrival([&](Arrival& arrival) {
      if (waits(arrival)) arrival.outcome.store(static_cast<std::uint32_t>(ended & 3));
    });
    body_.action_runs.store(0);
    body_.bell.fetch_add(1);
    rang_ = true;
    body_.epoch.fetch_add(1);
  }

  BarrierBody& body_;
  sync::LockContext context_;
  bool rang_ = false;
  sync::InternalGuard guard_;
};

[[noreturn]] void throw_broken(const detail::Object& object, const char* why) {
  throw BrokenBarrier(object.handle().str() + ": " + why);
}

Outcome outcome_of(const Arrival& arrival) noexcept { return static_cast<Outcome>(arrival.outcome.load()); }

}  // namespace

Barrier::Barrier(std::int64_t parties, BarrierOptions options) : SharedObject(make({}, parties, options, false)) {}
Barrier Barrier::create(std::string_view name, std::int64_t parties, BarrierOptions options) {
  return Barrier(make(shm::given_name(name), parties, options, false));
}
Barrier Barrier::open_or_create(std::string_view name, std::int64_t parties, BarrierOptions options) {
  return Barrier(make(shm::given_name(name), parties, options, true));
}

Barrier::Barrier(Barrier&& other) noexcept
    : SharedObject(std::move(other)), enrolled_as_(other.enrolled_as_.exchange(registry::kNobody)) {}
Barrier& Barrier::operator=(Barrier&& other) noexcept {
  if (this != &other) {
    leave();
    enrolled_as_ = other.enrolled_as_.exchange(registry::kNobody);
    SharedObject::operator=(std::move(other));
  }
  return *this;
}
Barrier::~Barrier() { leave(); }

void Barrier::enrol() {
  const Id me = registry::self();
  if (enrolled_as_.load(std::memory_order_acquire) == me) return;
  Locked locked(object_);
  if (enrolled_as_.load(std::memory_order_relaxed) == me) return;  // another thread was faster
  locked.party_of(me).objects.fetch_add(1);
  enrolled_as_.store(me, std::memory_order_release);
}

void Barrier::leave() noexcept {
  const Id was = enrolled_as_.exchange(registry::kNobody);
  if (!object_ || was == registry::kNobody || was != registry::self_if_joined()) return;
  Locked locked(object_);
  sync::Party& party = locked.party_of(was);
  if (party.objects.fetch_sub(1) == 1) {
    party.owner.store(registry::kNobody);
    registry::slot(was).claims.fetch_sub(1);
  }
}

Deadline Barrier::default_deadline() const {
  const std::int64_t timeout = body_of(object_).timeout_ns;
  return timeout < 0 ? Deadline::never() : Deadline::after(std::chrono::nanoseconds(timeout));
}

std::size_t Barrier::wait_before(Deadline deadline) {
  enrol();
  BarrierBody& body = body_of(object_);
  registry::Sleeper sleeper(registry::Operation::wait, Kind::barrier, object_.id(), deadline);
  Arrival* mine = nullptr;
  std::uint32_t index = 0;
  bool last = false;
  std::uint32_t deaths = 0;  // as they were before the last look for dead parties
  while (mine == nullptr) {
    deaths = registry::Sleeper::deaths();
    const std::uint32_t bell = body.bell.load();
    {
      Locked locked(object_);
      if (locked.is_broken()) throw_broken(object_, "it is broken; reset() makes it usable again");
      if (locked.has_dead_party()) {
        locked.break_it();
        throw_broken(object_, "a process that takes part has died");
      }
      if (body.action_runs.load() == 0) {
        index = locked.waiting();
        mine = &locked.arrive(index);
        last = index + 1 == body.parties;
        if (last && body.action[0] == '\0') locked.end(Outcome::passed);
        if (last && body.action[0] != '\0') body.action_runs.store(1);
        break;
      }
    }
    // The last arriver of the pass before runs the action, or has died in it: newcomers belong to the next pass.
    if (sleeper.sleep(body.bell, bell, deaths) == registry::Sleeper::Woken::timed_out) {
      abort();
      throw_broken(object_, "timed out while the action of the pass before was still running");
    }
  }
  // From here on the record is ours to free, whatever happens.
  const absl::Cleanup free_record = [mine] { mine->owner.store(registry::kNobody); };

  if (last && body.action[0] != '\0') {
    absl::Cleanup action_failed = [this] { abort(); };
    sync::run_action(body.action);
    std::move(action_failed).Cancel();
    Locked locked(object_);
    if (outcome_of(*mine) == Outcome::none) locked.end(Outcome::passed);
  }
  for (;;) {
    const std::uint32_t bell = body.bell.load();
    switch (outcome_of(*mine)) {
      case Outcome::passed: return index;
      case Outcome::broken:
        throw_broken(
            object_,
            "broken while waiting: by abort(), reset(), another party's timeout or failed action, or a dead party");
      case Outcome::none: break;
    }
    if (sleeper.slept()) {
      deaths = registry::Sleeper::deaths();
      Locked locked(object_);
      if (outcome_of(*mine) != Outcome::none) continue;
      if (locked.has_dead_party()) {
        locked.break_it();
        continue;
      }
    }
    if (sleeper.sleep(body.bell, bell, deaths) == registry::Sleeper::Woken::timed_out) {
      Locked locked(object_);
      if (outcome_of(*mine) != Outcome::none) continue;
      locked.break_it();
      throw_broken(object_, "not all parties arrived in time");
    }
  }
}

void Barrier::reset() {
  (void)registry::self();
  Locked locked(object_);
  // Killed in between: those who wait are told before the dead parties are forgotten, since nothing else would tell
  // them; and a broken barrier stays broken until the dead are forgotten, since they would break it again.
  if (locked.waiting() > 0) locked.end(Outcome::broken);
  locked.forget_dead_parties();
  body_of(object_).broken.store(0);
}

void Barrier::abort() {
  (void)registry::self();
  Locked(object_).break_it();
}

std::size_t Barrier::parties() const { return body_of(object_).parties; }

std::size_t Barrier::n_waiting() const {
  (void)registry::self();
  Locked locked(object_);
  return locked.is_broken() ? 0 : locked.waiting();
}

bool Barrier::broken() const { return body_of(object_).broken.load() != 0; }

namespace {

/// In a wait for many: has the pass of that time ended, or is the barrier broken? The watcher is no party.
class BarrierSource final : public detail::WaitSource {
 public:
  BarrierSource(const detail::Object& barrier, std::uint64_t since)
      : object_(barrier), body_(body_of(barrier)), since_(since), deaths_(registry::Sleeper::deaths()) {
    find_dead_party();
  }
  [[nodiscard]] bool look() override {
    if (const std::uint32_t deaths = registry::Sleeper::deaths(); deaths != std::exchange(deaths_, deaths))
      find_dead_party();
    // These change before the bell does.
    found_ = detail::barrier_now(object_);
    return found_ != since_ || body_.broken.load() != 0;
  }
  [[nodiscard]] bool watch(Bell& bell) override {
    bell = {.word = &body_.bell, .seen = body_.bell.load()};
    return look();
  }
  void begin_anew() noexcept override { since_ = found_; }
  [[nodiscard]] Handle object() const override { return object_.handle(); }

 private:
  /// The parties may all be elsewhere: then nobody else looks.
  void find_dead_party() {
    Locked locked(object_);
    if (locked.has_dead_party()) locked.break_it();
  }
  const detail::Object& object_;
  BarrierBody& body_;
  std::uint64_t since_;
  std::uint64_t found_ = since_;
  std::uint32_t deaths_;
};

}  // namespace

std::uint64_t detail::barrier_now(const Object& barrier) {
  const BarrierBody& body = body_of(barrier);
  const std::uint64_t epoch = body.epoch.load();
  return body.ended.load() >> 2 == epoch ? epoch + 1 : epoch;
}
detail::WaitSourcePointer detail::barrier_source(const Object& barrier, std::uint64_t since) {
  return std::make_unique<BarrierSource>(barrier, since);
}

std::ostream& operator<<(std::ostream& out, const Barrier& barrier) {
  return out << "<Barrier " << barrier.handle() << " waiting=" << barrier.n_waiting() << '/' << barrier.parties()
             << (barrier.broken() ? " broken>" : ">");
}

}  // namespace brood::inline v1
