// Process-wide mutexes that fork must not catch half-way: one order for all of them.
#pragma once

#include <cstdint>

namespace brood::inline v1::base {

/// The order in which nested code takes them: rooms above first. (Nothing is taken inside `waiters`, `modules` and `descriptors`; and room
/// process forks with `children` in its hands, so that must come before them.)
enum class ForkOrder : std::uint8_t {
  children,
  log,
  process,
  legacy,
  links,
  finalizers,
  registry,
  attachments,
  waiters,
  modules,
  descriptors
};

struct ForkGuard {
  void (*lock)();
  void (*unlock)();                     ///< in the parent, and in the child unless the next is given
  void (*unlock_in_child)() = nullptr;  ///< may do more; only what a signal handler may
};

/// From now on every fork, also the application's own, takes the mutex first, so that no child inherits it locked by a
/// thread that it does not have. Once for each place in the order. (Handlers given to pthread_atfork one by one run in
/// the order in which the rooms happened to be used first, which may be the reverse of how their code nests.)
void hold_across_fork(ForkOrder place, ForkGuard guard);

}  // namespace brood::inline v1::base
