#include "stress/visit.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.hpp"

namespace stress {
namespace {

int g_source = -1;
std::atomic<std::uint64_t> g_stamps{0};

constexpr std::int64_t kBetweenLooksNs = 30'000;
constexpr std::size_t kPipeChunk = 65536;

using Area = World::Area;

// The bytes are written by several processes at once exactly when the library is wrong, so every access is atomic.
void put(std::uint64_t& word, std::uint64_t value) noexcept {
  std::atomic_ref<std::uint64_t>(word).store(value, std::memory_order_relaxed);
}
std::uint64_t look(std::uint64_t& word) noexcept {
  return std::atomic_ref<std::uint64_t>(word).load(std::memory_order_relaxed);
}

void stamp(const Area& area, std::size_t bytes, std::uint64_t value) noexcept {
  for (std::size_t i = 0; i < bytes / 8; ++i) put(area.word[i], value);
}
/// Index of the first word that is not `value`; −1 if all are.
std::ptrdiff_t first_other(const Area& area, std::size_t bytes, std::uint64_t value) noexcept {
  for (std::size_t i = 0; i < bytes / 8; ++i) {
    if (look(area.word[i]) != value) return static_cast<std::ptrdiff_t>(i);
  }
  return -1;
}

std::string describe(Token token) {
  if (token == 0) return "nobody";
  return "seat " + std::to_string(seat_of(token)) + " incarnation " + std::to_string(incarnation_of(token));
}

/// One process inside one door.
class Passage {
 public:
  Passage(Worker& me, int door, Area area) noexcept
      : me_(me), door_(door), area_(area), state_(board().doors[static_cast<std::size_t>(door)]) {}

  void enter(bool told, std::int64_t waiting_since) {
    const Token before = state_.holder.exchange(me_.token);
    if (before != 0) {
      take_over(before, told, waiting_since);
    } else {
      check_last();
    }
    state_.extent.store(std::min(area_.bytes, kStampBytes));
  }

  /// For the manners that write more than their stamp: said before the first such byte.
  std::size_t extend(std::size_t bytes) noexcept {
    const std::size_t extent = std::min(area_.bytes, bytes);
    state_.extent.store(extent);
    return extent;
  }

  void leave() {
    const std::uint64_t mine = new_stamp();
    stamp(area_, state_.extent.load(), mine);
    state_.before.store(state_.last.load());
    state_.last.store(mine);
    state_.visits.fetch_add(1, std::memory_order_relaxed);
    Token me = me_.token;
    if (!state_.holder.compare_exchange_strong(me, 0))
      violation(std::string(door_name(door_)) + ": two inside at once: " + describe(me_.token) + " met " +
                describe(me));
  }

  /// Different from all stamps around it; the upper bits say whose it is.
  std::uint64_t new_stamp() noexcept { return me_.token << 24 | (g_stamps.fetch_add(1) & 0xffffff); }
  [[nodiscard]] const Area& area() const noexcept { return area_; }

 private:
  void take_over(Token before, bool told, std::int64_t waiting_since) {
    if (!was_struck(before))
      violation(std::string(door_name(door_)) + ": taken from " + describe(before) + ", who is alive");
    if (door_reports(door_) && !told)
      violation(std::string(door_name(door_)) + ": not told that the holder, " + describe(before) + ", died");
    if (door_ != kCareless) note_recovery(before, waiting_since);
    // A change to a Value that was not committed must not be seen, so the state is still that of the last one.
    if (door_ == kValue) check_last();
    look_for_late_writes(before);
  }

  /// Nobody may write behind our back, not even a process that is about to be gone.
  void look_for_late_writes(Token before) {
    const std::size_t extent = std::min<std::size_t>(area_.bytes, std::max(state_.extent.load(), kStampBytes));
    const std::uint64_t mine = new_stamp();
    stamp(area_, extent, mine);
    const std::int64_t until = now_ns() + kLookForLateWritesNs;
    do {
      const std::ptrdiff_t at = first_other(area_, extent, mine);
      if (at >= 0) {
        if (door_ == kCareless) {
          board().expected_late_writes.fetch_add(1);
        } else {
          board().late_writes.fetch_add(1);
          violation(std::string(door_name(door_)) + ": " + describe(before) + " wrote after its lock was taken over");
        }
        return;
      }
      nap_ns(kBetweenLooksNs);
    } while (now_ns() < until);
  }

  /// The state is whole, and it is the one that the last visitor left.
  void check_last() {
    if (door_ == kCareless) return;
    const std::uint64_t found = look(area_.word[0]);
    if (first_other(area_, kStampBytes, found) >= 0) return violation(std::string(door_name(door_)) + ": torn state");
    const std::uint64_t last = state_.last.load();
    // A Value's last writer may have been killed after it had said what it would commit and before it did.
    const bool uncommitted = door_ == kValue && found == state_.before.load() && was_struck(last >> 24);
    if (found != last && !uncommitted) violation(std::string(door_name(door_)) + ": an update is lost");
  }

