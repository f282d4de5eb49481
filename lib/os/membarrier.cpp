#include "os/membarrier.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "os/capabilities.hpp"

namespace brood::inline v1::os {
namespace {

long membarrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0, 0); }

}  // namespace

bool join_barriers() noexcept {
  return capabilities().membarrier && membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0;
}

void barrier_for_all() noexcept {
  // It worked when we registered; a sleep without the barrier could last for ever.
  if (membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0) std::abort();
}

}  // namespace brood::inline v1::os
