#include "registry/sleeper.hpp"

#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <ranges>

#include "os/capabilities.hpp"

namespace brood::inline v1::registry {
namespace {

constexpr std::int64_t kTickNs = 1'000'000'000;
/// The one we wait for is marked as dying but not proved gone: its watcher is at it; look often.
constexpr std::int64_t kDyingTickNs = 1'000'000;
/// Without futex_waitv a death cannot wake us: look this often.
constexpr std::int64_t kPollNs = 20'000'000;
/// Nor can more than one word: look at all of them, at first so often, in the end as seldom as this.
constexpr std::int64_t kFirstPauseNs = 100'000;
constexpr std::int64_t kLastPauseNs = 5'000'000;

/// The record is given back when the thread's objects are destroyed, which is before its exit handlers run.
thread_local constinit bool t_record_is_gone = false;

/// The calling thread's record in its process's slot, given back when the thread ends.
class OwnRecord {
 public:
  OwnRecord() = default;
  OwnRecord(const OwnRecord&) = delete;
  OwnRecord& operator=(const OwnRecord&) = delete;
  ~OwnRecord() {
    t_record_is_gone = true;
    const Id me = self_if_joined();
    if (record_ == nullptr || of_ != me || me == kNobody) return;
    record_->tid.store(0);
    g_self.records_in_use.fetch_and(~(1ULL << index_));
  }

  /// Null if the process has more sleeping threads than records.
  ThreadRecord* get() noexcept {
    const Id me = self_if_joined();
    if (of_ != me || record_ == nullptr) claim(me);
    return record_;
  }

 private:
  void claim(Id me) noexcept {
    of_ = me;
    record_ = nullptr;
    std::uint64_t used = g_self.records_in_use.load();
    for (;;) {
      const int free = std::countr_one(used);
      if (free >= static_cast<int>(kThreadRecords)) return;
      if (!g_self.records_in_use.compare_exchange_weak(used, used | 1ULL << free)) continue;
      index_ = free;
      break;
    }
    record_ = &slot(me).threads[static_cast<std::size_t>(index_)];
    ::prctl(PR_GET_NAME, record_->thread_name);
    record_->tid.store(self_tid(me));
  }

  ThreadRecord* record_ = nullptr;
  Id of_ = kNobody;
  int index_ = 0;
};

thread_local OwnRecord t_record;

/// is_alive() with a sequentially consistent load.
bool is_alive_seq_cst(Id id) noexcept {
  const StateWord word = StateWord::unpack(slot(id).state.load());
  return (word.generation & kGenerationMask) == generation_of(id) && word.state == SlotState::alive;
}

}  // namespace

Sleeper::~Sleeper() {
  if (record_ != nullptr) {
    record_->blocked_on.store(kNobody, std::memory_order_relaxed);
    record_->operation.store(0, std::memory_order_relaxed);
  }
  if (unrecorded_in_ != nullptr) unrecorded_in_->unrecorded_sleepers.fetch_sub(1);
}

void Sleeper::publish(Id blocked_on) noexcept {
  if (record_ == nullptr && unrecorded_in_ == nullptr) {
    record_ = t_record_is_gone ? nullptr : t_record.get();
    if (record_ == nullptr) {
      unrecorded_in_ = &slot(self_if_joined());
      unrecorded_in_->unrecorded_sleepers.fetch_add(1);
    } else {
      record_->object.store(object_, std::memory_order_relaxed);
      record_->kind.store(static_cast<std::uint32_t>(kind_), std::memory_order_relaxed);
      record_->since_ns.store(Deadline::clock_ns(), std::memory_order_relaxed);
      record_->operation.store(static_cast<std::uint32_t>(operation_), std::memory_order_relaxed);
    }
  }
  if (record_ != nullptr) record_->blocked_on.store(blocked_on);
}

Sleeper::Woken Sleeper::sleep(const os::Word& word, std::uint32_t seen, std::uint32_t deaths_seen, Id blocked_on,
                              const os::WordSeen* also) noexcept {
  if (deadline_.passed()) return Woken::timed_out;
  publish(blocked_on);
  // SYNC leave: what we wait for is published before we look whether that process is still there; leave() frees its
  // slot before it looks at the records. All sequentially consistent: one of the two sees the other.
  if (blocked_on != kNobody && !is_alive_seq_cst(blocked_on)) return Woken::look_again;
  slept_ = true;
  const auto& can = os::capabilities();
  Deadline until = deadline_;
  if (!can.futex_waitv) {
    until = deadline_.capped(kPollNs);
  } else if (can.tick) {
    const bool dying = blocked_on != kNobody && marked_by_kernel(slot(blocked_on));
    until = deadline_.capped(dying ? kDyingTickNs : kTickNs);
  }
  os::Wake wake{};
  if (!can.futex_waitv) {
    wake = os::futex_wait(word, seen, until);
  } else if (also == nullptr) {
    wake = os::futex_wait_either(word, seen, death_word(), deaths_seen, until);
  } else {
    const std::array<os::WordSeen, 3> words = {{{&word, seen}, *also, {&death_word(), deaths_seen}}};
    wake = os::futex_wait_any(words.data(), words.size(), until);
  }
  if (wake == os::Wake::woken) return Woken::look_again;
  return deadline_.passed() ? Woken::timed_out : Woken::tick;
}

Sleeper::Woken Sleeper::sleep_any(std::span<const os::WordSeen> words, std::span<const Id> blocked_on,
                                  Deadline until) noexcept {
  if (deadline_.passed()) return Woken::timed_out;
  // For leave(), which asks whether anybody waits for a process at all, one of them is as good as all.
  publish(blocked_on.empty() ? kNobody : blocked_on.front());
  // SYNC leave: as in sleep().
  if (!std::ranges::all_of(blocked_on, is_alive_seq_cst)) return Woken::look_again;
  slept_ = true;
  const auto& can = os::capabilities();
  if (!can.futex_waitv) {
    pause_ns_ = pause_ns_ == 0 ? kFirstPauseNs : std::min(2 * pause_ns_, kLastPauseNs);
    const bool changed = std::ranges::any_of(words, [](const os::WordSeen& of) { return of.word->load() != of.seen; });
    if (changed) return Woken::look_again;
    until = until.capped(pause_ns_);
  } else if (can.tick) {
    const bool dying = std::ranges::any_of(blocked_on, [](Id id) { return marked_by_kernel(slot(id)); });
    until = until.capped(dying ? kDyingTickNs : kTickNs);
  }
  const os::Wake wake = can.futex_waitv ? os::futex_wait_any(words.data(), static_cast<unsigned>(words.size()), until)
                                        : os::futex_wait(*words.front().word, words.front().seen, until);
  if (wake == os::Wake::woken) return Woken::look_again;
  return deadline_.passed() ? Woken::timed_out : Woken::tick;
}

}  // namespace brood::inline v1::registry
