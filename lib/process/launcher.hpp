// Launchers: the ways to make a process that waits for its order at the other end of a socket.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.hpp"
#include "brood/process.hpp"
#include "os/rights.hpp"
#include "os/socket.hpp"
#include "process/settings.hpp"

namespace brood::inline v1::process {

class Server;
struct Order;

/// How long a daemon has between SIGTERM and SIGKILL, and others that have been told to end.
inline constexpr std::int64_t kGraceNs = 1'000'000'000;

/// A new process, and our end of its socket. It runs nothing before it has its order, and ends quietly if that end is
/// closed, so it can not be gone before we have its pidfd.
struct Launched {
  pid_t pid = 0;  ///< 0 as long as a forkserver has not told us
  base::UniqueFd pidfd;
  base::UniqueFd socket;
  std::shared_ptr<Server> server;  ///< whose child it is; null: ours
  bool core_dumped = false;        ///< what find_exit_code() has heard of that
};

/// Errors: OsError that says what is exhausted and the remedy, StartError. Called with the launch mutex held.
/// The clone of fork closes `streams`; it is sent copies, as the one of a forkserver is.
[[nodiscard]] Launched launch_by_fork(Streams& streams);
/// Applies the settings itself.
[[nodiscard]] Launched launch_by_spawn(const Settings& settings);
[[nodiscard]] Launched launch_by_forkserver();
/// The same; it loads this library and runs nothing of this program.
[[nodiscard]] Launched launch_by_light(const std::string& library, const Settings& settings);
/// `library` is for light processes only.
[[nodiscard]] Launched launch(StartMethod method, const std::string& library, const Settings& settings,
                              Streams& streams);

/// A file to execute.
struct Program {
  std::string name;
  int fd = -1;  ///< unless negative, executed in the place of the name
};
/// Executes it with these settings and the number of its end of the pair in its environment.
[[nodiscard]] Launched launch_program(const Program& program, std::vector<std::string> arguments, os::SocketPair pair,
                                      const Settings& settings);

/// Learns pid and pidfd if a forkserver makes the process. False if that server died over it: nothing was started.
/// Errors: OsError.
[[nodiscard]] bool await_birth(Launched& it);
/// Hands the order and its passengers over and waits until the process is ready to run. Errors: StartError, OsError; it is
/// gone then.
void bring_up(Launched& it, const Order& order, std::span<const int> passengers = {});
/// Reaps a process that has ended; see Process::exitcode for the number.
[[nodiscard]] int find_exit_code(Launched& it) noexcept;

/// The forkserver of this process. Made at the first launch, made again when it was killed, and when the rights of this process
/// are others.
class Server {
 public:
  /// `rights`: those of this process before it was launched.
  Server(Launched launched, os::Rights rights) noexcept;
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  [[nodiscard]] pid_t pid() const noexcept { return it_.pid; }
  [[nodiscard]] int pidfd() const noexcept { return it_.pidfd.get(); }
  [[nodiscard]] int control() const noexcept { return it_.socket.get(); }
  /// False in a process that the application forked, once the server is known to be gone, and after the application
  /// has closed our descriptors with its own.
  [[nodiscard]] bool usable() const noexcept;
  [[nodiscard]] const os::Rights& rights() const noexcept { return rights_; }
  void give_up() noexcept { gone_ = true; }
  /// Held from the request until the child has come over the control socket: one at a time, as the server makes them.
  [[nodiscard]] std::mutex& turn() noexcept { return turn_; }
  /// Asks for a child. False if the server is gone.
  [[nodiscard]] bool request();
  /// Closes the control socket, whereupon the server ends, and reaps it.
  void dismiss() noexcept;
  /// In a forked child: gives up the descriptors; the server is the parent's.
  void forget() noexcept;

 private:
  [[nodiscard]] bool has_its_descriptors() const noexcept;

  Launched it_;  ///< its socket is the control socket
  const os::Rights rights_;
  const std::uint64_t socket_inode_;
  const std::uint64_t pidfd_inode_;
  std::mutex turn_;
  std::atomic<bool> gone_ = false;
  const pid_t owner_;  ///< only this process ends it; one that the application forked has but a copy
};
/// Children that the forkserver keeps ready: that many of them may have been killed meanwhile.
[[nodiscard]] std::size_t forkserver_spares();
/// pid of the forkserver if there is one, else 0. For tests.
[[nodiscard]] pid_t forkserver_pid();
/// Lets it end. At exit.
void dismiss_forkserver() noexcept;
/// In a forked child.
void forget_forkserver() noexcept;

/// Body of the forkserver: keeps children ready until the control socket or the parent ends. Returns in each child, with
/// its socket; the server itself ends inside.
[[nodiscard]] base::UniqueFd run_forkserver(base::UniqueFd control, base::UniqueFd parent_pidfd, std::size_t spares);

/// Throws OsError for a failed step of making a process, with the remedy for the limit that was met.
[[noreturn]] void throw_launch_error(int error_number, const std::string& step);

}  // namespace brood::inline v1::process
