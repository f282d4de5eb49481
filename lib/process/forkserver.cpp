// The forkserver's own side: a process that has run its static initialisation, that of the modules to preload, and nothing
// else. It keeps children forked ahead: whoever starts a process finds it in the control socket and pays neither for the fork nor for its page faults.
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <deque>
#include <unordered_map>
#include <utility>

#include "os/above_standard.hpp"
#include "os/capabilities.hpp"
#include "os/process_identity.hpp"
#include "os/program.hpp"
#include "os/reap.hpp"
#include "os/socket.hpp"
#include "process/bootstrap.hpp"
#include "process/conversation.hpp"
#include "process/launcher.hpp"

namespace brood::inline v1::process {
namespace {

constexpr int kEnded = -1;

/// Between the requests everything lies in here; a forked child gives all of it up.
class ForkServer {
 public:
  ForkServer(base::UniqueFd control, base::UniqueFd parent, std::size_t spares)
      : control_(std::move(control)),
        parent_(std::move(parent)),
        wanted_spares_(spares),
        epoll_(os::above_standard(::epoll_create1(EPOLL_CLOEXEC))),
        descriptor_limit_(os::raise_descriptor_limit()) {
    ::sigaction(SIGCHLD, nullptr, &children_before_);
    if (parent_can_ask_) {
      // Whoever has a pidfd of a process can ask for its exit code once it has been reaped. So let the kernel do that
      // at once: the parent waits for nothing that we do, and it does not matter whether we are stopped or gone.
      struct sigaction no_zombies = children_before_;
      no_zombies.sa_flags |= SA_NOCLDWAIT;
      ::sigaction(SIGCHLD, &no_zombies, nullptr);
    }
    if (!epoll_ || !watch(control_.get()) || (parent_ && !watch(parent_.get()))) end_of_clone(1);
  }

  base::UniqueFd run() {
    if (base::UniqueFd socket = fork_spares()) return socket;
    for (;;) {
      std::array<epoll_event, 64> events{};
      const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
      if (count < 0 && errno != EINTR) end(1);
      for (int i = 0; i < count; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == parent_.get()) end(0);
        if (fd != control_.get()) {
          report(fd);
        } else if (base::UniqueFd socket = serve()) {
          return socket;
        }
      }
    }
  }

 private:
  /// A child whose ending we have to tell, or a spare.
  struct Kid {
    base::UniqueFd pidfd;
    base::UniqueFd socket;  ///< the child's own end: what we say on it comes after everything that the child said
  };

  [[nodiscard]] bool watch(int fd) const noexcept {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }

  /// A child has ended.
  void report(int pidfd) {
    const auto kid = kids_.find(pidfd);
    if (kid == kids_.end()) return;
    const os::Ending ending = os::reap(pidfd);
    if (ending.fate == os::Fate::running) return;
    // Closing does not take it out of the epoll set: the parent has a descriptor of the same open file, and would keep
    // us awake with a pidfd that stays readable for ever.
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, pidfd, nullptr);
    if (ending.fate == os::Fate::known) say(kid->second.socket.get(), Said::ended, ending.exit_code);
    kids_.erase(kid);
    std::replace(spares_.begin(), spares_.end(), pidfd, kEnded);
  }

  /// A request. In the server: nothing. In a new child: its socket.
  base::UniqueFd serve() {
    char please = 0;
    const os::Packet packet = os::receive_packet(control_.get(), &please, sizeof please, os::Wait::no);
    if (packet.size == -EAGAIN) return {};
    if (packet.size <= 0) end(0);
    if (spares_.empty()) {
      if (base::UniqueFd socket = fork_spare()) return socket;
      if (spares_.empty()) {
        say(control_.get(), Said::cannot_fork, error_);
        return {};
      }
    }
    // The one that has lain in the control socket longest.
    if (parent_can_ask_) kids_.erase(spares_.front());
    spares_.pop_front();
    return fork_spares();
  }

