#include "process/finalizers.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/fork_order.hpp"
#include "brood/error.hpp"
#include "brood/finalizer.hpp"
#include "process/bootstrap.hpp"
#include "process/child.hpp"

namespace brood::inline v1 {

struct Finalizer::Entry {
  std::function<void()> action;
  int priority = 0;
  std::uint64_t number = 0;
  pid_t owner = 0;
  bool active = true;  ///< guarded by the list's mutex
};

namespace process {
namespace {

struct Ends {
  std::mutex mutex;
  std::vector<std::shared_ptr<Finalizer::Entry>> finalizers;
  std::uint64_t made = 0;
  std::vector<std::function<void()>> after_fork;
};

Ends& ends() {
  // Never destroyed: exit handlers use it.
  static auto* const it = [] {
    auto* made = new Ends;
    base::hold_across_fork(base::ForkOrder::finalizers, {[] { ends().mutex.lock(); }, [] { ends().mutex.unlock(); }});
    return made;
  }();
  return *it;
}

[[maybe_unused]] const Ends& g_made_at_load = ends();

/// The turn to run the entry; false if somebody had it before, or it is another process's.
bool take(Finalizer::Entry& entry) noexcept {
  Ends& it = ends();
  const std::lock_guard guard(it.mutex);
  std::erase_if(it.finalizers, [&](const auto& one) { return one.get() == &entry; });
  return std::exchange(entry.active, false) && entry.owner == ::getpid();
}

/// noexcept lies on the way out of the process: what fails is told, and the next one follows.
void run_and_tell(const std::function<void()>& action, const char* what) noexcept {
  try {
    action();
  } catch (...) {
    const std::string text = "brood: " + std::string(what) + " of process " + std::to_string(::getpid()) +
                             " failed: " + describe_current_exception() + "\n";
    std::fwrite(text.data(), 1, text.size(), stderr);
  }
}

/// The one that is next among those of at least this priority; null if there is none.
std::shared_ptr<Finalizer::Entry> next_finalizer(int least_priority) {
  Ends& it = ends();
  const std::lock_guard guard(it.mutex);
  std::shared_ptr<Finalizer::Entry> next;
  for (const auto& one : it.finalizers) {
    if (one->owner != ::getpid() || one->priority < least_priority) continue;
    if (!next || std::pair(one->priority, one->number) > std::pair(next->priority, next->number)) next = one;
  }
  return next;
}

void run_finalizers(int least_priority) noexcept {
  // One by one: an action may add or cancel others.
  while (const auto next = next_finalizer(least_priority)) {
    if (take(*next)) run_and_tell(next->action, "a finalizer");
  }
}

}  // namespace

void run_early_finalizers() noexcept { run_finalizers(0); }
void run_late_finalizers() noexcept { run_finalizers(std::numeric_limits<int>::min()); }

void run_hooks_after_fork() noexcept {
  std::vector<std::function<void()>> hooks;
  {
    const std::lock_guard guard(ends().mutex);
    hooks = ends().after_fork;
  }
  for (const auto& hook : hooks) run_and_tell(hook, "a hook after fork");
}

}  // namespace process

Finalizer::Finalizer(std::function<void()> action, int priority) {
  if (!action) throw UsageError("Finalizer: there is no action");
  // Children are joined between the finalizers, so this is one exit handler.
  process::watch_over_children_at_exit();
  entry_ = std::make_shared<Entry>(Entry{std::move(action), priority, 0, ::getpid(), true});
  process::Ends& it = process::ends();
  const std::lock_guard guard(it.mutex);
  entry_->number = ++it.made;
  it.finalizers.push_back(entry_);
}

Finalizer& Finalizer::operator=(Finalizer&& other) noexcept {
  if (this != &other) {
    run_quietly();
    entry_ = std::move(other.entry_);
  }
  return *this;
}

Finalizer::~Finalizer() { run_quietly(); }

void Finalizer::run_quietly() noexcept {
  if (entry_ && process::take(*entry_)) process::run_and_tell(entry_->action, "a finalizer");
}

bool Finalizer::operator()() {
  if (!entry_ || !process::take(*entry_)) return false;
  entry_->action();
  return true;
}

void Finalizer::cancel() noexcept {
  if (entry_) (void)process::take(*entry_);
}

bool Finalizer::still_active() const noexcept {
  if (!entry_) return false;
  const std::lock_guard guard(process::ends().mutex);
  return entry_->active && entry_->owner == ::getpid();
}

void register_after_fork(std::function<void()> hook) {
  if (!hook) throw UsageError("register_after_fork(): there is no hook");
  const std::lock_guard guard(process::ends().mutex);
  process::ends().after_fork.push_back(std::move(hook));
}

}  // namespace brood::inline v1
