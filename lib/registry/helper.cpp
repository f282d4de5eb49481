// The helper thread: one for each process that has joined. It owns the liveness word and watches two neighbours.
#include <poll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "base/unique_fd.hpp"
#include "brood/deadline.hpp"
#include "os/capabilities.hpp"
#include "registry/registry.hpp"

namespace brood::inline v1::registry {
namespace {

constexpr std::int64_t kTickNs = 1'000'000'000;
constexpr std::int64_t kBuryPatienceNs = 5'000'000;

enum class Direction : std::uint8_t { successors, predecessors };

/// Whose killing must be noticed: alive, or leaving and not yet done with telling the others.
bool is_watched(const StateWord& state) noexcept {
  return state.state == SlotState::alive || state.state == SlotState::leaving;
}
bool is_watched(Id id) noexcept {
  const StateWord state = StateWord::unpack(slot(id).state.load());
  return is_watched(state) && (state.generation & kGenerationMask) == generation_of(id);
}

/// The `skip`-th living slot after (or before) `index` on the ring of used slots; 0 if there is none.
std::uint32_t neighbour(std::uint32_t index, Direction direction, unsigned skip) noexcept {
  Registry& all = registry();
  const std::uint32_t used = all.heads.slots_used.load();
  if (used < 2) return 0;
  const std::uint32_t ring = used - 1;  // slots 1 … used-1
  for (std::uint32_t step = 1; step < ring + 1; ++step) {
    const std::uint32_t shift = direction == Direction::successors ? step : ring - step % ring;
    const std::uint32_t i = 1 + (index - 1 + shift) % ring;
    if (i == index) continue;
    if (!is_watched(StateWord::unpack(all.slots[i].state.load()))) continue;
    if (skip-- == 0) return i;
  }
  return 0;
}

/// What the identity in a slot says, read only while the generation stands.
bool read_identity(Id id, os::ProcessIdentity& out) noexcept {
  out = slot(id).identity;
  return is_watched(id);
}

/// The descriptor was opened long ago; an application that closes descriptors that are not its own may have put another
/// file in its place. What it says counts only if it is still the pidfd of that process.
bool held_pidfd_ended(const os::ProcessIdentity& who, int pidfd) noexcept {
  if (pidfd < 0 || !os::pidfd_ended(pidfd)) return false;
  if (who.pidfd_inode != 0) return os::pidfd_inode(pidfd) == who.pidfd_inode;
  const os::Watch fresh = os::watch(who);
  return fresh.state == os::Watch::State::gone || (fresh.pidfd && os::pidfd_ended(fresh.pidfd.get()));
}

bool proved_gone(Id id, const os::ProcessIdentity& who, const os::Watch& watch) noexcept {
  if (watch.state == os::Watch::State::gone || held_pidfd_ended(who, watch.pidfd.get())) return true;
  return marked_by_kernel(slot(id)) && os::can_not_write(who, -1);
}

void bury(Id id) noexcept {
  Slot& dead = slot(id);
  std::uint64_t word = dead.state.load();
  const StateWord state = StateWord::unpack(word);
  if (!is_watched(state) || (state.generation & kGenerationMask) != generation_of(id)) return;
  dead.dead_pid.store(state.pid);
  // SYNC burial: release; whoever sees the slot freed sees everything that was known before.
  if (!dead.state.compare_exchange_strong(word, state.freed().pack())) return;
  Heads& heads = registry().heads;
  heads.deaths.fetch_add(1);
  heads.needs_gc.store(1);
  broadcast();
  // Its watchers have other neighbours to watch now.
  kick_watchers_of(slot_of(id));
}

/// Sleeps a moment, or until the process has ended.
void pause_for_end(int pidfd, long ns) noexcept {
  pollfd entry{pidfd, POLLIN, 0};
  const timespec time{0, ns};
  ::ppoll(&entry, pidfd >= 0 ? 1 : 0, &time, nullptr);
}

bool bury_when_gone(Id id, const os::ProcessIdentity& who, const os::Watch& watch, std::int64_t patience_ns) noexcept {
  const std::int64_t start = Deadline::clock_ns();
  for (unsigned round = 0;; ++round) {
    if (!is_watched(id)) return true;
    if (proved_gone(id, who, watch)) {
      bury(id);
      return true;
    }
    if (Deadline::clock_ns() - start > patience_ns) return false;
    // Not sched_yield: it would give a whole time slice to the memory teardown of the very process we wait for. And ever
    // longer: each look at /proc makes work for the reaper of that process, which many lookers can hold up for seconds.
    pause_for_end(watch.pidfd.get(), std::min(20'000L << std::min(round / 3, 6U), 1'000'000L));
  }
}

/// One watched neighbour and the descriptor opened for it beforehand, since descriptors may have run out later.
struct Watched {
  Id id = kNobody;
  os::ProcessIdentity who;
  os::Watch watch;

  void follow(Id other) noexcept {
    id = kNobody;
    watch = {};
    if (!read_identity(other, who)) return;
    watch = os::watch(who);
    if (is_watched(other)) id = other;
  }
};

Id id_in(std::uint32_t index) noexcept {
  const StateWord state = StateWord::unpack(registry().slots[index].state.load());
  return is_watched(state) ? make_id(state.generation, index) : kNobody;
}

/// Follows the two next living slots; true if all of them are alive and can be slept on.
bool choose(std::uint32_t my_index, std::array<Watched, kWatchers>& watched) noexcept {
  bool settled = true;
  for (unsigned i = 0; i < kWatchers; ++i) {
    const std::uint32_t index = neighbour(my_index, Direction::successors, i);
    const Id wanted = index == 0 ? kNobody : id_in(index);
    if (index != 0 && wanted == kNobody) return false;
    if (wanted == kNobody) {
      watched[i] = {};
      continue;
    }
    if (i + 1 < kWatchers && watched[i + 1].id == wanted) std::swap(watched[i], watched[i + 1]);
    if (watched[i].id != wanted) {
      watched[i].follow(wanted);
      if (watched[i].id != wanted) return false;
    }
    if (watched[i].watch.state == os::Watch::State::gone || marked_by_kernel(slot(wanted))) {
      if (bury_when_gone(wanted, watched[i].who, watched[i].watch, kBuryPatienceNs)) return false;
      settled = false;  // it dies slowly; its neighbour is looked at all the same
    }
  }
  return settled;
}

void sleep_until_news(Slot& mine, std::uint32_t kick, const std::array<Watched, kWatchers>& watched) noexcept {
  std::array<os::WordSeen, 1 + kWatchers> words = {{{&mine.kick, kick}}};
  unsigned count = 1;
  for (unsigned i = 0; i < kWatchers; ++i) {
    const Id other = watched[i].id;
    if (other == kNobody) continue;
    os::Word& word = live_word(slot(other), i);
    const std::uint32_t live = word.load();
    if ((live & os::kThreadDied) != 0 || !is_watched(other)) return;
    words[count++] = {&word, live};
  }
  const auto& can = os::capabilities();
  constexpr std::int64_t kPollNs = 20'000'000;
  if (!can.futex_waitv) {
    // Without futex_waitv: sleep on the kick word alone and look at the neighbours' words now and then.
    os::futex_wait(mine.kick, kick, Deadline::never().capped(kPollNs));
  } else {
    os::futex_wait_any(words.data(), count, can.tick ? Deadline::never().capped(kTickNs) : Deadline::never());
  }
}

/// While neighbours come and go two watchers may sleep on one word for a moment. The one that the kernel wakes may be
/// the one that chooses other neighbours now or leaves: it must not keep the wake-up to itself. The mark comes before
/// the wake, so whoever has swallowed one sees it here.
void pass_wakes_on(const std::array<Watched, kWatchers>& watched) noexcept {
  for (unsigned i = 0; i < kWatchers; ++i) {
    if (watched[i].id == kNobody) continue;
    Slot& other = slot(watched[i].id);
    if (marked_by_kernel(other)) os::futex_wake_all(live_word(other, i));
  }
}

/// The fallback timer's look: a stopped watcher, or a kernel that skipped the mark.
void look_round(std::array<Watched, kWatchers>& watched) noexcept {
  for (auto& other : watched) {
    if (other.id == kNobody || !is_watched(other.id)) continue;
    // In this order: the mark comes before the end that the pidfd tells.
    if (held_pidfd_ended(other.who, other.watch.pidfd.get()) && !marked_by_kernel(slot(other.id))) {
      registry().heads.deaths_by_tick.fetch_add(1);
      bury_when_gone(other.id, other.who, other.watch, 0);
    }
  }
}

}  // namespace

void kick_watchers_of(std::uint32_t slot_index) noexcept {
  for (unsigned i = 0; i < kWatchers; ++i) {
    const std::uint32_t index = neighbour(slot_index, Direction::predecessors, i);
    if (index == 0) return;
    Slot& watcher = registry().slots[index];
    watcher.kick.fetch_add(1);
    os::futex_wake_all(watcher.kick);
  }
}

bool bury_if_gone(Id id, std::int64_t patience_ns) noexcept {
  if (id == kNobody || !is_alive(id)) return true;
  os::ProcessIdentity who;
  if (!read_identity(id, who)) return true;
  const os::Watch watch = os::watch(who);
  const bool ended = watch.state == os::Watch::State::gone || marked_by_kernel(slot(id)) ||
                     (watch.pidfd && os::pidfd_ended(watch.pidfd.get()));
  return ended && bury_when_gone(id, who, watch, patience_ns);
}

void run_helper(Id me) noexcept {
  ::prctl(PR_SET_NAME, "brood-helper");
  Slot& mine = slot(me);
  os::mark_at_thread_end(mine.robust);
  StateWord state = StateWord::unpack(mine.state.load());
  state.state = SlotState::alive;
  mine.state.store(state.pack());
  kick_watchers_of(slot_of(me));
  g_self.id.store(me);
  os::futex_wake_all(g_self.id);

  std::array<Watched, kWatchers> watched;
  while (g_self.id.load() == me) {
    const std::uint32_t kick = mine.kick.load();
    // The look at g_self comes after the read of the kick: leave() writes it before it kicks.
    if (g_self.id.load() != me) break;
    if (!choose(slot_of(me), watched)) continue;
    sleep_until_news(mine, kick, watched);
    pass_wakes_on(watched);
    if (g_self.id.load() == me) look_round(watched);
  }
  g_self.helper_ended.store(me);
  os::futex_wake_all(g_self.helper_ended);
  // The kernel's mark at our end has to tell of a killing until the slot is free.
  for (Id left = g_self.left.load(); left != me; left = g_self.left.load())
    os::futex_wait(g_self.left, left, Deadline::never());
}

}  // namespace brood::inline v1::registry
