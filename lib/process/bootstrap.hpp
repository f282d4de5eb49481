// The life of a child: from its socket to its end.
#pragma once

#include <cstdint>
#include <string>

#include "base/unique_fd.hpp"
#include "os/thrown_from.hpp"

namespace brood::inline v1::process {

/// What exit() has to do differently, depending on where this process came from.
enum class Origin : unsigned char {
  fork,  ///< clone of a running program: its exit handlers and static objects are the parent's business
  exec,  ///< ran its own static initialisation, or is a clone of a forkserver that did nothing else
};

/// Waits for the order on the socket and carries it out. noexcept: whatever tried to unwind further would run into the stack of
/// the parent's start().
[[noreturn]] void run_child(base::UniqueFd socket, Origin origin) noexcept;

/// Ends the process without destroying anything: as if killed, but with flushed streams and an exit code.
[[noreturn]] void end_at_once(int code) noexcept;
/// Tidies the domain and ends the process; static objects and exit handlers are left alone.
[[noreturn]] void end_of_clone(int code) noexcept;
/// Makes exit(n) end this process rightly, and tell the parent n.
void arrange_exit(int socket, Origin origin);

/// Writes out stdout, stderr and the standard iostreams. Not fflush(nullptr): that would wait for a thread that reads
/// standard input.
void flush_standard_streams() noexcept;

/// Prints what the current exception and those nested in it say, and where it was thrown, under a header with the process's
/// name.
void report_uncaught_exception(const os::ThrownFrom& from) noexcept;
/// Type and text of the current exception and of those nested in it.
[[nodiscard]] std::string describe_current_exception();

/// Sends this process SIGTERM and a second later SIGKILL when the parent has ended, after a grace in which it may end by itself.
void end_with_parent(std::int64_t grace_ns = 0);

}  // namespace brood::inline v1::process
