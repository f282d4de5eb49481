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
#include "os/process_identity.hpp"
#include "os/reap.hpp"
#include "os/socket.hpp"
#include "process/child.hpp"
#include "process/conversation.hpp"
#include "process/launcher.hpp"

namespace brood::inline v1::process {
namespace {

/// Guarded by the launch mutex. Never destroyed by itself: dismissed at exit.
std::shared_ptr<Server>& the_server() {
  static auto* const it = new std::shared_ptr<Server>;
  return *it;
}

std::shared_ptr<Server> start_server() {
  Launched launched = launch_by_spawn(Settings());
  Order order;
  order.kind = Order::Kind::forkserver;
  order.identity.name = "forkserver of " + std::to_string(::getpid());
  order.domain = domain_directory();
  bring_up(launched, order);
  return std::make_shared<Server>(std::move(launched));
}

}  // namespace

Server::Server(Launched launched) noexcept
    : it_(std::move(launched)),
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
    (void)os::pidfd_send_signal(it_.pidfd.get(), SIGKILL);
    (void)os::wait_ended(it_.pidfd.get(), Deadline::never());
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
  auto& server = the_server();
  if (!server || !server->usable()) server = start_server();
  out.server = server;
  return out;
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

}  // namespace brood::inline v1::process
