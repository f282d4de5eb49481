// Pool: work spread over processes, where a crash costs one task.                                    (room: pool)
//
//   int square(int x) { return x * x; }
//   int main(int argc, char** argv) {
//     brood::init(argc, argv);
//     brood::Pool pool(5);
//     std::vector<int> squares = pool.map(square, std::vector{1, 2, 3});      // 1, 4, 9
//     brood::Future<int> one = pool.submit(square, 12);
//     for (int s : pool.imap(square, std::views::iota(0))) if (s > 100) break;     // lazily: the input has no end
//     return one.get() == 144 ? 0 : 1;
//   }
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "brood/detail/pool_core.hpp"
#include "brood/detail/pool_forms.hpp"
#include "brood/map_stream.hpp"
#include "brood/pool_options.hpp"
#include "brood/process_options.hpp"
#include "brood/remote_error.hpp"
#include "brood/this_task.hpp"

namespace brood::inline v1 {

/// A number of worker processes, and tasks for them.
///
/// A task is a function or a lambda without captures, given as a value (pool.map(square, items)) or when compiling
/// (pool.map<&square>(items)), with its arguments: values (brood/serialize.hpp), or shared objects, which the worker opens and
/// which must live until the task has ended. Results are values. Where the function has one parameter more than it is given
/// arguments, the first is the worker's state (Initializer).
///
/// A worker that dies, whatever the reason, costs the one item that it was at: that fails with WorkerDied, or is run again
/// (Retry). What it had finished before counts, what it had been given and had not begun goes to others, and it is replaced.
///
///   state        map, submit …        close()       terminate()    join()
///   running      yes                  → closed      → terminated   UsageError
///   closed       UsageError           no effect     → terminated   waits until all tasks are done and all workers have ended
///   terminated   UsageError           no effect     no effect      waits until all workers have ended
///   broken       PoolBroken           no effect     → terminated   UsageError, before close()
///
/// The end of the scope is terminate() and join(). So is, for a pool that is left at normal exit, that exit. Only the process that
/// made the pool uses it; a forked child's copy is a UsageError, its destructor does nothing, and it may make a Pool of its own. So
/// may a task.
///
/// Shape:   for each worker a process, and 280 KiB of shared memory; two threads. A task that is sent costs no system call as long
///          as nobody sleeps.
/// Threads: all members are safe, but moving and destroying. Who waits for a result reads results meanwhile, for all who wait;
///          when nobody waits, a thread of the pool does. Actions of futures (on_done) run in such a thread.
/// Crash:   of workers, see above; idle ones may be killed at any time. When this process is killed, its workers are sent
///          SIGTERM and, a second later, SIGKILL, and nothing is left of the pool.
/// Source:  Python multiprocessing.pool.Pool, concurrent.futures.ProcessPoolExecutor.
class Pool : public detail::PoolForms<Pool> {
 public:
  /// As many workers as there are usable CPUs.
  explicit Pool(PoolOptions options = {}) : core_(std::nullopt, std::move(options)) {}
  /// Starts the workers; returns when they run, their initializers may be at work still.
  /// Errors: UsageError (less than one worker; limits that are not positive; what Process::start() refuses); StartError and
  /// OsError as Process::start(): then those that were started have been ended.
  explicit Pool(std::int64_t workers, PoolOptions options = {}) : core_(workers, std::move(options)) {}
  Pool(Pool&&) noexcept = default;
  /// Ends what this object stood for first.
  Pool& operator=(Pool&&) noexcept = default;
  ~Pool() = default;

 private:
  friend class detail::PoolForms<Pool>;
  [[nodiscard]] std::shared_ptr<detail::PoolBody> body() const { return core_.body(); }
  [[nodiscard]] std::shared_ptr<detail::PoolBody> body_or_null() const noexcept { return core_.body_or_null(); }

  detail::PoolCore core_;
};

}  // namespace brood::inline v1
