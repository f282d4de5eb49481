// How a child ends.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "brood/error.hpp"
#include "brood/remote_error.hpp"
#include "os/above_standard.hpp"
#include "os/program.hpp"
#include "os/reap.hpp"
#include "process/bootstrap.hpp"
#include "process/child.hpp"
#include "process/conversation.hpp"
#include "process/current.hpp"
#include "registry/registry.hpp"
#include "shm/attachments.hpp"

namespace brood::inline v1::process {
namespace {

constexpr std::size_t kWatcherStack = 64UL * 1024;

int g_socket = -1;
Origin g_origin = Origin::exec;

void on_exit_of_child(int status) {
  say(g_socket, Said::exiting, status & 0xff);
  // exec: this handler was registered after static initialisation, so exit() now goes on to destroy the static objects.
  if (g_origin == Origin::fork) end_of_clone(status);
}

struct ParentWatch {
  base::UniqueFd parent;
  std::int64_t grace_ns;
};

void* watch_parent(void* argument) {
  const std::unique_ptr<ParentWatch> watch(static_cast<ParentWatch*>(argument));
  (void)os::wait_ended(watch->parent.get(), Deadline::never());
  if (watch->grace_ns > 0) (void)os::wait_ready(-1, 0, -1, Deadline::never().capped(watch->grace_ns));
  ::kill(::getpid(), SIGTERM);
  // A handler may tidy up and end; if it does not, this does.
  (void)os::wait_ready(-1, 0, -1, Deadline::never().capped(kGraceNs));
  ::kill(::getpid(), SIGKILL);
  return nullptr;
}

}  // namespace

void flush_standard_streams() noexcept {
  // A stream whose buffer throws is the application's; what cannot be written is not worth more than what it would do
  // itself.
  for (std::ostream* out : {&std::cout, &std::cerr, &std::clog}) {
    try {
      out->flush();
    } catch (const std::ios_base::failure&) {
      continue;  // its badbit, with exceptions on: the stream itself keeps the state
    }
  }
  std::fflush(stdout);
  std::fflush(stderr);
}

void end_at_once(int code) noexcept {
  flush_standard_streams();
  ::_exit(code);
}

void end_of_clone(int code) noexcept {
  flush_standard_streams();
  // A clone shares its parent's attachments and may be their last user.
  shm::let_go_of_everything();
  ::_exit(code & 0xff);
}

void arrange_exit(int socket, Origin origin) {
  g_socket = socket;
  g_origin = origin;
  if (os::at_exit_with_status(on_exit_of_child) != 0) throw std::bad_alloc();
}

std::string describe_current_exception() { return detail::describe_exception(std::current_exception(), " <- "); }

void report_uncaught_exception(const os::ThrownFrom& from) noexcept {
  std::string text = "Process " + current().name + " (pid " + std::to_string(::getpid()) +
                     "): uncaught exception: " + detail::describe_exception(std::current_exception(), "\n  nested: ") +
                     "\n";
  if (from.count != 0) text += "  thrown in:\n" + os::describe(from, "    ");
  // In one piece, so that children that fail at the same time can be read.
  flush_standard_streams();
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

void end_with_parent(std::int64_t grace_ns) {
  // A copy of its own: parent_process() may be used, and its descriptor be closed, by the application.
  base::UniqueFd parent(::fcntl(parent_pidfd(), F_DUPFD_CLOEXEC, os::kFirstAboveStandard));
  if (!parent) throw OsError(errno, "a daemon has no descriptor to watch its parent by (ulimit -n)");
  auto watch = std::make_unique<ParentWatch>(ParentWatch{std::move(parent), grace_ns});
  // Born with all signals blocked: the application's handlers run on the application's threads.
  const os::AllSignalsBlocked blocked;
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, os::thread_stack_bytes(kWatcherStack));
  pthread_t thread;
  const int error = ::pthread_create(&thread, &attributes, watch_parent, watch.get());
  ::pthread_attr_destroy(&attributes);
  if (error != 0) throw OsError(error, "cannot start the thread by which a daemon watches its parent");
  (void)watch.release();  // the thread's now
  // Here and not there: from now on it counts as ours (os::foreign_threads).
  ::pthread_setname_np(thread, "brood-parent");
  ::pthread_detach(thread);
}

}  // namespace brood::inline v1::process
