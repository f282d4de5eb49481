#include "stress/victims.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "os/capabilities.hpp"
#include "os/futex.hpp"
#include "stress/crew.hpp"
#include "stress/figures.hpp"

namespace stress {
namespace {

/// What befalls the victim, or the world in the same moment.
enum class Blow {
  kill,
  stop_then_kill,
  with_watcher_stopped,
  with_watchers_stopped,
  with_watcher_killed,
  with_watchers_killed,
  none
};

/// Where the victim is when it is struck.
enum class Place { inside, between, waiting };

struct Way {
  const char* name;
  Manner manner;
  Blow blow = Blow::kill;
  Place place = Place::inside;
  bool big = false;
};

constexpr std::array kWays = {
    Way{"in user code, writing", Manner::write},
    Way{"in read() of a file into the bytes", Manner::read_file},
    Way{"in read() of a pipe into the bytes", Manner::read_pipe},
    Way{"second thread writes under another lock", Manner::thread},
    Way{"300 MB of touched memory", Manner::write, Blow::kill, Place::inside, true},
    Way{"exec", Manner::exec, Blow::none},
    Way{"exec, second thread writes", Manner::exec_thread, Blow::none},
    Way{"_exit", Manner::quick_exit, Blow::none},
    Way{"exit", Manner::exit, Blow::none},
    Way{"stopped, then killed", Manner::write, Blow::stop_then_kill},
    Way{"nearest watcher stopped", Manner::write, Blow::with_watcher_stopped},
    Way{"both watchers stopped", Manner::write, Blow::with_watchers_stopped},
    Way{"nearest watcher killed too", Manner::write, Blow::with_watcher_killed},
    Way{"both watchers killed too", Manner::write, Blow::with_watchers_killed},
    Way{"between operations", Manner::brief, Blow::kill, Place::between},
    Way{"asleep in lock() or acquire()", Manner::brief, Blow::kill, Place::waiting},
};
constexpr std::uint32_t kControlSeries = kWays.size();

constexpr int kTakers = 3;
constexpr int kBystanders = 4;
constexpr int kVictim = kTakers + kBystanders;
constexpr std::size_t kBigBytes = std::size_t{300} << 20;
constexpr std::uint64_t kLongestPauseNs = 3'000'000;
constexpr std::int64_t kStoppedNs = 4'000'000;
constexpr int kControls = 12;

Seat& seat_at(int i) { return board().seats[static_cast<std::size_t>(i)]; }

void await_word(const brood::os::Word& word, std::uint32_t wanted) {
  for (std::uint32_t seen = word.load(); seen != wanted; seen = word.load())
    (void)brood::os::futex_wait(word, seen, brood::Deadline::never());
}
void set_word(brood::os::Word& word, std::uint32_t value) {
  word.store(value);
  brood::os::futex_wake_all(word);
}

/// Takes part in each trial that it is ordered to: goes through the door once.
void taker(Worker& me) {
  constexpr std::uint32_t kEnd = ~0U;
  Seat& seat = me.seat();
  for (std::uint32_t last = 0;;) {
    std::uint32_t order = seat.order.load();
    for (; order == last; order = seat.order.load())
      (void)brood::os::futex_wait(seat.order, last, brood::Deadline::never());
    if (order == kEnd) return;
    last = order;
    visit(me, seat.order_door.load(), Manner::brief, {}, -1, [&] {
      if (seat.order_hold.load() == 0) return;
      seat.phase.store(Phase::inside);
      news();
      await_word(seat.release, order);
    });
    seat.phase.store(Phase::ready);
    seat.done.store(order);
    news();
  }
}

void bystander(Worker& me) { await_word(me.seat().release, 1); }

void victim(Worker& me, const Way& way, int door, int second) {
  std::vector<unsigned char> memory;
  if (way.big) {
    constexpr std::size_t kPage = 4096;
    memory.resize(kBigBytes);
    for (std::size_t i = 0; i < kBigBytes; i += kPage) memory[i] = 1;
  }
  const Stay for_ever{0, [] { return true; }};
  const auto there = [&me] {
    me.seat().phase.store(Phase::inside);
    news();
  };
  if (way.place != Place::inside) there();
  if (way.place == Place::waiting) return visit(me, door, Manner::brief, {});
  if (way.place == Place::between) {
    for (;;) visit(me, door, Manner::brief, {});
  }
  visit(me, door, way.manner, for_ever, second, [&] {
    there();
    if (way.blow == Blow::none) await_word(me.seat().release, 1);
  });
}

class Trials {
 public:
  Trials(World& world, std::uint64_t seed) : crew_(world, seed), random_(seed) {
    for (int i = 0; i < kTakers; ++i) start_and_await(i, taker);
    fill_bystanders();
  }

