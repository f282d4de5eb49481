// The task that this worker is at: what this_task() answers.
#pragma once

#include <cstdint>

namespace brood::inline v1::pool {

struct Desk;

struct TaskNow {
  static void become_worker(unsigned number) noexcept;
  static void begin(Desk& desk, std::uint64_t seq, std::int64_t soft_deadline_ns, unsigned attempt,
                    std::uint64_t number) noexcept;
  static void end() noexcept;
};

}  // namespace brood::inline v1::pool
