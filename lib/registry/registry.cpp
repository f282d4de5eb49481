#include "registry/registry.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "base/fork_order.hpp"
#include "brood/deadline.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "os/capabilities.hpp"
#include "os/files.hpp"
#include "os/program.hpp"
#include "registry/objects.hpp"
#include "shm/attachments.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::registry {

// A page of its own in .bss: anonymous private memory, so that MADV_WIPEONFORK applies to it (and to nothing else).
Self g_self;
std::atomic<Registry*> g_registry = nullptr;
thread_local constinit TidCache t_tid;

namespace {

constexpr std::size_t kHelperStack = 256UL * 1024;

/// The registry's mapping. Never destroyed: helper and objects with static storage use it until the very end.
struct Mapping {
  std::mutex mutex;
  detail::Object object;
  std::string process_name = "MainProcess";
};
Mapping& mapping() {
  static auto* const it = [] {
    auto* made = new Mapping;
    // Taken across fork, so that no child inherits it locked by a thread that it does not have.
    base::hold_across_fork(base::ForkOrder::registry,
                           {[] { mapping().mutex.lock(); }, [] { mapping().mutex.unlock(); }});
    shm::set_farewell(&leave);
    return made;
  }();
  return *it;
}

[[maybe_unused]] const Mapping& g_made_at_load = mapping();

/// At exit the mapping is replaced by zeros; an exit handler or destructor that comes later needs the real one.
bool stands(void* body) noexcept { return body != nullptr && shm::header_of(body).magic == shm::kMagic; }

/// Signals stay out of joining and leaving: a handler that used a lock in the middle would wait for itself.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

/// One thread at a time joins or leaves. Lies on the page that fork wipes, so a child never inherits it taken.
class JoiningTurn {
 public:
  JoiningTurn() noexcept {
    // First: a child forked from here on finds the turn free.
    static_assert(sizeof(Self) == kPage);
    wiped = ::madvise(&g_self, sizeof g_self, MADV_WIPEONFORK) == 0;
    for (;;) {
      std::uint32_t free = 0;
      if (g_self.joining.compare_exchange_strong(free, 1)) return;
      os::futex_wait(g_self.joining, 1, Deadline::never());
    }
  }
  ~JoiningTurn() {
    g_self.joining.store(0);
    os::futex_wake_all(g_self.joining);
  }
  JoiningTurn(const JoiningTurn&) = delete;
  JoiningTurn& operator=(const JoiningTurn&) = delete;
  bool wiped = false;
};

void map_registry() {
  const auto init = [](void* body) { static_cast<Registry*>(body)->heads.pid_namespace = os::pid_namespace(); };
  auto& mine = mapping();
  if (!stands(g_registry.load())) {
    // Left where it is: threads still running may look at it.
    if (mine.object) (void)new detail::Object(std::move(mine.object));
    bool alone = false;
    mine.object = shm::join_registry(sizeof(Registry), sizeof(Heads), init, alone);
    g_registry.store(static_cast<Registry*>(mine.object.body()));
    // Nobody else is there: whoever was before may have been killed and have left something.
    if (alone) registry().heads.needs_gc.store(1);
  }
  const std::uint64_t theirs = registry().heads.pid_namespace;
  const std::uint64_t ours = os::pid_namespace();
  if (theirs != 0 && ours != 0 && theirs != ours) {
    throw UsageError(
        "the domain " + domain_directory() + " is in use by processes of another pid namespace (" +
        std::to_string(theirs) + ", ours is " + std::to_string(ours) +
        "), whose deaths this process could not see; give each container a domain of its own (BROOD_DOMAIN)");
  }
}

/// A process killed while it joined leaves a slot with its pid and nothing else.
bool joiner_is_gone(const StateWord& state) noexcept {
  return ::kill(static_cast<pid_t>(state.pid), 0) != 0 && errno == ESRCH;
}

Id claim_slot() {
  const auto pid = static_cast<std::uint32_t>(::getpid());
  Registry& all = registry();
  for (std::uint32_t i = 1; i < kSlots; ++i) {
    Slot& candidate = all.slots[i];
    if (i >= all.heads.slots_used.load() && os::populate(&candidate, kPage) == -ENOSPC) {
      throw NoSpace("no room in " + domain_directory() + " for this process's record (4096 bytes)");
    }
    std::uint64_t word = candidate.state.load();
    StateWord state = StateWord::unpack(word);
    if (state.state == SlotState::joining && joiner_is_gone(state)) {
      if (!candidate.state.compare_exchange_strong(word, state.freed().pack())) continue;
      state = state.freed();
      word = state.pack();
    }
    if (state.state != SlotState::free) continue;
    if (!candidate.state.compare_exchange_strong(word, StateWord{pid, state.generation, SlotState::joining}.pack()))
      continue;
    std::uint32_t used = all.heads.slots_used.load();
    while (used <= i && !all.heads.slots_used.compare_exchange_weak(used, i + 1)) {}
    return make_id(state.generation, i);
  }
  throw OsError(
      EAGAIN,
      "the domain " + domain_directory() + " is full: " + std::to_string(kSlots - 1) +
          " processes share objects in it; end some, or give groups of processes domains of their own (BROOD_DOMAIN)");
}

void fill_slot(Slot& mine) {
  mine.identity = os::identify_self();
  mine.uid = ::geteuid();
  mine.claims.store(0);
  mine.unrecorded_sleepers.store(0);
  mine.joined_unix_ns =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  ::prctl(PR_GET_NAME, mine.command);
  std::memset(mine.process_name, 0, sizeof mine.process_name);
  const std::string& name = mapping().process_name;
  std::memcpy(mine.process_name, name.data(), std::min(name.size(), sizeof mine.process_name - 1));
  for (auto& record : mine.threads) {
    record.tid.store(0);
    record.operation.store(0);
    record.blocked_on.store(kNobody);
  }
}

/// Starts the helper and waits until it has made the slot alive. Returns 0 or an error number.
int start_helper(Id id) noexcept {
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, os::thread_stack_bytes(kHelperStack));
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  const auto body = [](void* argument) -> void* {
    run_helper(static_cast<Id>(reinterpret_cast<std::uintptr_t>(argument)));
    return nullptr;
  };
  const int error =
      ::pthread_create(&thread, &attributes, body, reinterpret_cast<void*>(static_cast<std::uintptr_t>(id)));
  ::pthread_attr_destroy(&attributes);
  if (error != 0) return error;
  while (g_self.id.load() == kNobody) os::futex_wait(g_self.id, kNobody, Deadline::never());
  return 0;
}

