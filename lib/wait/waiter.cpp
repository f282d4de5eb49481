#include "wait/waiter.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/fork_order.hpp"
#include "brood/error.hpp"
#include "os/program.hpp"
#include "registry/sleeper.hpp"
#include "wait/poll.hpp"

namespace brood::inline v1::waiting {
namespace {

/// The thread that is a waiter thread, for itself.
thread_local constinit const WaiterThread* t_self = nullptr;

}  // namespace

WaiterThread::WaiterThread(std::mutex& mutex, bool polls) : mutex_(mutex), polls_(polls) {
  if (!polls) return;
  doorbell_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!doorbell_) throw OsError(errno, "cannot make the descriptor that wakes the thread which waits for descriptors");
}

void WaiterThread::launch() {
  // Born with all signals blocked: the application's handlers run on the application's threads.
  const os::AllSignalsBlocked blocked;
  const auto body = [](void* self) -> void* {
    static_cast<WaiterThread*>(self)->run();
    return nullptr;
  };
  // A stack of the usual size: coroutines of the application are resumed on it.
  if (const int error = ::pthread_create(&thread_, nullptr, body, this); error != 0)
    throw OsError(error, "cannot start a thread that waits for shared objects");
}

void WaiterThread::join() noexcept {
  if (t_self == this) ::pthread_detach(thread_);  // exit() was called in fired()
  else ::pthread_join(thread_, nullptr);
}

void WaiterThread::kick() noexcept {
  kicks_.fetch_add(1);
  if (!is_busy_) return;
  if (polls_) ring(doorbell_.get());
  else os::futex_wake_all(kicks_);
}

void WaiterThread::add(Watch& watch) {
  watches_.push_back(&watch);
  kick();
  changed_.notify_all();
}

void WaiterThread::forget(std::size_t index) noexcept {
  Watch& watch = *watches_[index];
  watch.thread_ = nullptr;
  watch.serial_ = 0;
  watch.is_cancelled_ = false;
  watches_[index] = watches_.back();
  watches_.pop_back();
}

void WaiterThread::end() noexcept {
  ends_ = true;
  kick();
  changed_.notify_all();
}

void WaiterThread::take_out(std::span<Watch* const> watches, std::unique_lock<std::mutex>& guard) {
  const auto is_meant = [&](const Watch* watch) { return std::ranges::find(watches, watch) != watches.end(); };
  // If we are that thread, fired() has called us: nobody looks, nobody sleeps.
  if (t_self != this && (is_meant(firing_) || std::ranges::any_of(watches_, is_meant))) {
    ++takers_;
    kick();
    changed_.wait(guard, [&] { return !is_busy_ && !is_meant(firing_); });
    --takers_;
    changed_.notify_all();
  }
  for (std::size_t i = watches_.size(); i-- > 0;) {
    if (is_meant(watches_[i])) forget(i);
  }
}

void WaiterThread::run() {
  ::prctl(PR_SET_NAME, "brood-waiter");
  t_self = this;
  std::vector<Watch*> mine;
  std::vector<Chosen> fired;
  std::unique_lock guard(mutex_);
  for (;;) {
    changed_.wait(guard, [this] { return ends_ || takers_ == 0; });
    if (ends_) return;
    mine = watches_;
    fired.clear();
    for (Watch* watch : mine) {
      if (watch->is_cancelled_) fired.push_back({watch, watch->serial_, Watch::Why::cancelled});
    }
    if (fired.empty()) {
      const std::uint32_t kick_seen = kicks_.load();
      is_busy_ = true;
      guard.unlock();
      look_and_sleep(mine, kick_seen, fired);
      guard.lock();
      is_busy_ = false;
      changed_.notify_all();
    }
    fire(fired, guard);
  }
}

