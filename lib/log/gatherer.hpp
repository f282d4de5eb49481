// Gatherer: the sinks of this process, and the queue through which the records of others come to them.
#pragma once

#include <pthread.h>
#include <spdlog/sinks/sink.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "brood/finalizer.hpp"
#include "brood/queue.hpp"
#include "log/record.hpp"
#include "log/route.hpp"

namespace brood::inline v1::log {

/// Never destroyed. What follows the rule is called with the room's mutex held, and not by a sink.
class Gatherer {
 public:
  /// With its thread. Errors: as Queue's constructor; OsError.
  explicit Gatherer(const QueueOptions& options);
  ~Gatherer() = delete;

  /// False in a process that was forked: there it is the parent's.
  [[nodiscard]] bool is_mine() const noexcept { return process_ == ::getpid(); }
  /// How others reach it.
  [[nodiscard]] Destination destination() const;
  /// For a forked process.
  [[nodiscard]] std::unique_ptr<Route> route_to_it() const { return std::make_unique<Route>(destination(), queue_); }

  // ------------------------------------------------------------------------------------------------------------------
  void add(spdlog::sink_ptr sink) { outputs_.push_back({std::move(sink)}); }
  /// Writes the record, after what has arrived until now.
  void log(const Record& record);
  /// Everything that has arrived until now is written and flushed.
  void flush();

 private:
  struct Output {
    spdlog::sink_ptr sink;
    bool told = false;  ///< that it fails; until it works again
  };
  void launch();
  void run();
  void begin_to_end() noexcept;
  void end() noexcept;
  void write_rest_to_stderr() noexcept;
  void take_what_has_arrived();
  void take(std::size_t most);
  void write(const Record& record);
  void flush_sinks();
  void report_dropped();
  template <class Action>
  void attempt(Output& output, const Record* record, Action action);

  const pid_t process_ = ::getpid();
  std::shared_ptr<Queue<Record>> queue_;
  Destination self_;
  Finalizer at_exit_;
  Finalizer at_end_;
  pthread_t thread_{};
  std::vector<Output> outputs_;
  std::uint64_t dropped_ = 0;  ///< told
  bool has_ended_ = false;     ///< the queue is not looked at any more
};

}  // namespace brood::inline v1::log
