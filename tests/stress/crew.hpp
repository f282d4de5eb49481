// Crew: the processes of a run, as the supervisor sees them — started, struck, stopped, watched.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "stress/visit.hpp"

namespace stress {

class Crew {
 public:
  using Body = std::function<void(Worker&)>;

  Crew(World& world, std::uint64_t seed);
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;
  /// Kills who is left.
  ~Crew();

  /// Starts a process in a free seat. `body` runs with the objects opened anew; when it returns, the process ends.
  void start(int seat, const Body& body);
  /// SIGKILL, noted on the board beforehand; a stopped process too.
  void strike(int seat);
  void stop(int seat);
  void go_on(int seat);
  /// What is known of the end of one that has ended.
  struct End {
    int seat;
    std::uint32_t incarnation;
    Phase phase;
    std::uint64_t taken;
  };
  /// Ends that have come since the last call; unexpected ones are violations. Never waits.
  std::vector<End> ends();
  /// Waits for the end of one. Nothing if it did not come in time: then it is killed, and that is a violation.
  std::optional<End> await_end(int seat);
  /// Until the seat has reached that phase; false, with a violation, if it does not in time.
  bool await_phase(int seat, Phase phase);
  /// Until `done()`, looked at whenever there are news; false if the patience is over.
  static bool await(const std::function<bool()>& done, std::int64_t patience_ns = kPatienceNs);

  [[nodiscard]] bool is_running(int seat) const noexcept { return pids_[index(seat)] > 0; }
  [[nodiscard]] bool is_stopped(int seat) const noexcept { return stopped_[index(seat)]; }
  [[nodiscard]] pid_t pid(int seat) const noexcept { return pids_[index(seat)]; }
  [[nodiscard]] std::vector<int> running() const;
  /// Seats of the up to two processes that watch this one's liveness, the nearest first; without those outside.
  [[nodiscard]] std::vector<int> watchers_of(int seat) const;
  /// Who waits longer than it may is a violation, and is killed so that the rest can go on.
  void look_for_hangs();
  [[nodiscard]] std::uint64_t operations() const noexcept;

  std::uint64_t kills = 0;
  std::uint64_t stops = 0;
  std::uint64_t starts = 0;

 private:
  static std::size_t index(int seat) noexcept { return static_cast<std::size_t>(seat); }
  std::optional<End> ended(int seat);
  void note_disturbance() noexcept;

  World& world_;
  std::uint64_t seed_;
  std::array<pid_t, kSeats> pids_{};
  std::array<brood::base::UniqueFd, kSeats> pidfds_;
  std::array<bool, kSeats> stopped_{};
  std::array<bool, kSeats> struck_{};
};

}  // namespace stress
