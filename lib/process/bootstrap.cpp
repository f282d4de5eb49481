#include "process/bootstrap.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

#include "brood/detail/callable.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "os/function_id.hpp"
#include "os/membarrier.hpp"
#include "os/not_instrumented.hpp"
#include "os/process_identity.hpp"
#include "os/program.hpp"
#include "os/reap.hpp"
#include "os/thrown_from.hpp"
#include "process/conversation.hpp"
#include "process/current.hpp"
#include "process/finalizers.hpp"
#include "process/launcher.hpp"
#include "process/light_words.hpp"

namespace brood::inline v1::process {
namespace {

constexpr int kUncaughtException = 1;

/// For a parent that could not send a pidfd of its own (no descriptor was free; valgrind). It sends nothing after the order,
/// so a socket that is ready has lost its other end, and the pid may be somebody else's.
base::UniqueFd open_parent(std::int64_t pid, int socket) {
  base::UniqueFd pidfd(os::pidfd_open(static_cast<pid_t>(pid)));
  if (pidfd && os::wait_ready(socket, POLLIN, -1, Deadline::now()).fd) pidfd.reset();
  return pidfd;
}

/// The order is taken apart here, so that its bytes are gone when the target runs.
std::unique_ptr<detail::UnpackedCall> prepare(Received received, int socket, Origin origin, bool was_forked) {
  Order& order = received.order;
  // First of all: our threads would keep the old rights, and the registry notes who we are.
  if (order.settings) apply(*order.settings);
  received.passengers.clear();
  if (!received.parent_pidfd) received.parent_pidfd = open_parent(order.identity.parent_pid, socket);
  become(std::move(order.identity), std::move(received.parent_pidfd));
  set_authkey(std::move(order.authkey));
  arrange_exit(socket, origin);
  if (!order.domain.empty()) set_domain_directory(order.domain);
  inherit_start_method(order.start_method);
  inherit_legacies(std::move(order.legacies));
  if (current().daemon) {
    // Before there is a second thread: from then on the kernel takes a grace period for it (5 to 20 ms), and whoever opens a
    // Connection needs it. A kernel that cannot is found out there.
    (void)os::join_barriers();
    end_with_parent();
  }
  if (was_forked) run_hooks_after_fork();
  if (order.call.empty()) return nullptr;
  return detail::unpack_call(order.call);
}

void load(const Preload& preload) {
  for (const std::string& module : preload.modules) {
    if (::dlopen(module.c_str(), RTLD_NOW) != nullptr) continue;
    const char* const why = ::dlerror();
    const std::string text = "the forkserver cannot load '" + module + "': " + (why != nullptr ? why : "unknown");
    if (preload.on_error == PreloadError::fail) throw StartError(text);
    if (preload.on_error == PreloadError::warn) std::fprintf(stderr, "brood: %s\n", text.c_str());
  }
}

/// pthread_exit in the target, or its thread was cancelled.
void report_unfinished_target() noexcept {
  flush_standard_streams();
  std::fprintf(
      stderr,
      "Process %s (pid %d): the target has ended its thread (pthread_exit, pthread_cancel) instead of returning; "
      "the process ends as after an uncaught exception\n",
      current().name.c_str(), ::getpid());
  std::fflush(stderr);
}

BROOD_CATCHES_FORCED_UNWIND void run(detail::UnpackedCall& call, int socket) {
  os::ThrownFrom from;
  try {
    os::call_and_note_throw([](void* ready) { (*static_cast<detail::UnpackedCall*>(ready))(); }, &call, from);
  } catch (const abi::__forced_unwind&) {
    // Nothing may unwind past us, and this is no exception that could be reported like others.
    report_unfinished_target();
    say(socket, Said::exiting, kUncaughtException);
    end_at_once(kUncaughtException);
  } catch (...) {
    report_uncaught_exception(from);
    say(socket, Said::exiting, kUncaughtException);
    // The arguments are not destroyed: a Barrier would be left in good order, a lock be given back half-way, and the
    // peers would never learn that this process failed in the middle of its work.
    end_at_once(kUncaughtException);
  }
}

}  // namespace

void run_child(base::UniqueFd socket_owned, Origin origin) noexcept {
  int socket = socket_owned.release();  // open to the end, for the last word
  std::unique_ptr<detail::UnpackedCall> call;
  try {
    std::optional<Received> received = receive_order(socket);
    bool was_forked = origin == Origin::fork;
    if (received && received->order.kind == Order::Kind::forkserver) {
      const std::size_t spares = received->order.preload.spares;
      load(received->order.preload);
      os::learn_modules();
      // Every child would write out a copy of what static initialisation, ours and the modules', has left in a buffer.
      flush_standard_streams();
      say(socket, Said::ready);
      // A signal to the whole group is the parent's to understand: the server goes when the parent goes. Nor may it take a
      // spare, which is no process of anybody's yet, and be found dying by the start that gets it.
      const os::GroupSignalsIgnored until_ordered;
      socket = run_forkserver(base::UniqueFd(socket), std::move(received->parent_pidfd), spares).release();
      was_forked = true;  // from here on in a child of the server
      received = receive_order(socket);
    }
    // The parent was killed, or gave up: nobody expects anything of us.
    if (!received) end_of_clone(kCannotRun);
    call = prepare(std::move(*received), socket, origin, was_forked);
  } catch (const StartError& error) {
    say_failed(socket, error.what());
    end_of_clone(kCannotRun);
  } catch (...) {
    say_failed(socket, describe_current_exception());
    end_of_clone(kCannotRun);
  }
  say(socket, Said::ready);
  if (call) {
    run(*call, socket);
    call.reset();
  }
  std::exit(0);
}

}  // namespace brood::inline v1::process
