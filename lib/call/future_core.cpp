#include "brood/detail/future_core.hpp"

#include <chrono>
#include <cstdio>
#include <utility>

#include "brood/error.hpp"
#include "brood/remote_error.hpp"
#include "call/line.hpp"

namespace brood::inline v1::detail {
namespace {

void run_action(const std::function<void()>& action) noexcept {
  try {
    action();
  } catch (...) {
    const std::string text = describe_exception(std::current_exception(), " <- ");
    std::fprintf(stderr, "brood: an action that waited for a future failed: %s\n", text.c_str());
  }
}

/// Of this thread: the innermost one.
thread_local constinit FutureCore::ActionsWait* t_waiting_actions = nullptr;

}  // namespace

FutureCore::ActionsWait::ActionsWait() noexcept : before_(std::exchange(t_waiting_actions, this)) {}
FutureCore::ActionsWait::~ActionsWait() {
  run();
  t_waiting_actions = before_;
}

void FutureCore::ActionsWait::run() {
  // What they settle in their turn has its actions at once: nothing waits for these any more.
  t_waiting_actions = before_;
  while (!actions_.empty()) {
    const auto now = std::exchange(actions_, {});
    for (const auto& action : now) run_action(action);
  }
  t_waiting_actions = this;
}

FutureCore::~FutureCore() = default;

FutureCore::Status FutureCore::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

bool FutureCore::wait(Deadline deadline) const {
  if (is_settled()) return true;
  if (!deadline.passed()) call::Line::before_sleeping();
  if (source_ != nullptr) return source_->wait(const_cast<FutureCore&>(*this), deadline);
  std::unique_lock lock(mutex_);
  const auto done = [this] { return status_ >= Status::cancelled; };
  if (deadline.is_never()) {
    settled_.wait(lock, done);
    return true;
  }
  const std::chrono::steady_clock::time_point when{std::chrono::nanoseconds(deadline.at_ns())};
  return settled_.wait_until(lock, when, done);
}

bool FutureCore::is_running() const {
  const Status now = status();
  return now == Status::running || (now == Status::waiting && source_ != nullptr && source_->is_running(*this));
}

bool FutureCore::sleep(const std::atomic<bool>& called, Deadline deadline) const {
  std::unique_lock lock(mutex_);
  const auto done = [&] { return status_ >= Status::cancelled || called.load(); };
  if (deadline.is_never()) {
    settled_.wait(lock, done);
    return true;
  }
  const std::chrono::steady_clock::time_point when{std::chrono::nanoseconds(deadline.at_ns())};
  return settled_.wait_until(lock, when, done);
}

void FutureCore::nudge() const {
  const std::lock_guard lock(mutex_);
  settled_.notify_all();
}

void FutureCore::when_settled(std::function<void()> action) {
  {
    const std::lock_guard lock(mutex_);
    if (status_ < Status::cancelled) {
      actions_.push_back(std::move(action));
      return;
    }
  }
  run_action(action);
}

bool FutureCore::cancel() {
  if (source_ != nullptr) return source_->cancel(*this);
  std::unique_lock lock(mutex_);
  if (status_ != Status::waiting) return false;
  error_ = std::make_exception_ptr(CancelledError("the future was cancelled before its call began"));
  settle(std::move(lock), Status::cancelled);
  return true;
}

bool FutureCore::set_cancelled(std::exception_ptr why) {
  std::unique_lock lock(mutex_);
  if (status_ >= Status::cancelled) return false;
  error_ = std::move(why);
  settle(std::move(lock), Status::cancelled);
  return true;
}

bool FutureCore::begin() {
  const std::lock_guard lock(mutex_);
  if (status_ == Status::waiting) status_ = Status::running;
  return status_ == Status::running;
}

bool FutureCore::fail(std::exception_ptr why) {
  std::unique_lock lock(mutex_);
  if (status_ >= Status::cancelled) return false;
  error_ = std::move(why);
  settle(std::move(lock), Status::failed);
  return true;
}

void FutureCore::succeed(Decoder& in, call::Line& line) {
  (void)succeed_with([&] {
    const DecodesFrom mark(line);
    accept(in);
  });
}

void FutureCore::succeed(Decoder& in) {
  (void)succeed_with([&] { accept(in); });
}

bool FutureCore::succeed_with(const std::function<void()>& store) {
  std::unique_lock lock(mutex_);
  if (status_ >= Status::cancelled) return false;
  try {
    store();
  } catch (...) {
    error_ = std::current_exception();
  }
  settle(std::move(lock), error_ ? Status::failed : Status::succeeded);
  return true;
}

std::exception_ptr FutureCore::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

void FutureCore::settle(std::unique_lock<std::mutex> lock, Status status) {
  status_ = status;
  std::vector<std::function<void()>> actions = std::exchange(actions_, {});
  settled_.notify_all();
  lock.unlock();
  if (actions.empty()) return;
  if (t_waiting_actions != nullptr) {
    for (auto& action : actions) t_waiting_actions->actions_.push_back(std::move(action));
    return;
  }
  for (const auto& action : actions) run_action(action);
}

}  // namespace brood::inline v1::detail
