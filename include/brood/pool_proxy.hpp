// PoolProxy: a Pool that a Manager keeps, used from here.                                           (room: manager)
//
//   brood::Manager manager;
//   brood::PoolProxy pool = manager.pool(4);                     // four workers of the server's
//   std::vector<int> squares = pool.map(square, numbers);        // from here, or from any process that has the proxy
//
// Complete example: examples/47_managed_pool.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "brood/detail/pool_core.hpp"
#include "brood/detail/pool_forms.hpp"
#include "brood/pool_options.hpp"
#include "brood/process_options.hpp"
#include "brood/proxy.hpp"
#include "brood/this_task.hpp"

namespace brood::inline v1 {

namespace manager {
class FarPool;  // lib/manager/far_pool.hpp
}  // namespace manager

namespace detail {

/// The tasks that were given by a proxy and its copies: what is open of them ends with the last one. (lib/manager/far_pool.cpp)
class PoolDoor {
 public:
  explicit PoolDoor(const ProxyCore& core);
  ~PoolDoor();
  PoolDoor(const PoolDoor&) = delete;
  PoolDoor& operator=(const PoolDoor&) = delete;
  [[nodiscard]] std::shared_ptr<PoolBody> body() const;

 private:
  std::shared_ptr<manager::FarPool> pool_;
};

}  // namespace detail

/// Options of manager.pool(), for designated initialisers: what of PoolOptions, which says more, can go to another process.
struct ManagedPoolOptions {
  /// Its function is one of the server's program. Shared objects among its arguments live as long as the pool.
  Initializer initializer = {};
  std::optional<std::int64_t> tasks_per_child = {};
  std::optional<std::size_t> max_memory_growth = {};
  unsigned max_idle_deaths = 10;
  /// Of the workers, completed by a number; empty: "PoolWorker".
  std::string name = {};
  /// Of the workers; not said: the server's default.
  std::optional<StartMethod> start_method = {};
};

/// manager.pool(n): the interface of Pool. The workers are children of the server, and all processes that have a proxy share them;
/// each has its results to itself. close(), terminate() and resize() concern all.
///
/// Functions are named by their place, so they are of the server's program; arguments and results go through the server as bytes,
/// which it does not look into. In processes of one machine a Pool of one's own is faster: a task costs a call to the server, and
/// a second one, which waits there, brings results for all tasks of this process.
///
/// Threads:   safe; while tasks are open here, a thread brood-answers brings their results, and runs the actions of their futures.
/// Processes: any, as argument, in a message, in a managed container, and as a copy that fork made.
/// Lifetime:  the pool is terminated when nobody has a proxy any more. What was given by one proxy and its copies ends with the
///            last of these: what has not begun is withdrawn, and the futures that are open fail with PoolTerminated.
/// Crash:     of a worker: as with Pool; WorkerDied comes home. Of a process with tasks: what has not begun is withdrawn, what runs
///            ends without being heard of, and the others' tasks go on. Of the server: ManagerDied, from every call and in every
///            open future; its workers end. With a journal there is a pool again: of new workers, without the tasks.
/// Errors:    as Pool; from every member ManagerDied; where a function is given, StartError (the server is another program or
///            build), and NoSpace (arguments longer than ManagerOptions::max_message).
/// Source:    Python multiprocessing.managers.SyncManager.Pool, PoolProxy.
class PoolProxy : public detail::ProxyBase, public detail::PoolForms<PoolProxy> {
 public:
  explicit PoolProxy(detail::ProxyCore core)
      : ProxyBase(std::move(core)), door_(std::make_shared<const detail::PoolDoor>(core_)) {}
  [[nodiscard]] static std::string type() { return "Pool"; }

 private:
  friend class detail::PoolForms<PoolProxy>;
  [[nodiscard]] std::shared_ptr<detail::PoolBody> body() const {
    if (!door_) throw UsageError("this PoolProxy was moved from");
    return door_->body();
  }
  [[nodiscard]] std::shared_ptr<detail::PoolBody> body_or_null() const { return door_ ? door_->body() : nullptr; }

  std::shared_ptr<const detail::PoolDoor> door_;
};

}  // namespace brood::inline v1
