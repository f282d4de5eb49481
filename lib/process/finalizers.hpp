// Actions at the end of this process, and hooks at the beginning of a forked one.
#pragma once

namespace brood::inline v1::process {

/// At exit: those of priority 0 and more, before the children are joined; then the rest.
void run_early_finalizers() noexcept;
void run_late_finalizers() noexcept;

/// In a child that was made by fork.
void run_hooks_after_fork() noexcept;

}  // namespace brood::inline v1::process
