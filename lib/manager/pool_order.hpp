// What a client says of a pool, and of a task for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "brood/pool_options.hpp"
#include "brood/pool_proxy.hpp"
#include "manager/blob.hpp"
#include "os/function_id.hpp"

namespace brood::inline v1::manager {

/// How a pool is made: [workers or nil, initializer or nil, type of the state or nil, tasks_per_child, max_memory_growth,
/// max_idle_deaths, name, start method or nil, ending]
struct PoolOrder {
  enum class End : std::uint8_t { none, closed, terminated };

  std::optional<std::int64_t> workers = {};
  Blob initializer = {};  ///< no bytes: none
  std::optional<std::string> state = {};
  std::optional<std::int64_t> tasks_per_child = {};
  std::optional<std::size_t> max_memory_growth = {};
  unsigned max_idle_deaths = 0;
  std::string name = {};
  std::optional<StartMethod> start_method = {};
  End end = End::none;  ///< what became of it: of one from the journal

  static void write(Encoder& out, std::optional<std::int64_t> workers, const ManagedPoolOptions& options);
  void write(Encoder& out) const;
  /// Errors: DecodeError, HandleError.
  [[nodiscard]] static PoolOrder read(Objects& objects, Decoder& in);
  [[nodiscard]] PoolOptions options() const;
};

/// A job, on its way to the server: [this, the arguments of all items, [handle…]]
struct PoolTask {
  std::uint64_t box = 0;  ///< of the client, for the results
  std::uint64_t number = 0;
  os::FunctionId invoke = {};
  std::optional<os::FunctionId> target = {};
  std::optional<std::string> state = {};  ///< the type of the worker's state that it wants
  TaskOptions options = {};
  std::optional<std::uint64_t> first = {};  ///< of a map: the place of the first item
  std::uint64_t chunk = 0;                  ///< 0: as the pool thinks good
  std::vector<std::uint64_t> ends = {};     ///< of each item, in the arguments
  std::vector<std::uint64_t> handle_ends = {};
};

/// What an item came to: [job, item, this, value].
enum class PoolWord : std::uint8_t { value, exception, cancelled };

}  // namespace brood::inline v1::manager
