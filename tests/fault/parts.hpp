// Parts that several files of scenes use.
#pragma once

#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <utility>

#include "fault/actor.hpp"
#include "fault/scene.hpp"

namespace fault {

/// A number that all processes share, set to 0. Each member of a scene that needs one has another `which`.
inline std::atomic<int>& shared_zero(std::size_t which) {
  static auto& all = shared<std::array<std::atomic<int>, 8>>();
  all.at(which) = 0;
  return all.at(which);
}

/// Where a victim died in an operation of several calls: those that have returned to it are done, the next one is done
/// or not, and those behind it are not done.
class Progress {
 public:
  void step() noexcept { ++steps_; }
  [[nodiscard]] int steps() const noexcept { return steps_; }
  /// True if `seen` is the state after the calls that have returned, or after one more. `states`: the one before the
  /// first call, then the one after each.
  [[nodiscard]] bool allows(long seen, std::initializer_list<long> states) const {
    const auto done = static_cast<std::size_t>(steps());
    const bool is_over = done + 1 == states.size();
    return seen == states.begin()[done] || (!is_over && seen == states.begin()[done + 1]);
  }

 private:
  std::atomic<int>& steps_ = shared_zero(0);
};

/// An operation whose code is swept in full under another name: every `stride`-th instruction will do.
template <class S, class... Arguments>
void add_every(Operations& all, long stride, std::string name, Arguments... arguments) {
  add<S>(all, std::move(name), arguments...);
  all.back().stride = stride;
}
/// A long operation most of which is not ours, but a throw or a stream's: few random instructions.
template <class S, class... Arguments>
void add_long(Operations& all, std::string name, Arguments... arguments) {
  add<S>(all, std::move(name), arguments...);
  all.back().random_points = 30;
}

/// Stops all threads of an actor; it neither wakes up nor buries anybody until it is resumed.
inline void stop(const Actor& actor) {
  ::kill(actor.pid(), SIGSTOP);
  ::waitpid(actor.pid(), nullptr, WUNTRACED);
}
inline void resume(const Actor& actor) { ::kill(actor.pid(), SIGCONT); }

}  // namespace fault