/// Somebody may be asleep on what this process held: look at what every thread says it waits for.
bool anybody_waits() noexcept {
  Registry& all = registry();
  const std::uint32_t used = all.heads.slots_used.load();
  for (std::uint32_t i = 1; i < used; ++i) {
    Slot& other = all.slots[i];
    if (StateWord::unpack(other.state.load()).state != SlotState::alive) continue;
    if (other.unrecorded_sleepers.load() != 0) return true;
    for (auto& record : other.threads) {
      if (record.blocked_on.load() != kNobody) return true;
    }
  }
  return false;
}

}  // namespace

void keep() {
  if (stands(g_registry.load(std::memory_order_acquire))) [[likely]]
    return;
  auto& mine = mapping();
  const std::lock_guard guard(mine.mutex);
  map_registry();
}

Id join() {
  const SignalsBlocked blocked;
  const JoiningTurn turn;
  if (const Id id = g_self.id.load(); id != kNobody) return id;
  if (!turn.wiped) throw OsError(errno, "MADV_WIPEONFORK (Linux 4.14)");
  Id id = kNobody;
  {
    auto& mine = mapping();
    const std::lock_guard guard(mine.mutex);
    map_registry();
    id = claim_slot();
    fill_slot(slot(id));
  }
  if (const int error = start_helper(id); error != 0) {
    Slot& mine = slot(id);
    mine.state.store(StateWord::unpack(mine.state.load()).freed().pack());
    throw OsError(error, "cannot start brood's helper thread (limit of threads or memory?)");
  }
  // Whoever was killed may have been the last user of something.
  if (registry().heads.needs_gc.exchange(0) != 0) gc();
  return id;
}

