#include "shm/attachments.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "base/fork_order.hpp"
#include "base/hex.hpp"
#include "brood/error.hpp"
#include "os/files.hpp"
#include "shm/domain.hpp"
#include "shm/mappable.hpp"

namespace brood::inline v1::shm {
namespace {

namespace bip = boost::interprocess;

/// An attachment plus its region, so that public code sees no Boost.
struct Mapped : detail::Attachment {
  bip::mapped_region region;
  bip::mapped_region private_region;
};

void let_go_of(const detail::Attachment& one) noexcept {
  os::replace_by_zeros(one.base, one.size_bytes);
  if (one.private_view != nullptr) os::replace_by_zeros(one.private_view, one.size_bytes);
}

/// Process-wide lists. Never destroyed; its mutex is taken across fork so that a child never inherits it locked.
struct Lists {
  std::mutex mutex;
  detail::Attachment* first = nullptr;
  absl::btree_set<std::string> orphans;  ///< of `orphans_of`; a forked child leaves them to its parent
  pid_t orphans_of = 0;
  std::size_t attempts = 0;  ///< to free something, since the orphans were tried last

  absl::btree_set<std::string>& own_orphans() {
    if (std::exchange(orphans_of, ::getpid()) != ::getpid()) orphans.clear();
    return orphans;
  }
};

/// Orphans are tried again after this many attempts, or as many as there are: no attempt pays for more than one other.
constexpr std::size_t kAttemptsBetween = 64;

Lists& lists() {
  static auto* const it = [] {
    auto* made = new Lists;
    base::hold_across_fork(base::ForkOrder::attachments,
                           {[] { lists().mutex.lock(); }, [] { lists().mutex.unlock(); }});
    return made;
  }();
  return *it;
}

/// At load: a fork by one thread must not meet another that registers or initialises here.
[[maybe_unused]] const Lists& g_made_at_load = lists();

bool g_exit_handler_registered = false;  // under the lists' mutex

constinit std::atomic<void (*)() noexcept> g_farewell = nullptr;
constinit std::atomic<bool> g_has_let_go = false;

/// Errors: bip::interprocess_exception.
bip::mapped_region map(int fd, std::size_t size_bytes, Kind kind, Access access) {
  const auto mode = access == Access::read_only ? bip::read_only : bip::read_write;
  // Raw memory may get huge pages, which exist only where the address fits the offset in the file.
  void* const place =
      kind == Kind::memory && size_bytes >= os::kHugePage ? os::reserve_addresses(size_bytes, os::kHugePage) : nullptr;
  if (place == nullptr) return {Mappable(fd), mode, 0, size_bytes};
  try {
    return {Mappable(fd), mode, 0, size_bytes, place, os::kMapOver};
  } catch (...) {
    os::release_addresses(place, size_bytes);
    throw;
  }
}

void let_go_of_mappings() noexcept {
  g_has_let_go.store(true);
  std::vector<std::string> files;
  {
    auto& all = lists();
    const std::lock_guard guard(all.mutex);
    for (auto* it = all.first; it != nullptr; it = it->next) {
      if (it->file == kRegistryFile) continue;
      let_go_of(*it);
      if (std::string file = file_to_reclaim(*it); !file.empty()) files.push_back(std::move(file));
    }
  }
  // Only now: threads still running can write to nothing that others may take over.
  if (const auto farewell = g_farewell.load()) farewell();
  {
    auto& all = lists();
    const std::lock_guard guard(all.mutex);
    for (auto* it = all.first; it != nullptr; it = it->next) {
      if (it->file == kRegistryFile) os::replace_by_zeros(it->base, it->size_bytes);
    }
    const auto orphans = std::exchange(all.own_orphans(), {});
    files.insert(files.end(), orphans.begin(), orphans.end());
  }
  for (const auto& file : files) reclaim(file);
  reclaim(std::string(kRegistryFile));  // last: it goes only when nothing else is left
}

}  // namespace

detail::Attachment* attach(int fd, std::size_t size_bytes, Kind kind, std::uint64_t id, std::string name,
                           std::string file, Access access) {
  auto made = std::make_unique<Mapped>();
  try {
    made->region = map(fd, size_bytes, kind, access);
    // MAP_NORESERVE: a copy of all of it will never be needed at once.
    if (has_private_view(kind)) {
      made->private_region =
          bip::mapped_region(Mappable(fd), bip::copy_on_write, 0, size_bytes, nullptr, os::kNoReserve);
    }
  } catch (const bip::interprocess_exception& error) {
    const int number = error.get_native_error() != 0 ? error.get_native_error() : ENOMEM;
    throw OsError(number, "cannot map " + std::to_string(size_bytes) +
                              " bytes of brood:" + std::string(to_string(kind)) +
                              (number == ENOMEM ? " (address space or vm.max_map_count exhausted?)" : ""));
  }
  made->base = made->region.get_address();
  made->private_view = made->private_region.get_address();
  made->size_bytes = size_bytes;
  made->kind = kind;
  made->id = id;
  made->name = std::move(name);
  made->file = std::move(file);
  auto& all = lists();
  const std::lock_guard guard(all.mutex);
  made->next = all.first;
  if (all.first != nullptr) all.first->previous = made.get();
  all.first = made.get();
  return made.release();
}

std::string file_to_reclaim(const detail::Attachment& attachment) {
  if (attachment.name.empty()) return attachment.file;
  return may_hold_handles(attachment.kind) ? base::hex16(attachment.id) : std::string();
}

void detach(detail::Attachment* attachment) noexcept {
  {
    auto& all = lists();
    const std::lock_guard guard(all.mutex);
    (attachment->previous != nullptr ? attachment->previous->next : all.first) = attachment->next;
    if (attachment->next != nullptr) attachment->next->previous = attachment->previous;
  }
  delete static_cast<Mapped*>(attachment);
}

void remember_orphan(const std::string& file) noexcept {
  auto& all = lists();
  const std::lock_guard guard(all.mutex);
  try {
    all.own_orphans().insert(file);
  } catch (const std::bad_alloc&) {  // then gc() frees it
  }
}

void forget_orphan(const std::string& file) noexcept {
  auto& all = lists();
  const std::lock_guard guard(all.mutex);
  all.own_orphans().erase(file);
}

absl::btree_set<std::string> take_orphans_due() noexcept {
  auto& all = lists();
  const std::lock_guard guard(all.mutex);
  auto& orphans = all.own_orphans();
  if (++all.attempts < std::max(kAttemptsBetween, orphans.size())) return {};
  all.attempts = 0;
  return std::exchange(orphans, {});
}

void let_go_of_everything() noexcept {
  let_go_of_mappings();
  remove_domain_if_empty();
}

bool has_let_go() noexcept { return g_has_let_go.load(); }

void set_farewell(void (*leave)() noexcept) noexcept { g_farewell.store(leave); }

void register_exit_handler() {
  auto& all = lists();
  const std::lock_guard guard(all.mutex);
  if (std::exchange(g_exit_handler_registered, true)) return;
  std::atexit([] {
    {
      // An object made later, by another exit handler or destructor, registers anew.
      auto& mine = lists();
      const std::lock_guard inner(mine.mutex);
      g_exit_handler_registered = false;
    }
    let_go_of_everything();
  });
}

}  // namespace brood::inline v1::shm
