#include "sync/semaphore_body.hpp"

#include <algorithm>

#include "brood/error.hpp"
#include "os/files.hpp"
#include "registry/sleeper.hpp"

namespace brood::inline v1::sync {
namespace {

constexpr std::uint32_t kNoTally = kTallies;
constexpr std::uint64_t kWaitersBit = 1ULL << 31;
constexpr unsigned kOpShift = 32;
constexpr unsigned kTallyShift = 34;
constexpr unsigned kVersionShift = 44;
constexpr std::uint32_t kVersionMask = (1U << 20) - 1;

enum class Op : std::uint32_t { none = 0, take = 1, give = 2, restore = 3 };

std::uint32_t count_of(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word) & kMaxCount; }
Op op_of(std::uint64_t word) noexcept { return static_cast<Op>(word >> kOpShift & 3); }
std::uint32_t tally_of(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word >> kTallyShift) & (kTallies - 1);
}
std::uint32_t version_of(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word >> kVersionShift); }

std::uint32_t held_of(std::uint64_t tally) noexcept { return static_cast<std::uint32_t>(tally); }
std::uint32_t tally_version(std::uint64_t tally) noexcept { return static_cast<std::uint32_t>(tally >> 32); }

std::uint64_t plain(std::uint32_t count, std::uint64_t waiters) noexcept { return waiters | count; }
/// A change that also changes a tally, whose value now is `before`.
std::uint64_t journalled(std::uint32_t count, std::uint64_t waiters, Op op, std::uint32_t tally,
                         std::uint64_t before) noexcept {
  const std::uint64_t version = (tally_version(before) + 1) & kVersionMask;
  return version << kVersionShift | static_cast<std::uint64_t>(tally) << kTallyShift |
         static_cast<std::uint64_t>(op) << kOpShift | waiters | count;
}

}  // namespace

void SemaphoreCore::finish(std::uint64_t word) noexcept {
  const Op op = op_of(word);
  if (op == Op::none) return;
  Tally& tally = body_.tallies[tally_of(word)];
  std::uint64_t value = tally.value.load();
  // The journal may have been finished, or replaced, since the caller read it; the version tells.
  if (body_.word.load() != word || (tally_version(value) & kVersionMask) == version_of(word)) return;
  std::uint32_t held = held_of(value);
  if (op == Op::take) ++held;
  if (op == Op::give && held > 0) --held;
  if (op == Op::restore) held = 0;
  tally.value.compare_exchange_strong(value, static_cast<std::uint64_t>(tally_version(value) + 1) << 32 | held);
}

/// The control word with nothing left to finish.
std::uint64_t SemaphoreCore::settled() noexcept {
  for (;;) {
    const std::uint64_t word = body_.word.load();
    finish(word);
    if (body_.word.load() == word) return word;
  }
}

std::uint32_t SemaphoreCore::claim_tally() {
  const Id me = registry::self();
  for (;;) {
    const std::uint32_t used = body_.tallies_used.load();
    for (std::uint32_t i = 0; i < used; ++i) {
      if (body_.tallies[i].owner.load(std::memory_order_relaxed) == me) return i;
    }
    // Counted before it is ours: a leave in between must know that there may be something to give back.
    registry::slot(me).claims.fetch_add(1);
    for (std::uint32_t i = 0; i < used; ++i) {
      Id nobody = registry::kNobody;
      if (body_.tallies[i].owner.compare_exchange_strong(nobody, me)) return i;
    }
    registry::slot(me).claims.fetch_sub(1);
    if (used < kTallies) {
      if (os::populate(reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(&body_.tallies[used]) /
                                               os::page_size() * os::page_size()),
                       os::page_size()) == -ENOSPC) {
        throw NoSpace("no room to note who holds permits of semaphore " + Handle(kind_, object_).str());
      }
      std::uint32_t expected = used;
      body_.tallies_used.compare_exchange_strong(expected, used + 1);
      continue;
    }
    if (!restore_dead()) {
      throw OsError(EAGAIN, Handle(kind_, object_).str() + ": " + std::to_string(kTallies) +
                                " living processes hold or have held permits of it, no more can be noted");
    }
  }
}

/// Gives back what dead processes hold, and frees their tallies. True if anything changed.
bool SemaphoreCore::restore_dead() {
  bool changed = false;
  const std::uint32_t used = body_.tallies_used.load();
  for (std::uint32_t i = 0; i < used; ++i) {
    Tally& tally = body_.tallies[i];
    Id owner = tally.owner.load();
    while (owner != registry::kNobody && !registry::is_alive(owner)) {
      const std::uint64_t word = settled();
      const std::uint64_t value = tally.value.load();
      if (tally.owner.load() != owner || body_.word.load() != word) {
        owner = tally.owner.load();
        continue;
      }
      if (held_of(value) == 0) {
        changed = tally.owner.compare_exchange_strong(owner, registry::kNobody) || changed;
        break;
      }
      std::uint64_t expected = word;
      const std::uint32_t count = std::min(body_.bound, count_of(word) + held_of(value));
      const std::uint64_t next = journalled(count, 0, Op::restore, i, value);
      if (!body_.word.compare_exchange_strong(expected, next)) continue;
      finish(next);
      os::futex_wake_all(low_half(body_.word));
      changed = true;
    }
  }
  return changed;
}

