// Sleeper: how every blocking call of brood sleeps — bounded, visible from outside, and woken by any death.
#pragma once

#include <cstdint>
#include <span>

#include "brood/deadline.hpp"
#include "brood/handle.hpp"
#include "registry/registry.hpp"

namespace brood::inline v1::registry {

/// One blocking call. The order is always the same, and it is what makes a lost wake-up impossible:
///
///   1. `const auto death = Sleeper::deaths();`   read the death word
///   2. read the object's state; return if it will do
///   3. `sleeper.sleep(word, seen, death, …)`      sleeps only if neither has changed since
///
/// A waker that is killed between changing the state and waking is a death, and deaths wake everybody.
class Sleeper {
 public:
  enum class Woken : std::uint8_t {
    look_again,  ///< something changed, or somebody died, or nothing at all
    timed_out,   ///< the deadline has passed
    tick,        ///< the fallback timer: check that the one we wait for is still there
  };

  Sleeper(Operation operation, Kind kind, std::uint64_t object, Deadline deadline) noexcept
      : deadline_(deadline), object_(object), kind_(kind), operation_(operation) {}
  ~Sleeper();
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

  /// Errors: joins the domain if this process has not yet, see registry::join.
  [[nodiscard]] static std::uint32_t deaths() {
    (void)self();
    return death_word().load();
  }

  /// `blocked_on`: the one process whose release is awaited, if there is one. `also`: a second word that may wake us.
  Woken sleep(const os::Word& word, std::uint32_t seen, std::uint32_t deaths_seen, Id blocked_on = kNobody,
              const os::WordSeen* also = nullptr) noexcept;

  /// The same over many words, of which the caller makes the death word one. `blocked_on`: all processes whose release is
  /// awaited. `until`: no longer than that, which is a tick unless the deadline has passed.
  /// Without futex_waitv the words are looked at every few milliseconds.
  Woken sleep_any(std::span<const os::WordSeen> words, std::span<const Id> blocked_on, Deadline until) noexcept;

  [[nodiscard]] bool slept() const noexcept { return slept_; }
  [[nodiscard]] Deadline deadline() const noexcept { return deadline_; }

 private:
  void publish(Id blocked_on) noexcept;

  Deadline deadline_;
  std::uint64_t object_;
  ThreadRecord* record_ = nullptr;
  Slot* unrecorded_in_ = nullptr;
  Kind kind_;
  Operation operation_;
  bool slept_ = false;
  std::int64_t pause_ns_ = 0;  ///< between looks, without futex_waitv
};

}  // namespace brood::inline v1::registry
