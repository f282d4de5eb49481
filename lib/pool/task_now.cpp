#include "pool/task_now.hpp"

#include <pthread.h>

#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include "brood/error.hpp"
#include "brood/this_task.hpp"
#include "os/program.hpp"
#include "pool/desk.hpp"

namespace brood::inline v1 {
namespace pool {
namespace {

struct Now {
  std::atomic<Desk*> desk = nullptr;  ///< null: no task
  std::atomic<std::uint64_t> seq = 0;
  std::atomic<std::int64_t> soft_deadline_ns = 0;
  std::atomic<unsigned> attempt = 0;
  std::atomic<std::uint64_t> number = 0;
  std::atomic<unsigned> worker = 0;
};
constinit Now g_now;

/// What serves stop tokens; made with the first one, and never destroyed: its thread ends with the process.
struct Stopper {
  std::mutex mutex;
  std::optional<std::stop_source> source;  ///< of the task, once it has asked for a token
};
constinit std::atomic<Stopper*> g_stopper = nullptr;

bool is_asked_to_stop() noexcept {
  const Desk* const desk = g_now.desk.load(std::memory_order_acquire);
  if (desk == nullptr) return false;
  if (desk->stop.load(std::memory_order_relaxed) == g_now.seq.load(std::memory_order_relaxed)) return true;
  const std::int64_t soft = g_now.soft_deadline_ns.load(std::memory_order_relaxed);
  return soft != 0 && Deadline::clock_ns() >= soft;
}

void serve_tokens(Stopper& stopper, Desk& desk) {
  for (;;) {
    const std::uint32_t seen = desk.stop_bell.arm();
    Deadline until = Deadline::never();
    std::optional<std::stop_source> stops;
    {
      const std::lock_guard lock(stopper.mutex);
      if (stopper.source && !stopper.source->stop_requested()) {
        const std::int64_t soft = g_now.soft_deadline_ns.load();
        if (is_asked_to_stop()) stops = stopper.source;
        else if (soft != 0) until = until.capped(soft - Deadline::clock_ns());
      }
    }
    // Outside of the mutex: what was registered for it runs here.
    if (stops) (void)stops->request_stop();
    else (void)os::futex_wait(desk.stop_bell.word, seen, until);
  }
}

[[noreturn]] void throw_no_task(const char* what) {
  throw UsageError(std::string("this_task().") + what + ": this is no task of a Pool");
}
Desk& desk_of_task(const char* what) {
  Desk* const desk = g_now.desk.load(std::memory_order_acquire);
  if (desk == nullptr) throw_no_task(what);
  return *desk;
}

}  // namespace

void TaskNow::become_worker(unsigned number) noexcept { g_now.worker = number; }

void TaskNow::begin(Desk& desk, std::uint64_t seq, std::int64_t soft_deadline_ns, unsigned attempt,
                    std::uint64_t number) noexcept {
  // relaxed: published by the store of `desk`.
  g_now.seq.store(seq, std::memory_order_relaxed);
  g_now.soft_deadline_ns.store(soft_deadline_ns, std::memory_order_relaxed);
  g_now.attempt.store(attempt, std::memory_order_relaxed);
  g_now.number.store(number, std::memory_order_relaxed);
  g_now.desk.store(&desk, std::memory_order_release);
}

void TaskNow::end() noexcept {
  g_now.desk.store(nullptr, std::memory_order_release);
  if (Stopper* const stopper = g_stopper.load(std::memory_order_relaxed)) {
    const std::lock_guard lock(stopper->mutex);
    stopper->source.reset();
  }
}

}  // namespace pool

bool ThisTask::exists() const noexcept { return pool::g_now.desk.load(std::memory_order_acquire) != nullptr; }
bool ThisTask::stop_requested() const noexcept { return pool::is_asked_to_stop(); }

std::stop_token ThisTask::stop_token() const {
  pool::Desk& desk = pool::desk_of_task("stop_token");
  static std::mutex making;
  pool::Stopper* stopper = pool::g_stopper.load();
  if (stopper == nullptr) {
    const std::lock_guard lock(making);
    stopper = pool::g_stopper.load();
    if (stopper == nullptr) {
      stopper = new pool::Stopper;
      // Born with all signals blocked: the application's handlers run on the application's threads.
      const os::AllSignalsBlocked blocked;
      std::thread thread([stopper, &desk] { pool::serve_tokens(*stopper, desk); });
      ::pthread_setname_np(thread.native_handle(), "brood-stop");
      thread.detach();
      pool::g_stopper = stopper;
    }
  }
  std::stop_token token;
  {
    const std::lock_guard lock(stopper->mutex);
    if (!stopper->source) stopper->source.emplace();
    token = stopper->source->get_token();
  }
  desk.stop_bell.notify_all();
  return token;
}

unsigned ThisTask::attempt() const {
  (void)pool::desk_of_task("attempt");
  return pool::g_now.attempt;
}
std::uint64_t ThisTask::number() const {
  (void)pool::desk_of_task("number");
  return pool::g_now.number;
}
unsigned ThisTask::worker() const {
  (void)pool::desk_of_task("worker");
  return pool::g_now.worker;
}

}  // namespace brood::inline v1