  void run(std::size_t way_index, int door);
  void run_control(Manner manner);
  void end();
  [[nodiscard]] Tally tally() const {
    return {crew_.kills, crew_.stops, crew_.starts - kTakers - kBystanders, crew_.operations()};
  }

 private:
  void start_and_await(int seat, const Crew::Body& body) {
    crew_.start(seat, body);
    crew_.await_phase(seat, Phase::ready);
  }
  void fill_bystanders() {
    for (int i = kTakers; i < kTakers + kBystanders; ++i) {
      if (!crew_.is_running(i)) start_and_await(i, bystander);
    }
  }
  void pause() { nap_ns(static_cast<std::int64_t>(random_() % kLongestPauseNs)); }
  void send_taker(int i, int door, bool hold) {
    Seat& seat = seat_at(i);
    seat.order_door.store(door);
    seat.order_hold.store(hold ? 1 : 0);
    set_word(seat.order, trial_);
  }
  /// Only bystanders may be stopped or killed: the takers are the witnesses.
  std::vector<int> watchers(std::size_t count) {
    std::vector<int> out = crew_.watchers_of(kVictim);
    out.erase(std::remove_if(out.begin(), out.end(), [](int i) { return i < kTakers; }), out.end());
    if (out.size() > count) out.resize(count);
    return out;
  }
  void strike(const Way& way);
  void await_takers(const Way& way, int door, const std::vector<int>& who);
  void clear_up(const Way& way);