  Worker& me_;
  int door_;
  Area area_;
  DoorState& state_;
};

void read_file(Passage& passage, std::size_t bytes, const Stay& stay) {
  const std::size_t extent = passage.extend(bytes);
  do {
    if (::pread(g_source, passage.area().word, extent, 0) != static_cast<ssize_t>(extent))
      throw std::runtime_error("the source file cannot be read");
  } while (stay.goes_on());
}

void read_pipe(Passage& passage, const Stay& stay) {
  const std::size_t extent = passage.extend(kPipeChunk);
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("pipe");
  brood::base::UniqueFd from(ends[0]);
  const brood::base::UniqueFd to(ends[1]);
  std::thread filler([&to] {
    const std::vector<char> bytes(kPipeChunk, 'x');
    while (::write(to.get(), bytes.data(), bytes.size()) > 0) {}  // until the reader closes its end
  });
  do {
    if (::read(from.get(), passage.area().word, extent) <= 0) break;
  } while (stay.goes_on());
  from.reset();
  filler.join();
}

void write_stamps(Passage& passage, const Stay& stay) {
  do stamp(passage.area(), kStampBytes, passage.new_stamp());
  while (stay.goes_on());
}

/// A thread that writes behind another door until told to stop, or for as long as this process lives.
class SecondWriter {
 public:
  SecondWriter(Worker& me, int door)
      : thread_([this, &me, door] {
          const Stay stay{0, [this] { return !stop_.load(); }};
          visit(
              me, door, Manner::write, stay, -1, [this] { inside_.store(true); }, 1);
        }) {
    while (!inside_.load()) nap_ns(kBetweenLooksNs);
  }
  ~SecondWriter() {
    stop_.store(true);
    thread_.join();
  }
  SecondWriter(const SecondWriter&) = delete;
  SecondWriter& operator=(const SecondWriter&) = delete;

 private:
  std::atomic<bool> stop_{false};
  std::atomic<bool> inside_{false};
  std::thread thread_;
};

/// From here on this process counts as killed.
void end_self(Worker& me) {
  me.seat().phase.store(Phase::ended_self);
  mark_struck(me.token);
}
[[noreturn]] void become_another_program(Worker& me) {
  end_self(me);
  ::execl("/bin/sleep", "sleep", "60", nullptr);
  throw std::runtime_error("/bin/sleep cannot be run");
}

void act(Worker& me, Passage& passage, Manner manner, const Stay& stay, int second_door,
         const std::function<void()>& inside) {
  constexpr std::size_t kUsualRead = std::size_t{1} << 20;
  std::optional<SecondWriter> second;
  if (manner == Manner::thread || manner == Manner::exec_thread) second.emplace(me, second_door);
  if (inside) inside();
  switch (manner) {
    case Manner::brief: return stamp(passage.area(), kStampBytes, passage.new_stamp());
    case Manner::write: return write_stamps(passage, stay);
    // A victim that reads until it is killed reads all it may.
    case Manner::read_file: return read_file(passage, stay.more ? kRegionBytes : kUsualRead, stay);
    case Manner::read_pipe: return read_pipe(passage, stay);
    case Manner::thread: return write_stamps(passage, stay);
    case Manner::exec:
    case Manner::exec_thread: become_another_program(me);
    case Manner::quick_exit: end_self(me); ::_exit(0);
    case Manner::exit: end_self(me); std::exit(0);
  }
}

}  // namespace

Worker::Worker(World& the_world, int the_seat, std::uint64_t seed)
    : world(the_world),
      seat_index(the_seat),
      token(make_token(the_seat, board().seats[static_cast<std::size_t>(the_seat)].incarnation.load())),
      random(seed ^ token * 0x9e3779b97f4a7c15ULL) {}

Waiting::Waiting(Seat& seat, const char* what, int thread) noexcept
    : seat_(seat), thread_(static_cast<std::size_t>(thread)), since_(now_ns()) {
  seat_.waits_for[thread_].store(what);
  seat_.waits[thread_].store(since_);
}

void Waiting::over() noexcept { seat_.waits[thread_].store(0); }

void visit(Worker& me, int door, Manner manner, const Stay& stay, int second_door, const std::function<void()>& inside,
           int thread) {
  Waiting waiting(me.seat(), door_name(door), thread);
  me.world.go_through(door, [&](Area area, bool told) {
    waiting.over();
    Passage passage(me, door, area);
    passage.enter(told, waiting.since());
    act(me, passage, manner, stay, second_door, inside);
    passage.leave();
  });
  me.count();
}

void make_source_file() {
  g_source = ::memfd_create("soak source", MFD_CLOEXEC);
  if (g_source < 0) throw std::runtime_error("memfd_create");
  const std::vector<char> megabyte(std::size_t{1} << 20, 's');
  for (std::size_t written = 0; written < kRegionBytes; written += megabyte.size()) {
    if (::write(g_source, megabyte.data(), megabyte.size()) != static_cast<ssize_t>(megabyte.size()))
      throw std::runtime_error("the source file cannot be written");
  }
}

}  // namespace stress
