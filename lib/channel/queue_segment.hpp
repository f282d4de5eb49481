// The segment of a queue or of a work queue: made, opened, and looked at before it is trusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "brood/detail/object.hpp"
#include "brood/detail/queue_core.hpp"
#include "brood/handle.hpp"
#include "channel/queue_body.hpp"

namespace brood::inline v1::channel {

struct QueueSegment {
  Kind kind = Kind::queue;
  std::string_view name = {};  ///< empty: unnamed
  const QueueOptions& options;
  const detail::QueueCore::Type& type;
  /// Bytes behind the ring of `budget` bytes, and what lies in front of it.
  std::function<std::size_t(std::size_t budget)> bytes_behind = nullptr;
  std::function<void(QueueBody& body)> initialise = nullptr;
};

/// Errors: UsageError (limits out of range).
void check(const QueueOptions& options);

/// Errors: as check(); NoSpace, AlreadyExists, PermissionDenied, OsError; TypeMismatch of an
/// existing one.
[[nodiscard]] detail::Object make_queue(const QueueSegment& segment, bool open_existing);

/// An opened queue whose sizes fit its segment. Errors: TypeMismatch.
[[nodiscard]] detail::Object sound(detail::Object object);

/// For gc(), see shm::set_tidy_pins. Registered where queues are made: a static library leaves out a file that nobody names.
[[nodiscard]] std::size_t tidy_pins(const Handle& queue, std::uint64_t fingerprint);

}  // namespace brood::inline v1::channel
