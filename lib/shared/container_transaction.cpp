// Reading and writing a container: the lock, the private view, the commit.
#include <chrono>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "brood/detail/container_core.hpp"
#include "brood/error.hpp"
#include "shared/container_heap.hpp"
#include "shared/container_journal.hpp"
#include "shared/container_readers.hpp"
#include "shared/container_state.hpp"

namespace brood::inline v1::detail {
namespace {

using shared::Access;
using shared::Mark;
using shared::Phase;
using shared::t_accesses;
using shared::View;
using Clock = std::chrono::steady_clock;
using Writing = ContainerCore::Writing;

/// Of a read inside of a write of the same thread, and of one that holds the lock since all slots are taken.
constexpr std::uint32_t kInsideWrite = shared::kNoSlot - 1;

std::string name_of(const ContainerState& state) {
  const auto& header = shm::header_of(state.view.body);
  return state.object.handle().str() + " of '" +
         std::string(header.type_name, ::strnlen(header.type_name, sizeof header.type_name)) + "'";
}

/// The access of this thread, if it has one. A guard that ended in another thread has left its entry behind.
Access* current(const ContainerState& state, registry::Id me) noexcept {
  Access* access = t_accesses.find(state.object.id(), me);
  if (access != nullptr && access->writing != nullptr && !sync::held_by_caller(state.view.body->lock)) {
    t_accesses.remove(*access);
    return nullptr;
  }
  return access;
}

void finish_applying(const View& view, std::uint64_t pages) noexcept {
  shared::apply(view, pages);
  view.body->commits.fetch_add(1, std::memory_order_relaxed);
  // SYNC reader: release, whoever begins to read now reads the pages.
  view.body->mark.store(0);
}

/// Lock held: finishes what a dead writer had committed. False if the deadline passed before readers had left.
/// Errors: ContainerDamaged, TypeMismatch (the journal makes no sense).
bool settle(const ContainerState& state, Writing how, Deadline deadline) {
  const View& view = state.view;
  const Mark mark = view.mark();
  switch (mark.phase) {
    case Phase::idle: return true;
    case Phase::applying:
      if (!shared::is_sound(view, mark.number)) break;
      if (!shared::await_no_readers(view, deadline)) return false;
      finish_applying(view, mark.number);
      return true;
    case Phase::in_place:
      if (how == Writing::recovery || how == Writing::renewal) return true;
      throw ContainerDamaged(name_of(state) + ": process " + std::to_string(mark.number) +
                                 " died while it changed this container in place, which may have left it broken; "
                                 "recover(repair) or reset() it",
                             static_cast<std::int64_t>(mark.number));
  }
  throw TypeMismatch(name_of(state) + ": its segment is damaged (a commit of " + std::to_string(mark.number) +
                     " pages is not possible)");
}

/// Lock held: nothing of its own is left in the private view.
void discard(ContainerState& state) noexcept {
  shared::drop_changes(state.view);
  state.kept_at = 0;
}

/// Lock held: the private view shows what all see.
void refresh(ContainerState& state, Writing how, registry::Id me) {
  const bool keeps_old_pages =
      state.kept_at != 0 && state.kept_at != state.view.body->commits.load(std::memory_order_relaxed);
  if (state.private_of != me || keeps_old_pages || how != Writing::transaction || shared::is_stale(state.view)) {
    discard(state);
    state.private_of = me;
  }
#ifndef NDEBUG
  if (shared::has_stray_changes(state.view)) {
    discard(state);
    throw UsageError(name_of(state) +
                     ": this process has written to it outside of a transaction: a reference into it has outlived its "
                     "guard; what was written is gone");
  }
#endif
}

/// Lock held. False if the deadline passed.
bool prepare(ContainerState& state, const ContainerCore::Type& type, Writing how, Deadline deadline, registry::Id me) {
  if (!settle(state, how, deadline)) return false;
  if (how != Writing::renewal && !shared::is_sound(state.view_in_place)) {
    throw TypeMismatch(name_of(state) + ": its segment is damaged (its heap says " +
                       std::to_string(state.view_in_place.heap().get_size()) + " bytes); reset() it");
  }
  if (how == Writing::in_place) {
    // Readers see it and do not begin; those who have begun are waited for.
    std::atomic<std::uint64_t>& mark = state.view.body->mark;
    state.view.body->commits.fetch_add(1);  // what processes keep of the last one will be old
    mark.store(Mark{Phase::in_place, static_cast<std::uint64_t>(registry::pid_of(me))}.pack());
    const bool alone = shared::await_no_readers(state.view, deadline);
    if (!alone) mark.store(0);
    return alone;
  }
  refresh(state, how, me);
  if (how == Writing::renewal) shared::format(state.view, type);
  return true;
}

/// What stays mapped, and which pages stay ours, for the next transaction; measured: README.md.
void tidy(ContainerState& state, const shared::Saved& saved, Clock::duration worked, std::uint64_t commit) noexcept {
  // To look for changed pages costs some 25 ns for each page that is mapped, changed or not. Small transactions in large
  // contents are better off with mapping again what they use.
  constexpr std::chrono::microseconds kLongLook{150};
  // If nobody else commits in between, our pages are right, and to compare one costs a twentieth of copying it anew.
  constexpr std::uint64_t kMostKept = 1024;
  constexpr std::uint64_t kKeptForEachChanged = 8;
  if (saved.looking > kLongLook && saved.looking > worked) {
    discard(state);
    return;
  }
  if (saved.own_pages > kMostKept || saved.own_pages > kKeptForEachChanged * (saved.pages + 1)) {
    shared::drop_own_pages(state.view);
    state.kept_at = 0;
    return;
  }
  state.kept_at = commit;
}

/// Lock held: makes the changes those of all.
void commit_changes(ContainerState& state) noexcept {
  const View& view = state.view;
  const auto worked = std::chrono::steady_clock::now() - state.begun;
  const shared::Saved saved = shared::save_changes(view);
  if (saved.pages != 0) {
    // SYNC commit: release, the journal is whole; whoever takes over our lock after our death copies it. SYNC reader: and
    // the reader slots are read after it.
    view.body->mark.store(Mark{Phase::applying, saved.pages}.pack());
    (void)shared::await_no_readers(view, Deadline::never());
    finish_applying(view, saved.pages);
  } else if (view.mark().phase != Phase::idle) {
    view.body->mark.store(0);  // recovered, and nothing was broken
  }
  tidy(state, saved, worked, view.body->commits.load(std::memory_order_relaxed));
}

/// The outermost access of a write ends.
void end_write(ContainerState& state, bool keep, registry::Id me) noexcept {
  const View& view = state.view;
  if (state.how == Writing::in_place) {
    view.body->mark.store(0);
  } else if (keep && !state.is_doomed) {
    commit_changes(state);
  } else {
    discard(state);
  }
  if (Access* access = t_accesses.find(state.object.id(), me)) t_accesses.remove(*access);
  sync::release(view.body->lock);
}

/// One access ends.
void leave_write(ContainerState& state, std::uint32_t of, bool keep) noexcept {
  const registry::Id me = registry::self_if_joined();
  if (of != me) return;
  if (state.depth > 1) --state.depth;
  else end_write(state, keep, me);
}

}  // namespace

ContainerAccess ContainerCore::begin_write(const Type& type, Writing how, Deadline deadline) const {
  ContainerState& mine = state();
  const registry::Id me = registry::self();
  ContainerAccess granted;
  granted.of_ = me;
  if (Access* access = current(mine, me)) {
    if (access->writing == nullptr) {
      throw UsageError(
          name_of(mine) +
          ": this thread reads it and wants to write to it, and so would wait for itself; end the read first");
    }
    if (access->state == nullptr || how == Writing::renewal || how == Writing::recovery) {
      throw UsageError(name_of(mine) + ": this thread changes it right now; end that first");
    }
    ++access->state->depth;
    granted.state_ = access->state->shared_from_this();
    granted.root_ = access->writing->root();
    return granted;
  }
  Access& access = t_accesses.add(mine.object.id(), me);
  absl::Cleanup forget = [&] { t_accesses.remove(access); };
  sync::LockBody& lock = mine.view.body->lock;
  if (sync::acquire(lock, mine.context(), deadline) == sync::Acquired::timed_out) return granted;
  absl::Cleanup let_go = [&] { sync::release(lock); };
  if (how == Writing::recovery && mine.view.mark().phase != Phase::in_place) return granted;
  mine.begun = Clock::now();
  mine.depth = 1;
  mine.is_doomed = false;
  mine.how = how;
  access.writing = &mine.view_of(how);
  access.state = &mine;
  absl::Cleanup undo = [&] {
    if (how != Writing::in_place) discard(mine);
  };
  if (!prepare(mine, type, how, deadline, me)) return granted;
  std::move(undo).Cancel();
  std::move(let_go).Cancel();
  std::move(forget).Cancel();
  granted.state_ = state_;
  granted.root_ = access.writing->root();
  return granted;
}

ContainerAccess ContainerCore::begin_read(Deadline deadline) const {
  ContainerState& mine = state();
  const View& view = mine.view;
  const registry::Id me = registry::self();
  ContainerAccess granted;
  granted.of_ = me;
  if (Access* access = current(mine, me)) {
    if (access->writing == nullptr) {
      // Without a look at the mark: a writer may wait for us, and we would wait for it.
      ++access->reads;
      granted.slot_ = access->slot;
    } else if (access->state == nullptr) {
      throw UsageError(name_of(mine) + ": this thread makes it right now");
    } else {
      ++access->state->depth;
      granted.slot_ = kInsideWrite;
      granted.state_ = access->state->shared_from_this();
      granted.root_ = access->writing->root();
      return granted;
    }
  } else {
    Access& made = t_accesses.add(mine.object.id(), me);
    made.slot = shared::enter(view, me);
    if (made.slot == shared::kNoSlot || view.body->mark.load() != 0) {
      if (made.slot != shared::kNoSlot) shared::leave(view, made.slot);
      absl::Cleanup forget = [&] { t_accesses.remove(made); };
      if (sync::acquire(view.body->lock, mine.context(), deadline) == sync::Acquired::timed_out) return granted;
      absl::Cleanup let_go = [&] { sync::release(view.body->lock); };
      if (!settle(mine, Writing::transaction, deadline)) return granted;
      std::move(forget).Cancel();
      made.slot = shared::enter(view, me);
      if (made.slot == shared::kNoSlot) std::move(let_go).Cancel();  // the lock itself keeps writers out
    }
    made.reads = 1;
    granted.slot_ = made.slot;
  }
  granted.state_ = state_;
  granted.root_ = view.shared_root();
  return granted;
}

void* ContainerAccess::heap() const {
  (void)root();
  return &state_->view_of(state_->how).heap();
}

void ContainerAccess::finish_write(bool keep) noexcept {
  if (std::exchange(root_, nullptr) == nullptr) return;
  leave_write(*state_, of_, keep);
  state_.reset();
}

void ContainerAccess::abandon() noexcept {
  if (root_ == nullptr) return;
  if (of_ == registry::self_if_joined()) state_->is_doomed = true;
  finish_write(false);
}

void ContainerAccess::commit() {
  if (root_ == nullptr) throw_ended();
  const bool is_doomed = state_->is_doomed && state_->depth == 1;
  const std::string name = is_doomed ? name_of(*state_) : std::string();
  finish_write(true);
  if (is_doomed) {
    throw UsageError(name + ": a part of this transaction was abandoned, so all of it was undone");
  }
}

void ContainerAccess::finish_read() noexcept {
  if (std::exchange(root_, nullptr) == nullptr) return;
  const std::shared_ptr<ContainerState> state = std::move(state_);
  if (slot_ == kInsideWrite) {
    leave_write(*state, of_, true);
    return;
  }
  const registry::Id me = registry::self_if_joined();
  if (of_ != me) return;
  if (Access* access = t_accesses.find(state->object.id(), me)) {
    if (--access->reads > 0) return;
    t_accesses.remove(*access);
  }
  if (slot_ == shared::kNoSlot) sync::release(state->view.body->lock);
  else shared::leave(state->view, slot_);
}

void ContainerAccess::throw_ended() { throw UsageError("this access to a shared container has ended; begin another"); }

}  // namespace brood::inline v1::detail
