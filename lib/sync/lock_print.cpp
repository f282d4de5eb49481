#include "sync/lock_print.hpp"

#include <unistd.h>

#include "brood/error.hpp"

namespace brood::inline v1::sync {
namespace {

std::string named(Id id) {
  const std::string name = registry::name_of(id);
  return name.empty() ? "process" : name;
}

}  // namespace

std::string owner_text(const LockBody& lock) {
  (void)registry::self();  // the caller may be the first thing that this process does in the domain
  const std::uint64_t word = lock.word.load();
  const Id owner = owner_of(word);
  if (owner == registry::kNobody) return "none";
  const std::string pid = std::to_string(owner_pid(word));
  if ((word & kDamaged) != 0 || !registry::is_alive(owner)) return "dead (pid " + pid + ")";
  const Id me = registry::self_if_joined();
  if (owner != me) return named(owner) + " (pid " + pid + ")";
  if (tid_of(word) != registry::self_tid(me)) return "another thread of " + named(me);
  const bool main_thread = static_cast<pid_t>(tid_of(word)) == ::getpid();
  return main_thread ? named(me) : named(me) + "|tid " + std::to_string(tid_of(word));
}

void throw_owner_died(const LockBody& lock, const Handle& handle) {
  const std::int64_t pid = owner_pid(lock.word.load());
  throw OwnerDied(
      handle.str() + ": the process that held it (pid " + (pid == 0 ? "unknown" : std::to_string(pid)) +
          ") died; what it guards may be half changed: repair it in recover(), or make the lock with OwnerDeath::heal",
      pid);
}

}  // namespace brood::inline v1::sync
