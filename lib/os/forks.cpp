#include "os/forks.hpp"

#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace brood::inline v1::os {

constinit std::atomic<unsigned> g_forks = 0;

namespace {
[[maybe_unused]] const int g_watched = ::pthread_atfork(nullptr, nullptr, [] { ++g_forks; });
}  // namespace

void ForkedCopiesEnd::end() const noexcept {
  std::fprintf(
      stderr,
      "brood: process %d, which was forked in %s, has come back from it (by return or an exception) as if it were "
      "its parent; it ends here. Let a forked child call exec or _exit; or use a brood::Process\n",
      ::getpid(), what_);
  std::_Exit(1);
}

}  // namespace brood::inline v1::os
