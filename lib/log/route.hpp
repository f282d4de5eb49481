// Route: from this process to another one's sinks.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "brood/detail/wait_source.hpp"
#include "brood/queue.hpp"
#include "log/record.hpp"
#include "registry/registry.hpp"

namespace brood::inline v1::log {

/// What children are left.
struct Destination {
  std::string queue;           ///< handle
  std::uint32_t gatherer = 0;  ///< identity in the registry
  std::int64_t pid = 0;        ///< of the same
  std::string name;
  std::int32_t level = 0;  ///< the lowest that is wanted
};

/// Never destroyed: threads may be in it.
class Route {
 public:
  explicit Route(Destination to)
      : to_(std::move(to)), queue_(std::make_shared<Queue<Record>>(Queue<Record>::open(Handle(to_.queue)))) {}
  Route(Destination to, std::shared_ptr<Queue<Record>> queue) : to_(std::move(to)), queue_(std::move(queue)) {}

  [[nodiscard]] const Destination& to() const noexcept { return to_; }
  /// The record is on its way to the sinks, or the queue's policy says that it may be dropped. False: it is the caller's to
  /// write; who and why was told.
  [[nodiscard]] bool take(const Record& record);
  /// If the gatherer has died, what it had not written yet goes to standard error of this process.
  void salvage_if_dead() noexcept;

 private:
  [[nodiscard]] bool put_in_parts(const Record& record);
  [[nodiscard]] bool put(const Record& record);
  void wait_for_room(detail::WaitSource& room) const;
  [[nodiscard]] bool is_gatherer_there() const;
  void tell_once(const std::string& why) noexcept;
  void tell_that_gatherer(const char* what) noexcept;

  Destination to_;
  std::shared_ptr<Queue<Record>> queue_;
  std::atomic<bool> is_over_ = false;  ///< the gatherer has shut the queue down
  std::atomic<bool> told_ = false;     ///< that records go to standard error; until one gets through
};

}  // namespace brood::inline v1::log