  Crew crew_;
  std::mt19937_64 random_;
  std::uint32_t trial_ = 0;
};

void Trials::strike(const Way& way) {
  switch (way.blow) {
    case Blow::none: set_word(seat_at(kVictim).release, 1); break;
    case Blow::kill: crew_.strike(kVictim); break;
    case Blow::stop_then_kill:
      crew_.stop(kVictim);
      // Long enough for anybody who would take the lock of a stopped process.
      nap_ns(kStoppedNs);
      crew_.strike(kVictim);
      break;
    case Blow::with_watcher_stopped:
    case Blow::with_watchers_stopped:
      for (const int i : watchers(way.blow == Blow::with_watcher_stopped ? 1 : 2)) crew_.stop(i);
      crew_.strike(kVictim);
      break;
    case Blow::with_watcher_killed:
    case Blow::with_watchers_killed: {
      std::vector<int> all = watchers(way.blow == Blow::with_watcher_killed ? 1 : 2);
      all.push_back(kVictim);
      std::shuffle(all.begin(), all.end(), random_);
      for (const int i : all) crew_.strike(i);
    }
  }
}

void Trials::await_takers(const Way& way, int door, const std::vector<int>& who) {
  const auto done = [&](int i) { return seat_at(i).done.load() == trial_; };
  if (Crew::await([&] { return std::all_of(who.begin(), who.end(), done); })) return;
  for (const int i : who) {
    if (done(i)) continue;
    violation(std::string(door_name(door)) + ", " + way.name + ": a waiter hangs");
    crew_.strike(i);
    (void)crew_.await_end(i);
    start_and_await(i, taker);
  }
}

void Trials::clear_up(const Way& way) {
  for (const int i : crew_.running()) crew_.go_on(i);
  // The others have ended by themselves, or were struck before.
  if (way.manner != Manner::quick_exit && way.manner != Manner::exit) crew_.strike(kVictim);
  (void)crew_.await_end(kVictim);
  (void)crew_.ends();
  for (int i = kTakers; i < kTakers + kBystanders; ++i) {
    const Token token = make_token(i, seat_at(i).incarnation.load());
    if (crew_.is_running(i) && was_struck(token)) (void)crew_.await_end(i);
  }
  fill_bystanders();
}

void Trials::run(std::size_t way_index, int door) {
  const Way& way = kWays[way_index];
  board().series.store(static_cast<std::uint32_t>(way_index));
  ++trial_;
  const bool two_doors = way.manner == Manner::thread || way.manner == Manner::exec_thread;
  const int second = two_doors ? door + 1 : -1;
  const bool first_holds = way.place == Place::waiting;
  if (first_holds) {
    send_taker(0, door, true);
    crew_.await_phase(0, Phase::inside);
  }
  crew_.start(kVictim, [&](Worker& me) { victim(me, way, door, second); });
  crew_.await_phase(kVictim, Phase::inside);
  for (int i = first_holds ? 1 : 0; i < kTakers; ++i)
    send_taker(i, two_doors && i + 1 == kTakers ? second : door, false);
  pause();
  strike(way);
  if (first_holds) {
    if (random_() % 2 == 0) pause();
    set_word(seat_at(0).release, trial_);
  }
  await_takers(way, door, {0, 1, 2});
  clear_up(way);
}

/// The taker believes the board, and the board says "struck" a moment before the signal is sent: it takes over while the
/// victim still writes, which it must notice.
void Trials::run_control(Manner manner) {
  constexpr std::int64_t kTooEarlyNs = 2'000'000;
  board().series.store(kControlSeries);
  ++trial_;
  const Way way{"negative control", manner};
  crew_.start(kVictim, [&](Worker& me) { victim(me, way, kCareless, -1); });
  crew_.await_phase(kVictim, Phase::inside);
  send_taker(0, kCareless, false);
  pause();
  mark_struck(make_token(kVictim, seat_at(kVictim).incarnation.load()));
  nap_ns(kTooEarlyNs);
  crew_.strike(kVictim);
  await_takers(way, kCareless, {0});
  clear_up(way);
}

void Trials::end() {
  constexpr std::uint32_t kEnd = ~0U;
  for (int i = 0; i < kTakers; ++i) set_word(seat_at(i).order, kEnd);
  for (int i = kTakers; i < kTakers + kBystanders; ++i) set_word(seat_at(i).release, 1);
  for (int i = 0; i < kVictim; ++i) (void)crew_.await_end(i);
}

/// `slow_door`: the way that lasts a second, the period of the fallback timer, is gone behind this one only.
std::vector<std::pair<std::size_t, int>> all_trials(int slow_door) {
  const auto& can = brood::os::capabilities();
  std::vector<std::pair<std::size_t, int>> out;
  for (std::size_t way = 0; way < kWays.size(); ++way) {
    const bool is_slow = kWays[way].blow == Blow::with_watchers_stopped;
    // While both watchers are stopped only somebody's own look round can find a death.
    if (is_slow && !can.tick && can.futex_waitv) continue;
    const bool two_doors = kWays[way].manner == Manner::thread || kWays[way].manner == Manner::exec_thread;
    for (int door = 0; door < (two_doors ? kRealDoors - 1 : kRealDoors); ++door) {
      if (!is_slow || door == slow_door) out.emplace_back(way, door);
    }
  }
  return out;
}

std::string recovery_of(int series) {
  const Percentiles figures = percentiles(series, true);
  return figures.count == 0 ? "" : to_string(figures);
}

}  // namespace

Tally kill_victims(double seconds, std::uint64_t seed) {
  const std::int64_t until = now_ns() + static_cast<std::int64_t>(seconds * 1e9);
  std::mt19937_64 random(seed);
  std::array<std::uint64_t, kWays.size()> counts{};
  std::array<std::uint64_t, kWays.size()> wrong{};
  World world;
  Trials trials(world, seed);
  for (int i = 0; i < kControls; ++i) trials.run_control(i % 2 == 0 ? Manner::write : Manner::read_file);
  if (board().expected_late_writes.load() == 0)
    violation("the negative control was not caught: the search for late writes is broken");
  std::printf("  negative control: %llu of %d take-overs without proof of death caught\n",
              static_cast<unsigned long long>(board().expected_late_writes.load()), kControls);
  while (now_ns() < until) {
    auto order = all_trials(static_cast<int>(random() % kRealDoors));
    std::shuffle(order.begin(), order.end(), random);
    for (const auto& [way, door] : order) {
      if (now_ns() >= until) break;
      const std::uint64_t before = board().violations.load();
      trials.run(way, door);
      ++counts[way];
      wrong[way] += board().violations.load() - before;
    }
  }
  trials.end();
  for (std::size_t way = 0; way < kWays.size(); ++way) {
    std::printf("  %-42s %5llu kills %3llu wrong  %s\n", kWays[way].name, static_cast<unsigned long long>(counts[way]),
                static_cast<unsigned long long>(wrong[way]), recovery_of(static_cast<int>(way)).c_str());
  }
  std::fflush(stdout);
  return trials.tally();
}

}  // namespace stress
