// World: one shared object of each kind, and what makes each of them a door that one process at a time goes through.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "brood/barrier.hpp"
#include "brood/condition.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "brood/rlock.hpp"
#include "brood/semaphore.hpp"
#include "brood/value.hpp"
#include "brood/work_queue.hpp"
#include "stress/board.hpp"

namespace stress {

inline constexpr int kParties = 3;

/// What a Value protects: its own bytes.
struct Page {
  std::array<std::uint64_t, kStampBytes / 8> word;
};
/// A message: its number, then words that follow from it.
using Message = std::vector<std::uint64_t>;

/// The doors, by index into the board.
enum DoorIndex : int { kReport, kHeal, kRLock, kSemaphore, kBounded, kValue, kRLockHeal, kCareless };
/// Those that rest on the library; kCareless is the negative control.
inline constexpr int kRealDoors = 7;
const char* door_name(int door) noexcept;
/// Tells the next one that a holder died.
constexpr bool door_reports(int door) noexcept { return door == kReport || door == kRLock; }

struct World {
  World();
  /// The same objects, opened once more by their handles.
  explicit World(const World& other);
  World& operator=(const World&) = delete;
  /// Files of the domain: theirs, and the chunks of the queue with the pin that keeps them.
  static constexpr std::size_t kObjects = 16 + 2;

  /// Protected bytes and how many of them.
  struct Area {
    std::uint64_t* word;
    std::size_t bytes;
  };
  using Body = std::function<void(Area area, bool told_of_death)>;
  /// Runs `body` inside the door.
  void go_through(int door, const Body& body);

  brood::Lock report;
  brood::Lock heal;
  brood::RLock rlock;
  brood::RLock rlock_heal;
  brood::Semaphore semaphore;
  brood::BoundedSemaphore bounded;
  brood::Value<Page> value;
  brood::Semaphore pool;
  brood::BoundedSemaphore bounded_pool;
  brood::Lock table;
  brood::Condition not_empty;
  brood::Condition not_full;
  brood::Barrier barrier;
  brood::Lock barrier_mender;
  brood::Queue<Message> queue;
  brood::WorkQueue<Message> jobs;
};

}  // namespace stress
