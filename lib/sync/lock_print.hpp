// The owner of a lock in words, and the text of OwnerDied.
#pragma once

#include <string>

#include "brood/handle.hpp"
#include "sync/lock_body.hpp"

namespace brood::inline v1::sync {

/// "none", "MainProcess", "Process-1|tid 77", "another thread of MainProcess", "Process-2 (pid 4711)", "dead (pid
/// 4711)".
[[nodiscard]] std::string owner_text(const LockBody& lock);
[[noreturn]] void throw_owner_died(const LockBody& lock, const Handle& handle);

}  // namespace brood::inline v1::sync
