#include "log/route.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "absl/cleanup/cleanup.h"
#include "brood/error.hpp"
#include "brood/wait.hpp"
#include "log/last_resort.hpp"
#include "registry/sleeper.hpp"
#include "shm/attachments.hpp"

namespace brood::inline v1::log {
namespace {

/// Of one record in a queue of that budget.
std::size_t longest_text(std::size_t byte_budget) noexcept { return std::min(byte_budget / 4, std::size_t{1} << 20); }

}  // namespace

/// False too when it has left the domain at its exit.
bool Route::is_gatherer_there() const {
  (void)registry::self();
  return registry::is_there(to_.gatherer);
}

void Route::tell_once(const std::string& why) noexcept {
  if (told_.exchange(true)) return;
  tell(why + "; process " + std::to_string(::getpid()) + " logs to its own standard error");
}

void Route::tell_that_gatherer(const char* what) noexcept {
  tell_once("process " + std::to_string(to_.pid) + " (" + to_.name + "), which gathers the log, has " + what);
}

bool Route::take(const Record& record) {
  if (shm::has_let_go()) {
    tell_once("the log's queue has been closed by exit()");
    return false;
  }
  if (is_over_) {
    tell_that_gatherer("ended");
    return false;
  }
  try {
    const bool all = put_in_parts(record);
    if (!is_gatherer_there()) {
      tell_that_gatherer(queue_->is_shut_down() ? "ended" : "died");
      salvage_if_dead();  // what came too late for it is among that
    } else if (all) {
      told_ = false;
    } else {
      tell_once("the log's queue is full, and its policy is not to wait");
    }
    return all;
  } catch (const QueueClosed&) {
    is_over_ = true;
    tell_that_gatherer("ended");
  } catch (const Error& error) {
    // No memory for it, say. The next record is tried again.
    tell_once(std::string("a record cannot be sent to the log's queue: ") + error.what());
  }
  return false;
}

bool Route::put_in_parts(const Record& record) {
  const std::size_t longest = longest_text(queue_->byte_budget());
  if (record.text.size() <= longest) return put(record);
  bool all = true;
  for (const Record& part : in_parts(record, longest)) all = put(part) && all;
  return all;
}

/// False: the gatherer has gone, or the policy is not to wait.
bool Route::put(const Record& record) {
  for (;;) {
    if (!is_gatherer_there()) return false;
    if (queue_->try_put(record)) return true;
    switch (queue_->when_full()) {
      case WhenFull::fail: return false;
      case WhenFull::drop_newest: return true;  // the queue has counted it
      case WhenFull::block:
      case WhenFull::drop_oldest: break;
    }
    // Made before the attempt that follows, so that no room is missed that comes after it.
    const auto room = detail::taken_source(detail::WaitAccess::core(*queue_));
    if (queue_->try_put(record)) return true;
    wait_for_room(*room);
  }
}

/// Returns when something has been taken out, or the gatherer has gone.
void Route::wait_for_room(detail::WaitSource& room) const {
  const Handle queue = queue_->handle();
  registry::Sleeper sleeper(registry::Operation::put, queue.kind(), queue.id(), Deadline::never());
  const absl::Cleanup baton = [&] {
    if (sleeper.slept()) room.pass_on();
  };
  for (;;) {
    const std::uint32_t deaths = registry::Sleeper::deaths();
    detail::WaitSource::Bell bell;
    if (room.watch(bell) || !is_gatherer_there()) return;
    const std::array words = {os::WordSeen{&registry::death_word(), deaths}, os::WordSeen{bell.word, bell.seen}};
    const std::array<registry::Id, 1> blocked_on = {to_.gatherer};
    Deadline until = Deadline::never();
    if (bell.look_again_ns != 0) until = until.capped(bell.look_again_ns);
    if (sleeper.sleep_any(words, blocked_on, until) != registry::Sleeper::Woken::tick) continue;
    room.look_round();
    (void)registry::bury_if_gone(to_.gatherer, 0);
  }
}

void Route::salvage_if_dead() noexcept {
  if (shm::has_let_go()) return;
  try {
    (void)registry::self();
    if (!registry::bury_if_gone(to_.gatherer, 0)) return;
    while (const auto record = queue_->try_get()) {
      tell_that_gatherer("died");
      write_to_stderr(*record);
    }
  } catch (const QueueClosed&) {
    is_over_ = true;  // it had shut the queue down, and all was taken
  } catch (const Error& error) {
    tell(std::string("records that nobody has written cannot be had: ") + error.what());
  }
}

}  // namespace brood::inline v1::log
