#include <unistd.h>

#include <cerrno>

#include "os/function_id.hpp"
#include "os/process_identity.hpp"
#include "os/program.hpp"
#include "os/reap.hpp"
#include "os/socket.hpp"
#include "process/bootstrap.hpp"
#include "process/child.hpp"
#include "process/launcher.hpp"

namespace brood::inline v1::process {

Launched launch_by_fork(Streams& streams) {
  os::SocketPair pair = os::packet_socket_pair();
  if (pair.error != 0) throw_launch_error(-pair.error, "make a socket for");
  // The list of loaded modules is read here, for the child: glibc does not reset the lock of dl_iterate_phdr in a
  // forked child, so if another thread held it at the moment of the fork, the child could never read the list itself.
  (void)os::identify(reinterpret_cast<const void*>(&launch_by_fork));
  // From fork until its handlers are reset the child has all signals blocked: a handler of the application would act on
  // things that belong to the parent.
  const os::AllSignalsBlocked blocked;
  const ForkInProgress forking;
  const pid_t pid = ::fork();
  if (pid == 0) {
    ForkInProgress::become_childless();
    pair.ours.reset();
    streams.close();
    os::reset_signals_after_fork();
    run_child(std::move(pair.theirs), Origin::fork);  // does not return: nothing of the parent's stack is unwound here
  }
  if (pid < 0) throw_launch_error(errno, "fork");
  Launched out;
  pair.theirs.reset();
  // The child waits for its order, so it is there, or a zombie; see Child::abandon for a child reaped under our hands.
  const int pidfd = os::pidfd_open(pid);
  if (pidfd < 0) {
    pair.ours.reset();
    os::reap_pid(pid);
    throw_launch_error(-pidfd, "open the pidfd of");
  }
  out.pid = pid;
  out.pidfd.reset(pidfd);
  out.socket = std::move(pair.ours);
  return out;
}

}  // namespace brood::inline v1::process