void leave() noexcept {
  const SignalsBlocked blocked;
  const JoiningTurn turn;
  const Id me = g_self.id.load();
  if (me == kNobody) return;
  Slot& mine = slot(me);
  Heads& heads = registry().heads;
  // Alone with the helper: nobody of ours can be in the middle of an operation.
  const bool alone = os::thread_count() == 2;
  const bool claims = mine.claims.load() != 0;
  g_self.id.store(kNobody);
  g_self.records_in_use.store(0);
  StateWord state = StateWord::unpack(mine.state.load());
  state.state = SlotState::leaving;
  mine.dead_pid.store(state.pid);
  // SYNC leave: that we are going comes before the look at the sleepers' records, and they publish before they look at
  // it; all four are sequentially consistent, so one of the two sees the other. Killed from here on: we are buried.
  mine.state.store(state.pack());
  heads.clean_leaves.fetch_add(1, std::memory_order_relaxed);
  if (!alone || claims || anybody_waits()) {
    broadcast();
  } else {
    heads.quiet_leaves.fetch_add(1, std::memory_order_relaxed);
  }
  // Our own helper looks at g_self.id when it is kicked. It may be burying somebody: that must be done before we are free.
  mine.kick.fetch_add(1);
  os::futex_wake_all(mine.kick);
  for (Id ended = g_self.helper_ended.load(); ended != me; ended = g_self.helper_ended.load()) {
    os::futex_wait(g_self.helper_ended, ended, Deadline::never());
  }
  std::array<std::uint32_t, kWatchers> live{};
  for (unsigned watcher = 0; watcher < kWatchers; ++watcher) live[watcher] = live_word(mine, watcher).load();
  mine.state.store(state.freed().pack());
  kick_watchers_of(slot_of(me));
  // Last, and by CAS: the slot may have its next user.
  for (unsigned watcher = 0; watcher < kWatchers; ++watcher)
    live_word(mine, watcher).compare_exchange_strong(live[watcher], 0);
  g_self.left.store(me);
  os::futex_wake_all(g_self.left);
}

void broadcast() noexcept {
  os::Word& word = death_word();
  word.fetch_add(1);
  os::futex_wake_all(word);
}

std::int64_t pid_of(Id id) noexcept {
  if (id == kNobody || g_registry.load() == nullptr) return 0;
  const StateWord state = StateWord::unpack(slot(id).state.load());
  if (state.state != SlotState::free && (state.generation & kGenerationMask) == generation_of(id)) return state.pid;
  const bool last_user = ((generation_of(id) + 1) & kGenerationMask) == (state.generation & kGenerationMask);
  return last_user ? slot(id).dead_pid.load() : 0;
}

std::string name_of(Id id) {
  if (id == kNobody || g_registry.load() == nullptr || !is_alive(id)) return {};
  const Slot& other = slot(id);
  return {other.process_name, ::strnlen(other.process_name, sizeof other.process_name)};
}

void set_process_name(std::string_view name) {
  auto& mine = mapping();
  const std::lock_guard guard(mine.mutex);
  mine.process_name = name;
  if (const Id me = self_if_joined(); me != kNobody) {
    Slot& my_slot = slot(me);
    std::memset(my_slot.process_name, 0, sizeof my_slot.process_name);
    std::memcpy(my_slot.process_name, name.data(), std::min(name.size(), sizeof my_slot.process_name - 1));
  }
}

std::string process_name() {
  auto& mine = mapping();
  const std::lock_guard guard(mine.mutex);
  return mine.process_name;
}

std::uint32_t refresh_tid(Id me) noexcept {
  t_tid = {me, os::thread_id()};
  return t_tid.tid;
}

}  // namespace brood::inline v1::registry