/// Each of them is looked up anew: while the mutex was free, it may have been taken out and be gone.
void WaiterThread::fire(const std::vector<Chosen>& fired, std::unique_lock<std::mutex>& guard) {
  for (const Chosen& one : fired) {
    if (ends_) return;
    const auto at = std::ranges::find(watches_, one.watch);
    if (at == watches_.end() || one.watch->serial_ != one.serial) continue;
    WaitSource& source = *one.watch->source_;
    const bool has_slept = one.watch->has_slept_;
    forget(static_cast<std::size_t>(at - watches_.begin()));
    firing_ = one.watch;
    guard.unlock();
    if (has_slept) source.pass_on();
    one.watch->fired(one.why);  // from here on it may be gone
    guard.lock();
    firing_ = nullptr;
    changed_.notify_all();
  }
}

void WaiterThread::look_and_sleep(std::span<Watch* const> watches, std::uint32_t kick_seen,
                                  std::vector<Chosen>& fired) {
  const std::uint32_t deaths = watches.empty() ? 0 : registry::Sleeper::deaths();
  Deadline until = Deadline::never();
  bells_.clear();
  for (Watch* watch : watches) {
    WaitSource::Bell bell;
    bool is_ready = false;
    try {
      is_ready = watch->source_->watch(bell);
    } catch (...) {
      // Not hidden: whoever is told that it is ready looks, and is thrown the same.
      is_ready = true;
    }
    if (is_ready) fired.push_back({watch, watch->serial_, Watch::Why::ready});
    else if (watch->deadline_.passed()) fired.push_back({watch, watch->serial_, Watch::Why::timed_out});
    bells_.push_back(bell);
    if (watch->deadline_.at_ns() < until.at_ns()) until = watch->deadline_;
    if (bell.look_again_ns != 0) until = until.capped(bell.look_again_ns);
  }
  if (!fired.empty()) return;
  if (polls_) sleep_on_descriptors(watches, until);
  else sleep_on_words(watches, kick_seen, deaths, until);
}

void WaiterThread::sleep_on_words(std::span<Watch* const> watches, std::uint32_t kick_seen, std::uint32_t deaths,
                                  Deadline until) {
  if (watches.empty()) {
    os::futex_wait(kicks_, kick_seen, Deadline::never());
    return;
  }
  std::array<os::WordSeen, os::kMostWords> words;
  std::vector<registry::Id> blocked_on;
  std::size_t count = 0;
  words[count++] = {&kicks_, kick_seen};
  words[count++] = {&registry::death_word(), deaths};
  for (const WaitSource::Bell& bell : bells_) {
    words[count++] = {bell.word, bell.seen};
    if (bell.blocked_on != registry::kNobody) blocked_on.push_back(bell.blocked_on);
  }
  for (Watch* watch : watches) watch->has_slept_ = true;
  const Handle object = watches.front()->source_->object();
  registry::Sleeper sleeper(registry::Operation::wait, object.kind(), object.id(), Deadline::never());
  if (sleeper.sleep_any({words.data(), count}, blocked_on, until) == registry::Sleeper::Woken::tick) {
    for (Watch* watch : watches) watch->source_->look_round();
  }
}

void WaiterThread::sleep_on_descriptors(std::span<Watch* const> watches, Deadline until) {
  std::vector<pollfd> entries;
  entries.push_back({doorbell_.get(), POLLIN, 0});
  for (const Watch* watch : watches) entries.push_back({watch->source_->descriptor(), watch->source_->events(), 0});
  if (poll_until(entries, until) && entries.front().revents != 0) silence(doorbell_.get());
}

// --- all of them

namespace {

std::atomic<Waiters*> g_waiters = nullptr;

}  // namespace

struct ForkHandlers {
  /// Those of the process that forks, also when the child lets go of it.
  static inline thread_local constinit Waiters* t_held = nullptr;
  static void lock() {
    t_held = g_waiters.load();
    if (t_held != nullptr) t_held->mutex_.lock();
  }
  static void unlock() {
    if (t_held != nullptr) std::exchange(t_held, nullptr)->mutex_.unlock();
  }
  static void at_exit() {
    if (Waiters* const all = g_waiters.load(); all != nullptr && all->process_ == ::getpid()) all->end_all();
  }
};

