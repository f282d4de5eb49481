// The parent's side of the forkserver.
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <mutex>
#include <utility>

#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "brood/forkserver.hpp"
#include "os/process_identity.hpp"
#include "os/reap.hpp"
#include "os/socket.hpp"
#include "process/child.hpp"
#include "process/conversation.hpp"
#include "process/launcher.hpp"

namespace brood::inline v1 {
namespace process {
namespace {

/// Guarded by the launch mutex.
struct Current {
  std::shared_ptr<Server> server;  ///< never destroyed by itself: dismissed at exit
  Preload wanted;
  bool outdated = false;  ///< the server was made before `wanted` changed
};

Current& current_server() {
  static auto* const it = new Current;  // the first call is under the launch mutex
  return *it;
}
std::shared_ptr<Server>& the_server() { return current_server().server; }

std::shared_ptr<Server> start_server(os::Rights rights) {
  Launched launched = launch_by_spawn(Settings());
  Order order;
  order.kind = Order::Kind::forkserver;
  order.identity.name = "forkserver of " + std::to_string(::getpid());
  order.domain = domain_directory();
  order.preload = current_server().wanted;
  bring_up(launched, order);
  return std::make_shared<Server>(std::move(launched), std::move(rights));
}

}  // namespace

Server::Server(Launched launched, os::Rights rights) noexcept
    : it_(std::move(launched)),
      rights_(std::move(rights)),
      socket_inode_(os::socket_inode(it_.socket.get())),
      pidfd_inode_(os::pidfd_inode(it_.pidfd.get())),
      owner_(::getpid()) {}
Server::~Server() { dismiss(); }

/// A program that closes every descriptor it does not know closes ours, and may get their numbers for files of its own.
bool Server::has_its_descriptors() const noexcept {
  return os::socket_inode(it_.socket.get()) == socket_inode_ && os::pidfd_inode(it_.pidfd.get()) == pidfd_inode_;
}

bool Server::usable() const noexcept { return owner_ == ::getpid() && !gone_ && has_its_descriptors(); }

bool Server::request() {
  const char please = 1;
  const int error = os::send_packet(it_.socket.get(), &please, sizeof please);
  if (error == 0) return true;
  if (error == -EPIPE || error == -ECONNRESET) return false;
  throw_launch_error(-error, "ask the forkserver for");
}

void Server::dismiss() noexcept {
  if (!it_.pidfd || owner_ != ::getpid()) return;
  if (!has_its_descriptors()) {
    // Not ours to close. The server ends by itself, since our end of its socket is gone.
    (void)it_.socket.release();
    (void)it_.pidfd.release();
    it_.pidfd.reset(os::pidfd_open(it_.pid));
    if (it_.pidfd && os::wait_ended(it_.pidfd.get(), Deadline::never().capped(kGraceNs)))
      (void)os::reap(it_.pidfd.get());
    it_.pidfd.reset();
    return;
  }
  // Reaches the server even if a process that the application forked has a copy of our end.
  ::shutdown(it_.socket.get(), SHUT_RDWR);
  it_.socket.reset();
  if (!os::wait_ended(it_.pidfd.get(), Deadline::never().capped(kGraceNs))) {
    // Refused if this process has become another user since. The server ends by itself, as soon as it runs.
    if (os::pidfd_send_signal(it_.pidfd.get(), SIGKILL) == 0) (void)os::wait_ended(it_.pidfd.get(), Deadline::never());
  }
  (void)os::reap(it_.pidfd.get());
  it_.pidfd.reset();
}

void Server::forget() noexcept {
  it_.socket.reset();
  it_.pidfd.reset();
}

Launched launch_by_forkserver() {
  Launched out;
  Current& current = current_server();
  os::Rights rights = os::own_rights();
  // A process that has given up rights, or changed its limits, must not get children that have them still.
  const bool fits = current.server && current.server->usable() && current.server->rights() == rights;
  if (!fits || current.outdated) {
    // One that is outdated ends with the last of its children that still needs it.
    current.server = start_server(std::move(rights));
    current.outdated = false;
  }
  out.server = current.server;
  return out;
}

std::size_t forkserver_spares() {
  const std::lock_guard guard(launch_mutex());
  return current_server().wanted.spares;
}

pid_t forkserver_pid() {
  const std::lock_guard guard(launch_mutex());
  return the_server() ? the_server()->pid() : 0;
}

void dismiss_forkserver() noexcept {
  std::shared_ptr<Server> server;
  {
    const std::lock_guard guard(launch_mutex());
    server = std::move(the_server());
  }
  if (server) server->dismiss();
}

void forget_forkserver() noexcept {
  if (the_server()) the_server()->forget();
  the_server().reset();
}

}  // namespace process

void set_forkserver_preload(std::vector<std::string> modules, PreloadError on_error) {
  for (const std::string& module : modules) {
    if (module.empty()) throw UsageError("set_forkserver_preload(): a module without a name");
  }
  if (on_error > PreloadError::fail) {
    throw UsageError("set_forkserver_preload(): " + std::to_string(static_cast<unsigned>(on_error)) +
                     " is no PreloadError");
  }
  const std::lock_guard guard(process::launch_mutex());
  process::Current& current = process::current_server();
  current.wanted.modules = std::move(modules);
  current.wanted.on_error = on_error;
  current.outdated = true;
}

void set_forkserver_spares(std::size_t count) {
  if (count < 1 || count > kMostForkserverSpares) {
    throw UsageError("set_forkserver_spares(): " + std::to_string(count) + ", but from 1 to " +
                     std::to_string(kMostForkserverSpares) + " are possible");
  }
  const std::lock_guard guard(process::launch_mutex());
  process::Current& current = process::current_server();
  current.wanted.spares = static_cast<std::uint32_t>(count);
  current.outdated = true;
}

void ensure_forkserver() {
  process::require_entry(StartMethod::forkserver, "ensure_forkserver(): the server");
  process::watch_over_children_at_exit();
  const std::lock_guard guard(process::launch_mutex());
  (void)process::launch_by_forkserver();
}

}  // namespace brood::inline v1
