// A new process until it is ready, and how one ended: what both children and forkservers go through.
#include <poll.h>
#include <signal.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "brood/error.hpp"
#include "os/process_identity.hpp"
#include "os/reap.hpp"
#include "process/child.hpp"
#include "process/conversation.hpp"
#include "process/launcher.hpp"

namespace brood::inline v1::process {
namespace {

/// Where a status that somebody else has to report (a forkserver, or init for an orphan) is not worth waiting for any
/// longer.
constexpr std::int64_t kReportPatienceNs = 10'000'000'000;
constexpr std::int64_t kOrphanPatienceNs = 2'000'000'000;
/// The kernel itself needs a moment from "ended" to "reaped".
constexpr std::int64_t kReapingNs = 100'000'000;
constexpr std::int64_t kOrphanStepNs = 5'000'000;
constexpr int kNobodyKnows = 255;

std::string ending_text(int code) {
  if (code >= 0) return "it ended with code " + std::to_string(code);
  return "it was killed by signal " + std::to_string(-code);
}

/// An orphan's status can be asked once its new parent has reaped it.
std::optional<os::Ending> ask_until_reaped(int pidfd, std::int64_t patience_ns) noexcept {
  const Deadline give_up = Deadline::never().capped(patience_ns);
  for (;;) {
    const os::Ending ending = os::ask_ending(pidfd);
    if (ending.fate == os::Fate::known) return ending;
    if (ending.fate == os::Fate::unknown || give_up.passed()) return std::nullopt;
    // Waits for POLLHUP: reaped. Kernels that do not wake us for it are asked again.
    (void)os::wait_ready(pidfd, 0, -1, Deadline::never().capped(kOrphanStepNs));
  }
}

void listen_to_the_end(Launched& it, std::optional<int>& reported, std::optional<int>& word) noexcept {
  const Deadline give_up = Deadline::never().capped(kReportPatienceNs);
  for (bool last_look = !it.server;;) {
    const Message message = hear(it.socket.get());
    if (message.said == Said::ended) reported = message.number;
    if (message.said == Said::exiting) word = message.number;
    if (message.said == Said::ended || message.said == Said::end) return;
    if (message.said != Said::nothing) continue;
    if (last_look) return;
    const os::Ready ready = os::wait_ready(it.socket.get(), POLLIN, it.server->pidfd(), give_up.capped(kOrphanStepNs));
    // A child that this one has forked may keep the socket open; the kernel knows as soon as the server has reaped.
    if (os::ask_ending(it.pidfd.get()).fate == os::Fate::known) return;
    last_look = ready.ended || (!ready.fd && give_up.passed());
  }
}

/// The first word on a new child's socket, which its forkserver said before it handed the socket over.
void learn_identity(Launched& it) noexcept {
  Message message = hear(it.socket.get());
  if (message.said != Said::forked) return;
  it.pid = message.number;
  it.pidfd = std::move(message.passenger);
}

void abandon(Launched& it) noexcept {
  it.socket.reset();  // whereupon it ends by itself
  if (!it.server) {
    // Without a word from it a pidfd opened after fork() could be another process's by now (the application reaped our
    // child, the pid was used again): what is not our child is not waited for and not killed.
    const os::Ending ending = os::reap(it.pidfd.get());
    if (ending.fate != os::Fate::running) return;
  }
  if (!os::wait_ended(it.pidfd.get(), Deadline::never().capped(kGraceNs))) {
    (void)os::pidfd_send_signal(it.pidfd.get(), SIGKILL);
    (void)os::wait_ended(it.pidfd.get(), Deadline::never());
  }
  if (!it.server) (void)os::reap(it.pidfd.get());
}

}  // namespace

int find_exit_code(Launched& it) noexcept {
  const os::Ending ending = it.server ? os::ask_ending(it.pidfd.get()) : os::reap(it.pidfd.get());
  if (ending.fate == os::Fate::known) {
    it.core_dumped = ending.core_dumped;
    return ending.exit_code;
  }
  // Somebody else has its status: the forkserver tells us; an application that reaps everybody, or ignores SIGCHLD,
  // does not.
  std::optional<int> reported;
  std::optional<int> word;
  listen_to_the_end(it, reported, word);
  if (reported) return *reported;
  // A word is good enough not to wait long until an orphan has been reaped, but not as good as what the kernel says.
  const std::int64_t patience_ns = !it.server ? 0 : word ? kReapingNs : kOrphanPatienceNs;
  if (const auto known = ask_until_reaped(it.pidfd.get(), patience_ns)) {
    it.core_dumped = known->core_dumped;
    return known->exit_code;
  }
  return word.value_or(kNobodyKnows);
}

bool await_birth(Launched& it) {
  if (!it.server) return true;
  Server& server = *it.server;
  const int control = server.control();
  const std::lock_guard turn(server.turn());
  if (!server.request()) {
    server.give_up();
    return false;
  }
  for (bool server_ended = false;;) {
    Message message;
    {
      // No fork in between: its child closes only what a Launched holds.
      const std::lock_guard guard(launch_mutex());
      message = hear(control);
      it.socket = std::move(message.passenger);
      if (message.said == Said::spare && it.socket) learn_identity(it);
    }
    switch (message.said) {
      case Said::spare:
        // The child of a socket that found no room here reads end-of-file and ends.
        // One that was killed while it waited is replaced, as a forkserver is: nothing has been started.
        if (it.socket && it.pidfd) return !os::pidfd_ended(it.pidfd.get());
        it.socket.reset();
        throw_launch_error(EMFILE, "receive from the forkserver the descriptors of");
      case Said::cannot_fork: throw_launch_error(message.number, "make the forkserver fork");
      case Said::nothing:
        if (!server_ended) {
          // Hear its last words first.
          server_ended = os::wait_ready(control, POLLIN, server.pidfd(), Deadline::never()).ended;
          break;
        }
        [[fallthrough]];
      case Said::end: server.give_up(); return false;
      default: throw StartError("the forkserver said something else than the birth of a child");
    }
  }
}

void bring_up(Launched& it, const Order& order, std::span<const int> passengers) {
  const int socket = it.socket.get();
  std::string why;
  try {
    bool gone = !send_order(socket, it.pidfd.get(), order, passengers);
    std::optional<int> reported;
    for (;;) {
      const Message message = hear(socket);
      if (message.said == Said::ready) return;
      if (message.said == Said::failed) {
        why = message.text;
        break;
      }
      if (message.said == Said::ended) reported = message.number;
      if (message.said == Said::end || message.said == Said::ended || (message.said == Said::nothing && gone)) {
        // Its socket is closed a moment before it has ended.
        if (!reported && os::wait_ended(it.pidfd.get(), Deadline::never().capped(kGraceNs)))
          reported = find_exit_code(it);
        why =
            "the new process did not get as far as running anything" +
            (reported ? ": " + ending_text(*reported) : std::string()) +
            "; see its standard error. (Does something before brood::init(), or in a static object, end the program or "
            "start a process, or is init() not reached?)";
        break;
      }
      if (message.said == Said::nothing) gone = os::wait_ready(socket, POLLIN, it.pidfd.get(), Deadline::never()).ended;
    }
  } catch (...) {
    abandon(it);
    throw;
  }
  abandon(it);
  throw StartError(why);
}

}  // namespace brood::inline v1::process