namespace {
/// At load: a fork by one thread must not meet another that registers.
[[maybe_unused]] const bool g_registered =
    (base::hold_across_fork(base::ForkOrder::waiters, {&ForkHandlers::lock, &ForkHandlers::unlock}), true);
}  // namespace

Waiters& Waiters::instance() {
  Waiters* all = g_waiters.load();
  if (all != nullptr && all->process_ == ::getpid()) return *all;
  // Never destroyed: threads that are not ended by an orderly exit use it to the last.
  auto fresh = std::unique_ptr<Waiters>(new Waiters(::getpid()));
  if (!g_waiters.compare_exchange_strong(all, fresh.get())) return *all;
  return *fresh.release();
}

WaiterThread& Waiters::thread_for(const WaitSource& source) {
  const bool polls = source.descriptor() >= 0;
  for (const auto& thread : threads_) {
    if (thread->polls() == polls && thread->has_room()) return *thread;
  }
  // Younger than the exit handler of the shared objects, so it runs before that: no thread of ours looks at objects that
  // are not mapped any more.
  if (threads_.empty() && std::atexit(&ForkHandlers::at_exit) != 0) throw std::bad_alloc();
  auto made = std::make_unique<WaiterThread>(mutex_, polls);
  threads_.reserve(threads_.size() + 1);
  made->launch();
  threads_.push_back(std::move(made));
  return *threads_.back();
}

void Waiters::start(Watch& watch, WaitSource& source, Deadline deadline) {
  (void)registry::self();
  const std::lock_guard guard(mutex_);
  if (is_over_) throw UsageError("this process is at its end: nothing can be waited for any more");
  WaiterThread& thread = thread_for(source);
  watch.source_ = &source;
  watch.thread_ = &thread;
  watch.serial_ = ++last_serial_;
  watch.process_ = process_;
  watch.deadline_ = deadline;
  watch.has_slept_ = false;
  thread.add(watch);
}

void Waiters::cancel(Watch& watch) noexcept {
  const std::lock_guard guard(mutex_);
  watch.is_cancelled_ = true;
  if (watch.thread_ != nullptr && watch.process_ == process_) watch.thread_->kick();
}

void Waiters::stop(std::span<Watch* const> watches) noexcept {
  std::unique_lock guard(mutex_);
  // By index: more may come while the mutex is free.
  for (std::size_t i = 0; i < threads_.size(); ++i) threads_[i]->take_out(watches, guard);
  guard.unlock();
  for (Watch* watch : watches) {
    if (watch->process_ == process_ && std::exchange(watch->has_slept_, false)) watch->source_->pass_on();
  }
}

void Waiters::end_all() noexcept {
  std::vector<std::unique_ptr<WaiterThread>> threads;
  {
    const std::lock_guard guard(mutex_);
    is_over_ = true;
    threads = std::move(threads_);
    for (const auto& thread : threads) thread->end();
  }
  for (auto& thread : threads) {
    thread->join();
    // What they have swallowed is not lost with us: a process that ends in good order wakes nobody.
    for (Watch* watch : thread->left()) {
      if (std::exchange(watch->has_slept_, false)) watch->source_->pass_on();
    }
  }
  const std::lock_guard guard(mutex_);
  ended_ = std::move(threads);
}

}  // namespace brood::inline v1::waiting

namespace brood::inline v1::detail {

void Watch::start(WaitSource& source, Deadline deadline) {
  waiting::Waiters::instance().start(*this, source, deadline);
}
void Watch::cancel() noexcept { waiting::Waiters::instance().cancel(*this); }
void Watch::stop() noexcept {
  Watch* const self = this;
  waiting::Waiters::instance().stop({&self, 1});
}

}  // namespace brood::inline v1::detail
