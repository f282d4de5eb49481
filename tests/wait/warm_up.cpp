// What rightly stays until the process ends: the registry, and the threads that wait for others, with the descriptor of the
// one that polls.
#include <unistd.h>

#include "brood/event.hpp"
#include "brood/wait.hpp"
#include "support/leak_check.hpp"
#include "wait/poll.hpp"
#include "wait/waiter.hpp"

namespace {

/// Has both kinds of waiter threads made.
class Once final : public brood::detail::Watch {
 public:
  explicit Once(int doorbell) : doorbell_(doorbell) {}

 private:
  void fired(Why /*why*/) noexcept override { brood::waiting::ring(doorbell_); }
  int doorbell_;
};

[[maybe_unused]] const bool kWarm = support::before_first_baseline([] {
  const brood::Event event;
  for (const auto& source : {brood::Waitable(event).source(), brood::readable(0).source()}) {
    const auto doorbell = brood::waiting::make_doorbell();
    Once once(doorbell.get());
    once.start(*source, brood::Deadline::never());
    once.stop();
  }
});

}  // namespace

// Under the thread sanitizer, children forked by the tests may start threads too.
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "die_after_fork=0"; }

// A child that a test forks while others wait here has the memory of the waiting threads, and not the threads that knew of
// it: all of that would be a leak. What the tests themselves and executed children leak is found.
namespace {
const pid_t g_executed = ::getpid();
}  // namespace
extern "C" int __lsan_is_turned_off();  // NOLINT(bugprone-reserved-identifier)
extern "C" int __lsan_is_turned_off() { return ::getpid() != g_executed ? 1 : 0; }
