// The process of a Remote: makes the object, does what it is asked, destroys it.
#pragma once

#include <cstddef>
#include <vector>

#include "brood/detail/connection_core.hpp"
#include "brood/handle.hpp"

namespace brood::inline v1::remote {

/// One end of the conversation, as an argument of the host's Process.
struct LineEnd {
  detail::ConnectionCore connection;
  [[nodiscard]] Handle handle() const { return connection.handle(); }
  [[nodiscard]] static LineEnd open(const Handle& handle);
};
[[nodiscard]] std::pair<LineEnd, LineEnd> make_line();

/// The host's target. Its first message says that the object is there, or what its constructor threw.
void run_host(LineEnd& end, unsigned threads, const std::vector<std::byte>& constructor);
/// Waits for that message. Errors: what the constructor threw; EndOfFile.
void expect_made(detail::ConnectionCore& connection);

}  // namespace brood::inline v1::remote
