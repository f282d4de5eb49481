#include "wait/poll.hpp"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <string>

#include "brood/error.hpp"

namespace brood::inline v1::waiting {

bool poll_until(std::vector<pollfd>& entries, Deadline deadline) {
  constexpr std::int64_t kNsPerSecond = 1'000'000'000;
  for (;;) {
    const std::int64_t left =
        deadline.is_never() ? 0 : std::max<std::int64_t>(0, deadline.at_ns() - Deadline::clock_ns());
    const timespec time{static_cast<std::time_t>(left / kNsPerSecond), static_cast<long>(left % kNsPerSecond)};
    const int ready = ::ppoll(entries.data(), entries.size(), deadline.is_never() ? nullptr : &time, nullptr);
    if (ready > 0) return true;
    if (ready == 0) return false;
    if (errno != EINTR) throw OsError(errno, "poll() of " + std::to_string(entries.size()) + " descriptors");
  }
}

base::UniqueFd make_doorbell() {
  base::UniqueFd made(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!made) throw OsError(errno, "cannot make an eventfd");
  return made;
}

void ring(int doorbell) noexcept {
  // Refused only if the counter is full, and then it is readable.
  (void)::eventfd_write(doorbell, 1);
}

void silence(int doorbell) noexcept {
  eventfd_t rings = 0;
  (void)::eventfd_read(doorbell, &rings);
}

}  // namespace brood::inline v1::waiting