  /// As many as are wanted, or as can be made. In the server: nothing. In the child: its socket.
  base::UniqueFd fork_spares() {
    while (spares_.size() < wanted_spares_) {
      const std::size_t before = spares_.size();
      if (base::UniqueFd socket = fork_spare()) return socket;
      if (spares_.size() == before) break;
    }
    return {};
  }

  /// Makes a child for a later request and sends its socket ahead. In the server: nothing; error_ says why there is no
  /// further spare. In the child: its socket.
  base::UniqueFd fork_spare() {
    os::SocketPair pair = os::packet_socket_pair();
    if (pair.error != 0) {
      error_ = -pair.error;
      return {};
    }
    const pid_t pid = ::fork();
    if (pid == 0) {
      pair.theirs.reset();
      return become_child(std::move(pair.ours));
    }
    if (pid < 0) {
      error_ = errno;
      return {};
    }
    adopt(pid, std::move(pair));
    return {};
  }

  void adopt(pid_t pid, os::SocketPair pair) {
    base::UniqueFd pidfd(os::pidfd_open(pid));
    const bool watched = pidfd && (parent_can_ask_ ? is_child(pidfd.get()) : watch(pidfd.get()));
    error_ = errno;
    if (watched) {
      say(pair.ours.get(), Said::forked, pid, pidfd.get());
      error_ = say(control_.get(), Said::spare, 0, pair.theirs.get());
    }
    if (!watched || error_ != 0) {
      // It waits for its order, which will never come: with the pair it reads end-of-file and ends.
      if (parent_can_ask_) return;
      ::kill(pid, SIGKILL);
      os::reap_pid(pid);
      return;
    }
    if (parent_can_ask_) pair.ours.reset();  // then we have nothing to say to it
    spares_.push_back(pidfd.get());
    kids_.emplace(spares_.back(), Kid{std::move(pidfd), std::move(pair.ours)});
  }

  /// One that was killed before we had its pidfd is reaped already, and its pid may be somebody else's. Sets errno.
  [[nodiscard]] static bool is_child(int pidfd) noexcept {
    if (os::reap(pidfd).fate == os::Fate::running) return true;
    errno = ESRCH;
    return false;
  }

  /// The children that nobody has asked for wait for orders that will never come.
  [[noreturn]] void end(int code) {
    for (const int spare : spares_) {
      if (spare != kEnded) (void)os::pidfd_send_signal(spare, SIGKILL);
    }
    for (const int spare : spares_) {
      if (spare == kEnded) continue;
      (void)os::wait_ended(spare, Deadline::never());
      (void)os::reap(spare);
    }
    end_of_clone(code);
  }

  base::UniqueFd become_child(base::UniqueFd socket) {
    kids_.clear();
    control_.reset();
    parent_.reset();
    epoll_.reset();
    ::sigaction(SIGCHLD, &children_before_, nullptr);
    os::restore_descriptor_limit(descriptor_limit_);
    // The lowest number, whatever siblings there are.
    if (const int lowest = ::fcntl(socket.get(), F_DUPFD_CLOEXEC, 3); lowest >= 0 && lowest < socket.get()) {
      socket.reset(lowest);
    } else if (lowest >= 0) {
      ::close(lowest);
    }
    return socket;
  }

  base::UniqueFd control_;
  base::UniqueFd parent_;
  const std::size_t wanted_spares_;
  base::UniqueFd epoll_;
  unsigned long descriptor_limit_;
  struct sigaction children_before_ {};
  const bool parent_can_ask_ = os::capabilities().pidfd_info;
  std::unordered_map<int, Kid> kids_;  ///< by pidfd; if the parent can ask, only spares
  /// pidfds of the children whose sockets went into the control socket before anybody had asked for them, or kEnded
  std::deque<int> spares_;
  int error_ = 0;  ///< errno of the last failure to make one
};

}  // namespace

base::UniqueFd run_forkserver(base::UniqueFd control, base::UniqueFd parent_pidfd, std::size_t spares) {
  return ForkServer(std::move(control), std::move(parent_pidfd), spares).run();
}

}  // namespace brood::inline v1::process
