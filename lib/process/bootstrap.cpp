#include "process/bootstrap.hpp"

#include <poll.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <utility>

#include "brood/detail/callable.hpp"
#include "brood/domain.hpp"
#include "brood/error.hpp"
#include "os/function_id.hpp"
#include "os/process_identity.hpp"
#include "os/program.hpp"
#include "process/conversation.hpp"
#include "process/current.hpp"
#include "process/launcher.hpp"

namespace brood::inline v1::process {
namespace {

constexpr int kCannotRun = 255;
constexpr int kUncaughtException = 1;

/// The order is taken apart here, so that its bytes are gone when the target runs.
std::unique_ptr<detail::UnpackedCall> prepare(Order order, base::UniqueFd parent, int socket, Origin origin) {
  become(std::move(order.identity));
  arrange_exit(socket, origin);
  if (origin == Origin::fork) {
    if (const int error = os::stdin_from_null(); error != 0)
      throw OsError(-error, "cannot put /dev/null in the place of standard input");
  }
  set_domain_directory(order.domain);
  inherit_start_method(order.start_method);
  inherit_legacies(std::move(order.legacies));
  if (current().daemon) end_with_parent(std::move(parent));
  if (order.call.empty()) return nullptr;
  return detail::unpack_call(order.call);
}

void run(detail::UnpackedCall& call, int socket) {
  try {
    call();
  } catch (...) {
    report_uncaught_exception();
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
    base::UniqueFd parent;
    std::optional<Order> order = receive_order(socket, parent);
    if (order && order->kind == Order::Kind::forkserver) {
      os::learn_modules();
      say(socket, Said::ready);
      socket =
          run_forkserver(base::UniqueFd(socket), std::move(parent)).release();  // from here on in a child of the server
      order = receive_order(socket, parent);
    }
    // The parent was killed, or gave up: nobody expects anything of us.
    if (!order) end_of_clone(kCannotRun);
    call = prepare(std::move(*order), std::move(parent), socket, origin);
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
