// Board: what the supervisor and its workers share about the run itself — seats, strikes, findings. Plain anonymous
// shared memory, so that nothing of it depends on the library under test.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace stress {

inline constexpr int kSeats = 24;
inline constexpr int kDoors = 8;
inline constexpr std::size_t kRegionBytes = std::size_t{8} << 20;  ///< what one door protects
inline constexpr std::size_t kStampBytes = 4096;                   ///< the part of it that every visitor writes
inline constexpr std::size_t kSamples = std::size_t{1} << 18;
inline constexpr int kPools = 2;
inline constexpr std::int64_t kPoolSize = 3;
/// Who waits longer than this, while nobody is stopped, hangs.
inline constexpr std::int64_t kPatienceNs = 20'000'000'000;

/// One process: its seat and how many sat there before it.
using Token = std::uint64_t;
constexpr Token make_token(int seat, std::uint32_t incarnation) noexcept {
  return (static_cast<Token>(seat) + 1) << 32 | incarnation;
}
constexpr int seat_of(Token token) noexcept { return static_cast<int>(token >> 32) - 1; }
constexpr std::uint32_t incarnation_of(Token token) noexcept { return static_cast<std::uint32_t>(token); }

/// How far a worker is; what the supervisor must know when it has killed it.
enum class Phase : int {
  starting,
  ready,       ///< has joined the domain
  inside,      ///< a victim is where it shall be killed
  getting,     ///< a consumer between the call of get() and its note in the ledger
  noted,       ///< a consumer that owes the ledger nothing
  ended_self,  ///< about to exec, _exit or exit while it holds a door
  ended,       ///< in good order
};

struct alignas(64) Seat {
  std::atomic<std::uint32_t> incarnation;
  std::atomic<Phase> phase;
  std::atomic<std::uint32_t> retire;                  ///< end in good order after the present operation
  std::array<std::atomic<std::int64_t>, 16> strikes;  ///< by incarnation: when it was killed; 0 = it was not
  std::array<std::atomic<std::int64_t>, 2> waits;     ///< since when a thread is in a call that must return; 0 = is not
  std::array<std::atomic<const char*>, 2> waits_for;  ///< a literal
  std::array<std::atomic<bool>, kPools> in_pool;      ///< holds a unit of that pool
  std::atomic<std::uint64_t> operations;
  std::atomic<std::uint64_t> taken;  ///< the message a consumer has taken and not yet noted
  // Directed trials (victims.cpp).
  std::atomic<std::uint32_t> order;  ///< number of the trial to take part in
  std::atomic<std::uint32_t> done;   ///< last trial that this seat is through with
  std::atomic<int> order_door;
  std::atomic<std::uint32_t> order_hold;  ///< stay inside until `release` says this trial
  std::atomic<std::uint32_t> release;
};

struct alignas(64) DoorState {
  std::atomic<Token> holder;          ///< who is inside
  std::atomic<std::uint64_t> extent;  ///< bytes that the present holder may be writing
  std::atomic<std::uint64_t> last;    ///< stamp of the last one who left in order
  std::atomic<std::uint64_t> before;  ///< and of the one before
  std::atomic<std::uint64_t> visits;
};

struct Sample {
  float ms;
  std::uint16_t series;
  std::uint16_t disturbed;  ///< somebody was stopped meanwhile
};

/// What was done to the workers, and by them.
struct Tally {
  std::uint64_t kills = 0;
  std::uint64_t stops = 0;
  std::uint64_t restarts = 0;
  std::uint64_t operations = 0;

  Tally& operator+=(const Tally& other) noexcept {
    kills += other.kills;
    stops += other.stops;
    restarts += other.restarts;
    operations += other.operations;
    return *this;
  }
};

struct Board {
  std::array<Seat, kSeats> seats;
  std::array<DoorState, kDoors> doors;
  std::atomic<std::uint32_t> closing;  ///< the round ends: finish
  std::atomic<std::uint32_t> resting;  ///< nobody may end itself any more
  std::atomic<std::uint32_t> news;     ///< futex: bumped whenever the supervisor may want to look
  std::atomic<std::uint64_t> violations;
  std::atomic<std::uint64_t> late_writes;  ///< those of the violations, and of the negative control
  std::atomic<std::uint64_t> expected_late_writes;
  std::atomic<std::int64_t> last_disturbance_ns;  ///< when somebody was last stopped; max = somebody is
  std::atomic<std::uint32_t> series;              ///< that recovery times go to now
  Tally total;                                    ///< written by the supervisor at its end
  std::atomic<std::uint64_t> samples;
  std::array<Sample, kSamples> sample;
  // The buffer under Lock and Condition: only ever changed under its lock, each by one store.
  std::atomic<std::uint64_t> table_put;
  std::atomic<std::uint64_t> table_taken;
  std::atomic<std::uint32_t> table_closing;
  std::atomic<std::uint64_t> messages;  ///< of this round
  // The barrier's action.
  std::atomic<std::uint64_t> passes;
  std::array<std::atomic<std::uint32_t>, 64> pass_indices;
  std::atomic<std::int64_t> last_party_strike_ns;
};

/// The board; made by make_board() in the supervisor before any worker.
Board& board() noexcept;
void make_board();
/// Bytes that door `index` protects.
std::uint64_t* region(int index) noexcept;

/// Says on standard error what is wrong and counts it.
void violation(std::string_view what);
void news() noexcept;
/// Naps until somebody calls news(), at most `ns`. `seen`: board().news read before the caller looked.
void await_news(std::uint32_t seen, std::int64_t ns) noexcept;

/// True once that process has been killed, has ended itself while holding, or has a successor in its seat.
bool was_struck(Token token) noexcept;
/// When; 0 if that is forgotten.
std::int64_t struck_at(Token token) noexcept;
void mark_struck(Token token) noexcept;

/// A survivor got what it was due because of the death of `dead`, having waited since `waiting_since`.
void note_recovery(Token dead, std::int64_t waiting_since) noexcept;

std::int64_t now_ns() noexcept;
void nap_ns(std::int64_t ns) noexcept;

}  // namespace stress
