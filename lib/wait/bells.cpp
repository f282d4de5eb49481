#include "wait/bells.hpp"

#include <utility>

#include "wait/poll.hpp"
#include "wait/waiter.hpp"

namespace brood::inline v1::waiting {

Bells::Bells(std::span<const detail::WaitSourcePointer> sources) : doorbell_(make_doorbell()) {
  for (const detail::WaitSourcePointer& source : sources) {
    if (source->descriptor() < 0) pointers_.push_back(&all_.emplace_back(*source, doorbell_.get()));
  }
}

void Bells::arm() {
  is_armed_ = true;
  for (Ringing& one : all_) one.arm();
}

void Bells::disarm() noexcept {
  if (!std::exchange(is_armed_, false) || pointers_.empty()) return;
  Waiters::instance().stop(pointers_);
}

void Bells::Ringing::arm() { start(of_, Deadline::never()); }
void Bells::Ringing::fired(Why /*why*/) noexcept { ring(doorbell_); }

}  // namespace brood::inline v1::waiting
