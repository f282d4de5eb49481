#include "log/hold.hpp"

#include <mutex>

#include "base/fork_order.hpp"

namespace brood::inline v1::log {
namespace {

constinit std::mutex g_mutex;
thread_local constinit bool t_has_it = false;

/// At load: a fork by one thread must not meet another that registers. A sink that forks has the mutex, and goes on with
/// it in both processes.
[[maybe_unused]] const bool g_registered = (base::hold_across_fork(base::ForkOrder::log, {[] {
                                                                                            if (!t_has_it)
                                                                                              g_mutex.lock();
                                                                                          },
                                                                                          [] {
                                                                                            if (!t_has_it)
                                                                                              g_mutex.unlock();
                                                                                          }}),
                                            true);

}  // namespace

Hold::Hold() : is_nested_(t_has_it) {
  if (is_nested_) return;
  g_mutex.lock();
  t_has_it = true;
}

Hold::~Hold() {
  if (is_nested_) return;
  t_has_it = false;
  g_mutex.unlock();
}

}  // namespace brood::inline v1::log
