#include "channel/holders.hpp"

#include <cerrno>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "os/files.hpp"
#include "shm/segment.hpp"

namespace brood::inline v1::channel {
namespace {

std::string named(std::uint64_t id) { return Handle(Kind::connection, id).str(); }

/// The records' first page was reserved with the segment, the others when they are needed.
void reserve_record(const Holder& record, std::uint64_t id) {
  const auto page = reinterpret_cast<std::uintptr_t>(&record) / os::page_size() * os::page_size();
  if (os::populate(reinterpret_cast<void*>(page), os::page_size()) == -ENOSPC)
    throw NoSpace("no room for one more holder of " + named(id));
}

const bool g_looks_again = (shm::set_look_again(Kind::connection, &look_again), true);

}  // namespace

bool Holders::claim(std::uint32_t index, registry::Id me) const {
  Holder& free = record(index);
  registry::Id was = free.load();
  if (was != registry::kNobody && registry::is_alive(was)) return false;
  return free.compare_exchange_strong(was, me);
}

std::uint32_t Holders::find_record(registry::Id me) const {
  for (std::uint32_t index = 0; index < kHolders; ++index) {
    if (std::uint32_t used = end_.holders_used.load(); index >= used) {
      reserve_record(record(index), id_);
      // Counted as used first: whoever looks through the records from now on comes by this one.
      used = index;
      end_.holders_used.compare_exchange_strong(used, index + 1);
    }
    if (claim(index, me)) return index;
  }
  throw OsError(EAGAIN, "too many connections hold " + named(id_));
}

std::uint32_t Holders::add(registry::Id me) {
  // Counted before the record is ours: a clean exit in between must know that somebody may wait for us.
  registry::slot(me).claims.fetch_add(1);
  absl::Cleanup not_counted = [me] { registry::slot(me).claims.fetch_sub(1); };
  const std::uint32_t index = find_record(me);
  std::move(not_counted).Cancel();
  if ((end_.gate.fetch_add(2) & 1) == 0) return index;
  remove(index, me);
  throw ConnectionClosed(
      named(id_) +
      ": this end of the pipe was closed by all who had it, and that is for good; a handle that is "
      "written down does not keep an end open, one in a message does; a forked child holds an end from its "
      "first use of it on, so use it there (or ask for its handle()) before the parent closes it");
}

void Holders::remove(std::uint32_t index, registry::Id me) noexcept {
  registry::Id mine = me;
  if (record(index).compare_exchange_strong(mine, registry::kNobody)) registry::slot(me).claims.fetch_sub(1);
}

registry::Id Holders::somebody() const noexcept {
  const std::uint32_t used = end_.holders_used.load();
  for (std::uint32_t i = 0; i < used; ++i) {
    const registry::Id holder = record(i).load();
    if (holder != registry::kNobody && registry::is_there(holder)) return holder;
  }
  return registry::kNobody;
}

bool Holders::is_unheld(bool thorough) const {
  if (somebody() != registry::kNobody) return false;
  if (!shm::in_transit(id_)) return true;
  if (!thorough) return false;
  (void)gc();
  return !shm::in_transit(id_);
}

bool Holders::end_if_unheld(bool thorough) {
  for (;;) {
    std::uint64_t gate = end_.gate.load();
    if ((gate & 1) != 0) return true;
    if (!is_unheld(thorough)) return false;
    if (end_.gate.compare_exchange_strong(gate, gate | 1)) break;
  }
  // Killed from here on, the death wakes everybody, and gc() drops the pins.
  end_.sent.notify_all();
  end_.taken.notify_all();
  // Nobody will ever receive what lies in the inbox.
  auto& header = shm::header_of(&end_);
  header.pins_spent.store(~std::uint64_t{0});
  if (header.may_have_pins.load() != 0) (void)shm::drop_pins(id_, {});
  return true;
}

void look_again(void* body) noexcept {
  auto& end = *static_cast<EndBody*>(body);
  end.sent.notify_every();
  end.taken.notify_every();
}

}  // namespace brood::inline v1::channel
