// this_task(): what a task of a Pool can ask about itself.                                           (room: pool)
//
//   long search(const Board& board) {
//     while (!brood::this_task().stop_requested()) …
//   }
#pragma once

#include <cstdint>
#include <stop_token>

namespace brood::inline v1 {

/// The task that this worker is at. Outside of tasks there are no answers but stop_requested(), which is false then.
///
/// Threads: safe; also in threads that the task has made, as long as it runs.
class ThisTask {
 public:
  /// Whether this process is a worker and at a task.
  [[nodiscard]] bool exists() const noexcept;
  /// The soft limit has passed, or somebody has called Pool::cancel(). A load and, with a soft limit, a look at the clock.
  [[nodiscard]] bool stop_requested() const noexcept;
  /// The same as a token, for std::condition_variable_any and whatever else takes one. The first call in a worker makes a
  /// thread. Errors: UsageError outside of a task.
  [[nodiscard]] std::stop_token stop_token() const;
  /// 1, or more if the task is tried again. Errors: UsageError outside of a task.
  [[nodiscard]] unsigned attempt() const;
  /// Of a map: the place of the item in the input. Else the number of the task in its pool, from 1. Errors: as above.
  [[nodiscard]] std::uint64_t number() const;
  /// Of the worker, counted from 1 over all that its pool ever had. Errors: as above.
  [[nodiscard]] unsigned worker() const;
};
[[nodiscard]] inline ThisTask this_task() noexcept { return {}; }

}  // namespace brood::inline v1
