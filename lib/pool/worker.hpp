// The life of a worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "brood/detail/connection_core.hpp"
#include "brood/handle.hpp"
#include "brood/shared_memory.hpp"

namespace brood::inline v1::pool {

/// One end of the pipe between master and worker, as an argument of the worker's Process.
struct PipeEnd {
  detail::ConnectionCore connection;
  [[nodiscard]] Handle handle() const { return connection.handle(); }
  [[nodiscard]] static PipeEnd open(const Handle& handle);
};
[[nodiscard]] std::pair<PipeEnd, PipeEnd> make_pipe();

/// Travels as the aggregate that it is.
struct WorkerOrder {
  std::uint32_t number = 0;
  bool watches_memory = false;
  std::vector<std::byte> initializer = {};  ///< empty: none
};

/// A worker's target: makes its state, does tasks until it is told to stop.
void run_worker(PipeEnd& pipe, SharedMemory& desk, SharedMemory& hall, const WorkerOrder& order);

}  // namespace brood::inline v1::pool