bool SemaphoreCore::acquire(Account account, Deadline deadline) {
  const std::uint32_t mine = account == Account::owned ? claim_tally() : kNoTally;
  registry::Sleeper sleeper(registry::Operation::acquire, kind_, object_, deadline);
  std::uint64_t waiters = 0;
  for (;;) {
    const std::uint32_t deaths = registry::Sleeper::deaths();
    std::uint64_t word = settled();
    if (const std::uint32_t count = count_of(word); count > 0) {
      const std::uint64_t keep = (word & kWaitersBit) | waiters;
      const std::uint64_t next = mine == kNoTally
                                     ? plain(count - 1, keep)
                                     : journalled(count - 1, keep, Op::take, mine, body_.tallies[mine].value.load());
      if (!body_.word.compare_exchange_strong(word, next)) continue;
      finish(next);
      // The wake-up that came to us took the mark of the others with it: hand on what is left.
      if (waiters != 0 && count > 1) os::futex_wake(low_half(body_.word), 1);
      return true;
    }
    if (restore_dead()) continue;
    if (deadline.is_poll()) return false;
    if ((word & kWaitersBit) == 0) {
      if (!body_.word.compare_exchange_strong(word, word | kWaitersBit)) continue;
      word |= kWaitersBit;
    }
    switch (sleeper.sleep(low_half(body_.word), static_cast<std::uint32_t>(word), deaths)) {
      case registry::Sleeper::Woken::timed_out:
        // A wake-up meant for us must not be lost for the others.
        if (sleeper.slept() && count_of(body_.word.load()) > 0) os::futex_wake(low_half(body_.word), 1);
        return false;
      case registry::Sleeper::Woken::tick: look_round(); break;
      case registry::Sleeper::Woken::look_again: break;
    }
    waiters = kWaitersBit;
  }
}

bool SemaphoreCore::watch(detail::WaitSource::Bell& bell) {
  for (;;) {
    std::uint64_t word = settled();
    if (count_of(word) > 0) return true;
    if (restore_dead()) continue;
    if ((word & kWaitersBit) == 0) {
      if (!body_.word.compare_exchange_strong(word, word | kWaitersBit)) continue;
      word |= kWaitersBit;
    }
    bell = {.word = &low_half(body_.word), .seen = static_cast<std::uint32_t>(word)};
    return false;
  }
}

void SemaphoreCore::pass_wake_on() noexcept {
  for (;;) {
    std::uint64_t word = settled();
    if (count_of(word) > 0) {
      os::futex_wake(low_half(body_.word), 1);
      return;
    }
    // The wake-up took the mark of all with it, and somebody else the unit.
    if ((word & kWaitersBit) != 0 || body_.word.compare_exchange_strong(word, word | kWaitersBit)) return;
  }
}

void SemaphoreCore::look_round() noexcept {
  for (std::uint32_t i = 0; i < body_.tallies_used.load(); ++i)
    registry::bury_if_gone(body_.tallies[i].owner.load(), 0);
}

/// The tally that a release takes from: our own if it has something, else (for a bounded semaphore) anybody's.
bool SemaphoreCore::find_giver(Id me, bool any_owner, std::uint32_t& index) noexcept {
  const std::uint32_t used = body_.tallies_used.load();
  bool found = false;
  for (std::uint32_t i = 0; i < used; ++i) {
    if (held_of(body_.tallies[i].value.load()) == 0) continue;
    const bool own = body_.tallies[i].owner.load() == me;
    if (!own && (!any_owner || found)) continue;
    index = i;
    found = true;
    if (own) return true;
  }
  return found;
}

SemaphoreCore::Released SemaphoreCore::release(Account account, bool any_owner) {
  const Id me = registry::self();
  for (;;) {
    std::uint64_t word = settled();
    const std::uint32_t count = count_of(word);
    if (count >= body_.bound) return any_owner ? Released::not_held : Released::at_ceiling;
    std::uint64_t next = plain(count + 1, 0);
    if (account == Account::owned) {
      std::uint32_t giver = 0;
      const bool found = find_giver(me, any_owner, giver);
      const std::uint64_t value = found ? body_.tallies[giver].value.load() : 0;
      // What was found belongs to `word` only if that still stands.
      if (body_.word.load() != word) continue;
      if (!found || held_of(value) == 0) return Released::not_held;
      next = journalled(count + 1, 0, Op::give, giver, value);
    }
    const bool wake = (word & kWaitersBit) != 0;
    if (!body_.word.compare_exchange_strong(word, next)) continue;
    finish(next);
    if (wake) os::futex_wake(low_half(body_.word), 1);
    return Released::yes;
  }
}

std::uint32_t SemaphoreCore::value() {
  (void)registry::self();
  restore_dead();
  return count_of(settled());
}

}  // namespace brood::inline v1::sync
