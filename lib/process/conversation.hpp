// What parent, child and forkserver say to each other over the child's socket. See README.md for who says what when.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/deadline.hpp"
#include "brood/forkserver.hpp"
#include "brood/process.hpp"
#include "process/current.hpp"
#include "process/legacy.hpp"
#include "process/settings.hpp"

namespace brood::inline v1::process {

/// What a forkserver is told. Travels through the codec as the aggregate that it is.
struct Preload {
  std::vector<std::string> modules;
  PreloadError on_error = PreloadError::ignore;
  std::uint32_t spares = 1;
};

/// Everything a new process is told.
struct Order {
  enum class Kind : std::uint8_t { child = 1, forkserver = 2 };
  Kind kind = Kind::child;
  Identity identity;
  std::string authkey;                      ///< a secret: a forkserver is told none, nobody prints it
  std::optional<StartMethod> start_method;  ///< its default for children of its own; nothing: not settled
  std::string domain;
  /// For the child to apply; nothing if its launcher has. Streams are numbers of passengers.
  std::optional<Settings> settings;
  std::vector<Legacy> legacies;
  Preload preload;              ///< for a forkserver
  std::vector<std::byte> call;  ///< empty: nothing to run
};

/// What a parent hears. Numbers are part of the protocol; both ends are always of one build.
enum class Said : std::uint32_t {
  nothing = 0,      ///< would have to wait
  end = 1,          ///< the other end is closed
  spare = 2,        ///< forkserver, to the control socket: passenger: the socket of a child that waits for its order
  cannot_fork = 3,  ///< forkserver, to the control socket: number is the errno
  forked = 4,       ///< forkserver, first word to the child's socket: number is the pid, the passenger its pidfd
  ready = 5,        ///< child: about to run the target
  failed = 6,       ///< child: cannot run the target, the text says why; it ends now
  exiting = 7,      ///< child: exit(number) was called; the last resort when nobody can tell its status
  ended = 8,        ///< forkserver: number is the exit code, as in Process::exitcode
};
struct Message {
  Said said = Said::nothing;
  std::int32_t number = 0;
  std::string text;
  base::UniqueFd passenger;
};

/// Sends without sleeping (a full socket loses the message: nobody listens). Only system calls. 0 or an error number,
/// which matters only where the message carries something.
int say(int socket, Said what, std::int32_t number = 0, int passenger = -1) noexcept;
void say_failed(int socket, const std::string& why) noexcept;
[[nodiscard]] Message hear(int socket) noexcept;

/// The order goes out in packets, then the passengers. False if the process behind `pidfd` ended before it had taken all
/// of it. Errors: OsError.
[[nodiscard]] bool send_order(int socket, int pidfd, const Order& order, std::span<const int> passengers);
/// What the new process gets.
struct Received {
  Order order;                  ///< streams are descriptors now
  base::UniqueFd parent_pidfd;  ///< if the parent could make one
  std::vector<base::UniqueFd> passengers;
};
/// In the new process: nothing if the parent is gone. Errors: DecodeError, OsError.
[[nodiscard]] std::optional<Received> receive_order(int socket);

}  // namespace brood::inline v1::process
