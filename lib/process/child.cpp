#include "process/child.hpp"

#include <signal.h>

#include <utility>

#include "brood/error.hpp"
#include "os/process_identity.hpp"
#include "os/reap.hpp"

namespace brood::inline v1::process {

void Child::bring_up(Order& order) {
  std::vector<int> passengers;
  if (order.settings) {
    for (std::int32_t& stream : order.settings->streams) {
      if (stream < 0) continue;
      passengers.push_back(stream);
      stream = static_cast<std::int32_t>(passengers.size()) - 1;
    }
  }
  process::bring_up(launched_, order, passengers);
  // From now on end-of-file and broken pipes are the child's alone to cause.
  for (base::UniqueFd& theirs : streams_.theirs) theirs.reset();
  ready_ = true;
}

base::UniqueFd Child::take_stream(std::size_t number) {
  const std::lock_guard guard(mutex_);
  return std::move(streams_.ours.at(number));
}

std::string Child::name() const {
  const std::lock_guard guard(mutex_);
  return name_;
}

void Child::set_name(std::string name) {
  const std::lock_guard guard(mutex_);
  name_ = std::move(name);
}

bool Child::ended() const noexcept { return os::pidfd_ended(pidfd()); }

bool Child::wait(Deadline deadline) const noexcept { return os::wait_ended(pidfd(), deadline); }

void Child::send_signal(int number) {
  const int error = os::pidfd_send_signal(pidfd(), number);
  if (error == 0 || error == -ESRCH) return;
  throw OsError(-error, "cannot send signal " + std::to_string(number) + " to process '" + name() + "' (pid " +
                            std::to_string(pid()) + "; did it change its user?)");
}

void Child::ask_to_end() noexcept { (void)os::pidfd_send_signal(pidfd(), SIGTERM); }

void Child::end_after(Deadline grace) noexcept {
  if (wait(grace)) return;
  // Refused only if it changed its user; then there is nothing left but to wait.
  (void)os::pidfd_send_signal(pidfd(), SIGKILL);
  (void)wait(Deadline::never());
}

std::optional<int> Child::exit_code() {
  const std::lock_guard guard(mutex_);
  if (exit_code_) return exit_code_;
  if (!launched_.pidfd || !ended()) return std::nullopt;
  exit_code_ = find_exit_code(launched_);
  launched_.socket.reset();
  launched_.server.reset();
  return exit_code_;
}

void Child::forget() noexcept {
  launched_.pidfd.reset();
  launched_.socket.reset();
  if (launched_.server) launched_.server->forget();
  streams_.close();
}

std::string exit_text(int code) {
  if (code >= 0) return std::to_string(code);
  const char* abbreviation = ::sigabbrev_np(-code);
  return abbreviation != nullptr ? std::string("-SIG") + abbreviation : std::to_string(code);
}

}  // namespace brood::inline v1::process
