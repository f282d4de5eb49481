// All children of this process: their registration, their starting, and what becomes of them when it exits.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <set>

#include "base/fork_order.hpp"
#include "brood/error.hpp"
#include "process/bootstrap.hpp"
#include "process/child.hpp"
#include "process/finalizers.hpp"
#include "shm/attachments.hpp"

namespace brood::inline v1 {
namespace process {
namespace {

/// A forkserver that dies over each request is not worth another try.
constexpr std::size_t kAttempts = 3;

struct Family {
  std::mutex mutex;
  std::set<Child*> children;
  std::atomic<pid_t> exit_watched_for = 0;
};
thread_local bool t_forking = false;

Family& family() {
  // Never destroyed: exit handlers use it. Its mutex is taken across fork, also across the application's own.
  static auto* const it = [] {
    auto* made = new Family;
    base::hold_across_fork(base::ForkOrder::children, {[] {
                                                         if (!t_forking) family().mutex.lock();
                                                       },
                                                       [] {
                                                         if (!t_forking) family().mutex.unlock();
                                                       }});
    return made;
  }();
  return *it;
}

[[maybe_unused]] const Family& g_made_at_load = family();

void end_children() noexcept {
  std::vector<std::shared_ptr<Child>> running;
  for (auto& child : all_children()) {
    if (child->is_running()) running.push_back(std::move(child));
  }
  // All are asked first, so that they share one grace.
  for (const auto& child : running) {
    if (child->is_daemon()) child->ask_to_end();
  }
  const Deadline grace = Deadline::never().capped(kGraceNs);
  for (const auto& child : running) {
    if (child->is_daemon()) child->end_after(grace);
  }
  for (const auto& child : running) {
    (void)child->wait(Deadline::never());
    (void)child->exit_code();  // reaps
  }
  dismiss_forkserver();
}

void wind_up() noexcept {
  // A forked process inherits this handler, but not the children.
  if (family().exit_watched_for != ::getpid()) return;
  run_early_finalizers();
  end_children();
  run_late_finalizers();
  end_children();  // which those have started
}

}  // namespace

Child::Child(Launched launched, std::string name, bool daemon, Streams streams)
    : launched_(std::move(launched)), daemon_(daemon), name_(std::move(name)), streams_(std::move(streams)) {
  family().children.insert(this);
}

Child::~Child() {
  const std::lock_guard guard(family().mutex);
  family().children.erase(this);
}

std::mutex& launch_mutex() { return family().mutex; }

std::vector<std::shared_ptr<Child>> all_children() {
  std::vector<std::shared_ptr<Child>> out;
  const std::lock_guard guard(family().mutex);
  for (Child* child : family().children) {
    if (child->creator() != ::getpid()) continue;  // the application forked: the parent's
    // One whose last owner is about to destroy it waits for the mutex; it has been joined already.
    if (auto held = child->weak_from_this().lock()) out.push_back(std::move(held));
  }
  return out;
}

void watch_over_children_at_exit() {
  const pid_t self = ::getpid();
  if (family().exit_watched_for.exchange(self) == self) return;
  // Exit handlers run in reverse: what children and finalizers share with us must still be there when they are wound up.
  shm::register_exit_handler();
  if (std::atexit(wind_up) != 0) throw OsError(ENOMEM, "cannot register an exit handler");
}

ForkInProgress::ForkInProgress() noexcept { t_forking = true; }
ForkInProgress::~ForkInProgress() { t_forking = false; }

void ForkInProgress::become_childless() noexcept {
  t_forking = false;
  for (Child* child : family().children) child->forget();
  family().children.clear();
  forget_forkserver();
  // Locked by this very thread, in the parent.
  family().mutex.unlock();
}

namespace {

/// Under the launch mutex: no fork between the making of descriptors and their registration.
std::shared_ptr<Child> make_child(StartMethod method, const std::string& library, Order& order,
                                  const ProcessOptions& options, bool daemon) {
  const std::lock_guard guard(family().mutex);
  Streams streams;
  Settings settings = open_streams(options, streams);
  Launched launched = launch(method, library, settings, streams);
  order.settings.reset();
  if (method == StartMethod::spawn || method == StartMethod::light) {
    for (base::UniqueFd& theirs : streams.theirs) theirs.reset();
  } else {
    order.settings = std::move(settings);
  }
  return std::make_shared<Child>(std::move(launched), order.identity.name, daemon, std::move(streams));
}

}  // namespace

std::shared_ptr<Child> start_child(StartMethod method, const std::string& library, Order& order,
                                   const ProcessOptions& options, bool daemon) {
  // What is still in the buffers would be written by both parent and child of a fork, and out of order elsewhere.
  flush_standard_streams();
  if (method == StartMethod::fork) warn_of_threads_before_fork();
  watch_over_children_at_exit();
  // Each spare of the forkserver may have been killed, too.
  const std::size_t attempts = kAttempts + (method == StartMethod::forkserver ? forkserver_spares() : 0);
  for (std::size_t attempt = 0; attempt < attempts; ++attempt) {
    std::shared_ptr<Child> child = make_child(method, library, order, options, daemon);
    if (!child->await_birth()) continue;
    child->bring_up(order);
    return child;
  }
  throw StartError("the forkserver, or the process it had made, was killed " + std::to_string(attempts) +
                   " times in a row; use the start method spawn, or find out who kills them (out of memory?)");
}

}  // namespace process

std::vector<ChildInfo> active_children() {
  std::vector<ChildInfo> out;
  for (const auto& child : process::all_children()) {
    if (child->is_running()) {
      out.push_back({child->pid(), child->name(), child->is_daemon()});
    } else {
      (void)child->exit_code();  // reaps
    }
  }
  return out;
}

}  // namespace brood::inline v1
