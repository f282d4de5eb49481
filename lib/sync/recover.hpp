// Recovering a lock whose owner died: the repairer holds it while it repairs.
#pragma once

#include <functional>

#include "sync/lock_body.hpp"

namespace brood::inline v1::sync {

/// See Lock::recover.
bool recover(LockBody& lock, const LockContext& context, const std::function<void()>& repair);

}  // namespace brood::inline v1::sync
