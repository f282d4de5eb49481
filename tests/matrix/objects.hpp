// The objects of the matrix, and what both sides know of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

#include "brood/barrier.hpp"
#include "brood/broadcast.hpp"
#include "brood/condition.hpp"
#include "brood/connection.hpp"
#include "brood/event.hpp"
#include "brood/lock.hpp"
#include "brood/queue.hpp"
#include "brood/rlock.hpp"
#include "brood/semaphore.hpp"
#include "brood/value.hpp"
#include "brood/work_queue.hpp"
#include "matrix/line.hpp"

namespace matrix {

/// An item that is no plain data: its text has to be encoded.
struct Letter {
  std::string text;
  std::int64_t number = 0;
  /// Empty ones, short ones, and some that are longer than a page.
  [[nodiscard]] static Letter numbered(std::int64_t number) {
    return {.text = std::string(static_cast<std::size_t>(number * 397 % 5000), static_cast<char>('a' + number % 26)),
            .number = number};
  }
  friend bool operator==(const Letter& a, const Letter& b) = default;
};
/// Plain data of several words, so that half a change would show.
struct Balance {
  std::int64_t sum = 0;
  double same_sum = 0;
  std::int32_t changes = 0;
};
using Letters = brood::Queue<Letter>;
using Jobs = brood::WorkQueue<Letter>;
using News = brood::Broadcast<Letter>;
/// The worker's end; the test has the other one (test_side.cpp).
using Wire = brood::Connection<Letter>;
using Account = brood::Value<Balance>;
using Tally = brood::Value<std::int64_t>;

/// What stands beside the object: a lock, a number, and the line.
struct Aids {
  brood::Lock& guard;
  Tally& tally;
  const Line& line;
};

/// The object's word in test names and invitations.
template <class Object>
struct Name;
template <>
struct Name<brood::Lock> {
  static constexpr const char* text = "Lock";
};
template <>
struct Name<brood::RLock> {
  static constexpr const char* text = "RLock";
};
template <>
struct Name<brood::Semaphore> {
  static constexpr const char* text = "Semaphore";
};
template <>
struct Name<brood::BoundedSemaphore> {
  static constexpr const char* text = "BoundedSemaphore";
};
template <>
struct Name<brood::Event> {
  static constexpr const char* text = "Event";
};
template <>
struct Name<brood::Condition> {
  static constexpr const char* text = "Condition";
};
template <>
struct Name<brood::Barrier> {
  static constexpr const char* text = "Barrier";
};
template <>
struct Name<Letters> {
  static constexpr const char* text = "Queue";
};
template <>
struct Name<Jobs> {
  static constexpr const char* text = "WorkQueue";
};
template <>
struct Name<News> {
  static constexpr const char* text = "Broadcast";
};
template <>
struct Name<Wire> {
  static constexpr const char* text = "Connection";
};
template <>
struct Name<Account> {
  static constexpr const char* text = "Value";
};

/// Words of the line. The worker says the first when it has opened everything and the last when it has used everything.
inline constexpr char kHere = 'H';
inline constexpr char kDone = 'D';
inline constexpr char kHeld = 'h';     ///< I hold it
inline constexpr char kRefused = 'n';  ///< I was refused, as it must be; next I wait for it
inline constexpr char kGo = 'g';       ///< now do the next thing
inline constexpr char kGot = 't';      ///< I have got what you gave

/// Increments that are lost unless both sides exclude each other.
inline constexpr std::int64_t kIncrements = 200;
template <class Enter, class Leave>
void count_up(Tally& tally, Enter enter, Leave leave) {
  for (std::int64_t i = 0; i < kIncrements; ++i) {
    enter();
    tally.set(tally.get() + 1);
    leave();
  }
}
inline constexpr int kConversations = 50;  ///< of the Condition
inline constexpr int kPasses = 3;          ///< of the Barrier
inline constexpr std::int64_t kLetters = 100;
inline constexpr std::size_t kLongText = 300'000;  ///< several times the ring of a pipe
inline constexpr std::size_t kCapacity = 8;
inline constexpr std::size_t kNewsBytes = 16384;  ///< of the Broadcast: room for few letters
inline constexpr int kDeposits = 200;

/// Runs `forbidden`, which must throw an E.
template <class E, class F>
void require_throws(F forbidden, const std::string& what) {
  bool refused = false;
  try {
    forbidden();
  } catch (const E&) {
    refused = true;
  }
  require(refused, what);
}

inline constexpr std::chrono::milliseconds kBriefly{1};  ///< for attempts that must fail

}  // namespace matrix
