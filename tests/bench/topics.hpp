// What the topics are made of; one function for each source file.
#pragma once

#include "harness.hpp"

namespace bench {

/// Locks and semaphores: sync_bench.cpp.
void lock_cases(Report& report, const Settings& settings);
/// Events, conditions, barriers: wake_bench.cpp.
void wake_cases(Report& report, const Settings& settings);
/// Cost against the number of objects, and by kind of object: sync_curves.cpp.
void sync_curves(Report& report, const Settings& settings);

void process_cases(Report& report, const Settings& settings);
void process_curves(Report& report, const Settings& settings);

/// Queues between processes: channel_bench.cpp.
void channel_cases(Report& report, const Settings& settings);

/// Contents in shared memory: shared_bench.cpp.
void shared_cases(Report& report, const Settings& settings);
/// Work spread over processes: pool_bench.cpp.
void pool_cases(Report& report, const Settings& settings);
void pool_curves(Report& report, const Settings& settings);
/// Objects in other processes: manager_bench.cpp.
void manager_cases(Report& report, const Settings& settings);

// --- peers of the process topic: each starts a process that ends at once, and waits for its end
// ---------------------------

void fork_and_wait();
/// `self`: this program; with kExitAtOnce it does nothing.
void posix_spawn_and_wait(const std::string& self);
void boost_process_and_wait(const std::string& self);
void boost_process_v2_and_wait(const std::string& self);
inline constexpr const char* kExitAtOnce = "--exit-at-once";

/// Private memory of 4 KiB pages, each written to, until the process ends.
void touch_ballast(std::size_t megabytes);

// --- Python's multiprocessing
// ----------------------------------------------------------------------------------------------

/// Path of a program in $PATH; empty if there is none.
[[nodiscard]] std::string find_program(const std::string& name);
/// A contender whose samples a script prints, one a line. No contender if there is no python3.
[[nodiscard]] std::vector<Contender> python_peer(const Settings& settings, const std::string& name,
                                                 const std::string& script_arguments);

}  // namespace bench
