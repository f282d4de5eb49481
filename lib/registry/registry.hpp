// The registry: who lives, who died. See README.md for the design ("a death wakes everybody; everybody re-checks").
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "registry/layout.hpp"

namespace brood::inline v1::registry {

/// State of this process in the domain. On a page that fork wipes: a child is nobody until it joins for itself.
struct alignas(4096) Self {
  std::atomic<Id> id;
  std::atomic<std::uint32_t> joining;         ///< 1 while some thread joins or leaves
  std::atomic<std::uint64_t> records_in_use;  ///< bit per thread record of our slot
  std::atomic<Id> helper_ended;               ///< identity whose helper has done its last act
  std::atomic<Id> left;                       ///< identity whose slot is free: its helper may end
  char fill[4096 - 28];
};
extern Self g_self;
extern std::atomic<Registry*> g_registry;

/// Joins the domain: maps the registry, claims a slot, starts the helper thread. About 0.3 ms, once a process.
/// Errors: OsError (no slot, no thread), NoSpace, PermissionDenied.
Id join();

/// Identity of this process; joins at the first call. Two loads.
inline Id self() {
  const Id id = g_self.id.load(std::memory_order_relaxed);
  if (id != kNobody) [[likely]]
    return id;
  return join();
}
/// The same without joining: kNobody if this process has no slot.
inline Id self_if_joined() noexcept { return g_self.id.load(std::memory_order_relaxed); }

/// Thread id of the caller. The cache is keyed by the process's identity, which fork takes away: the one thread of a
/// forked child has another tid than the thread it was forked from.
struct TidCache {
  Id of = kNobody;
  std::uint32_t tid = 0;
};
extern thread_local constinit TidCache t_tid;
std::uint32_t refresh_tid(Id me) noexcept;
inline std::uint32_t self_tid(Id me) noexcept {
  if (t_tid.of == me) [[likely]]
    return t_tid.tid;
  return refresh_tid(me);
}

inline Registry& registry() noexcept { return *g_registry.load(std::memory_order_relaxed); }
inline Slot& slot(Id id) noexcept { return registry().slots[slot_of(id)]; }
inline os::Word& death_word() noexcept { return registry().heads.death; }

/// False once the process has left or its death is proved. Only then may anybody take what it held.
inline bool is_alive(Id id) noexcept {
  // SYNC burial: acquire pairs with the release of the CAS that frees the slot; what the dead wrote is visible after
  // it.
  const StateWord state = StateWord::unpack(slot(id).state.load(std::memory_order_acquire));
  return state.state == SlotState::alive && (state.generation & kGenerationMask) == generation_of(id);
}

/// Leaves the domain in good order: at exit, and before programs unshare or setns. Sleepers are woken only if they
/// could be waiting for this process. The next use of a shared object joins again.
void leave() noexcept;

/// Proves the death of `id` if it is dead, within about `patience_ns`; true if it is (now) known to be gone.
bool bury_if_gone(Id id, std::int64_t patience_ns) noexcept;

/// False also where nobody has noticed the death yet: the kernel's mark comes with it, and then it is proved here. Two more loads
/// than is_alive() as long as the process lives.
inline bool is_there(Id id) noexcept { return is_alive(id) && (!marked_by_kernel(slot(id)) || !bury_if_gone(id, 0)); }

/// Everybody look again: bumps the death word and wakes all sleepers of the domain.
void broadcast() noexcept;

/// pid of a living process, or of the last one that died in this slot; 0 if it is not known any more.
[[nodiscard]] std::int64_t pid_of(Id id) noexcept;
/// Name given to a living process; empty if unknown.
[[nodiscard]] std::string name_of(Id id);
/// The name others see of this process; kept for the slot this process has or will have.
void set_process_name(std::string_view name);
[[nodiscard]] std::string process_name();

/// Helper thread's body (helper.cpp): owns the liveness word of `me`, watches two neighbours. Returns when `me` has
/// left.
void run_helper(Id me) noexcept;
/// The helpers that watch this slot look again.
void kick_watchers_of(std::uint32_t slot_index) noexcept;

}  // namespace brood::inline v1::registry
