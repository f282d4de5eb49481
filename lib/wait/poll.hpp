// Sleeping on descriptors until a deadline, and eventfds as doorbells.
#pragma once

#include <poll.h>

#include <vector>

#include "base/unique_fd.hpp"
#include "brood/deadline.hpp"

namespace brood::inline v1::waiting {

/// False if the deadline passed and none is ready. Signals do not end it. Errors: OsError.
bool poll_until(std::vector<pollfd>& entries, Deadline deadline);

/// Errors: OsError.
[[nodiscard]] base::UniqueFd make_doorbell();
void ring(int doorbell) noexcept;
/// It is not readable any more until it is rung again.
void silence(int doorbell) noexcept;

}  // namespace brood::inline v1::waiting
