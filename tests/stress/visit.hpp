// Visit: one passage through a door — what is checked on entering, what a holder does inside, how it leaves.
#pragma once

#include <cstdint>
#include <functional>
#include <random>

#include "stress/board.hpp"
#include "stress/world.hpp"

namespace stress {

/// A worker's own side.
struct Worker {
  Worker(World& the_world, int the_seat, std::uint64_t seed);
  World& world;
  int seat_index;
  Token token;
  std::mt19937_64 random;

  [[nodiscard]] Seat& seat() const noexcept { return board().seats[static_cast<std::size_t>(seat_index)]; }
  [[nodiscard]] bool shall_end() const noexcept { return board().closing.load() != 0 || seat().retire.load() != 0; }
  /// 0 … below−1.
  [[nodiscard]] std::uint64_t pick(std::uint64_t below) { return random() % below; }
  void count() noexcept { seat().operations.fetch_add(1, std::memory_order_relaxed); }
};

/// While it lives, the supervisor watches that the call returns. `thread` 1 is a worker's second thread.
class Waiting {
 public:
  Waiting(Seat& seat, const char* what, int thread = 0) noexcept;
  ~Waiting() { over(); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  void over() noexcept;
  [[nodiscard]] std::int64_t since() const noexcept { return since_; }

 private:
  Seat& seat_;
  std::size_t thread_;
  std::int64_t since_;
};

/// What a holder does with the protected bytes.
enum class Manner {
  brief,        ///< writes its stamp once
  write,        ///< writes stamps all the time
  read_file,    ///< the kernel copies a file into them
  read_pipe,    ///< the kernel copies a pipe into them, which a second thread fills
  thread,       ///< writes, while a second thread writes behind another door
  exec,         ///< becomes another program while it holds
  exec_thread,  ///< the same while a second thread writes behind another door
  quick_exit,   ///< _exit while it holds
  exit,         ///< exit while it holds
};

/// How long a holder stays inside.
struct Stay {
  std::int64_t until_ns = 0;
  std::function<bool()> more;  ///< asked instead, if there is one
  [[nodiscard]] bool goes_on() const { return more ? more() : now_ns() < until_ns; }
};

/// How long the first owner after a death looks for bytes that change under it.
inline constexpr std::int64_t kLookForLateWritesNs = 2'000'000;

/// Goes through `door`. `second_door` (above `door`, so that no circle can form) is for the manners with two of them.
/// `inside` is called when the holder, and its second thread, are there.
void visit(Worker& me, int door, Manner manner, const Stay& stay, int second_door = -1,
           const std::function<void()>& inside = {}, int thread = 0);

/// The file that read_file reads; made by the supervisor.
void make_source_file();

}  // namespace stress
