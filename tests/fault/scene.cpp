#include "fault/scene.hpp"

#include <algorithm>
#include <stdexcept>

namespace fault {

void must(bool holds, const std::string& statement) {
  if (!holds) throw std::runtime_error(statement);
}

void Findings::note_time() noexcept { slowest_ = std::max(slowest_, now_ms() - killed_at_); }

bool Findings::check(bool holds, std::string_view statement) {
  if (holds) return true;
  if (!wrong_.empty()) wrong_ += "; ";
  wrong_ += statement;
  return false;
}

bool Findings::finishes(const Actor& actor, std::string_view who) {
  const bool done = actor.await_done();
  note_time();
  if (!check(done, std::string(who) + " hangs")) return false;
  return check(!actor.threw(), std::string(who) + ": " + actor.error());
}

bool Findings::comes(const std::function<bool()>& has_come, std::string_view what) {
  const bool come = settles(has_come, kPatience);
  note_time();
  return check(come, "it does not come about that " + std::string(what));
}

bool Findings::fresh(std::string_view who, const std::function<void(Self&)>& body) {
  const double before = now_ms();
  std::string why;
  const bool good = run_fresh(body, why);
  // What came before belongs to others.
  slowest_ = std::max(slowest_, std::min(now_ms() - killed_at_, now_ms() - before));
  return check(good, std::string(who) + ": " + why);
}

bool Findings::settles(const std::function<bool()>& done, Milliseconds patience) {
  const double until = now_ms() + static_cast<double>(patience.count());
  while (!done()) {
    if (now_ms() > until) return false;
    nap();
  }
  return true;
}

}  // namespace fault
