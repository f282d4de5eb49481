// Stream: bytes through a connected socket, with or without TLS, without ever sleeping.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/deadline.hpp"

namespace brood::inline v1::net {

/// What became of an attempt.
struct Io {
  enum class Is : std::uint8_t {
    done,    ///< `bytes` went
    wait,    ///< nothing went: poll the socket for `events`, then try again
    end,     ///< the other end has gone, in good order as far as anybody can tell
    reset,   ///< it has gone and left unread what was sent to it, or the network lost it; `error` says which
    failed,  ///< TLS refuses what came; `why` says what
  };
  Is is = Is::done;
  std::size_t bytes = 0;
  short events = 0;
  int error = 0;
  std::string why = {};
};

/// Descriptors that came along.
struct Luggage {
  std::vector<base::UniqueFd> files;
  bool lost = false;  ///< this process had no room for some of them
};

/// Threads: one that writes and one that reads at a time.
class Stream {
 public:
  explicit Stream(base::UniqueFd socket) noexcept : socket_(std::move(socket)) {}
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  [[nodiscard]] int socket() const noexcept { return socket_.get(); }
  /// What must happen before bytes can go, if anything must. Errors: AuthenticationError.
  [[nodiscard]] virtual Io prepare() { return {}; }
  /// Writes some of the bytes, in order; the descriptors go with the first of them. If not all of what it took is in the
  /// kernel's hands yet, then the last piece is not among it.
  [[nodiscard]] virtual Io write(std::span<const iovec> pieces, std::span<const int> descriptors) = 0;
  /// What was taken, but is not in the kernel's hands yet, goes there.
  [[nodiscard]] virtual Io flush() { return {}; }
  [[nodiscard]] virtual Io read(std::span<const iovec> places, Luggage& luggage) = 0;
  /// Is there anything to read, or an end? `wait`: not yet.
  [[nodiscard]] virtual Io look() = 0;
  [[nodiscard]] virtual bool carries_descriptors() const noexcept = 0;
  /// Encrypted, with a state of its own in each process: a forked child cannot go on where its parent was.
  [[nodiscard]] virtual bool is_tls() const noexcept = 0;
  /// Bytes that only the two ends of this very stream know; empty if there is nobody in between to be feared more than
  /// the ends themselves.
  [[nodiscard]] virtual std::string binding() { return {}; }
  /// Tells the other end that this is the end and no accident, if the protocol has words for it.
  virtual void say_goodbye() noexcept {}

 private:
  base::UniqueFd socket_;
};

[[nodiscard]] std::unique_ptr<Stream> plain_stream(base::UniqueFd socket);

/// Sleeps until the descriptor is ready for one of the events, or broken. False if the deadline passed first. Signals
/// neither end nor lengthen it. Errors: OsError.
bool wait_until_ready(int descriptor, short events, Deadline deadline);

}  // namespace brood::inline v1::net
